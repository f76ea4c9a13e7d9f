//! Claims of addresses: a key of its own in the store for each, so that two servers can't give out the same one.
//!
//! A claim names the service that it is for by UID, and is only ever deleted at the revision that was looked at:
//! another server may have given the address to another service a moment ago.

use std::{collections::BTreeMap, net::Ipv4Addr};

use api_machinery::ApiError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store::{Entry, Expect, Query, Revision, StoreError};
use uuid::Uuid;

use crate::{
    admission::Claim,
    storage::{self, Storage, WriteError},
};

/// Claims live under the same root as objects, so that whoever copies those copies these.
const CLAIMS: &str = "/registry/ranges/serviceips/";

/// Whom an address is claimed for. It need not exist yet, or any more.
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
    /// for it, or the first who gives up takes the address from the other.
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

    /// Claims that were made before they had UIDs are their service's by name.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (&self.uid, &other.uid) {
            (Some(uid), Some(other)) => uid == other,
            _ => (&self.namespace, &self.name) == (&other.namespace, &other.name),
        }
    }
}

pub(super) fn key(ip: Ipv4Addr) -> String {
    format!("{CLAIMS}{ip}")
}

/// Claims an address; `None` if it is taken.
pub(super) async fn claim(
    storage: &Storage,
    ip: Ipv4Addr,
    owner: &Owner,
) -> Result<Option<Claim>, ApiError> {
    let key = key(ip);
    let written = Written { owner, attempt: Uuid::new_v4().to_string() };
    let value = Bytes::from(serde_json::to_vec(&written).map_err(ApiError::internal)?);
    match storage.put(&key, &value, Expect::Absent, &[]).await {
        Ok(revision) => Ok(Some(Claim { key, revision })),
        Err(WriteError::Refused(_) | WriteError::Outdated(_)) => Ok(None),
        // Whatever became of the first try, the address is another's now.
        Err(WriteError::Unknown(StoreError::Conflict { .. })) => Ok(None),
        // If it was written, no service will hold it, and the repair gives it back.
        Err(WriteError::Unknown(error)) => Err(storage::api_error(error)),
    }
}

/// Gives back an address that a service held, unless it is another's by now.
pub(super) async fn release(storage: &Storage, ip: Ipv4Addr, owner: &Owner) {
    match storage.store().get(&key(ip)).await.map(|entry| entry.as_ref().map(found)) {
        Ok(Some(claim)) if claim.owner.is(owner) => give_back(storage, ip, claim.revision).await,
        Ok(_) => {}
        Err(error) => tracing::warn!(%ip, %error, "address stays claimed until it is repaired"),
    }
}

/// Deletes a claim in the state that was found.
pub(super) async fn give_back(storage: &Storage, ip: Ipv4Addr, revision: Revision) {
    match storage.delete(&key(ip), revision).await {
        Ok(_) | Err(WriteError::Refused(_) | WriteError::Outdated(_)) => {}
        Err(WriteError::Unknown(error)) => {
            tracing::warn!(%ip, %error, "address stays claimed until it is repaired");
        }
    }
}

/// All claims.
pub(super) async fn all(storage: &Storage) -> Result<BTreeMap<Ipv4Addr, Found>, StoreError> {
    let entries = storage.store().list(CLAIMS, Query::default()).await?.entries;
    let claim = |e: &Entry| Some((e.key.strip_prefix(CLAIMS)?.parse().ok()?, found(e)));
    Ok(entries.iter().filter_map(claim).collect())
}

/// A claim that can't be read is nobody's.
fn found(entry: &Entry) -> Found {
    let owner = serde_json::from_slice(&entry.value).unwrap_or_default();
    Found { owner, revision: entry.revision }
}
