//! Who serves a group in a version: this server, or another one behind a Service
//! (Kubernetes: `kube-aggregator/pkg/apis/apiregistration/validation`, `pkg/registry/apiservice`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, ServiceReference,
};
use serde_json::{Value, json};

use crate::{
    ResourceDef, Strategy, resource,
    rules::{self, text},
    strategy::NameRule,
};

const AVAILABLE: &str = "Available";
/// The port of a Service that nobody names.
const HTTPS: i32 = 443;
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

pub(crate) fn definition() -> ResourceDef {
    resource::<APIService, _>(APIServiceStrategy)
        .replaced_by_version()
        .categories(&["api-extensions"])
        .status_alone(|service, from| service.status.clone_from(&from.status))
        .column("Service", "string", 0, |it, _| json!(server(it)))
        .column("Available", "string", 0, |it, _| availability(it))
        .build()
}

fn server(it: &APIService) -> String {
    let service = it.spec.as_ref().and_then(|spec| spec.service.as_ref());
    service.map_or_else(
        || "Local".to_owned(),
        |service| format!("{}/{}", text(service.namespace.as_ref()), text(service.name.as_ref())),
    )
}

fn availability(it: &APIService) -> Value {
    let Some(told) = conditions(it).iter().find(|told| told.type_ == AVAILABLE) else {
        return json!("Unknown");
    };
    match text(told.reason.as_ref()) {
        reason if told.status != "True" && !reason.is_empty() => {
            json!(format!("{} ({reason})", told.status))
        }
        _ => json!(told.status),
    }
}

fn conditions(it: &APIService) -> &[APIServiceCondition] {
    it.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

struct APIServiceStrategy;

impl Strategy<APIService> for APIServiceStrategy {
    fn name_rule(&self) -> NameRule {
        names::path_segment
    }

    fn default(&self, it: &mut APIService) {
        if let Some(service) = it.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
            service.port.get_or_insert(HTTPS);
        }
    }

    /// What this server serves itself is there from the beginning.
    fn prepare_create(&self, it: &mut APIService) {
        if it.spec.as_ref().is_some_and(|spec| spec.service.is_none()) {
            let told = APIServiceCondition {
                last_transition_time: it.metadata.creation_timestamp.clone(),
                message: Some("Local APIServices are always available".to_owned()),
                reason: Some("Local".to_owned()),
                status: "True".to_owned(),
                type_: AVAILABLE.to_owned(),
            };
            it.status.get_or_insert_default().conditions = Some(vec![told]);
        }
    }

    fn validate(&self, it: &APIService, errors: &mut FieldErrors) {
        let none = APIServiceSpec::default();
        let spec = it.spec.as_ref().unwrap_or(&none);
        let (group, version) = (text(spec.group.as_ref()), text(spec.version.as_ref()));
        let (name, needed) = (text(it.metadata.name.as_ref()), format!("{version}.{group}"));
        // A name that is none has been told of.
        if name != needed && names::path_segment(name).is_empty() {
            let why = format!("must be `spec.version+\".\"+spec.group`: {needed:?}");
            errors.invalid(&FieldPath::new("metadata").child("name"), name, &why);
        }
        let path = FieldPath::new("spec");
        validate_group_version(group, version, &path, errors);
        validate_priorities(spec, &path, errors);
        match &spec.service {
            Some(service) => validate_remote(spec, service, &path, errors),
            None => validate_local(spec, &path, errors),
        }
    }

    fn validate_status(&self, new: &APIService, _: &APIService, errors: &mut FieldErrors) {
        let path = FieldPath::new("status").child("conditions");
        for (i, told) in conditions(new).iter().enumerate() {
            if !STATUSES.contains(&told.status.as_str()) {
                errors.not_supported(&path.index(i).child("status"), &told.status, &STATUSES);
            }
        }
    }
}

fn validate_group_version(group: &str, version: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.child("group");
    if group.is_empty() && version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        errors.required(&at, why);
    }
    if !group.is_empty() {
        rules::follows(group, names::dns1123_subdomain, &at, errors);
    }
    rules::follows(version, names::dns1035_label, &path.child("version"), errors);
}

fn validate_priorities(spec: &APIServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    for (field, given, most) in [
        ("groupPriorityMinimum", spec.group_priority_minimum, 20_000),
        ("versionPriority", spec.version_priority, 1_000),
    ] {
        if given <= 0 || given > most {
            let why = format!("must be positive and less than {most}");
            errors.invalid(&path.child(field), given, &why);
        }
    }
}

fn validate_local(spec: &APIServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(bundle) = spec.ca_bundle.as_ref().filter(|bundle| !bundle.0.is_empty()) {
        let (size, why) = (bundle.0.len(), "local APIServices may not have a caBundle");
        errors.invalid(&path.child("caBundle"), format!("{size} bytes"), why);
    }
    if spec.insecure_skip_tls_verify == Some(true) {
        let why = "local APIServices may not have insecureSkipTLSVerify";
        errors.invalid(&path.child("insecureSkipTLSVerify"), true, why);
    }
}

fn validate_remote(
    spec: &APIServiceSpec,
    service: &ServiceReference,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let at = path.child("service");
    for (field, given) in [("namespace", &service.namespace), ("name", &service.name)] {
        if text(given.as_ref()).is_empty() {
            errors.required(&at.child(field), "");
        }
    }
    let port = service.port.unwrap_or(HTTPS);
    let faults = names::port_number(port);
    if !faults.is_empty() {
        let why = format!("port is not valid: {}", faults.join(", "));
        errors.invalid(&at.child("port"), port, &why);
    }
    let has_bundle = spec.ca_bundle.as_ref().is_some_and(|bundle| !bundle.0.is_empty());
    if spec.insecure_skip_tls_verify == Some(true) && has_bundle {
        let why = "may not be true if caBundle is present";
        errors.invalid(&path.child("insecureSkipTLSVerify"), true, why);
    }
}
