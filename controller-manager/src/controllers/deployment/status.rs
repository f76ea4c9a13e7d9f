//! The status of a Deployment, worked out from its sets.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet,
};
use api_types::jiff::Timestamp;
use api_types::meta::{ObjectMeta, Time};

use super::rolling::Limits;
use super::sets::{self, Sets, available, replicas};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// A deadline that means none.
const NEVER: i32 = i32::MAX;

/// What became of this look.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The new set was there.
    Found,
    /// The new set was made now, under this name.
    Created(String),
    /// The new set could not be made: the API server's words.
    CannotCreate(String),
    /// The name of the new set is another one's.
    Collision,
}

/// Whether all pods are of the new set and serve, as the status says.
pub(super) fn is_complete(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    is_complete_as(deployment, &status)
}

fn is_complete_as(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let counts = [status.updated_replicas, status.replicas, status.available_replicas];
    counts.iter().all(|count| count.unwrap_or(0) == wanted)
        && status.observed_generation >= deployment.metadata.generation
}

/// The status, and when the progress deadline is over.
pub(super) fn of(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets,
    outcome: &Outcome,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let mut status = counts(deployment, sets, outcome);
    let old = deployment.status.clone().unwrap_or_default();
    let mut conditions = Conditions { all: old.conditions.clone().unwrap_or_default(), now };
    availability(&mut conditions, &status, Limits::of(spec));
    match spec.progress_deadline_seconds.filter(|deadline| *deadline != NEVER) {
        Some(deadline) => {
            progress(&mut conditions, deployment, spec, sets, outcome, (&old, &status), deadline)
        }
        None => conditions.remove(PROGRESSING),
    }
    match failure(sets) {
        Some((reason, message)) => conditions.set(REPLICA_FAILURE, "True", &reason, message),
        None => conditions.remove(REPLICA_FAILURE),
    }
    let next = conditions.deadline(spec);
    status.conditions = Some(conditions.all).filter(|all| !all.is_empty());
    (status, next)
}

fn counts(deployment: &Deployment, sets: &Sets, outcome: &Outcome) -> DeploymentStatus {
    let sum = |of: fn(&ReplicaSet) -> i32| sets::sum(sets.all(), of);
    let made = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0);
    let available = sum(available);
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let collisions = match outcome {
        Outcome::Collision => Some(collisions.unwrap_or(0) + 1),
        _ => collisions,
    };
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(made)),
        updated_replicas: some(sets.new.as_ref().map_or(0, |set| made(set))),
        ready_replicas: some(sum(ready)),
        available_replicas: some(available),
        unavailable_replicas: some((sum(replicas) - available).max(0)),
        collision_count: collisions,
        terminating_replicas: None,
        conditions: None,
    }
}

fn some(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

fn availability(conditions: &mut Conditions, status: &DeploymentStatus, limits: Limits) {
    if status.available_replicas.unwrap_or(0) >= limits.least_available() {
        let message = "Deployment has minimum availability.".to_owned();
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        conditions.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
    }
}

fn progress(
    conditions: &mut Conditions,
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets,
    outcome: &Outcome,
    (old, status): (&DeploymentStatus, &DeploymentStatus),
    deadline: i32,
) {
    let known = conditions.get(PROGRESSING);
    let reason = known.and_then(|known| known.reason.clone()).unwrap_or_default();
    if spec.paused == Some(true) {
        if reason != PAUSED && reason != TIMED_OUT {
            conditions.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned());
        }
        return;
    }
    if let Outcome::CannotCreate(message) = outcome {
        let message = format!("Failed to create new replica set: {message}");
        conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", message);
        return;
    }
    beginning(conditions, sets, outcome, &reason);
    let was_complete = status.replicas == status.updated_replicas && reason == COMPLETE;
    if was_complete && !matches!(outcome, Outcome::Created(_)) {
        return;
    }
    let subject = subject(deployment, sets, outcome);
    if is_complete_as(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        conditions.set(PROGRESSING, "True", COMPLETE, message);
    } else if has_progressed(old, status) {
        conditions.renew(PROGRESSING, "ReplicaSetUpdated", format!("{subject} is progressing."));
    } else if conditions.is_late(deadline) {
        let message = format!("{subject} has timed out progressing.");
        conditions.set(PROGRESSING, "False", TIMED_OUT, message);
    }
}

