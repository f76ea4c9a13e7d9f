//! What to do with an object, given what is known of its owners. Pure.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use super::graph::{FOREGROUND, ORPHAN, Object, Uid};

/// An owner, as its dependent finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It is there, and stays as far as we know; or it cannot be told.
    Solid,
    /// It is there and waits for its dependents to be deleted.
    Waiting,
    /// It does not exist (any more).
    Absent,
}

/// What to do with a dependent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    /// Some owner stays: only the references to the others go.
    DropReferences(Vec<Uid>),
    Delete(Policy),
}

/// What becomes of the object's own dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// Decides about an object with owners; the states are in the order of its references.
pub(super) fn decide(object: &Object, states: &[OwnerState], has_dependents: bool) -> Action {
    let any = |state| states.contains(&state);
    if object.owners.is_empty() || object.deleting {
        return Action::Keep;
    }
    if any(OwnerState::Solid) {
        let owners = object.owners.iter().zip(states);
        let leaving: Vec<Uid> = owners
            .filter(|(_, state)| **state != OwnerState::Solid)
            .map(|(owner, _)| owner.uid.clone())
            .collect();
        return if leaving.is_empty() { Action::Keep } else { Action::DropReferences(leaving) };
    }
    if any(OwnerState::Waiting) && has_dependents {
        return Action::Delete(Policy::Foreground);
    }
    Action::Delete(own_policy(object))
}

/// What somebody has asked for earlier, by a finalizer.
fn own_policy(object: &Object) -> Policy {
    let has = |finalizer: &str| object.finalizers.iter().any(|mine| mine == finalizer);
    match (has(ORPHAN), has(FOREGROUND)) {
        (true, _) => Policy::Orphan,
        (_, true) => Policy::Foreground,
        _ => Policy::Background,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::graph::tests::object;
    use super::OwnerState::{Absent, Solid, Waiting};
    use super::*;

    fn check(states: &[OwnerState], more: Value, has_dependents: bool, expected: &Action) {
        let uids = ["o1", "o2", "o3"];
        let owners: Vec<_> = uids.iter().zip(states).map(|(uid, _)| (*uid, true)).collect();
        let got = decide(&object("x", &owners, more.clone()), states, has_dependents);
        assert_eq!(got, *expected, "{states:?} {more}");
    }

    #[test]
    fn an_object_lives_while_an_owner_does() {
        check(&[], json!({}), false, &Action::Keep);
        check(&[Solid], json!({}), false, &Action::Keep);
        check(
            &[Solid, Absent, Waiting],
            json!({}),
            false,
            &Action::DropReferences(vec!["o2".into(), "o3".into()]),
        );
        check(&[Absent], json!({}), true, &Action::Delete(Policy::Background));
        check(&[Absent, Absent], json!({}), false, &Action::Delete(Policy::Background));
    }

    #[test]
    fn foreground_deletion_goes_down_the_tree() {
        check(&[Waiting], json!({}), true, &Action::Delete(Policy::Foreground));
        check(&[Waiting], json!({}), false, &Action::Delete(Policy::Background));
        check(&[Waiting, Absent], json!({}), true, &Action::Delete(Policy::Foreground));
    }

    #[test]
    fn an_earlier_wish_is_honoured_and_a_deletion_under_way_left_alone() {
        check(&[Absent], json!({"finalizers": ["orphan"]}), true, &Action::Delete(Policy::Orphan));
        check(
            &[Absent],
            json!({"finalizers": ["foregroundDeletion"]}),
            true,
            &Action::Delete(Policy::Foreground),
        );
        check(&[Absent], json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), true, &Action::Keep);
    }
}
