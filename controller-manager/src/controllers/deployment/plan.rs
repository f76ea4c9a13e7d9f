//! What is to be done for a Deployment next. A look takes one step; the next follows once its outcome is seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};

use super::rolling::{self, Limits, is_recreate};
use super::sets::{self, DESIRED, MAXIMUM, Sets, replicas};
use super::{proportions, status};

/// A write.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Create(Box<ReplicaSet>),
    /// Gives the set so many pods, and the annotations.
    Change {
        set: Arc<ReplicaSet>,
        replicas: i32,
        annotations: BTreeMap<String, String>,
        min_ready_seconds: Option<i32>,
    },
    Delete(Arc<ReplicaSet>),
}

/// `old_pods_run`: whether there are pods of old sets that have not ended, the ones on their way out included.
pub(super) fn actions(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets,
    old_pods_run: bool,
) -> Vec<Action> {
    if let Some(update) = sets.new.as_ref().and_then(|new| upkeep(deployment, spec, sets, new)) {
        return vec![update];
    }
    let limits = Limits::of(spec);
    let is_paused = spec.paused == Some(true);
    if is_paused || proportions::is_due(limits.wanted, sets) {
        let sizes = proportions::scaled(limits, sets, is_recreate(spec));
        let scaled = resized(limits, sizes);
        return if scaled.is_empty() && is_paused { forget(deployment, sets) } else { scaled };
    }
    let step = match is_recreate(spec) {
        true => recreate(deployment, spec, sets, old_pods_run),
        false => roll(deployment, spec, sets),
    };
    let is_done = step.is_empty() && status::is_complete(deployment);
    if is_done { forget(deployment, sets) } else { step }
}

/// What the new set has to take over of the Deployment.
fn upkeep(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets,
    new: &Arc<ReplicaSet>,
) -> Option<Action> {
    let annotations = sets::missing_annotations(deployment, new, sets.revision());
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let has = new.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let is_due = !annotations.is_empty() || min_ready != has;
    is_due.then(|| Action::Change {
        set: new.clone(),
        replicas: replicas(new),
        annotations,
        min_ready_seconds: (min_ready != has).then_some(min_ready),
    })
}

fn recreate(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets,
    old_pods_run: bool,
) -> Vec<Action> {
    let limits = Limits::of(spec);
    let active = sets.old.iter().filter(|set| replicas(set) > 0);
    let emptied = resized(limits, active.map(|set| (set.clone(), 0)));
    if !emptied.is_empty() || old_pods_run {
        return emptied;
    }
    match &sets.new {
        None => vec![create(deployment, spec, sets, limits.wanted)],
        Some(new) => resized(limits, [(new.clone(), limits.wanted)]),
    }
}

fn roll(deployment: &Deployment, spec: &DeploymentSpec, sets: &Sets) -> Vec<Action> {
    let limits = Limits::of(spec);
    let Some(new) = &sets.new else {
        return vec![create(deployment, spec, sets, rolling::of_new(limits, sets, 0))];
    };
    let size = rolling::of_new(limits, sets, replicas(new));
    if size != replicas(new) {
        return resized(limits, [(new.clone(), size)]);
    }
    resized(limits, rolling::of_old(limits, sets))
}

fn create(deployment: &Deployment, spec: &DeploymentSpec, sets: &Sets, replicas: i32) -> Action {
    let mut set = sets::make(deployment, spec, sets.revision(), replicas);
    set.metadata.annotations.get_or_insert_default().extend(notes(Limits::of(spec)));
    Action::Create(Box::new(set))
}

fn forget(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    sets.forgotten(deployment).into_iter().map(Action::Delete).collect()
}

/// Sets that get another number of pods, or have to take note of what the Deployment wants.
fn resized(limits: Limits, sizes: impl IntoIterator<Item = (Arc<ReplicaSet>, i32)>) -> Vec<Action> {
    let changed = sizes.into_iter().filter_map(|(set, size)| {
        let is_noted = |(name, value): &(String, String)| {
            set.metadata.annotations.as_ref().and_then(|all| all.get(name)) == Some(value)
        };
        let is_same = replicas(&set) == size && notes(limits).iter().all(is_noted);
        (!is_same).then(|| Action::Change {
            set: set.clone(),
            replicas: size,
            annotations: notes(limits).into(),
            min_ready_seconds: None,
        })
    });
    changed.collect()
}

fn notes(limits: Limits) -> [(String, String); 2] {
    [
        (DESIRED.to_owned(), limits.wanted.to_string()),
        (MAXIMUM.to_owned(), limits.most().to_string()),
    ]
}
