//! Every service gets a virtual IP of its own out of the service range.
//!
//! An address is claimed by creating a key of its own in the store, so that two servers can't give out the same
//! one; the claim is given back when the service is gone. A crash in between leaves a claim without a service,
//! or (after a restored backup) a service without a claim; [`repair`] makes both right
//! (Kubernetes: `pkg/registry/core/service/ipallocator`).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use api_machinery::{ApiError, FieldErrors, FieldPath};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use registry::ResourceDef;
use serde_json::{Value, json};
use store::{Expect, Query, StoreError};
use uuid::Uuid;

use super::{Attributes, Claim, Plugin};
use crate::{server::Server, storage};

/// Claims live under the same root as objects, so that whoever copies those copies these.
const CLAIMS: &str = "/registry/ranges/serviceips/";

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceClusterIp;

#[async_trait]
impl Plugin for ServiceClusterIp {
    async fn admit(
        &self,
        server: &Server,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<Vec<Claim>, ApiError> {
        if !attributes.is_core("services") || !object["spec"].is_object() {
            return Ok(Vec::new());
        }
        if let Some(old) = attributes.old {
            keep(old, object);
        }
        let had = attributes.old.and_then(cluster_ip);
        match wish(object) {
            Wish::None => Ok(Vec::new()),
            Wish::This(ip) if had == Some(ip) => Ok(Vec::new()),
            Wish::This(ip) => claim_this(server, attributes, object, ip).await,
            Wish::Any => {
                let claim = claim_any(server, attributes, object).await?;
                Ok(claim.into_iter().collect())
            }
        }
    }

    async fn removed(&self, server: &Server, def: &ResourceDef, object: &Value) {
        let is_service = def.names.group.is_empty() && def.names.plural == "services";
        if let Some(ip) = cluster_ip(object).filter(|_| is_service) {
            release(server, ip).await;
        }
    }
}

/// What address a service wants.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// None: it is headless, an alias for another name, or its address makes no sense (which validation tells).
    None,
    Any,
    This(Ipv4Addr),
}

fn wish(service: &Value) -> Wish {
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        return Wish::None;
    }
    let first = spec["clusterIPs"][0].as_str();
    match spec["clusterIP"].as_str().filter(|ip| !ip.is_empty()).or(first) {
        None | Some("") => Wish::Any,
        Some(given) => given.parse().map_or(Wish::None, Wish::This),
    }
}

fn cluster_ip(service: &Value) -> Option<Ipv4Addr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// An update that doesn't mention the address keeps it (Kubernetes: `patchAllocatedValues`).
fn keep(old: &Value, new: &mut Value) {
    if wish(new) == Wish::Any && old["spec"]["type"] != "ExternalName" {
        for field in ["clusterIP", "clusterIPs"] {
            if !old["spec"][field].is_null() {
                new["spec"][field] = old["spec"][field].clone();
            }
        }
    }
}

async fn claim_this(
    server: &Server,
    attributes: &Attributes<'_>,
    service: &Value,
    ip: Ipv4Addr,
) -> Result<Vec<Claim>, ApiError> {
    let range = server.config.service_cidr;
    if !can_be_given(range, ip) {
        let why = format!(
            "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}"
        );
        return Err(refused(service, ip, &why));
    }
    let key = key(ip);
    let taken = || refused(service, ip, "provided IP is already allocated");
    if attributes.dry_run {
        let entry = server.storage.store().get(&key).await.map_err(storage::api_error)?;
        return if entry.is_some() { Err(taken()) } else { Ok(Vec::new()) };
    }
    if claim(server, &key, service).await? { Ok(vec![Claim { key }]) } else { Err(taken()) }
}

/// Claims the first free address after a random one: counting up from the range's beginning, servers would
/// always race for the same one, and a new service would get the address of one just deleted.
async fn claim_any(
    server: &Server,
    attributes: &Attributes<'_>,
    service: &mut Value,
) -> Result<Option<Claim>, ApiError> {
    let range = server.config.service_cidr;
    let taken = claimed(server).await?;
    let start = random_below(range.hosts().count());
    for ip in range.hosts().skip(start).chain(range.hosts().take(start)) {
        let key = key(ip);
        if taken.contains(&ip) {
            continue;
        }
        if attributes.dry_run || claim(server, &key, service).await? {
            service["spec"]["clusterIP"] = ip.to_string().into();
            service["spec"]["clusterIPs"] = json!([ip.to_string()]);
            return Ok((!attributes.dry_run).then_some(Claim { key }));
        }
    }
    Err(ApiError::internal(format!("failed to allocate a serviceIP: range {range} is full")))
}

