//! Devices that a driver offers, or some of them.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::resource::v1::{CounterSet, Device, ResourceSlice, ResourceSliceSpec};
use serde_json::json;

use super::{device, device_names};
use crate::{
    Exists, ResourceDef, Strategy,
    kinds::core::node_selector,
    resource,
    rules::{self, text},
};

const MOST_DEVICES: usize = 128;
/// Where there is more to say of a device.
const MOST_SPECIAL_DEVICES: usize = 64;
const MOST_SETS: usize = 8;
const MOST_COUNTERS: usize = 32;
const PLACES: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";

pub(crate) fn definition() -> ResourceDef {
    resource::<ResourceSlice, _>(SliceStrategy)
        .generation(|new, old| new.spec != old.spec)
        .shown_when_deleted()
        .column("Node", "string", 0, |slice, _| json!(text(slice.spec.node_name.as_ref())))
        .column("Driver", "string", 0, |slice, _| json!(slice.spec.driver))
        .column("Pool", "string", 0, |slice, _| json!(slice.spec.pool.name))
        .build()
}

struct SliceStrategy;

impl Strategy<ResourceSlice> for SliceStrategy {
    fn validate(&self, slice: &ResourceSlice, errors: &mut FieldErrors) {
        validate(&slice.spec, &FieldPath::new("spec"), errors);
    }

    fn validate_update(&self, new: &ResourceSlice, old: &ResourceSlice, errors: &mut FieldErrors) {
        let (new, old, path) = (&new.spec, &old.spec, FieldPath::new("spec"));
        let at = path.child("pool").child("name");
        rules::immutable(&new.pool.name, &old.pool.name, &new.pool.name, &at, errors);
        rules::immutable(&new.driver, &old.driver, &new.driver, &path.child("driver"), errors);
        let (name, at) = (text(new.node_name.as_ref()), path.child("nodeName"));
        rules::immutable(&new.node_name, &old.node_name, name, &at, errors);
    }

    fn warnings(
        &self,
        slice: &ResourceSlice,
        _: Option<&ResourceSlice>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let driver = &slice.spec.driver;
        if *driver == driver.to_lowercase() {
            return Vec::new();
        }
        vec![format!(
            "spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters"
        )]
    }

    fn fields(&self, slice: &ResourceSlice) -> Vec<(&'static str, String)> {
        vec![
            ("spec.nodeName", text(slice.spec.node_name.as_ref()).to_owned()),
            ("spec.driver", slice.spec.driver.clone()),
        ]
    }
}

fn validate(spec: &ResourceSliceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    device_names::driver(&spec.driver, &path.child("driver"), errors);
    let (pool, at) = (&spec.pool, path.child("pool"));
    device_names::pool(&pool.name, &at.child("name"), errors);
    if pool.resource_slice_count <= 0 {
        let at = at.child("resourceSliceCount");
        errors.invalid(&at, pool.resource_slice_count, "must be greater than zero");
    }
    if pool.generation < 0 {
        let at = at.child("generation");
        errors.invalid(&at, pool.generation, "must be greater than or equal to zero");
    }
    places(spec, path, errors);
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        errors.invalid(path, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    devices(spec, &path.child("devices"), errors);
    counter_sets(spec, &path.child("sharedCounters"), errors);
}

/// Where the devices can be used.
fn places(spec: &ResourceSliceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    const NOT_EMPTY: &str = "must be either unset or set to a non-empty string";
    const TRUE: &str = "must be either unset or set to true";
    let mut places = Vec::new();
    match spec.node_name.as_deref() {
        Some("") => errors.invalid(&path.child("nodeName"), "", NOT_EMPTY),
        Some(name) => {
            places.push("`nodeName`");
            rules::follows(name, names::dns1123_subdomain, &path.child("nodeName"), errors);
        }
        None => {}
    }
    if let Some(selector) = &spec.node_selector {
        places.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        node_selector::validate(selector, &at, errors);
        if selector.node_selector_terms.len() != 1 {
            let count = selector.node_selector_terms.len();
            let at = at.child("nodeSelectorTerms");
            errors.invalid(&at, count, "must have exactly one node selector term");
        }
    }
    for (field, said) in
        [("allNodes", spec.all_nodes), ("perDeviceNodeSelection", spec.per_device_node_selection)]
    {
        match said {
            Some(true) if field == "allNodes" => places.push("`allNodes`"),
            Some(true) => places.push("`perDeviceNodeSelection`"),
            Some(false) => errors.invalid(&path.child(field), false, TRUE),
            None => {}
        }
    }
    match places.len() {
        0 => errors.required(path, PLACES),
        1 => {}
        _ => {
            let given = format!("{{{}}}", places.join(", "));
            errors.invalid(path, given, &format!("{PLACES}, but multiple fields are set"));
        }
    }
}

fn devices(spec: &ResourceSliceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let devices = spec.devices.as_deref().unwrap_or_default();
    let most = match devices.iter().any(is_special) {
        true => MOST_SPECIAL_DEVICES,
        false => MOST_DEVICES,
    };
    if devices.len() > most {
        return errors.too_many(path, devices.len(), most);
    }
    let mut seen = BTreeSet::new();
    for (index, it) in devices.iter().enumerate() {
        let is_placed = spec.per_device_node_selection == Some(true);
        device::validate(it, is_placed, &path.index(index), errors);
        rules::unique(&mut seen, &it.name, &path.index(index), errors);
    }
}

fn is_special(device: &Device) -> bool {
    let has_lists = device.attributes.iter().flatten().any(|(_, it)| device::is_list(it));
    let is_tainted = device.taints.as_ref().is_some_and(|taints| !taints.is_empty());
    let counts = device.consumes_counters.as_ref().is_some_and(|counters| !counters.is_empty());
    has_lists || is_tainted || counts
}

fn counter_sets(spec: &ResourceSliceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let sets = spec.shared_counters.as_deref().unwrap_or_default();
    if sets.len() > MOST_SETS {
        return errors.too_many(path, sets.len(), MOST_SETS);
    }
    let mut seen = BTreeSet::new();
    for (index, CounterSet { name, counters }) in sets.iter().enumerate() {
        let path = path.index(index);
        rules::named(name, names::dns1123_label, &path.child("name"), errors);
        device::counters(counters, MOST_COUNTERS, &path.child("counters"), errors);
        rules::unique(&mut seen, name, &path, errors);
    }
}
