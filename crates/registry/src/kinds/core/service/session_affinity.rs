//! How long a client stays with its pod.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{ClientIPConfig, ServiceSpec, SessionAffinityConfig};

use crate::rules::text;

/// Three hours (Kubernetes: `DefaultClientIPServiceAffinitySeconds`).
const DEFAULT_SECONDS: i32 = 10_800;
/// A day (Kubernetes: `MaxClientIPServiceAffinitySeconds`).
const MAX_SECONDS: i32 = 86_400;

/// Affinity has a time, its absence none.
pub(super) fn default(spec: &mut ServiceSpec) {
    match text(spec.session_affinity.as_ref()) {
        "None" => spec.session_affinity_config = None,
        "ClientIP" => {
            let config = spec.session_affinity_config.get_or_insert_default();
            let client_ip = config.client_ip.get_or_insert_default();
            client_ip.timeout_seconds.get_or_insert(DEFAULT_SECONDS);
        }
        _ => {}
    }
}

pub(super) fn validate(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(SessionAffinityConfig { client_ip: Some(ClientIPConfig { timeout_seconds }) }) =
        spec.session_affinity_config
    else {
        return;
    };
    if let Some(seconds) = timeout_seconds.filter(|s| !(1..=MAX_SECONDS).contains(s)) {
        let path = path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds");
        let why = format!("must be greater than 0 and less than {MAX_SECONDS}");
        errors.invalid(&path, seconds, &why);
    }
}
