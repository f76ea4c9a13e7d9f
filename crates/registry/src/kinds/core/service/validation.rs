//! The faults of a Service (Kubernetes: `ValidateService`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    IntOrString,
    api::core::v1::{ServicePort, ServiceSpec},
};

use super::{cluster_ips, session_affinity, types::is_headless};
use crate::rules::{self, text};

/// The address of a headless service.
const NONE: &str = "None";
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// All faults of the spec.
pub(super) fn spec(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    rules::one_of(spec.type_.as_ref(), &TYPES, &path.child("type"), errors);
    let affinity = spec.session_affinity.as_ref();
    rules::one_of(affinity, &["ClientIP", "None"], &path.child("sessionAffinity"), errors);
    session_affinity::validate(spec, path, errors);
    if let Some(selector) = &spec.selector {
        names::validate_labels(selector, &path.child("selector"), errors);
    }
    addresses(spec, path, errors);
    ports(spec, path, errors);
}

fn addresses(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let external_name = path.child("externalName");
    let type_ = text(spec.type_.as_ref());
    if type_ == "ExternalName" {
        let name = text(spec.external_name.as_ref()).trim_end_matches('.');
        rules::named(name, names::dns1123_subdomain, &external_name, errors);
        no_addresses(spec, path, errors);
    }
    if type_ != "ExternalName" {
        cluster_ips::validate(spec, path, errors);
    }
    if matches!(type_, "NodePort" | "LoadBalancer") && is_headless(spec) {
        let why = format!("may not be set to 'None' for {type_} services");
        errors.invalid(&path.child("clusterIPs").index(0), NONE, &why);
    }
}

fn no_addresses(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let has_ips = spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    let fields = [
        ("clusterIPs", has_ips || !text(spec.cluster_ip.as_ref()).is_empty()),
        ("ipFamilies", spec.ip_families.as_ref().is_some_and(|families| !families.is_empty())),
        ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_given)| *is_given) {
        errors.forbidden(&path.child(field), "may not be set for ExternalName services");
    }
}

fn ports(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("ports");
    let all = spec.ports.as_deref().unwrap_or_default();
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    if all.is_empty() && !is_headless && spec.type_.as_deref() != Some("ExternalName") {
        errors.required(&path, "");
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in all.iter().enumerate() {
        let path = path.index(i);
        name(port, all.len() > 1, &mut names, &path, errors);
        validate_port(port, &path, errors);
        if !numbers.insert((port.port, text(port.protocol.as_ref()))) {
            let shown = serde_json::to_value(port).unwrap_or_default();
            errors.duplicate(&path, format_args!("{shown}"));
        }
    }
}

fn name(
    port: &ServicePort,
    is_required: bool,
    seen: &mut BTreeSet<String>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let path = path.child("name");
    match text(port.name.as_ref()) {
        "" if is_required => errors.required(&path, ""),
        "" => {}
        name => {
            rules::follows(name, names::dns1123_label, &path, errors);
            rules::unique(seen, &name.to_owned(), &path, errors);
        }
    }
}

fn validate_port(port: &ServicePort, path: &FieldPath, errors: &mut FieldErrors) {
    rules::port(port.port, &path.child("port"), errors);
    let protocols = ["SCTP", "TCP", "UDP"];
    rules::one_of(port.protocol.as_ref(), &protocols, &path.child("protocol"), errors);
    let target = path.child("targetPort");
    match &port.target_port {
        Some(IntOrString::Int(number)) => rules::port(*number, &target, errors),
        Some(IntOrString::String(name)) => rules::follows(name, names::port_name, &target, errors),
        None => {}
    }
    if let Some(protocol) = &port.app_protocol {
        rules::follows(protocol, names::qualified_name, &path.child("appProtocol"), errors);
    }
}