/// Whether the address is one of the range's, and neither the network's own nor the broadcast address.
fn can_be_given(range: Ipv4Net, ip: Ipv4Addr) -> bool {
    range.contains(&ip) && ip != range.network() && ip != range.broadcast()
}

fn random_below(count: usize) -> usize {
    Uuid::new_v4().as_u128().checked_rem(count as u128).unwrap_or_default() as usize
}

fn refused(service: &Value, ip: Ipv4Addr, why: &str) -> ApiError {
    let mut errors = FieldErrors::default();
    let path = FieldPath::new("spec").child("clusterIPs");
    errors.invalid(&path, [ip.to_string()], &format!("failed to allocate IP {ip}: {why}"));
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    ApiError::invalid("", "Service", name, &errors)
}

fn key(ip: Ipv4Addr) -> String {
    format!("{CLAIMS}{ip}")
}

/// Whether the address was free and is now the service's.
async fn claim(server: &Server, key: &str, service: &Value) -> Result<bool, ApiError> {
    let metadata = &service["metadata"];
    let owner = json!({ "namespace": metadata["namespace"], "name": metadata["name"] });
    let put = server.storage.store().put(key, owner.to_string().into(), Some(Expect::Absent));
    match put.await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(other) => Err(storage::api_error(other)),
    }
}

async fn release(server: &Server, ip: Ipv4Addr) {
    match server.storage.store().delete(&key(ip), None).await {
        Ok(_) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => tracing::warn!(%ip, %error, "address stays claimed until it is repaired"),
    }
}

async fn claimed(server: &Server) -> Result<BTreeSet<Ipv4Addr>, ApiError> {
    let page = server.storage.store().list(CLAIMS, Query::default()).await;
    let entries = page.map_err(storage::api_error)?.entries;
    Ok(entries.iter().filter_map(|e| e.key.strip_prefix(CLAIMS)?.parse().ok()).collect())
}

/// Gives back claims that no service holds, and claims what services hold without.
///
/// *Assumptions*: `suspects` are the claims without a service of the call before; a claim is given back only if it
/// was suspect then already, since a service may be on its way between claim and creation. Returns the suspects of
/// this call.
pub(crate) async fn repair(
    server: &Server,
    suspects: &BTreeSet<Ipv4Addr>,
) -> Result<BTreeSet<Ipv4Addr>, ApiError> {
    let claimed = claimed(server).await?;
    let Some(def) = server.catalogue.find("", "v1", "services") else { return Ok(BTreeSet::new()) };
    let snapshot = server.storage.list(&def.prefix(None), crate::query::ReadAt::MostRecent).await?;
    let services = snapshot.items.iter().map(|item| item.object.value());
    let held: BTreeMap<Ipv4Addr, Value> =
        services.filter_map(|service| Some((cluster_ip(&service)?, service))).collect();
    for (ip, service) in held.iter().filter(|(ip, _)| !claimed.contains(ip)) {
        tracing::warn!(%ip, "service holds an address without a claim; claiming it");
        claim(server, &key(*ip), service).await?;
    }
    let orphans: BTreeSet<_> = claimed.into_iter().filter(|ip| !held.contains_key(ip)).collect();
    for ip in orphans.intersection(suspects) {
        tracing::warn!(%ip, "address is claimed by no service; giving it back");
        release(server, *ip).await;
    }
    Ok(orphans.difference(suspects).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &Value, expected: &Wish) {
        assert_eq!(wish(&json!({ "spec": spec })), *expected, "{spec}");
    }

    #[test]
    fn a_range_gives_out_neither_its_network_nor_its_broadcast_address() {
        let range: Ipv4Net = "10.96.0.76/30".parse().unwrap();
        let given: Vec<_> =
            (75..=80).filter(|last| can_be_given(range, [10, 96, 0, *last].into())).collect();
        assert_eq!(given, [77, 78]);
        assert_eq!(range.hosts().map(|ip| ip.octets()[3]).collect::<Vec<_>>(), given);
    }

    #[test]
    fn a_service_gets_an_address_unless_it_says_otherwise() {
        check(&json!({}), &Wish::Any);
        check(&json!({"clusterIP": ""}), &Wish::Any);
        check(&json!({"clusterIP": "None"}), &Wish::None);
        check(&json!({"type": "ExternalName"}), &Wish::None);
        check(&json!({"clusterIPs": ["10.0.0.1"]}), &Wish::This([10, 0, 0, 1].into()));
        check(
            &json!({"type": "NodePort", "clusterIP": "10.0.0.1"}),
            &Wish::This([10, 0, 0, 1].into()),
        );
    }
}
