//! A driver of storage, and what it needs of the cluster.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest};
use serde_json::json;

use super::parameters;
use crate::{Exists, ResourceDef, Strategy, cells, resource, rules};

const PERSISTENT: &str = "Persistent";
const EPHEMERAL: &str = "Ephemeral";
const WITH_TYPE: &str = "ReadWriteOnceWithFSType";
const NOT_SECRET: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";

pub(crate) fn definition() -> ResourceDef {
    resource::<CSIDriver, _>(DriverStrategy)
        .replaced_by_version()
        .generation_from_first_change(|new, old| new.spec != old.spec)
        .shown_when_deleted()
        .column("AttachRequired", "boolean", 0, |driver, _| {
            json!(driver.spec.attach_required.unwrap_or(true))
        })
        .column("PodInfoOnMount", "boolean", 0, |driver, _| {
            json!(driver.spec.pod_info_on_mount.unwrap_or(false))
        })
        .column("StorageCapacity", "boolean", 0, |driver, _| {
            json!(driver.spec.storage_capacity.unwrap_or(false))
        })
        .column("TokenRequests", "string", 0, |driver, _| json!(audiences(&driver.spec)))
        .column("RequiresRepublish", "boolean", 0, |driver, _| {
            json!(driver.spec.requires_republish.unwrap_or(false))
        })
        .column("Modes", "string", 0, |driver, _| {
            let modes = driver.spec.volume_lifecycle_modes.iter().flatten();
            json!(cells::or_none(&modes.cloned().collect::<Vec<_>>().join(",")))
        })
        .build()
}

fn audiences(spec: &CSIDriverSpec) -> String {
    let Some(requests) = &spec.token_requests else { return "<unset>".to_owned() };
    requests.iter().map(|request| request.audience.as_str()).collect::<Vec<_>>().join(",")
}

struct DriverStrategy;

impl Strategy<CSIDriver> for DriverStrategy {
    fn default(&self, driver: &mut CSIDriver) {
        let spec = &mut driver.spec;
        spec.attach_required.get_or_insert(true);
        for flag in [
            &mut spec.pod_info_on_mount,
            &mut spec.storage_capacity,
            &mut spec.requires_republish,
            &mut spec.se_linux_mount,
        ] {
            flag.get_or_insert(false);
        }
        spec.fs_group_policy.get_or_insert_with(|| WITH_TYPE.to_owned());
        let modes = spec.volume_lifecycle_modes.get_or_insert_default();
        if modes.is_empty() {
            modes.push(PERSISTENT.to_owned());
        }
    }

    fn validate_create(&self, driver: &CSIDriver, errors: &mut FieldErrors) {
        let name = rules::text(driver.metadata.name.as_ref());
        parameters::driver(name, &FieldPath::new("metadata").child("name"), errors);
    }

    fn validate(&self, driver: &CSIDriver, errors: &mut FieldErrors) {
        let (spec, path) = (&driver.spec, FieldPath::new("spec"));
        let policies = ["File", "None", WITH_TYPE];
        let policy = spec.fs_group_policy.as_ref();
        rules::one_of(policy, &policies, &path.child("fsGroupPolicy"), errors);
        validate_tokens(spec, &path, errors);
        let modes = spec.volume_lifecycle_modes.iter().flatten();
        for mode in modes.filter(|mode| ![PERSISTENT, EPHEMERAL].contains(&mode.as_str())) {
            let path = path.child("volumeLifecycleModes");
            errors.not_supported(&path, mode, &[PERSISTENT, EPHEMERAL]);
        }
        let period = spec.node_allocatable_update_period_seconds;
        if let Some(period) = period.filter(|period| *period < 10) {
            let path = path.child("nodeAllocatableUpdatePeriodSeconds");
            errors.invalid(&path, period, "must be greater than or equal to 10 seconds");
        }
    }

    fn validate_update(&self, new: &CSIDriver, old: &CSIDriver, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        let (now, before) = (&new.spec.attach_required, &old.spec.attach_required);
        let shown = now.unwrap_or_default();
        rules::immutable(now, before, shown, &path.child("attachedRequired"), errors);
        let (now, before) = (&new.spec.volume_lifecycle_modes, &old.spec.volume_lifecycle_modes);
        let shown = now.as_deref().unwrap_or_default();
        rules::immutable(now, before, shown, &path.child("volumeLifecycleModes"), errors);
    }

    fn warnings(&self, new: &CSIDriver, old: Option<&CSIDriver>, _: &Exists<'_>) -> Vec<String> {
        let requests = |driver: &CSIDriver| driver.spec.token_requests.clone().unwrap_or_default();
        let now = requests(new);
        let is_new = old.is_none_or(|old| requests(old) != now);
        let is_told =
            is_new && !now.is_empty() && new.spec.service_account_token_in_secrets.is_none();
        is_told.then(|| NOT_SECRET.to_owned()).into_iter().collect()
    }
}

fn validate_tokens(spec: &CSIDriverSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let requests = spec.token_requests.as_deref().unwrap_or_default();
    let mut audiences = BTreeSet::new();
    for (index, request) in requests.iter().enumerate() {
        let path = path.child("tokenRequests").index(index);
        rules::unique(&mut audiences, &request.audience, &path.child("audience"), errors);
        validate_lifetime(request, &path.child("expirationSeconds"), errors);
    }
    if let Some(given) = spec.service_account_token_in_secrets.filter(|_| requests.is_empty()) {
        let path = path.child("serviceAccountTokenInSecrets");
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&path, given, why);
    }
}

fn validate_lifetime(request: &TokenRequest, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(seconds) = request.expiration_seconds else { return };
    if seconds < 600 {
        errors.invalid(path, seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > 1 << 32 {
        errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
}
