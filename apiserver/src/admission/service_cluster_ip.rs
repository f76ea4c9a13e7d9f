//! Every service gets a virtual IP of its own out of the service range (Kubernetes:
//! `pkg/registry/core/service/ipallocator`).

use std::{net::Ipv4Addr, sync::Arc};

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::api::core::v1::{Service, ServiceSpec};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use registry::AnyObject;
use uuid::Uuid;

use super::{
    Attributes, Claim, Plugin,
    claims::{CLUSTER_IPS, Claimed, Owner},
};
use crate::storage::{self, Address, Storage};

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceClusterIp {
    pub(super) storage: Arc<Storage>,
    pub(super) range: Ipv4Net,
}

#[async_trait]
impl Plugin for ServiceClusterIp {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let object = object.filter(|_| attributes.is_core("services"));
        let Some(service) = object.and_then(AnyObject::get_mut::<Service>) else {
            return Ok(Vec::new());
        };
        let old = attributes.old.and_then(AnyObject::get::<Service>);
        if let (Some(old), Some(new)) = (old.and_then(|old| old.spec.as_ref()), &mut service.spec) {
            registry::service::update(new, old);
        }
        match wish(service) {
            Wish::None => Ok(Vec::new()),
            Wish::This(ip) if old.and_then(address) == Some(ip) => Ok(Vec::new()),
            Wish::This(ip) => self.claim_this(attributes, service, ip).await,
            Wish::Any => {
                let claim = self.claim_any(attributes, service).await?;
                Ok(claim.into_iter().collect())
            }
        }
    }

    async fn changed(&self, at: Address<'_>, old: &AnyObject, new: &AnyObject) {
        let address = |object: &AnyObject| object.get().and_then(address);
        if address(old) != address(new) {
            self.removed(at, old).await;
        }
    }

    async fn removed(&self, _: Address<'_>, object: &AnyObject) {
        if let Some(ip) = object.get().and_then(address) {
            CLUSTER_IPS.release(&self.storage, ip, &Owner::holder(object.metadata())).await;
        }
    }
}

impl ServiceClusterIp {
    async fn claim_this(
        &self,
        attributes: &Attributes<'_>,
        service: &Service,
        ip: Ipv4Addr,
    ) -> Result<Vec<Claim>, ApiError> {
        if !can_be_given(self.range, ip) {
            let why = format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                self.range
            );
            return Err(refused(service, ip, &why));
        }
        let owner = Owner::named(&service.metadata, attributes.uid);
        let dry_run = attributes.dry_run;
        match CLUSTER_IPS.claim_or_try(&self.storage, ip, &owner, dry_run).await? {
            Claimed::Taken => Err(refused(service, ip, "provided IP is already allocated")),
            Claimed::Free => Ok(Vec::new()),
            Claimed::Ours(claim) => Ok(vec![claim]),
        }
    }

    /// Claims the first free address after a random one: counting up from the range's beginning, servers would
    /// always race for the same one, and a new service would get the address of one just deleted.
    async fn claim_any(
        &self,
        attributes: &Attributes<'_>,
        service: &mut Service,
    ) -> Result<Option<Claim>, ApiError> {
        let taken = CLUSTER_IPS.all(&self.storage).await.map_err(storage::api_error)?;
        let owner = Owner::named(&service.metadata, attributes.uid);
        let range = self.range;
        let start = random_below(range.hosts().count());
        for ip in range.hosts().skip(start).chain(range.hosts().take(start)) {
            if taken.contains_key(&ip) {
                continue;
            }
            let claim = match attributes.dry_run {
                true => None,
                false => match CLUSTER_IPS.claim(&self.storage, ip, &owner).await? {
                    Some(claim) => Some(claim),
                    None => continue,
                },
            };
            let spec = service.spec.get_or_insert_default();
            spec.cluster_ip = Some(ip.to_string());
            spec.cluster_ips = Some(vec![ip.to_string()]);
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

fn wish(service: &Service) -> Wish {
    let Some(spec) = service.spec.as_ref().filter(|spec| has_address(spec)) else {
        return Wish::None;
    };
    match cluster_ip(spec) {
        "" if has_no_addresses(spec) => Wish::Any,
        "" => Wish::None,
        given => given.parse().map_or(Wish::None, Wish::This),
    }
}

fn has_address(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName")
}

fn cluster_ip(spec: &ServiceSpec) -> &str {
    spec.cluster_ip.as_deref().unwrap_or_default()
}

fn has_no_addresses(spec: &ServiceSpec) -> bool {
    spec.cluster_ips.as_ref().is_none_or(Vec::is_empty)
}

/// The address that a service holds.
fn address(service: &Service) -> Option<Ipv4Addr> {
    cluster_ip(service.spec.as_ref()?).parse().ok()
}

/// Whether the address is one of the range's, and neither the network's own nor the broadcast address.
pub(super) fn can_be_given(range: Ipv4Net, ip: Ipv4Addr) -> bool {
    range.contains(&ip) && ip != range.network() && ip != range.broadcast()
}

pub(super) fn random_below(count: usize) -> usize {
    Uuid::new_v4().as_u128().checked_rem(count as u128).unwrap_or_default() as usize
}

fn refused(service: &Service, ip: Ipv4Addr, why: &str) -> ApiError {
    let mut errors = FieldErrors::default();
    let path = FieldPath::new("spec").child("clusterIPs");
    errors.invalid(&path, [ip.to_string()], &format!("failed to allocate IP {ip}: {why}"));
    let name = service.metadata.name.as_deref().unwrap_or_default();
    ApiError::invalid("", "Service", name, &errors)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: &Value, expected: &Wish) {
        let service = serde_json::from_value(json!({ "spec": spec })).unwrap();
        assert_eq!(wish(&service), *expected, "{spec}");
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
