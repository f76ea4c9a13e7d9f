//! What a write does to an object and to those who manage its fields.

use api_types::jiff::Timestamp;
use serde_json::Value;

use super::{
    field_set::FieldSet,
    managers::{Manager, Managers},
    shape::Shape,
    typed::{compare, merge, set_of, with_named_fields, without},
};

/// A manager whose fields an applied configuration says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who has them.
    pub manager: Manager,
    /// Since when, as far as it is known.
    pub since: Option<Timestamp>,
    /// Which.
    pub fields: FieldSet,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

/// What comes of a configuration that was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object.
    pub object: Value,
    /// Who manages its fields.
    pub managers: Managers,
}

/// What is known of fields besides their shape.
#[derive(Debug)]
pub struct Rules<O, C> {
    /// Leaves of fields those that can be owned.
    pub owned: O,
    /// An object with the defaults that the server gives it: what is the same with them is no change.
    pub completed: C,
}

/// Applies a configuration to an object, both without `managedFields`.
///
/// The configuration is merged into the object; what its manager applied before and does not any more goes, unless
/// others have it.
///
/// # Errors
/// The fields of others that would change, unless it is forced.
pub fn apply(
    (live, managers): (&Value, &Managers),
    config: &Value,
    shape: Shape<'_>,
    manager: &Manager,
    rules: &Rules<impl Fn(&FieldSet) -> FieldSet, impl Fn(&Value) -> Value>,
    (is_forced, now): (bool, Timestamp),
) -> Result<Applied, Conflicts> {
    let merged = merge(live, config, shape);
    let mut managers = managers.clone();
    managers.unite(manager);
    let given = set_of(config, shape);
    // Of what is applied again nothing goes.
    let last = managers.get(manager).filter(|last| !last.is_within(&given)).cloned();
    let object = match last {
        Some(last) => {
            // Whatever version of the kind they name it in.
            let others = managers.others(manager);
            let mut kept = given.clone();
            others.for_each(|(_, set)| kept.extend(set.clone()));
            prune(&merged, &kept, &last, shape)
        }
        None => merged,
    };
    managers.set(manager.clone(), (rules.owned)(&given), now);
    let touched = |object: &Value| {
        let comparison = compare(live, object, shape);
        (rules.owned)(&comparison.changed().union(&comparison.removed))
    };
    let mut changed = touched(&object);
    let mut conflicts = conflicts(&managers, manager, &changed);
    if !conflicts.is_empty() {
        changed = touched(&(rules.completed)(&object));
        conflicts = self::conflicts(&managers, manager, &changed);
    }
    if !is_forced && !conflicts.is_empty() {
        return Err(Conflicts(conflicts));
    }
    managers.take_from_others(manager, &changed);
    managers.cap();
    Ok(Applied { object, managers })
}

/// Whose fields these are besides the manager's.
fn conflicts(managers: &Managers, manager: &Manager, changed: &FieldSet) -> Vec<Conflict> {
    let conflict = |(other, set): (&Manager, &FieldSet)| {
        let (manager, fields) = (other.clone(), set.intersection(changed));
        let is_one = !fields.is_empty();
        is_one.then(|| Conflict { since: managers.time(&manager), manager, fields })
    };
    let others = managers.others(manager).filter(|(other, _)| other.is_comparable(manager));
    others.filter_map(conflict).collect()
}

/// The managers after any other write, by which `old` became `new`, both without `managedFields`.
#[must_use]
pub fn update(
    (old, new): (&Value, &Value),
    mut managers: Managers,
    shape: Shape<'_>,
    manager: &Manager,
    owned: impl Fn(&FieldSet) -> FieldSet,
    now: Timestamp,
) -> Managers {
    let comparison = compare(old, new, shape);
    let (changed, removed) = (owned(&comparison.changed()), owned(&comparison.removed));
    managers.write(manager, (changed, &removed), now);
    managers.cap();
    managers
}

/// Takes away what the manager applied `last` and does not any more, nor anybody else manages: `managed`
/// (Kubernetes: `Updater.prune`).
fn prune(merged: &Value, managed: &FieldSet, last: &FieldSet, shape: Shape<'_>) -> Value {
    let named = |set: &FieldSet| with_named_fields(set, shape);
    let (there, last) = (named(&set_of(merged, shape)), named(last));
    let pruned = without(merged, &last, shape);
    let kept = named(&set_of(&pruned, shape)).union(&named(managed));
    let pruned = without(merged, &there.difference(&kept), shape);
    // What nobody manages stays, too, unless the manager itself had it.
    let kept = named(&set_of(&pruned, shape));
    without(merged, &there.difference(&kept).intersection(&last), shape)
}
