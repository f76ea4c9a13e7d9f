//! How much storage of a class there is left for some of the nodes.

use api_machinery::{FieldErrors, FieldPath, Quantity, names};
use api_types::api::storage::v1::CSIStorageCapacity;
use serde_json::json;

use crate::{Exists, ResourceDef, Strategy, kinds::node_labels, label_selector, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<CSIStorageCapacity, _>(CapacityStrategy)
        .replaced_by_version()
        .only_own_columns()
        .column("Name", "string", 0, |it, _| json!(it.metadata.name))
        .format("name")
        .column("StorageClassName", "string", 0, |it, _| json!(it.storage_class_name))
        .column("Capacity", "string", 0, |it, _| {
            json!(it.capacity.as_ref().map_or("<unset>", |capacity| capacity.0.as_str()))
        })
        .build()
}

struct CapacityStrategy;

impl Strategy<CSIStorageCapacity> for CapacityStrategy {
    fn validate(&self, capacity: &CSIStorageCapacity, errors: &mut FieldErrors) {
        if let Some(selector) = &capacity.node_topology {
            label_selector::validate(selector, &FieldPath::new("nodeTopology"), errors);
        }
        let class = &capacity.storage_class_name;
        let path = FieldPath::new("storageClassName");
        rules::follows(class, names::dns1123_subdomain, &path, errors);
        let given = capacity.capacity.as_ref();
        if let Some(amount) =
            given.filter(|it| Quantity::try_from(*it).is_ok_and(Quantity::is_negative))
        {
            errors.invalid(&FieldPath::new("capacity"), &amount.0, rules::NOT_NEGATIVE);
        }
    }

    fn validate_update(
        &self,
        new: &CSIStorageCapacity,
        old: &CSIStorageCapacity,
        errors: &mut FieldErrors,
    ) {
        let shown = serde_json::to_value(&new.node_topology).unwrap_or_default();
        let (now, before) = (&new.node_topology, &old.node_topology);
        let path = FieldPath::new("nodeTopology");
        rules::immutable(now, before, format_args!("{shown}"), &path, errors);
        let (now, before) = (&new.storage_class_name, &old.storage_class_name);
        rules::immutable(now, before, now, &FieldPath::new("storageClassName"), errors);
    }

    fn warnings(
        &self,
        capacity: &CSIStorageCapacity,
        _: Option<&CSIStorageCapacity>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(topology) = &capacity.node_topology {
            node_labels::selector(topology, &FieldPath::new("nodeTopology"), &mut warnings);
        }
        warnings
    }
}
