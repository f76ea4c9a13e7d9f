//! The faults of the names that a pod has, and by which it finds others (Kubernetes: `validatePodDNSConfig`,
//! `validatePodHostName`, `ValidateHostAliases`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{PodDNSConfig, PodSpec};

use crate::rules::{self, text};

const NONE: &str = "None";
const POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", NONE];
/// What the C library reads of `/etc/resolv.conf`.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCHES_LENGTH: usize = 2048;
/// Of the kernel's name of a host.
const MAX_HOSTNAME: usize = 64;

pub(super) fn policy(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    rules::one_of(spec.dns_policy.as_ref(), &POLICIES, &path.child("dnsPolicy"), errors);
}

pub(super) fn config(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("dnsConfig");
    let is_all = text(spec.dns_policy.as_ref()) == NONE;
    match &spec.dns_config {
        None if is_all => {
            errors.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        Some(config) if is_all && config.nameservers.as_ref().is_none_or(Vec::is_empty) => {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&path.child("nameservers"), why);
        }
        Some(config) => validate_config(config, &path, errors),
        None => {}
    }
}

fn validate_config(config: &PodDNSConfig, path: &FieldPath, errors: &mut FieldErrors) {
    let (at, servers) = (path.child("nameservers"), config.nameservers.as_deref());
    let servers = servers.unwrap_or_default();
    if servers.len() > MAX_SERVERS {
        let why = format!("must not have more than {MAX_SERVERS} nameservers");
        errors.invalid(&at, rules::json(servers), &why);
    }
    for (i, server) in servers.iter().enumerate() {
        rules::unmapped_ip(server, &at.index(i), errors);
    }
    searches(config.searches.as_deref().unwrap_or_default(), &path.child("searches"), errors);
    for (i, option) in config.options.iter().flatten().enumerate() {
        if text(option.name.as_ref()).is_empty() {
            errors.required(&path.child("options").index(i), "must not be empty");
        }
    }
}

fn searches(searches: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    if searches.len() > MAX_SEARCHES {
        let why = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.invalid(path, rules::json(searches), &why);
    }
    if searches.join(" ").len() > MAX_SEARCHES_LENGTH {
        let why = format!(
            "must not have more than {MAX_SEARCHES_LENGTH} characters (including spaces) in the search list"
        );
        errors.invalid(path, rules::json(searches), &why);
    }
    for (i, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        rules::follows(search, names::dns1123_subdomain_with_underscore, &path.index(i), errors);
    }
}

pub(super) fn hostname_override(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(name) = &spec.hostname_override else { return };
    let path = path.child("hostnameOverride");
    for (field, is_set) in
        [("setHostnameAsFQDN", spec.set_hostname_as_fqdn), ("hostNetwork", spec.host_network)]
    {
        if is_set == Some(true) {
            errors.forbidden(&path, &format!("may not be specified when {field} is true"));
        }
    }
    if name.len() > MAX_HOSTNAME {
        errors.too_long(&path, MAX_HOSTNAME);
    }
    rules::follows(name, names::dns1123_subdomain, &path, errors);
}

pub(super) fn host_aliases(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.child("hostAliases").index(i);
        rules::unmapped_ip(&alias.ip, &path.child("ip"), errors);
        for (i, name) in alias.hostnames.iter().flatten().enumerate() {
            let path = path.child("hostnames").index(i);
            rules::follows(name, names::dns1123_subdomain, &path, errors);
        }
    }
}
