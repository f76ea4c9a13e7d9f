//! Which functions a run may be about to call, so that they can be woken in time.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Engine, Execution,
    thread::{Progress, Thread},
};
use crate::definition::{Kind, Machine, State, Until};

/// How long a Wait may be for what follows it to be woken now. A function that is not called falls asleep after a
/// minute if nothing else is said.
const SOON: Duration = Duration::from_secs(30);

/// A function that may be called if no step fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Its name.
    pub function: String,
    /// Whether no Choice is between.
    pub is_certain: bool,
}

impl Engine {
    /// All functions that may be called, in the order of their names: those of every branch of a Choice too, and what
    /// follows a Wait once that ends soon.
    #[must_use]
    pub fn ahead(&self, execution: &Execution, now: Timestamp) -> Vec<Ahead> {
        self.look(execution, Look { now, is_near: false, found: BTreeMap::new() })
    }

    /// Those of them that may be called before any other one.
    #[must_use]
    pub fn next(&self, execution: &Execution, now: Timestamp) -> Vec<Ahead> {
        self.look(execution, Look { now, is_near: true, found: BTreeMap::new() })
    }

    fn look(&self, execution: &Execution, mut look: Look) -> Vec<Ahead> {
        if let Some(thread) = &execution.thread {
            look.behind(&self.definition.machine, thread);
        }
        let found = look.found.into_iter();
        found.map(|(function, is_certain)| Ahead { function, is_certain }).collect()
    }
}

/// A look along the states; with each function whether it is certain to be called.
struct Look {
    now: Timestamp,
    /// Whether it ends where something is called.
    is_near: bool,
    found: BTreeMap<String, bool>,
}

/// Whether a way leads there soon, and if so, whether it is the only one.
type Way = Option<bool>;

impl Look {
    /// What is behind the visit, and the way to the machine's end.
    fn behind(&mut self, machine: &Machine, thread: &Thread) -> Way {
        let state = machine.states.get(&thread.state)?;
        let way = match &thread.progress {
            Progress::Waiting(until) => {
                let left = Duration::try_from(until.duration_since(self.now)).unwrap_or_default();
                (left <= SOON).then_some(true)
            }
            Progress::Forked(fork) => {
                let machines: Vec<_> = state.machines().collect();
                let threads = fork.running_with_position();
                // A Map has one machine for all elements.
                let ways = threads.map(|(position, thread)| {
                    let machine = machines.get(position).or(machines.first())?;
                    self.behind(machine, thread)
                });
                ways.chain([Some(true)]).min().flatten()
            }
            Progress::Entered | Progress::Calling { .. } | Progress::Retrying(_) => Some(true),
        };
        self.follow(machine, next(state, way?))
    }

    /// From these states on, each with whether it is certain, to the machine's end. No state is the end.
    fn follow<'a>(&mut self, machine: &'a Machine, mut left: Vec<(Option<&'a str>, bool)>) -> Way {
        let (mut seen, mut end) = (HashSet::new(), None);
        while let Some((name, is_certain)) = left.pop() {
            let Some(name) = name else {
                end = end.max(Some(is_certain));
                continue;
            };
            let state = machine.states.get(name).filter(|_| seen.insert((name, is_certain)));
            let Some(state) = state else { continue };
            if let Some(is_certain) = self.through(state, is_certain) {
                left.extend(next(state, is_certain));
            }
        }
        end
    }

    /// To the state's end.
    fn through(&mut self, state: &State, is_certain: bool) -> Way {
        match &state.kind {
            Kind::Task { function, .. } => {
                if let Some(name) = function.known(state.parameters.as_ref()) {
                    *self.found.entry(name).or_default() |= is_certain;
                }
                (!self.is_near).then_some(is_certain)
            }
            Kind::Wait(Until::After(duration)) => (*duration <= SOON).then_some(is_certain),
            Kind::Wait(_) | Kind::Fail { .. } => None,
            Kind::Parallel { .. } | Kind::Map(_) => {
                let ways = state.machines().map(|machine| {
                    self.follow(machine, vec![(Some(&machine.start_at), is_certain)])
                });
                ways.chain([Some(is_certain)]).min().flatten()
            }
            Kind::Pass { .. } | Kind::Succeed | Kind::Choice { .. } => Some(is_certain),
        }
    }
}

fn next(state: &State, is_certain: bool) -> Vec<(Option<&str>, bool)> {
    match &state.kind {
        Kind::Choice { rules, default } => {
            let rules = rules.iter().map(|rule| rule.next.as_str());
            rules.chain(default.as_deref()).map(|name| (Some(name), false)).collect()
        }
        Kind::Succeed => vec![(None, is_certain)],
        _ => vec![(state.next.name(), is_certain)],
    }
}
