//! What is told of the names of finalizers (Kubernetes: `apiextensions-apiserver/pkg/registry/customresource/validator.go`).

use std::collections::BTreeSet;

use api_machinery::names;
use api_types::meta::ObjectMeta;

/// Those that have no domain, but are Kubernetes' own.
const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// What is told of those that an object has and had not before.
pub(super) fn warnings(new: &ObjectMeta, old: Option<&ObjectMeta>) -> Vec<String> {
    let before = old.and_then(|old| old.finalizers.as_deref()).unwrap_or_default();
    let all: BTreeSet<&String> = new.finalizers.iter().flatten().collect();
    let added = all.into_iter().filter(|name| !before.contains(name));
    added.flat_map(|name| faults(name)).collect()
}

fn faults(name: &str) -> Vec<String> {
    let mut faults = names::qualified_name(name);
    if !name.contains('/') && !STANDARD.contains(&name) {
        let form = if name.contains('.') { " including a path (/)" } else { "" };
        faults.push(format!(
            "prefer a domain-qualified finalizer name{form} to avoid accidental conflicts with other finalizer writers"
        ));
    }
    faults.iter().map(|fault| format!("metadata.finalizers: {name:?}: {fault}")).collect()
}
