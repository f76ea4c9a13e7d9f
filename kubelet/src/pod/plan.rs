//! What is decided about a pod, and what from: the values of [`super::next_step`]. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api_types::{api::core::v1::Pod, jiff::Timestamp};

use super::{back_off::BackOff, status_input::Waiting};
use crate::{
    addresses::PodAddresses,
    network::PortMapping,
    probe::results::Unhealthy,
    runtime::{Container, Resources, observed::Observed},
};

/// A start that failed, and the time before which it is not tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the pod's status says meanwhile.
    pub waiting: Waiting,
    /// When to try again.
    pub retry_at: Timestamp,
}

/// A container that was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// When it was asked.
    pub since: Timestamp,
    /// The time it was given.
    pub grace: Duration,
    /// Whether SIGKILL was sent.
    pub killed: bool,
    /// Whether the signal is known not to have been delivered: it is sent again.
    pub undelivered: bool,
    /// Its preStop hook, if it is not asked before that has ended.
    pub hook: Option<Hook>,
}

/// A preStop hook that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// It goes on.
    Runs,
    /// It has ended, however.
    Ended,
}

/// What the decision is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The pod as the API server has it.
    pub pod: &'a Pod,
    /// The pod as the runtime has it.
    pub observed: &'a Observed,
    /// The id of the sandbox that this kubelet made and connected, if it made one.
    pub connected: Option<&'a str>,
    /// Set if the pod must go: the time its containers get.
    pub stop: Option<Duration>,
    /// Whether the pod must end because it takes too much of the node.
    pub evicted: bool,
    /// When the pod began to stop; now, if it has not begun.
    pub stop_began: Timestamp,
    /// Delays of restarts, by container name.
    pub restarts: &'a BackOff,
    /// Failed starts, by container name.
    pub failures: &'a BTreeMap<String, Failure>,
    /// Names of the containers that are being started.
    pub starting: &'a BTreeSet<String>,
    /// Whether its sandbox is being made and connected; until that has ended nobody sees it.
    pub connecting: bool,
    /// The pod's addresses in the pod network, if it has some.
    pub addresses: Option<PodAddresses>,
    /// Whether all pods have their ports published.
    pub publish_ports: bool,
    /// The ports of the node that lead to the pod; nothing if it is not known which do.
    pub published: Option<&'a [PortMapping]>,
    /// Whether it is disconnected and its files are gone.
    pub left: bool,
    /// Containers already asked to stop, by id.
    pub stopping: &'a BTreeMap<String, Stopping>,
    /// Containers whose liveness or startup probe failed, by id.
    pub unhealthy: &'a BTreeMap<String, Unhealthy>,
    /// Result of startup probes, by id. A container without an entry has no such probe.
    pub started: &'a BTreeMap<String, bool>,
    /// The time.
    pub now: Timestamp,
}

impl Input<'_> {
    /// Whether something of the pod runs, or may run in a moment.
    pub(super) fn is_active(&self) -> bool {
        self.observed.running().next().is_some() || !self.starting.is_empty() || self.connecting
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask a container to stop, after its preStop hook if it has one.
    Stop {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What the `Killing` event says.
        message: String,
        /// The time it has.
        grace: Duration,
    },
    /// Ask a container to stop whose preStop hook has had its time.
    Ask {
        /// Its id.
        id: String,
        /// The time it has.
        grace: Duration,
    },
    /// End a container at once.
    Kill {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What the `Killing` event says; `None` if it was said when it was asked to stop.
        message: Option<String>,
    },
    /// Have a container that runs take more or less.
    Update {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What it may take.
        resources: Resources,
    },
    /// Forget a dead container.
    RemoveContainer {
        /// Its id.
        id: String,
    },
    /// Make and connect the pod's sandbox, once all before it is done. The starts that follow are of
    /// containers in it, and begin meanwhile.
    RunSandbox {
        /// Counts the pod's sandboxes.
        attempt: u32,
    },
    /// Disconnect and remove a sandbox.
    RemoveSandbox {
        /// Its id.
        id: String,
    },
    /// Have exactly these ports of the node lead to the pod.
    PublishPorts {
        /// The ports.
        ports: Vec<PortMapping>,
    },
    /// Disconnect the pod and remove its files: nothing else is left of it.
    Leave,
    /// Pull, make and start a container, beside everything else.
    Start {
        /// Its name.
        name: String,
        /// Its restart count.
        attempt: u32,
    },
}

impl Step {
    /// Whether both change what the same container may take: that which ends last counts.
    pub(super) fn overtakes(&self, other: &Self) -> bool {
        let updated = |step: &Self| match step {
            Self::Update { id, .. } => Some(id.clone()),
            _ => None,
        };
        updated(self).is_some_and(|id| updated(other) == Some(id))
    }

    /// Whether it is about the pod's place in the network: of these there is one at a time.
    pub(super) fn uses_network(&self) -> bool {
        matches!(
            self,
            Self::RunSandbox { .. }
                | Self::RemoveSandbox { .. }
                | Self::PublishPorts { .. }
                | Self::Leave
        )
    }
}

/// The steps, and what to report until the next decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now, in order.
    pub steps: Vec<Step>,
    /// Why containers are not running, by name.
    pub waiting: BTreeMap<String, Waiting>,
    /// When to decide anew even if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// Nothing of the pod is left and none of it is wanted.
    pub gone: bool,
    /// The pod is done for good or deleted, and nothing of it runs: its share of the node is free.
    pub ended: bool,
    /// The pod is done for good and neither runs nor has a network: its address is free.
    pub retired: bool,
}

impl Plan {
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn remove_sandboxes<'a>(&mut self, sandboxes: impl Iterator<Item = &'a Container>) {
        self.steps.extend(sandboxes.map(|sandbox| Step::RemoveSandbox { id: sandbox.id.clone() }));
    }
}
