//! An nginx as it is wanted, what is known of it, and what it needs next: no more than values.
//!
//! A signal to reload may come before nginx listens to signals, and nginx may refuse a configuration,
//! so being told and going by it are two things. What counts is what nginx says that it goes by; it is
//! told again until that is what is wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    clients::Clients,
    nginx::{Answer, Configuration, Epoch, Generation, Telling},
};

/// A container that ends sooner than this after its start is left for a later pass.
const RESTART_INTERVAL: Duration = Duration::from_secs(10);
/// A reload takes 0.07 s, a start some tenths; what takes this long needs telling again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two reloads, for each worker that there is: each reload may leave one more to its clients, and their number has a
/// bound. The more there are, the rarer are those reloads that a flood of changes costs.
const PAUSE: Duration = Duration::from_millis(200);
/// A change is told by then, in whatever flood. Less than [`PATIENCE`], so that it is not taken for one that is not heard.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// An nginx to have on this node, whatever object it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    /// The kind of the object; whose nginxes are wanted is told by kind.
    pub kind: String,
    /// The object's uid: what its container and its files are found by.
    pub uid: String,
    /// The object, for people.
    pub owner: String,
    /// The container's name, but for the node's.
    pub name: String,
    /// Labels of the container that say what it is for.
    pub labels: BTreeMap<String, String>,
    /// The virtual IPs that it listens on.
    pub addresses: BTreeSet<IpAddr>,
    /// What it does.
    pub configuration: Configuration,
}

/// A container of this node with an nginx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Docker's id.
    pub id: String,
    /// The kind of the object that it is for.
    pub kind: String,
    /// The object that it is for, for people.
    pub owner: String,
    /// That object's uid.
    pub uid: String,
    /// The virtual IPs that it was made for.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether its nginx runs.
    pub running: bool,
    /// Whether it was made as it would be made now.
    pub current: bool,
}

/// What is known of one.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// Its container.
    pub(crate) id: String,
    /// The kind of the object that it is for.
    pub(crate) kind: String,
    /// The object that it is for, for messages.
    pub(crate) owner: String,
    /// Those that it was made for, and those that it was told of before this program began.
    addresses: BTreeSet<IpAddr>,
    /// Whether it was made in the present way.
    current: bool,
    running: bool,
    started: Option<Instant>,
    reloaded: Option<Instant>,
    /// Of earlier configurations, when it came to go by the present one.
    old_workers: usize,
    in_force: Option<(Generation, Telling)>,
    clients: Clients,
    /// The last of this program; nothing if it has not told it anything.
    telling: Option<Telling>,
    /// Absent once what it was told is in force.
    told: Option<Told>,
}

/// A start or a reload of which the outcome is not known yet.
#[derive(Clone, Debug)]
struct Told {
    /// The configuration that lay there; nothing if another kube-proxy told it.
    generation: Option<Generation>,
    at: Instant,
    /// For how long it has not come to go by what it was told.
    since: Instant,
}

/// What an nginx needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A container.
    Create,
    /// To be started again.
    Start,
    /// To be told to read its configuration.
    Reload,
    /// Some time.
    Wait,
    /// Nothing.
    Nothing,
}

/// What is wrong with one for longer than it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has ended soon after it was started.
    Ended,
    /// It runs, and does not go by its present configuration.
    NotTaken,
}

impl Instance {
    /// One that was just made.
    pub(crate) fn created(id: String, spec: &InstanceSpec) -> Self {
        Instance {
            id,
            kind: spec.kind.clone(),
            owner: spec.owner.clone(),
            addresses: spec.addresses.clone(),
            current: true,
            running: false,
            started: None,
            reloaded: None,
            old_workers: 0,
            in_force: None,
            clients: Clients::default(),
            telling: None,
            told: None,
        }
    }

    /// One that was found. What it goes by is not known.
    pub(crate) fn found(found: &Found) -> Self {
        let now = Instant::now();
        let told = Told { generation: None, at: now, since: now };
        Instance {
            id: found.id.clone(),
            kind: found.kind.clone(),
            owner: found.owner.clone(),
            addresses: found.addresses.clone(),
            current: found.current,
            running: found.running,
            started: None,
            reloaded: None,
            old_workers: 0,
            in_force: None,
            clients: Clients::default(),
            telling: None,
            told: Some(told),
        }
    }

    /// Takes in what Docker says about it now.
    pub(crate) fn seen(&mut self, found: &Found) {
        self.running = found.running;
        if !found.running {
            self.in_force = None;
        }
    }

    /// It was just started. The time counts from here: to start a container takes seconds if many are.
    pub(crate) fn started(&mut self) {
        self.running = true;
        self.started = Some(Instant::now());
        (self.reloaded, self.old_workers) = (None, 0);
        self.in_force = None;
        self.expect(None);
    }

