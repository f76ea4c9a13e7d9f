//! Which functions a run may be about to call, so that they can be woken in time.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    Engine, Execution,
    thread::{Progress, Thread},
};
use crate::definition::{Kind, Machine, State, Until};

/// How long a Wait may be for what follows it to be woken now. A function that is not called falls asleep after a
/// minute if nothing else is said.
const SOON: Duration = Duration::from_secs(30);

impl Engine {
    /// The functions that may be called next if no step fails, in the order of their names: those of every branch of a
    /// Choice too, and what follows a Wait once that ends soon.
    #[must_use]
    pub fn ahead(&self, execution: &Execution, now: Timestamp) -> Vec<String> {
        let mut names = BTreeSet::new();
        if let Some(thread) = &execution.thread {
            behind(&self.definition.machine, thread, now, &mut names);
        }
        names.into_iter().collect()
    }
}

/// What is behind the visit; whether the machine may end soon.
fn behind(
    machine: &Machine,
    thread: &Thread,
    now: Timestamp,
    names: &mut BTreeSet<String>,
) -> bool {
    let Some(state) = machine.states.get(&thread.state) else { return false };
    let is_soon = match &thread.progress {
        Progress::Waiting(until) => {
            Duration::try_from(until.duration_since(now)).unwrap_or_default() <= SOON
        }
        Progress::Forked(fork) => {
            let machines: Vec<_> = state.machines().collect();
            let threads = fork.running_with_position();
            // A Map has one machine for all elements.
            threads.fold(true, |is_soon, (position, thread)| {
                let machine = machines.get(position).or(machines.first());
                machine.is_some_and(|machine| behind(machine, thread, now, names)) && is_soon
            })
        }
        Progress::Entered | Progress::Calling { .. } | Progress::Retrying(_) => true,
    };
    is_soon && follow(machine, next(state), names)
}

/// From these states on; whether the machine may end soon. No state is the end.
fn follow<'a>(
    machine: &'a Machine,
    mut left: Vec<Option<&'a str>>,
    names: &mut BTreeSet<String>,
) -> bool {
    let (mut seen, mut may_end) = (BTreeSet::new(), false);
    while let Some(name) = left.pop() {
        let Some(name) = name else {
            may_end = true;
            continue;
        };
        let Some(state) = machine.states.get(name).filter(|_| seen.insert(name)) else { continue };
        let is_soon = match &state.kind {
            Kind::Task { function, .. } => {
                names.extend(function.known(state.parameters.as_ref()));
                true
            }
            Kind::Wait(Until::After(duration)) => *duration <= SOON,
            Kind::Wait(_) | Kind::Fail { .. } => false,
            Kind::Parallel { .. } | Kind::Map(_) => {
                let follow = |m: &Machine| follow(m, vec![Some(&m.start_at)], names);
                let may_end: Vec<_> = state.machines().map(follow).collect();
                !may_end.contains(&false)
            }
            Kind::Pass { .. } | Kind::Succeed | Kind::Choice { .. } => true,
        };
        if is_soon {
            left.extend(next(state));
        }
    }
    may_end
}

fn next(state: &State) -> Vec<Option<&str>> {
    match &state.kind {
        Kind::Choice { rules, default } => {
            let rules = rules.iter().map(|rule| rule.next.as_str());
            rules.chain(default.as_deref()).map(Some).collect()
        }
        Kind::Succeed => vec![None],
        _ => vec![state.next.name()],
    }
}
