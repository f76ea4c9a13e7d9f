//! The sets of a Deployment: which one has its template, what each is called, and which are of no use any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use api_types::api::core::v1::PodTemplateSpec;
use api_types::meta::ObjectMeta;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::owners::controller_reference;

/// Tells the pods of one set from those of the others.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many pods the Deployment wanted, and could have had, when the set was scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const DEFAULT_HISTORY: i32 = 10;
/// Of the revisions that a set had, in bytes, as with Kubernetes.
const HISTORY_LENGTH: usize = 2000;

/// The set with the Deployment's template, and all others, the oldest first.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) new: Option<Arc<ReplicaSet>>,
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    pub(super) fn of(deployment: &Deployment, mut owned: Vec<Arc<ReplicaSet>>) -> Self {
        owned.sort_by_key(|set| age(set));
        let template = spec(deployment).map(|spec| comparable(&spec.template));
        let is_new = |set: &Arc<ReplicaSet>| {
            let of_set = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            of_set.map(comparable) == template
        };
        let new = owned.iter().position(is_new).map(|place| owned.remove(place));
        Self { new, old: owned }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }

    /// The revision that the new set has, or is to have: one more than that of any other.
    pub(super) fn revision(&self) -> i64 {
        let before = self.old.iter().map(|set| revision(set)).max().unwrap_or(0);
        self.new.as_ref().map_or(0, |set| revision(set)).max(before + 1)
    }

    /// Old sets beyond `revisionHistoryLimit`, which nothing runs of.
    pub(super) fn forgotten(&self, deployment: &Deployment) -> Vec<Arc<ReplicaSet>> {
        let limit = spec(deployment).and_then(|spec| spec.revision_history_limit);
        let limit = usize::try_from(limit.unwrap_or(DEFAULT_HISTORY)).unwrap_or(0);
        let mut old: Vec<_> = self.old.iter().filter(|set| is_living(set)).cloned().collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|set| revision(set));
        old.truncate(surplus);
        old.retain(|set| is_unused(set));
        old
    }
}

pub(super) fn spec(deployment: &Deployment) -> Option<&DeploymentSpec> {
    deployment.spec.as_ref()
}

/// The sum of a count over sets, which may be anything that a client has written.
pub(super) fn sum<'a>(
    sets: impl Iterator<Item = &'a Arc<ReplicaSet>>,
    count: impl Fn(&ReplicaSet) -> i32,
) -> i32 {
    sets.fold(0, |sum, set| sum.saturating_add(count(set)))
}

/// How many pods the set is to have.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
}

/// How many pods of the set serve, and will go on: it may have been told to have fewer, and not have begun.
pub(super) fn lasting(set: &ReplicaSet) -> i32 {
    available(set).min(replicas(set))
}

/// How many pods of the set serve.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

pub(super) fn is_living(set: &ReplicaSet) -> bool {
    set.metadata.deletion_timestamp.is_none()
}

/// A number that was noted down at the set.
pub(super) fn noted(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

fn revision(set: &ReplicaSet) -> i64 {
    let noted = set.metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
    noted.and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// Sorts the oldest first; of two of one second by name.
pub(super) fn age(set: &ReplicaSet) -> (Option<i64>, Option<String>) {
    let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    (created, set.metadata.name.clone())
}

fn is_unused(set: &ReplicaSet) -> bool {
    let status = set.status.as_ref();
    let is_seen = status.and_then(|status| status.observed_generation) >= set.metadata.generation;
    replicas(set) == 0 && is_seen && status.is_none_or(|status| status.replicas == 0)
}

/// The template as it is compared: without the label of its set, and with no list where there is an empty one.
fn comparable(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).expect("plain data has an encoding");
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    for map in ["labels", "annotations"] {
        let is_empty = template["metadata"][map].as_object().is_some_and(Map::is_empty);
        if let Some(metadata) = template["metadata"].as_object_mut().filter(|_| is_empty) {
            metadata.remove(map);
        }
    }
    drop_empty_lists(&mut template);
    template
}

fn drop_empty_lists(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| field.as_array().is_none_or(|list| !list.is_empty()));
            fields.values_mut().for_each(drop_empty_lists);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_lists),
        _ => {}
    }
}

/// A set with the Deployment's template, and so many pods.
pub(super) fn make(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    revision: i64,
    replicas: i32,
) -> ReplicaSet {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions.unwrap_or(0));
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let mut annotations = inherited(deployment);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: controller_reference(deployment).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: Some(replicas),
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// Digits and consonants that spell nothing, as Kubernetes' own.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let encoded = serde_json::to_vec(&(template, collisions)).expect("plain data has an encoding");
    let digest = Sha256::digest(encoded);
    digest.iter().take(10).map(|byte| char::from(SAFE[usize::from(*byte) % SAFE.len()])).collect()
}

/// What a set carries of the Deployment's annotations.
fn inherited(deployment: &Deployment) -> BTreeMap<String, String> {
    let own = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAXIMUM];
    let annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    annotations.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect()
}

/// The annotations that the new set lacks: those of the Deployment, and its revision, with the ones that it had before.
pub(super) fn missing_annotations(
    deployment: &Deployment,
    set: &ReplicaSet,
    revision: i64,
) -> BTreeMap<String, String> {
    let known = set.metadata.annotations.clone().unwrap_or_default();
    let mut wanted = inherited(deployment);
    wanted.insert(REVISION.to_owned(), revision.to_string());
    if let Some(before) = known.get(REVISION).filter(|before| **before != revision.to_string()) {
        let history = known.get(REVISION_HISTORY).filter(|history| !history.is_empty());
        let mut history = history.map_or(before.clone(), |history| format!("{history},{before}"));
        while history.len() > HISTORY_LENGTH
            && let Some((_, later)) = history.split_once(',')
        {
            history = later.to_owned();
        }
        wanted.insert(REVISION_HISTORY.to_owned(), history);
    }
    wanted.retain(|name, value| known.get(name) != Some(value));
    wanted
}
