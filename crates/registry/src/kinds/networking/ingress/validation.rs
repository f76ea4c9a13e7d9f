//! What an Ingress must be like (Kubernetes: `pkg/apis/networking/validation`).

use std::net::IpAddr;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::{
    core::v1::TypedLocalObjectReference,
    networking::v1::{
        HTTPIngressPath, IngressBackend, IngressLoadBalancerStatus, IngressRule,
        IngressServiceBackend, IngressSpec, IngressTLS,
    },
};

use crate::rules::{self, text};

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
/// What is no part of a path as servers understand it.
const UNUSABLE: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const UNUSABLE_ENDS: [&str; 2] = ["/..", "/."];
const NOT_AN_IP: &str = "must be a DNS name, not an IP address";

pub(super) fn spec(spec: &IngressSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let rules = spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() && spec.default_backend.is_none() {
        let given = if spec.rules.is_some() { "[]" } else { "null" };
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.invalid(path, format_args!("{given}"), why);
    }
    if let Some(default) = &spec.default_backend {
        backend(default, &path.child("defaultBackend"), errors);
    }
    for (i, one) in rules.iter().enumerate() {
        rule(one, &path.child("rules").index(i), errors);
    }
    for (i, one) in spec.tls.iter().flatten().enumerate() {
        tls(one, &path.child("tls").index(i), errors);
    }
    if let Some(class) = &spec.ingress_class_name {
        rules::follows(class, names::dns1123_subdomain, &path.child("ingressClassName"), errors);
    }
}

pub(super) fn load_balancer(
    status: &IngressLoadBalancerStatus,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (i, point) in status.ingress.iter().flatten().enumerate() {
        let path = path.child("ingress").index(i);
        if let Some(ip) = point.ip.as_ref().filter(|ip| !ip.is_empty()) {
            rules::ip(ip, &path.child("ip"), errors);
        }
        let hostname = text(point.hostname.as_ref());
        let path = path.child("hostname");
        if !hostname.is_empty() {
            rules::follows(hostname, names::dns1123_subdomain, &path, errors);
        }
        if hostname.parse::<IpAddr>().is_ok() {
            errors.invalid(&path, hostname, NOT_AN_IP);
        }
    }
}

fn rule(rule: &IngressRule, path: &FieldPath, errors: &mut FieldErrors) {
    let name = text(rule.host.as_ref());
    if name.parse::<IpAddr>().is_ok() {
        errors.invalid(&path.child("host"), name, NOT_AN_IP);
    }
    if !name.is_empty() {
        host(name, &path.child("host"), errors);
    }
    let Some(http) = &rule.http else { return };
    let path = path.child("http").child("paths");
    if http.paths.is_empty() {
        errors.required(&path, "");
    }
    for (i, one) in http.paths.iter().enumerate() {
        http_path(one, &path.index(i), errors);
    }
}

fn host(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let rule = match name.contains('*') {
        true => names::wildcard_dns1123_subdomain,
        false => names::dns1123_subdomain,
    };
    rules::follows(name, rule, path, errors);
}

fn tls(tls: &IngressTLS, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, name) in tls.hosts.iter().flatten().enumerate() {
        host(name, &path.child("hosts").index(i), errors);
    }
    let secret = tls.secret_name.as_ref();
    rules::maybe_follows(secret, names::dns1123_subdomain, &path.child("secretName"), errors);
}

fn http_path(given: &HTTPIngressPath, path: &FieldPath, errors: &mut FieldErrors) {
    let (at, value) = (path.child("path"), text(given.path.as_ref()));
    match given.path_type.as_str() {
        "" => return errors.required(&path.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => absolute(value, &at, errors),
        "ImplementationSpecific" if value.is_empty() || value.starts_with('/') => {}
        "ImplementationSpecific" => errors.invalid(&at, value, "must be an absolute path"),
        other => errors.not_supported(&path.child("pathType"), other, &PATH_TYPES),
    }
    backend(&given.backend, &path.child("backend"), errors);
}

fn absolute(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if !value.starts_with('/') {
        errors.invalid(path, value, "must be an absolute path");
    }
    for part in UNUSABLE.into_iter().filter(|part| value.contains(part)) {
        errors.invalid(path, value, &format!("must not contain '{part}'"));
    }
    for end in UNUSABLE_ENDS.into_iter().filter(|end| value.ends_with(end)) {
        errors.invalid(path, value, &format!("cannot end with '{end}'"));
    }
}

fn backend(backend: &IngressBackend, path: &FieldPath, errors: &mut FieldErrors) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => {
            errors.invalid(path, "", "cannot set both resource and service backends");
        }
        (Some(resource), None) => reference(resource, &path.child("resource"), errors),
        (None, Some(to)) => service(to, path, errors),
        (None, None) => errors.invalid(path, "", "resource or service backend is required"),
    }
}

fn reference(to: &TypedLocalObjectReference, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(group) = &to.api_group {
        rules::follows(group, names::dns1123_subdomain, &path.child("apiGroup"), errors);
    }
    rules::named(&to.kind, names::path_segment, &path.child("kind"), errors);
    rules::named(&to.name, names::path_segment, &path.child("name"), errors);
}

/// A port's name or its number; both are told of at the backend.
fn service(to: &IngressServiceBackend, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.child("service");
    rules::named(&to.name, names::dns1123_label, &at.child("name"), errors);
    let port = to.port.clone().unwrap_or_default();
    let at = at.child("port");
    match (text(port.name.as_ref()), port.number.unwrap_or_default()) {
        ("", 0) => errors.required(path, "port name or number is required"),
        ("", number) => rules::port(number, &at.child("number"), errors),
        (name, 0) => rules::follows(name, names::port_name, &at.child("name"), errors),
        _ => errors.invalid(path, "", "cannot set both port name & port number"),
    }
}
