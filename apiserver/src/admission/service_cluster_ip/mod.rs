//! Every service gets a virtual IP of its own out of the service range (Kubernetes:
//! `pkg/registry/core/service/ipallocator`).

mod claims;
mod repair;

use std::{net::Ipv4Addr, sync::Arc};

use api_machinery::{ApiError, FieldErrors, FieldPath};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use registry::ResourceDef;
use serde_json::{Value, json};
use uuid::Uuid;

use self::claims::Owner;
pub(crate) use self::repair::{Repair, Suspects, Warning};
use super::{Attributes, Claim, Plugin};
use crate::storage::{self, Storage};

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceClusterIp {
    pub(super) storage: Arc<Storage>,
    pub(super) range: Ipv4Net,
}

#[async_trait]
impl Plugin for ServiceClusterIp {
    async fn admit(
        &self,
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
            Wish::This(ip) => self.claim_this(attributes, object, ip).await,
            Wish::Any => {
                let claim = self.claim_any(attributes, object).await?;
                Ok(claim.into_iter().collect())
            }
        }
    }

    async fn changed(&self, def: &ResourceDef, old: &Value, new: &Value) {
        if cluster_ip(old) != cluster_ip(new) {
            self.removed(def, old).await;
        }
    }

    async fn removed(&self, def: &ResourceDef, object: &Value) {
        let is_service = def.names.group.is_empty() && def.names.plural == "services";
        if let Some(ip) = cluster_ip(object).filter(|_| is_service) {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            claims::release(&self.storage, ip, &Owner::of(object, uid)).await;
        }
    }
}

impl ServiceClusterIp {
    async fn claim_this(
        &self,
        attributes: &Attributes<'_>,
        service: &Value,
        ip: Ipv4Addr,
    ) -> Result<Vec<Claim>, ApiError> {
        if !can_be_given(self.range, ip) {
            let why = format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                self.range
            );
            return Err(refused(service, ip, &why));
        }
        let taken = || refused(service, ip, "provided IP is already allocated");
        if attributes.dry_run {
            let entry =
                self.storage.store().get(&claims::key(ip)).await.map_err(storage::api_error)?;
            return if entry.is_some() { Err(taken()) } else { Ok(Vec::new()) };
        }
        let claim = claims::claim(&self.storage, ip, &Owner::of(service, attributes.uid)).await?;
        claim.map(|claim| vec![claim]).ok_or_else(taken)
    }

    /// Claims the first free address after a random one: counting up from the range's beginning, servers would
    /// always race for the same one, and a new service would get the address of one just deleted.
    async fn claim_any(
        &self,
        attributes: &Attributes<'_>,
        service: &mut Value,
    ) -> Result<Option<Claim>, ApiError> {
        let taken = claims::all(&self.storage).await.map_err(storage::api_error)?;
        let owner = Owner::of(service, attributes.uid);
        let range = self.range;
        let start = random_below(range.hosts().count());
        for ip in range.hosts().skip(start).chain(range.hosts().take(start)) {
            if taken.contains_key(&ip) {
                continue;
            }
            let claim = match attributes.dry_run {
                true => None,
                false => match claims::claim(&self.storage, ip, &owner).await? {
                    Some(claim) => Some(claim),
                    None => continue,
                },
            };
            service["spec"]["clusterIP"] = ip.to_string().into();
            service["spec"]["clusterIPs"] = json!([ip.to_string()]);
            return Ok(claim);
        }
        Err(ApiError::internal(format!("failed to allocate a serviceIP: range {range} is full")))
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
    match spec["clusterIP"].as_str() {
        None | Some("") if spec["clusterIPs"][0].is_null() => Wish::Any,
        None | Some("") => Wish::None,
        Some(given) => given.parse().map_or(Wish::None, Wish::This),
    }
}

fn cluster_ip(service: &Value) -> Option<Ipv4Addr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// An update that doesn't mention the address keeps it (Kubernetes: `patchAllocatedValues`).
fn keep(old: &Value, new: &mut Value) {
    let has_address = |service: &Value| service["spec"]["type"] != "ExternalName";
    if !has_address(old) || !has_address(new) {
        return;
    }
    let spec = &old["spec"];
    if new["spec"]["clusterIP"].as_str().unwrap_or_default().is_empty() {
        new["spec"]["clusterIP"] = spec["clusterIP"].clone();
    }
    if new["spec"]["clusterIPs"][0].is_null() && new["spec"]["clusterIP"] == spec["clusterIP"] {
        new["spec"]["clusterIPs"] = spec["clusterIPs"].clone();
    }
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
        check(&json!({"clusterIPs": ["10.0.0.1"]}), &Wish::None);
        check(
            &json!({"type": "NodePort", "clusterIP": "10.0.0.1"}),
            &Wish::This([10, 0, 0, 1].into()),
        );
    }
}
