//! The faults of what a Service says of its addresses and their families, by itself and as a change.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, IpFamily};
use api_types::api::core::v1::ServiceSpec;

use super::types::{families, has_cluster_ip, ips, is_headless, policy};
use crate::rules::{self, json, text};

/// `clusterIP` and `clusterIPs` say the same, and no more than one address of each family (Kubernetes:
/// `ValidateServiceClusterIPsRelatedFields`).
pub(super) fn validate(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let of_ips = path.child("clusterIPs");
    let (ip, all) = (text(spec.cluster_ip.as_ref()), ips(spec));
    match all {
        [] if !ip.is_empty() => errors.required(&of_ips, ""),
        [_, ..] if ip.is_empty() => {
            let why = "must be empty when `clusterIP` is not specified";
            errors.invalid(&of_ips, json(all), why);
        }
        [first, ..] if first != ip => {
            errors.invalid(&of_ips, json(all), "first value must match `clusterIP`");
        }
        _ => {}
    }
    families_and_policy(spec, path, errors);
    if !are_addresses(all, &of_ips, errors) {
        return;
    }
    let has = |family| all.iter().any(|ip| IpFamily::of_text(ip) == Some(family));
    if all.len() > 1 && !IpFamily::ALL.into_iter().all(has) {
        let why = "may specify no more than one IP for each IP family";
        errors.invalid(&of_ips, json(all), why);
    }
    if !is_headless(spec) {
        match_families(spec, &of_ips, errors);
    }
}

/// Whether what is wrong with single values leaves something to be said of all.
fn are_addresses(all: &[String], path: &FieldPath, errors: &mut FieldErrors) -> bool {
    let mut faults = FieldErrors::default();
    let is_none = |ip: &String| ip == "None";
    if all.len() > 1 && is_none(&all[0]) {
        faults.invalid(path, json(all), "'None' must be the first and only value");
    }
    for (i, ip) in all.iter().enumerate().filter(|(i, ip)| *i > 0 || !is_none(ip)) {
        rules::ip(ip, &path.index(i), &mut faults);
    }
    let are_all = faults.is_empty();
    errors.extend(faults);
    if all.len() > 2 {
        errors.invalid(path, json(all), "may only hold up to 2 values");
    }
    are_all
}

fn families_and_policy(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let names = IpFamily::ALL.map(IpFamily::as_str);
    let mut seen = BTreeSet::new();
    for (i, family) in families(spec).iter().enumerate() {
        let path = path.child("ipFamilies").index(i);
        rules::one_of(Some(family), &names, &path, errors);
        rules::unique(&mut seen, family, &path, errors);
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = spec.ip_family_policy.as_ref();
    rules::one_of(policy, &policies, &path.child("ipFamilyPolicy"), errors);
}

fn match_families(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, (ip, family)) in ips(spec).iter().zip(families(spec)).enumerate() {
        let is_other = IpFamily::of_text(ip).is_some_and(|of| of.other().as_str() == family);
        if is_other {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&path.index(i), ip, &why);
        }
    }
}

/// The faults of a change: addresses and families once given stay, but for the secondary ones, which the policy can give up.
pub(super) fn update(
    new: &ServiceSpec,
    old: &ServiceSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if !has_cluster_ip(new) || !has_cluster_ip(old) {
        return;
    }
    if !(is_headless(new) && is_headless(old)) {
        let list = List { name: "clusterIPs", item: "clusterIP", fixed: 2, of: ips };
        list.update(new, old, path, errors);
    }
    if !is_headless(new) && !is_headless(old) {
        let list = List { name: "ipFamilies", item: "ipFamily", fixed: 1, of: families };
        list.update(new, old, path, errors);
    }
}

/// A list of something of each family (Kubernetes: `validateUpgradeDowngradeClusterIPs` and `…IPFamilies`).
struct List {
    name: &'static str,
    item: &'static str,
    /// How many of them say all: of families the first one does.
    fixed: usize,
    of: fn(&ServiceSpec) -> &[String],
}

impl List {
    fn update(
        &self,
        new: &ServiceSpec,
        old: &ServiceSpec,
        path: &FieldPath,
        errors: &mut FieldErrors,
    ) {
        let (now, before) = ((self.of)(new), (self.of)(old));
        let at = |i: usize| path.child(self.name).index(i);
        if now.is_empty() && !before.is_empty() {
            let why = format!("primary {} can not be unset", self.item);
            return errors.invalid(&at(0), json(now), &why);
        }
        let pairs = now.iter().zip(before).take(self.fixed);
        for (i, _) in pairs.enumerate().filter(|(_, (now, before))| now != before) {
            errors.invalid(&at(i), json(now), "may not change once set");
        }
        if now.len() == 1 && before.len() > 1 && policy(new) != "SingleStack" {
            let why =
                format!("must be set to 'SingleStack' when releasing the secondary {}", self.item);
            errors.invalid(&path.child("ipFamilyPolicy"), json(&new.ip_family_policy), &why);
        }
    }
}
