//! The Lease that replicas share.

use api_types::{
    api::coordination::v1::{Lease, LeaseSpec},
    jiff::Timestamp,
    meta,
};
use kube::{Api, Client, api::PostParams};
use std::time::Duration;

use super::timing::LEASE_DURATION;

/// Where the lease is kept.
pub(super) trait Lock {
    async fn get(&self) -> Result<Option<Lease>, kube::Error>;
    /// Creates the lease, or replaces the version it was read at.
    async fn put(&self, lease: &Lease) -> Result<Lease, kube::Error>;
}

/// The lease in the API server.
pub(super) struct KubeLock {
    api: Api<Lease>,
    name: String,
}

impl KubeLock {
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { api: Api::namespaced(client, "kube-system"), name: name.to_owned() }
    }
}

impl Lock for KubeLock {
    async fn get(&self) -> Result<Option<Lease>, kube::Error> {
        self.api.get_opt(&self.name).await
    }

    async fn put(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let mut lease = lease.clone();
        lease.metadata.name = Some(self.name.clone());
        match lease.metadata.resource_version {
            Some(_) => self.api.replace(&self.name, &PostParams::default(), &lease).await,
            None => self.api.create(&PostParams::default(), &lease).await,
        }
    }
}

/// The lease as its (new or old) holder writes it.
pub(super) fn held_by(current: Option<Lease>, identity: &str, now: Timestamp) -> Lease {
    let mut lease = current.unwrap_or_default();
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |n| n + 1));
        spec.acquire_time = Some(meta::MicroTime(now));
    }
    *spec = LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(LEASE_DURATION.as_secs() as i32),
        renew_time: Some(meta::MicroTime(now)),
        ..std::mem::take(spec)
    };
    lease
}

/// The lease as its holder leaves it.
pub(super) fn released(mut lease: Lease) -> Lease {
    lease.spec.get_or_insert_default().holder_identity = Some(String::new());
    lease
}

pub(super) fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// The time the holder has asked for.
pub(super) fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|s| u64::try_from(s).ok()).map_or(LEASE_DURATION, Duration::from_secs)
}