/// What a rollout begins with, or goes on with after a pause.
fn beginning(conditions: &mut Conditions, sets: &Sets, outcome: &Outcome, reason: &str) {
    if let Outcome::Created(name) = outcome {
        let message = format!("Created new replica set {name:?}");
        conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
    } else if reason == PAUSED {
        let message = "Deployment is resumed".to_owned();
        conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", message);
    } else if conditions.get(PROGRESSING).is_none()
        && let Some(new) = &sets.new
    {
        let message = format!("Found new replica set {:?}", name(&new.metadata));
        conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
    }
}

/// Of what progress is told.
fn subject(deployment: &Deployment, sets: &Sets, outcome: &Outcome) -> String {
    match (outcome, &sets.new) {
        (Outcome::Created(name), _) => format!("ReplicaSet {name:?}"),
        (_, Some(new)) => format!("ReplicaSet {:?}", name(&new.metadata)),
        _ => format!("Deployment {:?}", name(&deployment.metadata)),
    }
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// More pods of the new set, fewer of the others, or more that serve.
fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let outdated =
        |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

/// What a set says that it cannot do, the new one before the others.
fn failure(sets: &Sets) -> Option<(String, String)> {
    let told = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.as_ref()?.conditions.as_deref()?;
        let failure = conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE)?;
        Some((failure.reason.clone()?, failure.message.clone().unwrap_or_default()))
    };
    sets.new.iter().chain(&sets.old).find_map(told)
}

struct Conditions {
    all: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn get(&self, type_: &str) -> Option<&DeploymentCondition> {
        self.all.iter().find(|condition| condition.type_ == type_)
    }

    fn remove(&mut self, type_: &str) {
        self.all.retain(|condition| condition.type_ != type_);
    }

    /// One that says the same already stays as it is.
    fn set(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let known = self.get(type_);
        if known.is_some_and(|k| k.status == status && k.reason.as_deref() == Some(reason)) {
            return;
        }
        self.put(type_, status, reason, message);
    }

    /// There is news, though it may read as before: the deadline begins anew.
    fn renew(&mut self, type_: &str, reason: &str, message: String) {
        self.put(type_, "True", reason, message);
    }

    fn put(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let now = Time(self.now);
        let same = self.get(type_).filter(|known| known.status == status);
        let since = same.and_then(|known| known.last_transition_time.clone());
        let condition = DeploymentCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
            last_update_time: Some(now),
        };
        match self.all.iter_mut().find(|known| known.type_ == type_) {
            Some(known) => *known = condition,
            None => self.all.push(condition),
        }
    }

    /// Of a rollout that has just begun, the condition may still tell of the one before.
    fn is_late(&self, deadline: i32) -> bool {
        match self.get(PROGRESSING).and_then(|condition| condition.reason.as_deref()) {
            Some(COMPLETE) => false,
            Some(TIMED_OUT) => true,
            _ => self.left(deadline).is_some_and(|left| left <= 0),
        }
    }

    /// Milliseconds until the deadline since the last progress.
    fn left(&self, deadline: i32) -> Option<i64> {
        let since = self.get(PROGRESSING)?.last_update_time.as_ref()?.0;
        Some(since.as_millisecond() + i64::from(deadline) * 1000 - self.now.as_millisecond())
    }

    /// How long until it may be said that there was no progress in time.
    fn deadline(&self, spec: &DeploymentSpec) -> Option<Duration> {
        let deadline = spec.progress_deadline_seconds.filter(|deadline| *deadline != NEVER)?;
        let reason = self.get(PROGRESSING)?.reason.as_deref()?;
        let is_waiting =
            ![COMPLETE, TIMED_OUT, PAUSED].contains(&reason) && spec.paused != Some(true);
        let left = self.left(deadline).filter(|_| is_waiting)?;
        // The next millisecond after it.
        Some(Duration::from_millis(u64::try_from(left.max(0)).ok()? + 1))
    }
}
