//! Every service gets virtual IPs of its own out of the service ranges, one of each of its families (Kubernetes:
//! `pkg/registry/core/service/storage/alloc.go` and `ipallocator`).

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use api_machinery::{ApiError, FieldErrors, FieldPath, IpFamily};
use api_types::api::core::v1::{Service, ServiceSpec};
use async_trait::async_trait;
use component::network::Networks;
use ipnet::IpNet;
use registry::{
    AnyObject,
    service::{ClusterFamilies, complete_families},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    Attributes, Claim, Plugin,
    admitted::Admitted,
    claims::{CLUSTER_IPS, Claimed, Owner},
    service_ranges::{self, can_be_given},
};
use crate::{
    catalogue::InForce,
    objects::Objects,
    storage::{self, Address, Storage},
};

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceClusterIp {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
    /// Those that there always are.
    pub(super) own: Networks,
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
        let old = old.and_then(|old| old.spec.as_ref());
        let spec = service.spec.get_or_insert_default();
        if let Some(old) = old {
            registry::service::update(spec, old);
        } else {
            registry::service::create(spec);
        }
        if let Err(errors) = complete_families(spec, old, self.families()) {
            return Err(invalid(service, &errors));
        }
        let wishes = wishes(spec, old);
        if wishes.is_empty() {
            Ok(Vec::new())
        } else {
            self.give(attributes, service, &wishes).await
        }
    }

    async fn changed(&self, _: Address<'_>, old: &AnyObject, new: &AnyObject) {
        let gone: Vec<_> = held(old).difference(&held(new)).copied().collect();
        self.release(old, &gone).await;
    }

    async fn removed(&self, _: Address<'_>, object: &AnyObject) {
        self.release(object, &held(object).into_iter().collect::<Vec<_>>()).await;
    }
}

impl ServiceClusterIp {
    fn families(&self) -> ClusterFamilies {
        let primary = IpFamily::of(self.own.primary().addr());
        ClusterFamilies { primary, has_both: self.own.secondary().is_some() }
    }

    /// Claims an address for each wish, in their order; all or none.
    async fn give(
        &self,
        attributes: &Attributes<'_>,
        service: &mut Service,
        wishes: &[Wish],
    ) -> Result<Vec<Claim>, ApiError> {
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let ranges = service_ranges::all(objects, self.own);
        let mut claims = Vec::new();
        for wish in wishes {
            match self.claim(attributes, service, *wish, &ranges).await {
                Ok(claim) => claims.extend(claim),
                Err(error) => {
                    Admitted(claims).undo(&self.storage).await;
                    return Err(error);
                }
            }
        }
        Ok(claims)
    }

    async fn claim(
        &self,
        attributes: &Attributes<'_>,
        service: &mut Service,
        wish: Wish,
        ranges: &[IpNet],
    ) -> Result<Option<Claim>, ApiError> {
        match wish {
            Wish::This(ip) => {
                let ranges = service_ranges::of_family(ranges, IpFamily::of(ip));
                self.claim_this(attributes, service, ip, &ranges).await
            }
            Wish::Any(family) => {
                let ranges = service_ranges::of_family(ranges, family);
                self.claim_any(attributes, service, &ranges).await
            }
        }
    }

    async fn claim_this(
        &self,
        attributes: &Attributes<'_>,
        service: &Service,
        ip: IpAddr,
        ranges: &[IpNet],
    ) -> Result<Option<Claim>, ApiError> {
        if !ranges.iter().any(|range| can_be_given(*range, ip)) {
            let why = format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                service_ranges::shown(ranges)
            );
            return Err(refused(service, ip, &why));
        }
        let owner = Owner::named(&service.metadata, attributes.uid);
        let dry_run = attributes.dry_run;
        match CLUSTER_IPS.claim_or_try(&self.storage, ip, &owner, dry_run).await? {
            Claimed::Taken => Err(refused(service, ip, "provided IP is already allocated")),
            Claimed::Free => Ok(None),
            Claimed::Ours(claim) => Ok(Some(claim)),
        }
    }

    /// Claims the first free address after a random one: counting up from the range's beginning, servers would
    /// always race for the same one, and a new service would get the address of one just deleted.
    async fn claim_any(
        &self,
        attributes: &Attributes<'_>,
        service: &mut Service,
        ranges: &[IpNet],
    ) -> Result<Option<Claim>, ApiError> {
        let taken = CLUSTER_IPS.all(&self.storage).await.map_err(storage::api_error)?;
        let owner = Owner::named(&service.metadata, attributes.uid);
        for ip in service_ranges::from(ranges, random_below(service_ranges::size(ranges))) {
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
            let all = spec.cluster_ips.get_or_insert_default();
            all.push(ip.to_string());
            spec.cluster_ip = all.first().cloned();
            return Ok(claim);
        }
        let ranges = service_ranges::shown(ranges);
        Err(ApiError::internal(format!("failed to allocate a serviceIP: range {ranges} is full")))
    }

    async fn release(&self, service: &AnyObject, addresses: &[IpAddr]) {
        let owner = Owner::holder(service.metadata());
        for ip in addresses {
            CLUSTER_IPS.release(&self.storage, *ip, &owner).await;
        }
    }
}

