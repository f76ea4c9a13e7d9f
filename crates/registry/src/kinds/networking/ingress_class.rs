//! Who serves the Ingresses that name it.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::networking::v1::{IngressClass, IngressClassParametersReference};
use serde_json::json;

use crate::{
    ResourceDef, Strategy,
    cells::NONE,
    resource,
    rules::{self, text},
};

/// On the class of those that name none.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";
const MAX_CONTROLLER: usize = 250;
const SCOPES: [&str; 2] = ["Cluster", "Namespace"];

pub(crate) fn definition() -> ResourceDef {
    resource::<IngressClass, _>(IngressClassStrategy)
        .generation(|new, old| new.spec != old.spec)
        .only_own_columns()
        .column("Name", "string", 0, |class, _| json!(name(class)))
        .format("name")
        .column("Controller", "string", 0, |class, _| json!(controller(class)))
        .column("Parameters", "string", 0, |class, _| json!(shown_parameters(class)))
        .age()
        .build()
}

fn name(class: &IngressClass) -> String {
    let annotations = class.metadata.annotations.as_ref();
    let default = annotations.and_then(|all| all.get(DEFAULT_ANNOTATION));
    let name = text(class.metadata.name.as_ref());
    if default.is_some_and(|it| it == "true") { format!("{name} (default)") } else { name.into() }
}

fn controller(class: &IngressClass) -> &str {
    text(class.spec.as_ref().and_then(|spec| spec.controller.as_ref()))
}

fn parameters(class: &IngressClass) -> Option<&IngressClassParametersReference> {
    class.spec.as_ref()?.parameters.as_ref()
}

fn shown_parameters(class: &IngressClass) -> String {
    let Some(to) = parameters(class) else { return NONE.to_owned() };
    let group = to.api_group.iter().map(|group| format!(".{group}")).collect::<String>();
    format!("{}{group}/{}", to.kind, to.name)
}

struct IngressClassStrategy;

impl Strategy<IngressClass> for IngressClassStrategy {
    fn default(&self, class: &mut IngressClass) {
        if let Some(to) = class.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
            to.scope.get_or_insert_with(|| "Cluster".to_owned());
        }
    }

    fn validate(&self, class: &IngressClass, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        validate_controller(controller(class), &path.child("controller"), errors);
        if let Some(to) = parameters(class) {
            validate_parameters(to, &path.child("parameters"), errors);
        }
    }

    fn validate_update(&self, new: &IngressClass, old: &IngressClass, errors: &mut FieldErrors) {
        let (new, path) = (controller(new), FieldPath::new("spec").child("controller"));
        rules::immutable(&new, &controller(old), new, &path, errors);
    }
}

/// `example.com/controller`.
fn validate_controller(controller: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if controller.len() > MAX_CONTROLLER {
        errors.too_long(path, MAX_CONTROLLER);
    }
    let parts =
        controller.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty());
    match parts {
        None if controller.is_empty() => errors.required(path, ""),
        None => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.invalid(path, controller, why);
        }
        Some((host, rest)) => {
            rules::follows(host, names::dns1123_subdomain, path, errors);
            if !rest.chars().all(is_of_path) {
                let why = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
                errors.invalid(path, rest, why);
            }
        }
    }
}

fn is_of_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c)
}

fn validate_parameters(
    to: &IngressClassParametersReference,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(group) = &to.api_group {
        rules::follows(group, names::dns1123_subdomain, &path.child("apiGroup"), errors);
    }
    rules::named(&to.kind, names::path_segment, &path.child("kind"), errors);
    rules::named(&to.name, names::path_segment, &path.child("name"), errors);
    let at = path.child("namespace");
    match (text(to.scope.as_ref()), &to.namespace) {
        ("Cluster", Some(_)) => errors.forbidden(&at, "`parameters.scope` is set to 'Cluster'"),
        ("Cluster", None) => {}
        ("Namespace", None) => errors.required(&at, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", Some(name)) => rules::follows(name, names::dns1123_label, &at, errors),
        (other, _) => errors.not_supported(&path.child("scope"), other, &SCOPES),
    }
}
