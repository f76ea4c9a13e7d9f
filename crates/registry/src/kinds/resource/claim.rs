//! What devices somebody asks for.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceToleration, OpaqueDeviceConfiguration,
    ResourceClaimSpec,
};
use serde_json::Value;

use super::{device_names, selector};
use crate::rules::{self, text};

const MOST: usize = 32;
const MOST_ALTERNATIVES: usize = 8;
const LONGEST_PARAMETERS: usize = 10 * 1024;
const EXACT: &str = "ExactCount";
const ALL: &str = "All";
pub(super) const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const NO_REQUEST: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// One device, unless it is said how many.
pub(super) fn default(spec: &mut ResourceClaimSpec) {
    let requests =
        spec.devices.iter_mut().flat_map(|devices| devices.requests.iter_mut().flatten());
    for request in requests {
        if let Some(exactly) = &mut request.exactly {
            default_count(&mut exactly.allocation_mode, &mut exactly.count);
        }
        for alternative in request.first_available.iter_mut().flatten() {
            default_count(&mut alternative.allocation_mode, &mut alternative.count);
        }
    }
}

fn default_count(mode: &mut Option<String>, count: &mut Option<i64>) {
    let mode = mode.get_or_insert_with(|| EXACT.to_owned());
    if mode == EXACT {
        count.get_or_insert(1);
    }
}

/// The names of requests, with those of their alternatives.
pub(super) struct Requests<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Requests<'a> {
    pub(super) fn of(spec: &'a ResourceClaimSpec) -> Self {
        let devices = spec.devices.as_ref();
        let requests = devices.and_then(|devices| devices.requests.as_ref());
        let named = requests.into_iter().flatten().map(|request| {
            let alternatives = request.first_available.iter().flatten();
            (request.name.as_str(), alternatives.map(|it| it.name.as_str()).collect())
        });
        Self(named.collect())
    }

    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            Some((request, alternative)) => {
                self.0.get(request).is_some_and(|known| known.contains(alternative))
            }
            None => self.0.contains_key(name),
        }
    }

    /// A name that has to be one of them.
    pub(super) fn named(&self, name: &str, path: &FieldPath, errors: &mut FieldErrors) {
        if name.split('/').count() > 2 {
            return errors.invalid(path, name, NO_REQUEST);
        }
        name.split('/').for_each(|part| device_names::label(part, path, errors));
        if !self.has(name) {
            errors.invalid(path, name, NO_REQUEST);
        }
    }

    /// The same of several.
    pub(super) fn all_named(
        &self,
        names: Option<&Vec<String>>,
        path: &FieldPath,
        errors: &mut FieldErrors,
    ) {
        let (names, path) = (names.map(Vec::as_slice).unwrap_or_default(), path.child("requests"));
        if names.len() > MOST {
            return errors.too_many(&path, names.len(), MOST);
        }
        let mut seen = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            self.named(name, &path.index(index), errors);
            rules::unique(&mut seen, name, &path.index(index), errors);
        }
    }
}

pub(super) fn validate(spec: &ResourceClaimSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(devices) = &spec.devices else { return };
    let (known, path) = (Requests::of(spec), path.child("devices"));
    requests(devices, &path.child("requests"), errors);
    let at = path.child("constraints");
    let constraints = devices.constraints.as_deref().unwrap_or_default();
    if constraints.len() > MOST {
        errors.too_many(&at, constraints.len(), MOST);
    } else {
        for (index, it) in constraints.iter().enumerate() {
            constraint(it, &known, &at.index(index), errors);
        }
    }
    let at = path.child("config");
    let configurations = devices.config.as_deref().unwrap_or_default();
    if configurations.len() > MOST {
        return errors.too_many(&at, configurations.len(), MOST);
    }
    for (index, it) in configurations.iter().enumerate() {
        known.all_named(it.requests.as_ref(), &at.index(index), errors);
        configuration(it.opaque.as_ref(), &at.index(index), errors);
    }
}

fn requests(devices: &DeviceClaim, path: &FieldPath, errors: &mut FieldErrors) {
    let requests = devices.requests.as_deref().unwrap_or_default();
    if requests.len() > MOST {
        return errors.too_many(path, requests.len(), MOST);
    }
    let mut seen = BTreeSet::new();
    for (index, it) in requests.iter().enumerate() {
        request(it, &path.index(index), errors);
        rules::unique(&mut seen, &it.name, &path.index(index), errors);
    }
}

