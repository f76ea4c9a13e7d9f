//! The drivers of storage that a node has.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::storage::v1::{CSINode, CSINodeDriver};
use serde_json::json;

use super::parameters;
use crate::{ResourceDef, Strategy, resource, rules};

const LONGEST_ID: usize = 256;

pub(crate) fn definition() -> ResourceDef {
    resource::<CSINode, _>(NodeStrategy)
        .replaced_by_version()
        .shown_when_deleted()
        .column("Drivers", "integer", 0, |node, _| json!(node.spec.drivers.len()))
        .build()
}

struct NodeStrategy;

impl Strategy<CSINode> for NodeStrategy {
    fn validate(&self, node: &CSINode, errors: &mut FieldErrors) {
        let mut seen = BTreeSet::new();
        for (index, driver) in node.spec.drivers.iter().enumerate() {
            let path = FieldPath::new("spec").child("drivers").index(index);
            validate_driver(driver, &path, errors);
            rules::unique(&mut seen, &driver.name, &path.child("name"), errors);
        }
    }

    fn validate_update(&self, new: &CSINode, old: &CSINode, errors: &mut FieldErrors) {
        for driver in &new.spec.drivers {
            let before = old.spec.drivers.iter().find(|it| it.name == driver.name);
            let comparable = |it: &CSINodeDriver| CSINodeDriver { allocatable: None, ..it.clone() };
            if let Some(before) = before {
                let shown = serde_json::to_value(driver).unwrap_or_default();
                let path = FieldPath::new("spec").child("drivers");
                let (now, before) = (comparable(driver), comparable(before));
                rules::immutable(&now, &before, format_args!("{shown}"), &path, errors);
            }
        }
    }
}

fn validate_driver(driver: &CSINodeDriver, path: &FieldPath, errors: &mut FieldErrors) {
    parameters::driver(&driver.name, &path.child("name"), errors);
    let at = path.child("nodeID");
    if driver.node_id.is_empty() {
        errors.required(&at, "");
    } else if driver.node_id.len() > LONGEST_ID {
        errors.invalid(&at, &driver.node_id, "must be 256 characters or less");
    }
    let count = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count);
    rules::not_negative(count, &path.child("allocatable").child("count"), errors);
    let mut seen = BTreeSet::new();
    for key in driver.topology_keys.iter().flatten() {
        rules::named(key, names::qualified_name, path, errors);
        rules::unique(&mut seen, key, path, errors);
    }
}
