//! One device of a slice.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::resource::v1::{Counter, Device, DeviceAttribute, DeviceTaint};

use super::{
    claim::EFFECTS,
    device_names::{self, LONGEST_VALUE, MOST_FACTS},
};
use crate::{
    kinds::core::node_selector,
    rules::{self, text},
};

const MOST_VALUES: usize = 48;
const MOST_TAINTS: usize = 16;
const MOST_CONSUMPTIONS: usize = 2;
const MOST_COUNTERS: usize = 32;
const MOST_CONDITIONS: usize = 4;

/// `is_placed`: each device of the slice says where it can be used.
pub(super) fn validate(
    device: &Device,
    is_placed: bool,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    device_names::label(&device.name, &path.child("name"), errors);
    facts(device, path, errors);
    let (at, taints) = (path.child("taints"), device.taints.as_deref().unwrap_or_default());
    if taints.len() > MOST_TAINTS {
        errors.too_many(&at, taints.len(), MOST_TAINTS);
    }
    for (index, it) in taints.iter().enumerate().take(MOST_TAINTS) {
        taint(it, &at.index(index), errors);
    }
    let consumed = device.consumes_counters.as_deref().unwrap_or_default();
    let at = path.child("consumesCounters");
    if consumed.len() > MOST_CONSUMPTIONS {
        errors.too_many(&at, consumed.len(), MOST_CONSUMPTIONS);
    }
    let mut seen = BTreeSet::new();
    for (index, it) in consumed.iter().enumerate().take(MOST_CONSUMPTIONS) {
        let at = at.index(index);
        rules::named(&it.counter_set, names::dns1123_label, &at.child("counterSet"), errors);
        counters(&it.counters, MOST_COUNTERS, &at.child("counters"), errors);
        rules::unique(&mut seen, &it.counter_set, &at, errors);
    }
    place(device, is_placed, path, errors);
    conditions(device, path, errors);
}

/// What is known of it.
fn facts(device: &Device, path: &FieldPath, errors: &mut FieldErrors) {
    let attributes = device.attributes.iter().flatten();
    let capacity = device.capacity.iter().flatten();
    let count = attributes.clone().count() + capacity.clone().count();
    if count > MOST_FACTS {
        let why =
            format!("the total number of attributes and capacities must not exceed {MOST_FACTS}");
        errors.invalid(path, count, &why);
    }
    let count = attributes.clone().map(|(_, it)| values(it)).sum::<usize>();
    if count > MOST_VALUES {
        let why = format!("the total number of attribute values must not exceed {MOST_VALUES}");
        errors.invalid(path, count, &why);
    }
    let at = path.child("attributes");
    for (name, it) in attributes {
        device_names::qualified(name, &at, errors);
        attribute(it, &at.key(name), errors);
    }
    let at = path.child("capacity");
    for (name, it) in capacity {
        device_names::qualified(name, &at, errors);
        if it.request_policy.is_some() && device.allow_multiple_allocations != Some(true) {
            let at = at.key(name).child("requestPolicy");
            errors.forbidden(&at, "allowMultipleAllocations must be true");
        }
    }
}

/// Whether an attribute has several values.
pub(super) fn is_list(it: &DeviceAttribute) -> bool {
    it.bools.is_some() || it.ints.is_some() || it.strings.is_some() || it.versions.is_some()
}