/// An address that a service wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Any(IpFamily),
    This(IpAddr),
}

/// Those beside what it has: of each of its families, those that it names first. Of one that is headless, or an alias for another
/// name, there are none.
fn wishes(new: &ServiceSpec, old: Option<&ServiceSpec>) -> Vec<Wish> {
    let had = old.filter(|old| has_address(old)).map(ips).unwrap_or_default();
    let is_headless = |ips: &[String]| ips.first().is_some_and(|ip| ip == "None");
    if !has_address(new) || is_headless(ips(new)) || is_headless(had) {
        return Vec::new();
    }
    let families = new.ip_families.iter().flatten().enumerate().skip(had.len());
    let wish = |(i, family): (usize, &String)| match ips(new).get(i) {
        Some(ip) => ip.parse().ok().map(Wish::This),
        None => IpFamily::named(family).map(Wish::Any),
    };
    families.filter_map(wish).collect()
}

fn has_address(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName")
}

fn ips(spec: &ServiceSpec) -> &[String] {
    spec.cluster_ips.as_deref().unwrap_or_default()
}

/// The addresses that a service holds.
fn held(service: &AnyObject) -> BTreeSet<IpAddr> {
    let Some(spec) = service.get::<Service>().and_then(|service| service.spec.as_ref()) else {
        return BTreeSet::new();
    };
    spec.cluster_ip.iter().chain(ips(spec)).filter_map(|ip| ip.parse().ok()).collect()
}

/// 0 of none.
pub(super) fn random_below(count: u128) -> u128 {
    Uuid::new_v4().as_u128().checked_rem(count).unwrap_or_default()
}

fn refused(service: &Service, ip: IpAddr, why: &str) -> ApiError {
    let mut errors = FieldErrors::default();
    let path = FieldPath::new("spec").child("clusterIPs");
    let all = service.spec.as_ref().map(ips).unwrap_or_default();
    let all = json!(all);
    errors.invalid(&path, format_args!("{all}"), &format!("failed to allocate IP {ip}: {why}"));
    invalid(service, &errors)
}

fn invalid(service: &Service, errors: &FieldErrors) -> ApiError {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    ApiError::invalid("", "Service", name, errors)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn check(old: Option<&Value>, new: &Value, expected: &[Wish]) {
        let spec = |value: &Value| serde_json::from_value::<ServiceSpec>(value.clone()).unwrap();
        assert_eq!(wishes(&spec(new), old.map(spec).as_ref()), expected, "{new}");
    }

    const V4: Wish = Wish::Any(IpFamily::V4);
    const V6: Wish = Wish::Any(IpFamily::V6);

    #[test]
    fn a_service_gets_an_address_of_each_family_unless_it_says_otherwise() {
        let of = |ips: &[&str]| json!({"ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ips});
        let this = |ip: &str| Wish::This(ip.parse().unwrap());
        check(None, &of(&[]), &[V4, V6]);
        check(None, &of(&["10.0.0.1"]), &[this("10.0.0.1"), V6]);
        check(None, &of(&["10.0.0.1", "fd00::1"]), &[this("10.0.0.1"), this("fd00::1")]);
        check(None, &of(&["None"]), &[]);
        check(None, &json!({"type": "NodePort", "ipFamilies": ["IPv6"]}), &[V6]);
        let external = json!({"type": "ExternalName"});
        check(None, &external, &[]);
        check(Some(&external), &of(&[]), &[V4, V6]);
    }

    #[test]
    fn what_a_service_has_it_does_not_get_again() {
        let of = |ips: &[&str]| json!({"ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ips});
        let (one, two) = (of(&["10.0.0.1"]), of(&["10.0.0.1", "fd00::1"]));
        check(Some(&one), &one, &[V6]);
        check(Some(&one), &two, &[Wish::This("fd00::1".parse().unwrap())]);
        check(Some(&two), &two, &[]);
        // That it may not change is for validation to say.
        check(Some(&two), &of(&["10.0.0.1", "fd00::2"]), &[]);
        check(Some(&of(&["None"])), &one, &[]);
        let less = json!({"ipFamilies": ["IPv4"], "clusterIPs": ["10.0.0.1"]});
        check(Some(&two), &less, &[]);
    }
}
