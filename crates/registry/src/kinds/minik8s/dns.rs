//! A host name whose paths lead to Services.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::minik8s::{Dns, DnsPath};
use serde_json::json;

use crate::{ResourceDef, Strategy, cells::or_none, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<Dns, _>(DnsStrategy)
        .short_names(&["dns"])
        .categories(&["all"])
        .status_alone(|dns, from| dns.status.clone_from(&from.status))
        .column("Host", "string", 0, |dns, _| json!(dns.spec.host))
        .column("Paths", "string", 0, |dns, _| json!(paths(dns)))
        .column("Address", "string", 0, |dns, _| {
            json!(or_none(rules::text(dns.status.as_ref().and_then(|s| s.address.as_ref()))))
        })
        .build()
}

/// `/shop→web:80`.
fn paths(dns: &Dns) -> String {
    let path = |p: &DnsPath| format!("{}→{}:{}", p.path, p.service.name, p.service.port);
    or_none(&dns.spec.paths.iter().map(path).collect::<Vec<_>>().join(",")).to_owned()
}

struct DnsStrategy;

impl Strategy<Dns> for DnsStrategy {
    fn validate(&self, dns: &Dns, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        rules::named(&dns.spec.host, names::dns1123_subdomain, &path.child("host"), errors);
        let path = path.child("paths");
        if dns.spec.paths.is_empty() {
            errors.required(&path, "");
        }
        let mut seen = BTreeSet::new();
        for (i, entry) in dns.spec.paths.iter().enumerate() {
            validate_path(entry, &path.index(i), errors);
            rules::unique(&mut seen, &entry.path, &path.index(i).child("path"), errors);
        }
    }
}

fn validate_path(entry: &DnsPath, path: &FieldPath, errors: &mut FieldErrors) {
    if !entry.path.starts_with('/') {
        errors.invalid(&path.child("path"), &entry.path, "must be an absolute path");
    } else if entry.path.contains(|c: char| c.is_whitespace() || "{};\"'\\#?".contains(c)) {
        let why = "must not contain whitespace, quotes, braces, or any of `;\\#?`";
        errors.invalid(&path.child("path"), &entry.path, why);
    }
    let path = path.child("service");
    rules::named(&entry.service.name, names::dns1035_label, &path.child("name"), errors);
    rules::port(entry.service.port, &path.child("port"), errors);
}
