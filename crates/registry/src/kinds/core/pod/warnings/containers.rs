//! What is told of a container by itself.

use std::collections::BTreeSet;

use api_machinery::FieldPath;
use api_types::api::core::v1::{Container, EnvVar, PodSpec};

use crate::{
    rules::text,
    warnings::{fraction, tell},
};

/// Amounts that are bytes.
pub(super) const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];

/// All that a new pod may have, and where they are.
pub(super) fn all<'a>(
    spec: &'a PodSpec,
    path: &FieldPath,
) -> impl Iterator<Item = (FieldPath, &'a Container)> + use<'a> {
    let (first, then) = (path.child("initContainers"), path.child("containers"));
    let first_ones = spec.init_containers.iter().flatten().enumerate();
    let first_ones = first_ones.map(move |(index, it)| (first.index(index), it));
    let others = spec.containers.iter().enumerate();
    first_ones.chain(others.map(move |(index, it)| (then.index(index), it)))
}

/// Adds what is told of its amounts and its environment.
pub(super) fn own(container: &Container, path: &FieldPath, warnings: &mut Vec<String>) {
    if let Some(resources) = &container.resources {
        for name in BYTES {
            fraction(resources.limits.as_ref(), name, &path.child("resources.limits"), warnings);
            fraction(
                resources.requests.as_ref(),
                name,
                &path.child("resources.requests"),
                warnings,
            );
        }
    }
    let mut seen = BTreeSet::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        if !seen.insert(&variable.name) && hides(variable) {
            let name = &variable.name;
            let what = format!(
                "hides previous definition of {name:?}, which may be dropped when using apply"
            );
            tell(&path.child("env").index(index), what, warnings);
        }
    }
}

/// Whether nothing is left of what the variable was before: `$(X)` in a later definition of X is the earlier one.
fn hides(variable: &EnvVar) -> bool {
    let (earlier, value) = (format!("$({})", variable.name), text(variable.value.as_ref()));
    variable.value_from.is_some() || value == earlier || !value.contains(&earlier)
}