fn lengths(it: &DeviceAttribute) -> [(&'static str, Option<usize>); 4] {
    [
        ("bools", it.bools.as_ref().map(Vec::len)),
        ("ints", it.ints.as_ref().map(Vec::len)),
        ("strings", it.strings.as_ref().map(Vec::len)),
        ("versions", it.versions.as_ref().map(Vec::len)),
    ]
}

fn values(it: &DeviceAttribute) -> usize {
    lengths(it).iter().filter_map(|(_, length)| *length).sum::<usize>().max(1)
}

fn attribute(it: &DeviceAttribute, path: &FieldPath, errors: &mut FieldErrors) {
    let single = [it.bool.is_some(), it.int.is_some(), it.string.is_some(), it.version.is_some()];
    let lists = lengths(it);
    for (field, _) in lists.iter().filter(|(_, length)| *length == Some(0)) {
        errors.invalid(&path.child(field), "[]", "must not be empty if specified");
    }
    if let Some(value) = &it.string {
        not_too_long(value, &path.child("string"), errors);
    }
    for (index, value) in it.strings.iter().flatten().enumerate() {
        not_too_long(value, &path.child("strings").index(index), errors);
    }
    if let Some(value) = &it.version {
        version(value, &path.child("version"), errors);
    }
    for (index, value) in it.versions.iter().flatten().enumerate() {
        version(value, &path.child("versions").index(index), errors);
    }
    let set = single.iter().filter(|is_set| **is_set).count();
    if set + lists.iter().filter(|(_, length)| length.is_some()).count() != 1 {
        errors.invalid(path, "", "exactly one value must be specified");
    }
}

fn not_too_long(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.len() > LONGEST_VALUE {
        errors.too_long(path, LONGEST_VALUE);
    }
}

/// As of semver.org.
fn version(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if !is_version(value) {
        errors.invalid(path, value, "must be a string compatible with semver.org spec 2.0.0");
    }
    not_too_long(value, path, errors);
}

fn is_version(value: &str) -> bool {
    let (value, build) = value.split_once('+').map_or((value, None), |(v, b)| (v, Some(b)));
    let (numbers, before) = value.split_once('-').map_or((value, None), |(v, b)| (v, Some(b)));
    let is_number = |part: &str| {
        let has_digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        has_digits && (part == "0" || !part.starts_with('0'))
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_before = |part: &str| {
        is_word(part) && (is_number(part) || !part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && before.is_none_or(|before| before.split('.').all(is_before))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn taint(taint: &DeviceTaint, path: &FieldPath, errors: &mut FieldErrors) {
    rules::follows(&taint.key, names::qualified_name, &path.child("key"), errors);
    let value = taint.value.as_ref();
    rules::maybe_follows(value, names::label_value, &path.child("value"), errors);
    let at = path.child("effect");
    if taint.effect.is_empty() {
        errors.required(&at, "");
    }
    rules::one_of(Some(&taint.effect), &EFFECTS, &at, errors);
}

/// What is counted of a set, or of one device.
pub(super) fn counters(
    counters: &BTreeMap<String, Counter>,
    most: usize,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    match counters.len() {
        0 => errors.required(path, ""),
        count if count > most => errors.too_many(path, count, most),
        _ => counters.keys().for_each(|name| device_names::label(name, path, errors)),
    }
}

fn place(device: &Device, is_placed: bool, path: &FieldPath, errors: &mut FieldErrors) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    const NONE: &str = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    let name = device.node_name.as_deref();
    let given = [name.is_some(), device.node_selector.is_some(), device.all_nodes.is_some()];
    let count = given.iter().filter(|is_given| **is_given).count();
    match (is_placed, count) {
        (false, 0) => return,
        (false, _) => return errors.invalid(path, "", NONE),
        (true, 0) => errors.required(path, ONE),
        (true, 1) => {}
        (true, _) => errors.invalid(path, count, ONE),
    }
    match name {
        Some("") => errors.invalid(&path.child("nodeName"), "", "must not be empty"),
        Some(name) => {
            rules::follows(name, names::dns1123_subdomain, &path.child("nodeName"), errors);
        }
        None => {}
    }
    if let Some(selector) = &device.node_selector {
        node_selector::validate(selector, &path.child("nodeSelector"), errors);
    }
    if device.all_nodes == Some(false) {
        let at = path.child("allNodes");
        errors.invalid(&at, false, "must be either unset or set to true");
    }
}

/// What has to come, and what must not come, before a pod is bound that uses it.
fn conditions(device: &Device, path: &FieldPath, errors: &mut FieldErrors) {
    let wanted = device.binding_conditions.as_deref().unwrap_or_default();
    let failures = device.binding_failure_conditions.as_deref().unwrap_or_default();
    for (field, all) in [("bindingConditions", wanted), ("bindingFailureConditions", failures)] {
        let at = path.child(field);
        if all.len() > MOST_CONDITIONS {
            errors.too_many(&at, all.len(), MOST_CONDITIONS);
        }
        let mut seen = BTreeSet::new();
        for (index, it) in all.iter().enumerate().take(MOST_CONDITIONS) {
            rules::follows(it, names::qualified_name, &at.index(index), errors);
            rules::unique(&mut seen, it, &at.index(index), errors);
        }
    }
    for (index, it) in failures.iter().enumerate().filter(|(_, it)| wanted.contains(it)) {
        let at = path.child("bindingFailureConditions").index(index);
        let why = "bindingFailureConditions must not overlap with bindingConditions";
        errors.invalid(&at, text(Some(it)), why);
    }
    if wanted.is_empty() != failures.is_empty() {
        let (missing, there) = match wanted.is_empty() {
            true => ("bindingConditions", "bindingFailureConditions"),
            false => ("bindingFailureConditions", "bindingConditions"),
        };
        let why = format!("{missing} are required to use {there}");
        errors.invalid(&path.child(missing), "[]", &why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for good in ["1.0.0", "0.0.0-alpha.1+build.007", "10.2.3---x"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["1.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "v1.0.0", "1.0.0-a..b"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
