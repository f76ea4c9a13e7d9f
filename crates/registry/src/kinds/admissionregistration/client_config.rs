//! Where a webhook is (Kubernetes: `k8s.io/apiserver/pkg/util/webhook/validation.go`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};
use serde_json::json;

use crate::rules::{self, REVIEW_VERSIONS, text};

const FORM: &str = "; desired format: https://host[/path]";
/// The port of a Service that nobody names.
const HTTPS: i32 = 443;

pub(crate) fn default(config: &mut WebhookClientConfig) {
    if let Some(service) = &mut config.service {
        service.port.get_or_insert(HTTPS);
    }
}

pub(crate) fn validate(config: &WebhookClientConfig, path: &FieldPath, errors: &mut FieldErrors) {
    match (&config.url, &config.service) {
        (Some(address), None) => url(address, &path.child("url"), errors),
        (None, Some(it)) => service(it, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn url(address: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let mut refuse = |value: &str, why: &str| errors.invalid(path, value, &format!("{why}{FORM}"));
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    if !scheme.eq_ignore_ascii_case("https") {
        refuse(scheme, "'https' is the only allowed URL scheme");
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() || scheme.is_empty() {
        refuse("", "host must be specified");
    } else if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        refuse(host, "url must be a valid URL: invalid character in host name");
    }
    if !user.is_empty() {
        refuse(user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        refuse(fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        refuse(query, "query parameters are not permitted in the URL");
    }
}

fn service(service: &ServiceReference, path: &FieldPath, errors: &mut FieldErrors) {
    if service.name.is_empty() {
        errors.required(&path.child("name"), "service name is required");
    }
    if service.namespace.is_empty() {
        errors.required(&path.child("namespace"), "service namespace is required");
    }
    let port = service.port.unwrap_or(HTTPS);
    let faults = names::port_number(port);
    if !faults.is_empty() {
        let why = format!("port is not valid: {}", faults.join(", "));
        errors.invalid(&path.child("port"), port, &why);
    }
    let (given, path) = (text(service.path.as_ref()), path.child("path"));
    if given.is_empty() {
        return;
    }
    let Some(steps) = given.strip_prefix('/') else {
        return errors.invalid(&path, given, "must start with a '/'");
    };
    let steps: Vec<&str> = steps.strip_suffix('/').unwrap_or(steps).split('/').collect();
    for (i, step) in steps.iter().enumerate().filter(|_| steps != [""]) {
        if step.is_empty() {
            errors.invalid(&path, given, &format!("segment[{i}] may not be empty"));
            continue;
        }
        for fault in names::dns1123_subdomain(step) {
            errors.invalid(&path, given, &format!("segment[{i}]: {fault}"));
        }
    }
}

/// The versions of reviews that a webhook takes.
pub(crate) fn review_versions(versions: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (i, version) in versions.iter().enumerate() {
        let path = path.index(i);
        rules::unique(&mut seen, version, &path, errors);
        rules::follows(version, names::dns1035_label, &path, errors);
    }
    if !versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str())) {
        let why = "must include at least one of v1, v1beta1";
        errors.invalid(path, format_args!("{}", json!(versions)), why);
    }
}
