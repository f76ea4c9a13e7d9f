//! The status of a DaemonSet, worked out from its pods on each node.

use std::time::Duration;

use api_types::api::apps::v1::DaemonSetStatus;
use serde_json::{Value, json};

use super::placement::Place;
use super::plan::View;
use crate::frame::Next;
use crate::pods;

/// The status, and when to look again because a pod then counts as available.
pub(super) fn of(view: &View<'_>, collisions: i32) -> (DaemonSetStatus, Next) {
    let before = view.set.status.as_ref();
    let mut status = DaemonSetStatus {
        observed_generation: view.set.metadata.generation,
        collision_count: Some(collisions).filter(|count| *count > 0),
        conditions: before.and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available, mut soonest) = (0, 0, None);
    for (node, place) in &view.places {
        let pod = view.on_node.get(node).and_then(|pods| pods.first());
        if *place != Place::Runs {
            status.number_misscheduled += i32::from(pod.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = pod else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pods::is_ready(pod));
        updated += i32::from(view.is_updated(pod));
        available += i32::from(view.is_available(pod));
    }
    for pod in view.on_node.values().flatten() {
        let least = view.spec.min_ready_seconds.unwrap_or(0);
        let left = pods::until_available(pod, least, view.now).filter(|left| *left > 0);
        soonest = soonest.into_iter().chain(left).min();
    }
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    status.updated_number_scheduled = some(updated);
    status.number_available = some(available);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    let next = soonest.and_then(|left| u64::try_from(left).ok()).map(Duration::from_secs);
    (status, next.map_or(Next::Change, Next::After))
}

/// What is to be written of it; the conditions are others'.
pub(super) fn patch(status: &DaemonSetStatus) -> Value {
    json!({
        "observedGeneration": status.observed_generation,
        "collisionCount": status.collision_count,
        "desiredNumberScheduled": status.desired_number_scheduled,
        "currentNumberScheduled": status.current_number_scheduled,
        "numberMisscheduled": status.number_misscheduled,
        "numberReady": status.number_ready,
        "updatedNumberScheduled": status.updated_number_scheduled,
        "numberAvailable": status.number_available,
        "numberUnavailable": status.number_unavailable,
    })
}
