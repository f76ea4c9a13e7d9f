//! By what containers are run, what that costs, and where it can be had.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::{
    core::v1::ResourceRequirements,
    node::v1::{RuntimeClass, Scheduling},
};
use serde_json::json;

use crate::{
    Exists, ResourceDef, Strategy,
    kinds::{
        core::pod::{requirements, toleration},
        node_labels,
    },
    resource, rules,
    warnings::tell,
};

pub(crate) fn definition() -> ResourceDef {
    resource::<RuntimeClass, _>(RuntimeClassStrategy)
        .replaced_by_version()
        .created_by_put()
        .column("Handler", "string", 0, |class, _| json!(class.handler))
        .build()
}

struct RuntimeClassStrategy;

impl Strategy<RuntimeClass> for RuntimeClassStrategy {
    fn validate(&self, class: &RuntimeClass, errors: &mut FieldErrors) {
        let path = FieldPath::new("handler");
        rules::named(&class.handler, names::dns1123_label, &path, errors);
        if let Some(overhead) = &class.overhead {
            let limits = overhead.pod_fixed.clone();
            let taken = ResourceRequirements { limits, ..ResourceRequirements::default() };
            requirements::validate(&taken, &FieldPath::new("overhead"), errors);
        }
        if let Some(scheduling) = &class.scheduling {
            validate_scheduling(scheduling, &FieldPath::new("scheduling"), errors);
        }
    }

    fn validate_update(&self, new: &RuntimeClass, old: &RuntimeClass, errors: &mut FieldErrors) {
        let path = FieldPath::new("handler");
        rules::immutable(&new.handler, &old.handler, &new.handler, &path, errors);
    }

    fn warnings(
        &self,
        class: &RuntimeClass,
        _: Option<&RuntimeClass>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let (mut warnings, path) = (Vec::new(), FieldPath::new("scheduling").child("nodeSelector"));
        let selector = class.scheduling.iter().flat_map(|it| it.node_selector.iter().flatten());
        for why in selector.filter_map(|(key, _)| node_labels::deprecation(key)) {
            tell(&path, why, &mut warnings);
        }
        warnings
    }
}

fn validate_scheduling(scheduling: &Scheduling, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(selector) = &scheduling.node_selector {
        names::validate_labels(selector, &path.child("nodeSelector"), errors);
    }
    let mut seen = BTreeSet::new();
    for (index, tolerated) in scheduling.tolerations.iter().flatten().enumerate() {
        let path = path.child("tolerations").index(index);
        toleration::validate(tolerated, &path, errors);
        let key = [&tolerated.key, &tolerated.operator, &tolerated.value, &tolerated.effect];
        if !seen.insert(key.map(Clone::clone)) {
            let shown = serde_json::to_value(tolerated).unwrap_or_default();
            errors.duplicate(&path, format_args!("{shown}"));
        }
    }
}
