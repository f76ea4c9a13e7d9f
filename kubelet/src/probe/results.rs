//! What probes find.

use std::{collections::BTreeMap, time::Duration};

/// A container whose liveness or startup probe failed. That is final: it stops, and another takes its
/// place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// What the `Killing` event says.
    pub message: String,
    /// The probe's own `terminationGracePeriodSeconds`.
    pub grace: Option<Duration>,
}

/// What the probes found, by container id. A container without an entry has no such probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// Result of readiness probes.
    pub ready: BTreeMap<String, bool>,
    /// Result of startup probes.
    pub started: BTreeMap<String, bool>,
    /// Containers whose liveness or startup probe failed.
    pub unhealthy: BTreeMap<String, Unhealthy>,
}
