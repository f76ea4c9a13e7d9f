//! Which families a Service has addresses of: what it says, completed by what it said before and by what the cluster has
//! (Kubernetes: `initIPFamilyFields` in `pkg/registry/core/service/storage/alloc.go`).

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath, IpFamily};
use api_types::api::core::v1::ServiceSpec;

use super::{
    cluster_ips,
    types::{families, has_cluster_ip, ips, is_headless, policy, type_},
};
use crate::rules::{json, text};

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// The families that a cluster has addresses of for Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterFamilies {
    /// That of who names none.
    pub primary: IpFamily,
    /// Whether it has the other one, too.
    pub has_both: bool,
}

impl ClusterFamilies {
    fn has(self, family: IpFamily) -> bool {
        self.has_both || family == self.primary
    }
}

/// Completes `ipFamilies` and `ipFamilyPolicy` of a Service that is new or replaces `old`, and takes from `clusterIPs` what the
/// policy gives up.
///
/// # Errors
///
/// What it says contradicts itself, or is not to be had on this cluster; it is as far as it came then.
pub fn complete(
    new: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    cluster: ClusterFamilies,
) -> Result<(), FieldErrors> {
    // A change of the cluster's families is no reason to give such a Service an address or to take one from it.
    if !has_cluster_ip(new) || old.is_some_and(|old| stays_as_preferred(new, old)) {
        return Ok(());
    }
    complete_policy(new, old);
    let spec = FieldPath::new("spec");
    collect(|errors| cluster_ips::validate(new, &spec, errors))?;
    collect(|errors| {
        if let Some(old) = old {
            follow_policy(new, old, errors);
        }
        check_policy(new, errors);
        infer_families(new, cluster, errors);
    })?;
    // Its endpoints are somebody's own matter, and so are their families, whatever the cluster has.
    let is_free = is_headless(new) && has_no_selector(new);
    if !is_free {
        collect(|errors| check_configured(new, cluster, errors))?;
    }
    add_families(new, cluster.primary, is_free || cluster.has_both);
    Ok(())
}

fn collect(find: impl FnOnce(&mut FieldErrors)) -> Result<(), FieldErrors> {
    let mut errors = FieldErrors::default();
    find(&mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn has_no_selector(spec: &ServiceSpec) -> bool {
    spec.selector.as_ref().is_none_or(BTreeMap::is_empty)
}

/// Kubernetes: `isMatchingPreferDualStackClusterIPFields`.
fn stays_as_preferred(new: &ServiceSpec, old: &ServiceSpec) -> bool {
    policy(new) == PREFER
        && matches!(policy(old), "" | PREFER)
        && type_(new) == type_(old)
        && ips(new) == ips(old)
        && families(new) == families(old)
}

/// Nobody changes between one family and two without saying so.
fn complete_policy(new: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    if !policy(new).is_empty() {
        return;
    }
    let before = old.and_then(|old| old.ip_family_policy.clone());
    new.ip_family_policy = before.or_else(|| {
        let is_free = text(new.cluster_ip.as_ref()) == "None" && has_no_selector(new);
        Some(if is_free { REQUIRE } else { SINGLE }.to_owned())
    });
}

/// `SingleStack` alone says that the secondary address and family go; whoever leaves one out has to say it.
fn follow_policy(new: &mut ServiceSpec, old: &ServiceSpec, errors: &mut FieldErrors) {
    let has_same = (ips(new) == ips(old), families(new) == families(old));
    if policy(new) == SINGLE {
        if let (Some(ips), true) = (&mut new.cluster_ips, has_same.0) {
            ips.truncate(1);
        }
        if let (Some(families), true) = (&mut new.ip_families, has_same.1) {
            families.truncate(1);
        }
        return;
    }
    let is_less = |new: &[String], old: &[String]| !new.is_empty() && new.len() < old.len();
    if is_less(ips(new), ips(old)) {
        wrong_policy(new, "must be 'SingleStack' to release the secondary cluster IP", errors);
    }
    if is_less(families(new), families(old)) {
        wrong_policy(new, "must be 'SingleStack' to release the secondary IP family", errors);
    }
}

fn check_policy(new: &ServiceSpec, errors: &mut FieldErrors) {
    let lists = [("cluster IPs", ips(new)), ("IP families", families(new))];
    for (what, _) in lists.into_iter().filter(|(_, all)| policy(new) == SINGLE && all.len() == 2) {
        let why = format!(
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
        );
        wrong_policy(new, &why, errors);
    }
}

/// Addresses that have no family of their own in the list say theirs.
fn infer_families(new: &mut ServiceSpec, cluster: ClusterFamilies, errors: &mut FieldErrors) {
    if is_headless(new) {
        return;
    }
    let addresses = ips(new).iter().enumerate().skip(families(new).len());
    let mut inferred = Vec::new();
    for (i, address) in addresses {
        match IpFamily::of_text(address) {
            Some(family) if cluster.has(family) => inferred.push(family.to_string()),
            family => {
                let family = family.map_or("unknown", IpFamily::as_str);
                let path = FieldPath::new("spec").child("clusterIPs").index(i);
                let why = format!("{family} is not configured on this cluster");
                errors.invalid(&path, json(ips(new)), &why);
            }
        }
    }
    if !inferred.is_empty() {
        new.ip_families.get_or_insert_default().extend(inferred);
    }
}

fn check_configured(new: &ServiceSpec, cluster: ClusterFamilies, errors: &mut FieldErrors) {
    if policy(new) == REQUIRE && !cluster.has_both {
        wrong_policy(new, "this cluster is not configured for dual-stack services", errors);
    }
    for (i, family) in families(new).iter().enumerate() {
        if !IpFamily::named(family).is_some_and(|family| cluster.has(family)) {
            let path = FieldPath::new("spec").child("ipFamilies").index(i);
            errors.invalid(&path, family, "not configured on this cluster");
        }
    }
}

/// Who names no family gets the cluster's, and who wants two the other one, too, if there is one.
fn add_families(new: &mut ServiceSpec, primary: IpFamily, has_both: bool) {
    let wants_both = policy(new) != SINGLE;
    let families = new.ip_families.get_or_insert_default();
    if families.is_empty() {
        families.push(primary.to_string());
    }
    let lacks_one = families.len() == 1 && wants_both && has_both;
    if let Some(family) = IpFamily::named(&families[0]).filter(|_| lacks_one) {
        families.push(family.other().to_string());
    }
}

fn wrong_policy(new: &ServiceSpec, why: &str, errors: &mut FieldErrors) {
    errors.invalid(&FieldPath::new("spec").child("ipFamilyPolicy"), policy(new), why);
}

#[cfg(test)]
#[path = "families_tests.rs"]
mod tests;