fn request(request: &DeviceRequest, path: &FieldPath, errors: &mut FieldErrors) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    device_names::label(&request.name, &path.child("name"), errors);
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    match &request.exactly {
        None if alternatives.is_empty() => errors.required(path, ONE),
        Some(_) if !alternatives.is_empty() => {
            errors.invalid(path, "", &format!("{ONE}, but multiple fields are set"));
        }
        Some(it) => Wanted {
            class: &it.device_class_name,
            selectors: it.selectors.as_deref(),
            mode: text(it.allocation_mode.as_ref()),
            count: it.count.unwrap_or_default(),
            tolerations: it.tolerations.as_deref().unwrap_or_default(),
        }
        .validate(&path.child("exactly"), errors),
        None => first_available(request, &path.child("firstAvailable"), errors),
    }
}

fn first_available(request: &DeviceRequest, path: &FieldPath, errors: &mut FieldErrors) {
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    if alternatives.len() > MOST_ALTERNATIVES {
        return errors.too_many(path, alternatives.len(), MOST_ALTERNATIVES);
    }
    let mut seen = BTreeSet::new();
    for (index, it) in alternatives.iter().enumerate() {
        let path = path.index(index);
        device_names::label(&it.name, &path.child("name"), errors);
        rules::unique(&mut seen, &it.name, &path, errors);
        Wanted {
            class: &it.device_class_name,
            selectors: it.selectors.as_deref(),
            mode: text(it.allocation_mode.as_ref()),
            count: it.count.unwrap_or_default(),
            tolerations: it.tolerations.as_deref().unwrap_or_default(),
        }
        .validate(&path, errors);
    }
}

/// What a request and each of several alternatives say alike.
struct Wanted<'a> {
    class: &'a str,
    selectors: Option<&'a [api_types::api::resource::v1::DeviceSelector]>,
    mode: &'a str,
    count: i64,
    tolerations: &'a [DeviceToleration],
}

impl Wanted<'_> {
    fn validate(&self, path: &FieldPath, errors: &mut FieldErrors) {
        let at = path.child("deviceClassName");
        rules::named(self.class, names::dns1123_subdomain, &at, errors);
        selector::validate(self.selectors, &path.child("selectors"), errors);
        let at = path.child("count");
        match (self.mode, self.count) {
            (ALL, 0) | (EXACT, 1..) => {}
            (ALL, count) => {
                let why = format!("must not be specified when allocationMode is '{ALL}'");
                errors.invalid(&at, count, &why);
            }
            (EXACT, count) => errors.invalid(&at, count, "must be greater than zero"),
            (mode, _) => errors.not_supported(&path.child("allocationMode"), mode, &[ALL, EXACT]),
        }
        for (index, it) in self.tolerations.iter().enumerate() {
            toleration(it, &path.child("tolerations").index(index), errors);
        }
    }
}

fn toleration(toleration: &DeviceToleration, path: &FieldPath, errors: &mut FieldErrors) {
    let key = toleration.key.as_ref();
    rules::maybe_follows(key, names::qualified_name, &path.child("key"), errors);
    let value = text(toleration.value.as_ref());
    match text(toleration.operator.as_ref()) {
        "Exists" if !value.is_empty() => {
            let why = "must be empty for operator `Exists`";
            errors.invalid(&path.child("value"), value, why);
        }
        "Exists" => {}
        "Equal" => rules::follows(value, names::label_value, &path.child("value"), errors),
        "" => errors.required(&path.child("operator"), ""),
        other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
    }
    rules::one_of(toleration.effect.as_ref(), &EFFECTS, &path.child("effect"), errors);
}

fn constraint(
    constraint: &DeviceConstraint,
    known: &Requests<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    known.all_named(constraint.requests.as_ref(), path, errors);
    let (same, distinct) = (&constraint.match_attribute, &constraint.distinct_attribute);
    if let Some(name) = same {
        device_names::fully_qualified(name, &path.child("matchAttribute"), errors);
    } else if let Some(name) = distinct {
        device_names::fully_qualified(name, &path.child("distinctAttribute"), errors);
    } else {
        let why = r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#;
        errors.required(path, why);
    }
}

/// What a driver is told of devices: an object that only it knows.
pub(super) fn configuration(
    opaque: Option<&OpaqueDeviceConfiguration>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let path = path.child("opaque");
    let Some(opaque) = opaque else { return errors.required(&path, "") };
    device_names::driver(&opaque.driver, &path.child("driver"), errors);
    parameters(&opaque.parameters.0, &path.child("parameters"), errors);
}

/// An object that is not ours to know, of a bearable size.
pub(super) fn parameters(given: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    if given.is_null() {
        errors.required(path, "");
    } else if given.to_string().len() > LONGEST_PARAMETERS {
        errors.too_long(path, LONGEST_PARAMETERS);
    } else if !given.is_object() {
        errors.invalid(path, "<value omitted>", "must be a valid JSON object");
    }
}