    /// It was just signalled. What it has not taken, and is told again, leaves no worker.
    pub(crate) fn reloaded(&mut self, generation: &Generation) {
        let told = self.told.as_ref().and_then(|told| told.generation.as_ref());
        if told != Some(generation) {
            self.reloaded = Some(Instant::now());
        }
    }

    /// So many workers of its earlier configurations stay with their clients.
    pub(crate) fn keeps_old_workers(&mut self, count: usize) {
        self.old_workers = count;
    }

    /// It was just started, or signalled, to read its configuration.
    pub(crate) fn told(&mut self, generation: Generation, telling: Telling) {
        self.telling = Some(telling);
        self.expect(Some(generation));
    }

    fn expect(&mut self, generation: Option<Generation>) {
        let at = Instant::now();
        let since = self.told.as_ref().map_or(at, |before| before.since);
        self.told = Some(Told { generation, at, since });
    }

    /// Takes in what it says that it goes by; true if that is another configuration than before.
    pub(crate) fn answered(&mut self, answer: Option<Answer>) -> bool {
        if let Some(answer) = &answer {
            self.clients.seen(answer.epoch, answer.connection);
        }
        let in_force = answer.map(|answer| (answer.generation, answer.telling));
        if self.in_force == in_force {
            return false;
        }
        self.in_force = in_force;
        match (&self.in_force, &mut self.told) {
            (None, None) => self.expect(None),
            // Whoever takes one configuration after the other is well, though always one behind.
            (Some(_), Some(told)) => told.since = Instant::now(),
            _ => {}
        }
        self.in_force.is_some()
    }

    /// Since when its clients are remembered.
    pub(crate) fn epoch(&self) -> Epoch {
        self.clients.epoch()
    }

    /// Whether it has to be asked whether there are clients.
    pub(crate) fn is_to_be_asked(&self, affinity: Duration) -> bool {
        self.running && self.clients.is_to_be_asked(affinity)
    }

    /// Begins a new epoch if there was no client for so long; true if it did.
    pub(crate) fn forget_clients(&mut self, affinity: Duration) -> bool {
        self.clients.forget(affinity)
    }

    /// Whether it was not started a moment ago: one that ends at once is not started without a pause.
    pub(crate) fn may_start(&self) -> bool {
        self.started.is_none_or(|at| at.elapsed() >= RESTART_INTERVAL)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// The addresses that it listens on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter()
    }

    /// Whether it was made in the present way: else it is made anew.
    pub(crate) fn is_current(&self) -> bool {
        self.current
    }

    /// Whether it runs and goes by `wanted`.
    pub(crate) fn goes_by(&self, wanted: &Generation) -> bool {
        self.running
            && self.in_force.as_ref().is_some_and(|(generation, telling)| {
                generation == wanted && self.telling.is_none_or(|last| last == *telling)
            })
    }

    /// Forgets what it was told once it goes by `wanted`.
    pub(crate) fn settle(&mut self, wanted: &Generation) {
        if self.goes_by(wanted) {
            self.told = None;
        }
    }

    /// What is wrong with it, if that is not a matter of moments.
    pub(crate) fn fault(&self, wanted: &Generation) -> Option<Fault> {
        let overdue = self.told.as_ref().is_some_and(|told| told.since.elapsed() >= PATIENCE);
        match self.running {
            false => Some(Fault::Ended),
            true if overdue && !self.goes_by(wanted) => Some(Fault::NotTaken),
            true => None,
        }
    }

    fn next_step(&self, wanted: &Generation) -> Step {
        match self.running {
            false if self.may_start() => Step::Start,
            false => Step::Wait,
            true if self.goes_by(wanted) => Step::Nothing,
            true if self.is_about_to_answer(wanted) || self.pauses() => Step::Wait,
            true => Step::Reload,
        }
    }

    /// Whether it was signalled a moment ago. Changes that come meanwhile are told together.
    pub(crate) fn pauses(&self) -> bool {
        let workers = u32::try_from(self.old_workers).unwrap_or(u32::MAX).saturating_add(1);
        let pause = PAUSE.saturating_mul(workers).min(LONGEST_PAUSE);
        self.reloaded.is_some_and(|at| at.elapsed() < pause)
    }

    /// Whether it goes by a configuration, be it an older one.
    pub(crate) fn has_answered(&self) -> bool {
        self.in_force.is_some()
    }

    /// One that does not answer yet would not hear a signal either.
    fn is_about_to_answer(&self, wanted: &Generation) -> bool {
        self.told.as_ref().is_some_and(|told| {
            let hears_us = self.has_answered() && told.generation.as_ref() != Some(wanted);
            !hears_us && told.at.elapsed() < PATIENCE
        })
    }
}

/// What an nginx, if there is one, needs so as to go by `wanted`.
pub(crate) fn next_step(instance: Option<&Instance>, wanted: &Generation) -> Step {
    instance.map_or(Step::Create, |instance| instance.next_step(wanted))
}

#[cfg(test)]
mod tests;
