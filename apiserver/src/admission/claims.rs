//! Claims of what only one service may have: a key of its own in the store for each, so that two servers can't give out
//! the same one.
//!
//! A claim names the service that it is for by UID, and is only ever deleted at the revision that was looked at:
//! another server may have given the value to another service a moment ago.

use std::{collections::BTreeMap, fmt::Display, marker::PhantomData, net::Ipv4Addr, str::FromStr};

use api_machinery::ApiError;
use api_types::meta::ObjectMeta;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store::{Entry, Expect, Query, Revision, StoreError};
use uuid::Uuid;

use crate::{
    admission::Claim,
    storage::{self, Storage, WriteError},
};

/// Whom a value is claimed for. It need not exist yet, or any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

/// A claim as it is written.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    owner: &'a Owner,
    /// Of this claim alone: after a lost answer, one of the same service that was made at the same time must not pass
    /// for it, or the first who gives up takes the value from the other.
    attempt: String,
}

/// A claim as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) owner: Owner,
    pub(super) revision: Revision,
}

impl Owner {
    /// A service that has, or will have, this UID.
    pub(super) fn of(namespace: Option<&str>, name: Option<&str>, uid: &str) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { namespace: owned(namespace), name: owned(name), uid: Some(uid.to_owned()) }
    }

    /// The same of its metadata, which may have no UID yet.
    pub(super) fn named(service: &ObjectMeta, uid: &str) -> Self {
        Self::of(service.namespace.as_deref(), service.name.as_deref(), uid)
    }

    /// The service that has this metadata.
    pub(super) fn holder(service: &ObjectMeta) -> Self {
        Self::named(service, service.uid.as_deref().unwrap_or_default())
    }

    /// Claims that were made before they had UIDs are their service's by name.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (&self.uid, &other.uid) {
            (Some(uid), Some(other)) => uid == other,
            _ => (&self.namespace, &self.name) == (&other.namespace, &other.name),
        }
    }
}

/// Claims of values of one sort.
#[derive(Debug)]
pub(super) struct Claims<T> {
    /// They live under the same root as objects, so that whoever copies those copies these.
    prefix: &'static str,
    value: PhantomData<T>,
}

/// Those of virtual IPs.
pub(super) const CLUSTER_IPS: Claims<Ipv4Addr> = Claims::below("/registry/ranges/serviceips/");
/// Those of ports of the nodes.
pub(super) const NODE_PORTS: Claims<u16> = Claims::below("/registry/ranges/servicenodeports/");

impl<T> Claims<T> {
    const fn below(prefix: &'static str) -> Self {
        Self { prefix, value: PhantomData }
    }
}

impl<T: Copy + Display + FromStr + Ord> Claims<T> {
    fn key(&self, value: T) -> String {
        format!("{}{value}", self.prefix)
    }

    /// Claims a value; `None` if it is taken.
    pub(super) async fn claim(
        &self,
        storage: &Storage,
        value: T,
        owner: &Owner,
    ) -> Result<Option<Claim>, ApiError> {
        let key = self.key(value);
        let written = Written { owner, attempt: Uuid::new_v4().to_string() };
        let value = Bytes::from(serde_json::to_vec(&written).map_err(ApiError::internal)?);
        match storage.put(&key, &value, Expect::Absent, &[]).await {
            Ok(revision) => Ok(Some(Claim { key, revision })),
            Err(WriteError::Refused(_) | WriteError::Outdated(_)) => Ok(None),
            // Whatever became of the first try, the value is another's now.
            Err(WriteError::Unknown(StoreError::Conflict { .. })) => Ok(None),
            // If it was written, no service will hold it, and the repair gives it back.
            Err(WriteError::Unknown(error)) => Err(storage::api_error(error)),
        }
    }

    /// The same, but that nothing is written for a dry run: whether it is free.
    pub(super) async fn claim_or_try(
        &self,
        storage: &Storage,
        value: T,
        owner: &Owner,
        dry_run: bool,
    ) -> Result<Claimed, ApiError> {
        if dry_run {
            let entry = storage.store().get(&self.key(value)).await.map_err(storage::api_error)?;
            return Ok(if entry.is_some() { Claimed::Taken } else { Claimed::Free });
        }
        let claim = self.claim(storage, value, owner).await?;
        Ok(claim.map_or(Claimed::Taken, Claimed::Ours))
    }

    /// Gives back a value that a service held, unless it is another's by now.
    pub(super) async fn release(&self, storage: &Storage, value: T, owner: &Owner) {
        match storage.store().get(&self.key(value)).await.map(|entry| entry.as_ref().map(found)) {
            Ok(Some(claim)) if claim.owner.is(owner) => {
                self.give_back(storage, value, claim.revision).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%value, %error, "claim stays until it is repaired"),
        }
    }

    /// Deletes a claim in the state that was found.
    pub(super) async fn give_back(&self, storage: &Storage, value: T, revision: Revision) {
        match storage.delete(&self.key(value), revision).await {
            Ok(_) | Err(WriteError::Refused(_) | WriteError::Outdated(_)) => {}
            Err(WriteError::Unknown(error)) => {
                tracing::warn!(%value, %error, "claim stays until it is repaired");
            }
        }
    }

    /// All claims.
    pub(super) async fn all(&self, storage: &Storage) -> Result<BTreeMap<T, Found>, StoreError> {
        let entries = storage.store().list(self.prefix, Query::default()).await?.entries;
        let claim = |e: &Entry| Some((e.key.strip_prefix(self.prefix)?.parse().ok()?, found(e)));
        Ok(entries.iter().filter_map(claim).collect())
    }
}

/// What came of a claim.
#[derive(Debug)]
pub(super) enum Claimed {
    Taken,
    /// Nothing was written.
    Free,
    Ours(Claim),
}

/// A claim that can't be read is nobody's.
fn found(entry: &Entry) -> Found {
    let owner = serde_json::from_slice(&entry.value).unwrap_or_default();
    Found { owner, revision: entry.revision }
}
