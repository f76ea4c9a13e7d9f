//! What is told of objects that are taken, for many kinds alike (Kubernetes: `WarningsOnCreate`, `WarningsOnUpdate`).

use std::{collections::BTreeMap, fmt::Display};

use api_machinery::{FieldPath, Quantity, names};
use api_types::{Quantity as GivenQuantity, meta::ObjectMeta};

use crate::{Object, rules::text};

/// How many warnings are made, where each pair of things may give one: an answer has room for few.
pub(crate) const MOST: usize = 100;

/// Adds what is told of a field.
pub(crate) fn tell(path: &FieldPath, what: impl Display, warnings: &mut Vec<String>) {
    warnings.push(format!("{path}: {what}"));
}

/// Adds what is told of a name that is no label of a DNS name, and used in such.
pub(crate) fn host_name(metadata: &ObjectMeta, used_in: &str, warnings: &mut Vec<String>) {
    let faults = names::dns1123_label(text(metadata.name.as_ref()));
    if !faults.is_empty() {
        let faults = faults.join(" ");
        warnings.push(format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{faults}]"
        ));
    }
}

/// The same of an object whose pods are called after it.
pub(crate) fn name_of_pods(metadata: &ObjectMeta, warnings: &mut Vec<String>) {
    host_name(metadata, "Pod names and hostnames", warnings);
}

/// Adds what is told of those annotations, if they are there; `path` is where the metadata are.
pub(crate) fn annotations(
    annotations: Option<&BTreeMap<String, String>>,
    deprecated: &[(&str, &str)],
    path: &FieldPath,
    warnings: &mut Vec<String>,
) {
    let is_there = |key: &str| annotations.is_some_and(|all| all.contains_key(key));
    for (key, why) in deprecated.iter().filter(|(key, _)| is_there(key)) {
        tell(&path.child("metadata.annotations").key(key), why, warnings);
    }
}

/// Adds what is told of an amount of bytes that is no whole number, down to a thousandth.
pub(crate) fn fraction(
    amounts: Option<&BTreeMap<String, GivenQuantity>>,
    name: &str,
    path: &FieldPath,
    warnings: &mut Vec<String>,
) {
    let amount = amounts.and_then(|all| Quantity::try_from(all.get(name)?).ok());
    if let Some(amount) = amount.filter(|amount| !amount.round_up_to_milli().is_whole()) {
        let amount = amount.to_string();
        let what = format!("fractional byte value {amount:?} is invalid, must be an integer");
        tell(&path.key(name), what, warnings);
    }
}

/// Whether an object is new, or other than before in what its generation counts.
pub(crate) fn has_new_generation<K: Object>(new: &K, old: Option<&K>) -> bool {
    old.is_none_or(|old| old.metadata().generation != new.metadata().generation)
}
