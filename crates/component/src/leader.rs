//! Leader election over a `coordination.k8s.io` Lease, as Kubernetes' own programs do it, so that one
//! of several replicas works and another takes over when it dies.
//!
//! A holder renews every 2 s and gives up after 10 s without success; others take the lease over when
//! they have not seen it change for 15 s. What counts is how long *they* have watched it, by their own
//! clock: the times in the lease are for people. A leader that stops releases the lease, and the next one
//! takes over at once.

use std::{future::Future, time::Duration};

use api_types::{
    api::coordination::v1::{Lease, LeaseSpec},
    jiff::Timestamp,
    meta,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a lease that does not change is respected.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader leads on without having renewed.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often to renew, or to look whether the lease is free.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// How long a try to take the lease may last.
const PATIENCE: Duration = Duration::from_secs(5);

/// The flag of programs of which several may run.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct LeaderArgs {
    /// Work only while holding a Lease, so that several replicas can run
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub leader_elect: bool,
}

/// The lease could not be renewed in time: another replica may lead now. A program ends with this, so
/// that nothing of its time as a leader is left over.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("lost the leader election lease")]
pub struct Lost;

/// A lease that replicas share.
trait Lock {
    async fn get(&self) -> Result<Option<Lease>, kube::Error>;
    /// Creates the lease, or replaces the version it was read at.
    async fn put(&self, lease: &Lease) -> Result<Lease, kube::Error>;
}

/// Waits until this replica is the leader, then runs `lead` while the lease can be renewed.
///
/// # Flow
/// `lead` is first polled when the lease is held. When `shutdown` comes before, `None` is returned. After
/// that, `lead` itself is expected to end on shutdown; then the lease is released.
///
/// # Errors
/// [`Lost`] if the lease could not be renewed; `lead` is dropped.
pub async fn elect<T>(
    client: Client,
    lease_name: &str,
    identity: &str,
    shutdown: &CancellationToken,
    lead: impl Future<Output = T>,
) -> Result<Option<T>, Lost> {
    let lock =
        KubeLock { api: Api::namespaced(client, "kube-system"), name: lease_name.to_owned() };
    Candidate::new(lock, identity).run(shutdown, lead).await
}

/// [`elect`] if the flag says so, else `lead` at once.
pub async fn lead<T>(
    args: LeaderArgs,
    client: Client,
    lease_name: &str,
    identity: &str,
    shutdown: &CancellationToken,
    lead: impl Future<Output = T>,
) -> Result<Option<T>, Lost> {
    match args.leader_elect {
        true => elect(client, lease_name, identity, shutdown, lead).await,
        false => Ok(Some(lead.await)),
    }
}

/// An identity that no other process has, readable in the lease.
pub fn identity(host: &str) -> String {
    format!("{host}_{}_{:x}", std::process::id(), Timestamp::now().as_nanosecond())
}

struct Candidate<L> {
    lock: L,
    identity: String,
    /// The lease as last seen, and when it was first seen so.
    observed: Option<(Lease, Instant)>,
}

impl<L: Lock> Candidate<L> {
    fn new(lock: L, identity: &str) -> Self {
        Self { lock, identity: identity.to_owned(), observed: None }
    }

    async fn run<T>(
        mut self,
        shutdown: &CancellationToken,
        lead: impl Future<Output = T>,
    ) -> Result<Option<T>, Lost> {
        if !self.acquire(shutdown).await {
            return Ok(None);
        }
        tracing::info!(identity = self.identity, "leading");
        let result = tokio::select! {
            output = lead => Ok(Some(output)),
            lost = self.keep() => Err(lost),
        };
        if result.is_ok() {
            self.release().await;
        }
        result
    }

    /// Tries until the lease is held; false if shutdown comes before. Shutdown does not interrupt a try: it
    /// might succeed unseen, and the lease would be held by nobody for its whole duration.
    async fn acquire(&mut self, shutdown: &CancellationToken) -> bool {
        while !shutdown.is_cancelled() {
            if let Ok(true) = tokio::time::timeout(PATIENCE, self.attempt()).await {
                return true;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(RETRY_PERIOD) => {}
            }
        }
        false
    }

    /// Renews until that has failed for too long.
    async fn keep(&mut self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY_PERIOD).await;
            match tokio::time::timeout_at(renewed + RENEW_DEADLINE, self.attempt()).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) if self.is_held_by_another() => return Lost,
                Ok(false) if renewed.elapsed() < RENEW_DEADLINE => {}
                Ok(false) | Err(_) => return Lost,
            }
        }
    }

    /// One try to take or renew the lease.
    async fn attempt(&mut self) -> bool {
        match self.try_hold().await {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "cannot take or renew the leader election lease");
                false
            }
        }
    }

    async fn try_hold(&mut self) -> Result<bool, kube::Error> {
        let current = self.lock.get().await?;
        self.observe(current.as_ref());
        if let Some(lease) = &current
            && !self.may_take(lease)
        {
            return Ok(false);
        }
        let taken = self.lock.put(&held_by(current, &self.identity, Timestamp::now())).await;
        match taken {
            Ok(lease) => {
                self.observe(Some(&lease));
                Ok(true)
            }
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, lease: Option<&Lease>) {
        let seen = self.observed.as_ref().map(|(lease, _)| &lease.spec);
        if let Some(lease) = lease
            && seen != Some(&lease.spec)
        {
            self.observed = Some((lease.clone(), Instant::now()));
        }
    }

    fn may_take(&self, lease: &Lease) -> bool {
        let holder = holder(lease);
        holder.is_empty() || holder == self.identity || self.has_expired()
    }

    fn has_expired(&self) -> bool {
        self.observed.as_ref().is_some_and(|(lease, since)| since.elapsed() >= duration(lease))
    }

    fn is_held_by_another(&self) -> bool {
        let holder = self.observed.as_ref().map_or("", |(lease, _)| holder(lease));
        !holder.is_empty() && holder != self.identity
    }

    async fn release(&self) {
        let Some((lease, _)) = &self.observed else { return };
        let mut lease = lease.clone();
        lease.spec.get_or_insert_default().holder_identity = Some(String::new());
        match tokio::time::timeout(RETRY_PERIOD, self.lock.put(&lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot release the leader election lease"),
            Err(_) => tracing::warn!("cannot release the leader election lease in time"),
        }
    }
}

/// The lease as its (new or old) holder writes it.
fn held_by(current: Option<Lease>, identity: &str, now: Timestamp) -> Lease {
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

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// The time the holder has asked for.
fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|s| u64::try_from(s).ok()).map_or(LEASE_DURATION, Duration::from_secs)
}

/// The lease in the API server.
struct KubeLock {
    api: Api<Lease>,
    name: String,
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

#[cfg(test)]
mod tests;
