//! What to do with an object, given what is known of its owners. Pure.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use super::graph::{FOREGROUND, ORPHAN, Object, Uid};

/// An owner, as its dependent finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It is there, and stays as far as we know.
    Solid,
    /// It is there and waits for its dependents to be deleted.
    Waiting,
    /// It does not exist (any more).
    Absent,
    /// Not all objects of its kind are known yet.
    Unlisted,
    /// Discovery does not know its kind, which may be a new one, or one whose server is away.
    Undiscovered,
    /// It can't be an owner: it is in a namespace, and its dependent in none.
    Invalid,
}

/// What is known of an object's own dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependents {
    None,
    Some,
    /// Some, and one of them waits for its own dependents to be deleted. That may be this object: owners
    /// that own each other would wait for each other for ever.
    Waiting,
}

/// What to do with a dependent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    /// It can't be told yet.
    Later(OwnerState),
    /// Some owner stays: only the references to the others go.
    DropReferences(Vec<Uid>),
    Delete(Policy),
    /// It no longer holds up any owner, and is deleted in the foreground.
    UnblockAndDelete,
}

/// What becomes of the object's own dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// Decides about an object with owners; the states are in the order of its references.
pub(super) fn decide(object: &Object, states: &[OwnerState], dependents: Dependents) -> Action {
    let any = |state| states.contains(&state);
    if object.owners.is_empty() || object.deleting || any(OwnerState::Invalid) {
        return Action::Keep;
    }
    for unknown in [OwnerState::Undiscovered, OwnerState::Unlisted] {
        if any(unknown) {
            return Action::Later(unknown);
        }
    }
    if any(OwnerState::Solid) {
        return keep_solid(object, states);
    }
    match dependents {
        Dependents::Waiting if any(OwnerState::Waiting) => Action::UnblockAndDelete,
        Dependents::Some if any(OwnerState::Waiting) => Action::Delete(Policy::Foreground),
        _ => Action::Delete(own_policy(object)),
    }
}

fn keep_solid(object: &Object, states: &[OwnerState]) -> Action {
    let owners = object.owners.iter().zip(states);
    let leaving = owners.filter(|(_, state)| **state != OwnerState::Solid);
    let leaving: Vec<Uid> = leaving.map(|(owner, _)| owner.uid.clone()).collect();
    if leaving.is_empty() { Action::Keep } else { Action::DropReferences(leaving) }
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
    use super::OwnerState::{Absent, Invalid, Solid, Undiscovered, Unlisted, Waiting};
    use super::*;

    fn check(states: &[OwnerState], more: Value, dependents: Dependents, expected: &Action) {
        let uids = ["o1", "o2", "o3"];
        let owners: Vec<_> = uids.iter().zip(states).map(|(uid, _)| (*uid, true)).collect();
        let got = decide(&object("x", &owners, more.clone()), states, dependents);
        assert_eq!(got, *expected, "{states:?} {more}");
    }

    #[test]
    fn an_object_lives_while_an_owner_does() {
        check(&[], json!({}), Dependents::None, &Action::Keep);
        check(&[Solid], json!({}), Dependents::None, &Action::Keep);
        check(
            &[Solid, Absent, Waiting],
            json!({}),
            Dependents::None,
            &Action::DropReferences(vec!["o2".into(), "o3".into()]),
        );
        check(&[Absent], json!({}), Dependents::Some, &Action::Delete(Policy::Background));
        check(&[Absent, Absent], json!({}), Dependents::None, &Action::Delete(Policy::Background));
    }

    #[test]
    fn nothing_is_done_while_an_owner_is_in_doubt() {
        check(&[Absent, Unlisted], json!({}), Dependents::None, &Action::Later(Unlisted));
        check(&[Solid, Absent, Unlisted], json!({}), Dependents::None, &Action::Later(Unlisted));
        let both = [Unlisted, Undiscovered];
        check(&both, json!({}), Dependents::None, &Action::Later(Undiscovered));
        check(&[Invalid, Absent], json!({}), Dependents::None, &Action::Keep);
    }

    #[test]
    fn foreground_deletion_goes_down_the_tree() {
        let foreground = Action::Delete(Policy::Foreground);
        check(&[Waiting], json!({}), Dependents::Some, &foreground);
        check(&[Waiting], json!({}), Dependents::None, &Action::Delete(Policy::Background));
        check(&[Waiting, Absent], json!({}), Dependents::Some, &foreground);
    }

    #[test]
    fn owners_that_own_each_other_do_not_wait_for_each_other() {
        check(&[Waiting], json!({}), Dependents::Waiting, &Action::UnblockAndDelete);
        check(&[Absent], json!({}), Dependents::Waiting, &Action::Delete(Policy::Background));
    }

    #[test]
    fn an_earlier_wish_is_honoured_and_a_deletion_under_way_left_alone() {
        let some = Dependents::Some;
        check(&[Absent], json!({"finalizers": ["orphan"]}), some, &Action::Delete(Policy::Orphan));
        check(
            &[Absent],
            json!({"finalizers": ["foregroundDeletion"]}),
            some,
            &Action::Delete(Policy::Foreground),
        );
        check(&[Absent], json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), some, &Action::Keep);
    }
}
