//! How many pods each set may have while those of one take over from those of the others. Pure arithmetic, as Kubernetes
//! does it: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>

use std::sync::Arc;

use api_machinery::percentage;
use api_types::IntOrString;
use api_types::api::apps::v1::{DeploymentSpec, ReplicaSet};

use super::sets::{Sets, lasting, replicas, sum};

pub(super) const RECREATE: &str = "Recreate";

/// How far the number of pods may be from the one that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) wanted: i32,
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

impl Limits {
    /// Parts of a pod count as one that may be more, and as none that may be missing. Not both are none, or nothing
    /// could ever change.
    pub(super) fn of(spec: &DeploymentSpec) -> Self {
        let wanted = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let Some(rolling) = rolling.filter(|_| !is_recreate(spec)) else {
            return Self { wanted, surge: 0, unavailable: 0 };
        };
        let part = |value: &Option<IntOrString>| {
            value.as_ref().and_then(|value| percentage::of(value, wanted)).unwrap_or(0.0)
        };
        let surge = part(&rolling.max_surge).ceil() as i32;
        let unavailable = (part(&rolling.max_unavailable).floor() as i32).min(wanted);
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        Self { wanted, surge, unavailable }
    }

    pub(super) fn most(self) -> i32 {
        self.wanted.saturating_add(self.surge)
    }

    pub(super) fn least_available(self) -> i32 {
        self.wanted - self.unavailable
    }
}

pub(super) fn is_recreate(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some(RECREATE)
}

/// How many pods the new set is to have next, `current` being how many it has.
pub(super) fn of_new(limits: Limits, sets: &Sets, current: i32) -> i32 {
    if current >= limits.wanted {
        return limits.wanted;
    }
    let total = sum(sets.all(), replicas);
    let room = (limits.most() - total).max(0);
    current + room.min(limits.wanted - current)
}

/// Which old sets are to have fewer pods now, and how many: first those go that don't serve.
pub(super) fn of_old(limits: Limits, sets: &Sets) -> Vec<(Arc<ReplicaSet>, i32)> {
    let total = sum(sets.all(), replicas);
    let new_missing = sets.new.as_ref().map_or(0, |set| replicas(set) - lasting(set));
    let most = total - limits.least_available() - new_missing;
    if most <= 0 {
        return Vec::new();
    }
    let mut left: Vec<i32> = sets.old.iter().map(|set| replicas(set)).collect();
    let mut unhealthy = most;
    for (left, set) in left.iter_mut().zip(&sets.old) {
        let removed = (*left - lasting(set)).min(unhealthy);
        *left -= removed;
        unhealthy -= removed;
    }
    let serving = sum(sets.all(), lasting);
    let mut healthy = (serving - limits.least_available()).max(0);
    for left in &mut left {
        let removed = (*left).min(healthy);
        *left -= removed;
        healthy -= removed;
    }
    let changed = sets.old.iter().cloned().zip(left);
    changed.filter(|(set, left)| replicas(set) != *left).collect()
}
