//! Claims of what only one service may have: a key of its own in the store for each, so that two servers can't give out
//! the same one. The claim of an address is an object of the API, its `IPAddress`.
//!
//! A claim names the service that it is for by UID, and is only ever deleted at the revision that was looked at:
//! another server may have given the value to another service a moment ago.

mod ip_address;
mod owner;

use std::{collections::BTreeMap, fmt::Display, net::IpAddr, str::FromStr};

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use bytes::Bytes;
use serde::Serialize;
use store::{Entry, Expect, Query, Revision, StoreError};
use uuid::Uuid;

use crate::{
    admission::Claim,
    storage::{self, Storage, WriteError},
};

pub(crate) use self::owner::{Found, Owner};

/// A claim as it is written.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    owner: &'a Owner,
    /// Of this claim alone: after a lost answer, one of the same service that was made at the same time must not pass
    /// for it, or the first who gives up takes the value from the other.
    attempt: String,
}

/// Claims of values of one sort.
#[derive(Debug)]
pub(super) struct Claims<T> {
    /// They live under the same root as objects, so that whoever copies those copies these.
    prefix: &'static str,
    /// What is written to claim a value.
    encode: fn(T, &Owner) -> Result<Vec<u8>, ApiError>,
    decode: fn(&Entry) -> Found,
}

/// Those of virtual IPs.
pub(super) const CLUSTER_IPS: Claims<IpAddr> = Claims {
    prefix: "/registry/ranges/serviceips/",
    encode: |address, owner| ip_address::encode(address, owner, Timestamp::now()),
    decode: |entry| ip_address::decode(entry).unwrap_or_else(|| found(entry)),
};
/// Those of ports of the nodes.
pub(super) const NODE_PORTS: Claims<u16> = Claims {
    prefix: "/registry/ranges/servicenodeports/",
    encode: |_, owner| written(owner),
    decode: found,
};

/// Makes objects of claims of addresses that were made before these were objects, or that a server of before makes still.
pub(crate) async fn renew(storage: &Storage) -> Result<(), StoreError> {
    let claims = storage.store().list(CLUSTER_IPS.prefix, Query::default()).await?.entries;
    for claim in claims.iter().filter(|claim| ip_address::decode(claim).is_none()) {
        let address = claim.key.strip_prefix(CLUSTER_IPS.prefix).and_then(|ip| ip.parse().ok());
        let (Some(address), Some(owner)) = (address, owner_of_before(claim)) else { continue };
        let object = match (CLUSTER_IPS.encode)(address, &owner) {
            Ok(object) => Bytes::from(object),
            Err(error) => {
                tracing::warn!(%address, %error, "claim stays as it is");
                continue;
            }
        };
        // One that has changed meanwhile is looked at the next time.
        match storage.put(&claim.key, &object, Expect::At(claim.revision), &[]).await {
            Ok(_) | Err(WriteError::Refused(_) | WriteError::Outdated(_)) => {}
            Err(WriteError::Unknown(error)) => return Err(error),
        }
    }
    Ok(())
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
        let value = Bytes::from((self.encode)(value, owner)?);
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
        match storage
            .store()
            .get(&self.key(value))
            .await
            .map(|entry| entry.as_ref().map(self.decode))
        {
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
        let claim =
            |e: &Entry| Some((e.key.strip_prefix(self.prefix)?.parse().ok()?, (self.decode)(e)));
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

fn written(owner: &Owner) -> Result<Vec<u8>, ApiError> {
    let written = Written { owner, attempt: Uuid::new_v4().to_string() };
    serde_json::to_vec(&written).map_err(ApiError::internal)
}

/// A claim that can't be read is somebody's whom nobody knows: it is encrypted, maybe, with a key that this server has not.
fn found(entry: &Entry) -> Found {
    let owner: Option<Owner> = serde_json::from_slice(&entry.value).ok();
    let is_ours = owner.is_some();
    Found { owner: owner.unwrap_or_default(), revision: entry.revision, is_ours }
}

/// Whom a claim is for that is no object yet. What does not say so is none.
fn owner_of_before(claim: &Entry) -> Option<Owner> {
    let Found { owner, .. } = found(claim);
    (owner.uid.is_some() || owner.name.is_some()).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &'static str, is_ours: bool, is_of_before: bool) {
        let key = "/registry/ranges/serviceips/10.96.0.9".into();
        let entry =
            Entry { key, value: Bytes::from_static(value.as_bytes()), revision: Revision(7) };
        let found = (CLUSTER_IPS.decode)(&entry);
        let renewed = owner_of_before(&entry).is_some();
        assert_eq!((found.is_ours, renewed), (is_ours, is_of_before), "{value}");
    }

    #[test]
    fn a_claim_that_can_not_be_read_is_not_ours_to_change() {
        check(r#"{"namespace":"d","name":"a","uid":"u","attempt":"x"}"#, true, true);
        check(r#"{"namespace":"d","name":"a"}"#, true, true);
        check("{}", true, false);
        check("k8s:enc:secretbox:v1:one:\u{1}", false, false);
        check("k8s:enc: no matching prefix found", false, false);
    }
}
