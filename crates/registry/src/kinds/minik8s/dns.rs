//! A host name whose paths lead to Services.

use std::{collections::BTreeSet, net::IpAddr};

use api_machinery::{
    FieldErrors, FieldPath,
    host_routes::{MAX_PATH, prefix},
    names,
};
use api_types::minik8s::{Dns, DnsPath};
use serde_json::json;

use crate::{ResourceDef, Strategy, cells::or_none, resource, rules};

/// Where web servers listen.
const PORT: i32 = 80;
/// What is no part of a path as servers understand it: they take `/a/../b` for `/b`.
const UNUSABLE: [&str; 3] = ["//", "/./", "/../"];
const UNUSABLE_ENDS: [&str; 2] = ["/.", "/.."];

pub(crate) fn definition() -> ResourceDef {
    resource::<Dns, _>(DnsStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["dns"])
        .categories(&["all"])
        .status_alone(|dns, from| dns.status.clone_from(&from.status))
        .column("Host", "string", 0, |dns, _| json!(dns.spec.host))
        .column("Paths", "string", 0, |dns, _| json!(paths(dns)))
        .column("Address", "string", 0, |dns, _| {
            json!(or_none(rules::text(dns.status.as_ref().and_then(|s| s.address.as_ref()))))
        })
        .column("Ready", "string", 0, |dns, _| json!(ready(dns)))
        .build()
}

fn ready(dns: &Dns) -> &str {
    let mut conditions = dns.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|condition| condition.type_ == "Ready").map_or("Unknown", |ready| &ready.status)
}

/// `/shop→web:80`.
fn paths(dns: &Dns) -> String {
    let path = |p: &DnsPath| format!("{}→{}:{}", p.path, p.service.name, p.service.port);
    or_none(&dns.spec.paths.iter().map(path).collect::<Vec<_>>().join(",")).to_owned()
}

struct DnsStrategy;

impl Strategy<Dns> for DnsStrategy {
    fn default(&self, dns: &mut Dns) {
        let unnamed = dns.spec.paths.iter_mut().filter(|entry| entry.service.port == 0);
        unnamed.for_each(|entry| entry.service.port = PORT);
    }

    fn validate(&self, dns: &Dns, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        validate_host(&dns.spec.host, &path.child("host"), errors);
        let path = path.child("paths");
        if dns.spec.paths.is_empty() {
            errors.required(&path, "");
        }
        let mut seen = BTreeSet::new();
        for (i, entry) in dns.spec.paths.iter().enumerate() {
            validate_path(entry, &path.index(i), errors);
            // The two of `/shop` and `/shop/` lead to one place.
            if !seen.insert(prefix(&entry.path)) {
                errors.duplicate(&path.index(i).child("path"), &entry.path);
            }
        }
    }

    /// Hosts go by age: who named another one first would take one that others have by now.
    fn validate_update(&self, new: &Dns, old: &Dns, errors: &mut FieldErrors) {
        let (host, path) = (&new.spec.host, FieldPath::new("spec").child("host"));
        rules::immutable(host, &old.spec.host, host, &path, errors);
    }
}

fn validate_host(host: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if host.parse::<IpAddr>().is_ok() {
        errors.invalid(path, host, "must be a DNS name, not an IP address");
    } else {
        rules::named(host, names::dns1123_subdomain, path, errors);
    }
}

fn validate_path(entry: &DnsPath, path: &FieldPath, errors: &mut FieldErrors) {
    if entry.path.len() > MAX_PATH {
        errors.too_long(&path.child("path"), MAX_PATH);
    } else if !entry.path.starts_with('/') {
        errors.invalid(&path.child("path"), &entry.path, "must be an absolute path");
    } else if entry.path.contains(is_special) {
        let why =
            "must not contain whitespace, control characters, quotes, braces, or any of `;\\#?%`";
        errors.invalid(&path.child("path"), &entry.path, why);
    } else if let Some(part) = unusable(&entry.path) {
        let why = format!("must not {part}");
        errors.invalid(&path.child("path"), &entry.path, &why);
    }
    let path = path.child("service");
    rules::named(&entry.service.name, names::dns1123_label, &path.child("name"), errors);
    rules::port(entry.service.port, &path.child("port"), errors);
}

fn is_special(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "{};\"'\\#?%".contains(c)
}

fn unusable(path: &str) -> Option<String> {
    let within = UNUSABLE.into_iter().find(|part| path.contains(part));
    let at_end = || UNUSABLE_ENDS.into_iter().find(|end| path.ends_with(end));
    let within = within.map(|part| format!("contain '{part}'"));
    within.or_else(|| at_end().map(|end| format!("end with '{end}'")))
}
