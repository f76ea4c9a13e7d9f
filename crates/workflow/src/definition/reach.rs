//! Where the ways lead: to states that exist, to every state, and from each to an end.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::FieldPath;
use serde_json::{Map, Value};

use super::{Kind, Machine, Next, State};
use crate::faults::Faults;

/// The ways between the states of a document: the field that names the next state, and the name.
type Ways<'a> = BTreeMap<&'a str, Vec<(FieldPath, &'a str)>>;

/// The names of the fields that lead from state to state.
pub(super) struct Words {
    pub(super) start: &'static str,
    pub(super) states: &'static str,
    pub(super) next: &'static str,
    pub(super) choices: &'static str,
    pub(super) default: &'static str,
}

/// Checks the machine that was read of an object. A state that could not be read is there, too: its name was not
/// wrong, and what was not understood of it may lead anywhere.
pub(super) fn check(
    machine: &Machine,
    document: &Map<String, Value>,
    (path, words): (&FieldPath, &Words),
    faults: &mut Faults,
) {
    let states = path.child(words.states);
    let named = machine.states.iter();
    let ways: Ways<'_> =
        named.map(|(name, s)| (name.as_str(), ways(s, &states.key(name), words))).collect();
    let start = (path.child(words.start), machine.start_at.as_str());
    let names: BTreeSet<&str> = document.keys().map(String::as_str).collect();
    let mut dangling = false;
    for (path, target) in std::iter::once(&start).chain(ways.values().flatten()) {
        if !names.contains(target) {
            dangling = true;
            if !target.is_empty() {
                faults.errors.not_found(path, target);
            }
        }
    }
    if !dangling && names.len() == machine.states.len() {
        reachable(machine, &ways, &states, faults);
    }
}

/// Every state is reached, and reaches an end.
fn reachable(machine: &Machine, ways: &Ways<'_>, path: &FieldPath, faults: &mut Faults) {
    let reached = closure([machine.start_at.as_str()], |name| {
        ways.get(name).into_iter().flatten().map(|(_, target)| *target).collect()
    });
    for name in ways.keys().filter(|name| !reached.contains(*name)) {
        faults.errors.invalid(&path.key(name), *name, "no way leads to this state");
    }
    let ends = machine.states.iter().filter(|(_, state)| is_end(state));
    let can_end = closure(ends.map(|(name, _)| name.as_str()), |name| {
        let leads = |ways: &[(FieldPath, &str)]| ways.iter().any(|(_, target)| *target == name);
        ways.iter().filter(|(_, ways)| leads(ways)).map(|(from, _)| *from).collect()
    });
    for name in reached.difference(&can_end) {
        faults.errors.invalid(&path.key(name), *name, "no way leads from this state to an end");
    }
}

fn closure<'a>(
    first: impl IntoIterator<Item = &'a str>,
    next: impl Fn(&str) -> Vec<&'a str>,
) -> BTreeSet<&'a str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = first.into_iter().collect();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(next(name));
        }
    }
    found
}

/// Every field of the state that names another, and the name.
fn ways<'a>(state: &'a State, path: &FieldPath, words: &Words) -> Vec<(FieldPath, &'a str)> {
    let mut ways = Vec::new();
    if let Next::State(name) = &state.next {
        ways.push((path.child(words.next), name.as_str()));
    }
    if let Kind::Choice { rules, default } = &state.kind {
        for (i, rule) in rules.iter().enumerate() {
            ways.push((path.child(words.choices).index(i).child(words.next), rule.next.as_str()));
        }
        ways.extend(default.as_deref().map(|name| (path.child(words.default), name)));
    }
    for (i, catcher) in state.catch.iter().enumerate() {
        ways.push((path.child("Catch").index(i).child(words.next), catcher.next.as_str()));
    }
    ways
}

fn is_end(state: &State) -> bool {
    !matches!(state.kind, Kind::Choice { .. }) && state.next == Next::End
}
