//! A Deployment that is scaled in the middle of a rollout: each set gets its part of the difference, so that a rollout that
//! is stuck does not get all new pods.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling>

use std::cmp::Reverse;
use std::sync::Arc;

use api_types::api::apps::v1::ReplicaSet;

use super::rolling::Limits;
use super::sets::{DESIRED, MAXIMUM, Sets, age, available, noted, replicas, sum};

/// Whether sets that have pods were made for another number of them.
pub(super) fn is_due(wanted: i32, sets: &Sets) -> bool {
    let mut active = sets.all().filter(|set| replicas(set) > 0);
    active.any(|set| noted(set, DESIRED).is_some_and(|desired| desired != wanted))
}

/// How many pods each set is to have; those that keep theirs take note of what the Deployment wants now.
pub(super) fn scaled(
    limits: Limits,
    sets: &Sets,
    is_recreate: bool,
) -> Vec<(Arc<ReplicaSet>, i32)> {
    let active: Vec<_> = sets.all().filter(|set| replicas(set) > 0).cloned().collect();
    if active.len() <= 1 {
        let latest = sets.new.as_ref().or(sets.old.last());
        let only = active.first().or(latest);
        return only.map(|set| (set.clone(), limits.wanted)).into_iter().collect();
    }
    if sets.new.as_ref().is_some_and(|set| is_saturated(set, limits.wanted)) {
        let old = sets.old.iter().filter(|set| replicas(set) > 0);
        return old.map(|set| (set.clone(), 0)).collect();
    }
    if is_recreate { Vec::new() } else { divided(limits, active) }
}

fn is_saturated(set: &ReplicaSet, wanted: i32) -> bool {
    replicas(set) == wanted && noted(set, DESIRED) == Some(wanted) && available(set) == wanted
}

fn divided(limits: Limits, mut active: Vec<Arc<ReplicaSet>>) -> Vec<(Arc<ReplicaSet>, i32)> {
    let total = sum(active.iter(), replicas);
    let allowed = if limits.wanted > 0 { limits.most() } else { 0 };
    let change = allowed - total;
    // The largest first; of two alike the newer gets more, and the older loses more.
    if change > 0 {
        active.sort_by_key(|set| (Reverse(replicas(set)), Reverse(age(set))));
    } else {
        active.sort_by_key(|set| (Reverse(replicas(set)), age(set)));
    }
    let mut rest = change;
    let mut sizes: Vec<_> = active
        .into_iter()
        .map(|set| {
            let part = part(&set, limits);
            let part = if change > 0 { part.clamp(0, rest) } else { part.clamp(rest, 0) };
            rest -= part;
            let size = replicas(&set) + part;
            (set, size)
        })
        .collect();
    if let Some((_, size)) = sizes.first_mut() {
        *size = size.saturating_add(rest).max(0);
    }
    sizes
}

/// By how much the set's part of what was allowed grows or shrinks with that.
fn part(set: &ReplicaSet, limits: Limits) -> i32 {
    let size = replicas(set);
    if limits.wanted == 0 {
        return -size;
    }
    let before = noted(set, MAXIMUM).filter(|before| *before > 0).unwrap_or(limits.most());
    let grown = f64::from(size) * f64::from(limits.most()) / f64::from(before);
    grown.round() as i32 - size
}
