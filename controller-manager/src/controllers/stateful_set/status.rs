//! The status of a set, worked out from its pods.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::StatefulSetStatus;
use api_types::api::core::v1::Pod;

use super::identity::revision;
use super::plan::Wanted;
use crate::frame::Next;
use crate::pods;

/// The status, and when to look again because a pod then counts as available.
pub(super) fn of(
    wanted: &Wanted<'_>,
    owned: &[Arc<Pod>],
    collisions: i32,
) -> (StatefulSetStatus, Next) {
    let Wanted { set, spec, current, update, now } = *wanted;
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    let created: Vec<_> = owned.iter().filter(|pod| !pods::phase(pod).is_empty()).collect();
    let ready = created.iter().filter(|pod| pods::phase(pod) == "Running" && pods::is_ready(pod));
    let waits: Vec<i64> =
        ready.clone().filter_map(|pod| pods::until_available(pod, min_ready, now)).collect();
    let of_version = |name: &str| {
        let living = created.iter().filter(|pod| !pods::is_terminating(pod));
        count(living.filter(|pod| revision(pod) == name).count())
    };
    let mut status = StatefulSetStatus {
        replicas: count(created.len()),
        ready_replicas: Some(count(ready.count())),
        available_replicas: Some(count(waits.iter().filter(|wait| **wait <= 0).count())),
        current_replicas: Some(of_version(&current.name)),
        updated_replicas: Some(of_version(&update.name)),
        current_revision: Some(current.name.clone()),
        update_revision: Some(update.name.clone()),
        observed_generation: set.metadata.generation,
        collision_count: Some(collisions),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    complete(wanted, &mut status);
    let soonest = waits.into_iter().filter(|wait| *wait > 0).min();
    let next = soonest.and_then(|wait| u64::try_from(wait).ok()).map(Duration::from_secs);
    (status, next.map_or(Next::Change, Next::After))
}

fn count(pods: usize) -> i32 {
    pods.try_into().unwrap_or(i32::MAX)
}

/// When all pods are of the new version and ready, that is the current one.
fn complete(wanted: &Wanted<'_>, status: &mut StatefulSetStatus) {
    let update = wanted.spec.update_strategy.as_ref();
    let is_rolling = update.is_none_or(|it| it.type_.as_deref() != Some("OnDelete"));
    let replicas = wanted.spec.replicas.unwrap_or(1);
    let counts = [Some(status.replicas), status.ready_replicas, status.updated_replicas];
    if is_rolling && counts == [Some(replicas); 3] {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
}
