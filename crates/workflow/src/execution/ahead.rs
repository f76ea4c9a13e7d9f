//! Which functions a run is about to call, so that they can be woken in time.

use std::collections::BTreeSet;

use super::{Engine, Execution, Progress, Thread};
use crate::definition::{Kind, Machine};

impl Engine {
    /// The functions that are called next for certain, if no step fails, in the order of their names. The way is followed
    /// up to a Choice, since most of its branches are not taken, and to a Wait, which may be long.
    #[must_use]
    pub fn ahead(&self, execution: &Execution) -> Vec<String> {
        let mut names = BTreeSet::new();
        if let Some(thread) = &execution.thread {
            behind(&self.definition.machine, thread, &mut names);
        }
        names.into_iter().collect()
    }
}

/// What is behind the visit; whether the way was followed to the machine's end.
fn behind(machine: &Machine, thread: &Thread, names: &mut BTreeSet<String>) -> bool {
    let Some(state) = machine.states.get(&thread.state) else { return false };
    let is_soon = match &thread.progress {
        Progress::Waiting(_) => false,
        Progress::Forked(fork) => {
            let machines: Vec<_> = state.machines().collect();
            let threads = fork.running_with_position();
            // A Map has one machine for all elements.
            threads.fold(true, |is_soon, (position, thread)| {
                let machine = machines.get(position).or(machines.first());
                machine.is_some_and(|machine| behind(machine, thread, names)) && is_soon
            })
        }
        Progress::Entered | Progress::Calling { .. } | Progress::Retrying(_) => true,
    };
    is_soon && follow(machine, state.next.name(), names)
}

/// From this state on.
fn follow<'a>(
    machine: &'a Machine,
    mut next: Option<&'a str>,
    names: &mut BTreeSet<String>,
) -> bool {
    let mut seen = BTreeSet::new();
    while let Some(name) = next {
        let Some(state) = machine.states.get(name).filter(|_| seen.insert(name)) else {
            return false;
        };
        match &state.kind {
            Kind::Choice { .. } | Kind::Wait(_) => return false,
            Kind::Task { function, .. } => names.extend(function.known(state.parameters.as_ref())),
            Kind::Parallel { .. } | Kind::Map(_) => {
                let follow = |m: &Machine| follow(m, Some(&m.start_at), names);
                let are_soon: Vec<_> = state.machines().map(follow).collect();
                if are_soon.contains(&false) {
                    return false;
                }
            }
            Kind::Pass { .. } | Kind::Succeed | Kind::Fail { .. } => {}
        }
        next = state.next.name();
    }
    true
}
