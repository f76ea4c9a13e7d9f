//! The pods of a Job: what they say of themselves, and new ones.

use std::cmp::max;

use api_types::api::batch::v1::{Job, JobSpec};
use api_types::api::core::v1::{
    Container, ContainerStatus, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodTemplateSpec,
};
use api_types::jiff::{SignedDuration, Timestamp};

use super::failure_policy::{self, Action};
use super::spec;
use crate::pod_control::pod_of;
use crate::pods;

/// Holds a pod until the Job's status has counted it.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// How long a name may be before the API server adds its random end.
const LONGEST_PREFIX: usize = 58;

/// Whether the pod has not been counted yet, or not for good.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// Whether the pod counts as a failure: of one that is being deleted nobody may ever hear how it ended.
pub(super) fn has_failed(pod: &Pod, spec: &JobSpec) -> bool {
    match pods::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => pods::is_terminating(pod) && !spec::replaces_ended_pods(spec),
    }
}

/// Whether the pod is on its way out, and has not ended yet.
pub(super) fn is_going(pod: &Pod) -> bool {
    pods::is_terminating(pod) && !pods::is_finished(pod)
}

/// Which index the pod is for.
pub(super) fn index(pod: &Pod) -> Option<u32> {
    annotation(pod, INDEX)
}

/// How often the pod's index had failed before it.
pub(super) fn failures(pod: &Pod) -> u32 {
    annotation(pod, FAILURES).unwrap_or(0)
}

/// The same, with the failures that don't count.
pub(super) fn all_failures(pod: &Pod) -> u32 {
    failures(pod).saturating_add(annotation(pod, IGNORED_FAILURES).unwrap_or(0))
}

fn annotation(pod: &Pod, key: &str) -> Option<u32> {
    pod.metadata.annotations.as_ref()?.get(key)?.parse().ok()
}

/// When the pod ended, as far as it is known.
pub(super) fn ended_at(pod: &Pod) -> Timestamp {
    let unready = pods::ready_condition(pod).filter(|condition| condition.status == "False");
    let unready = unready.and_then(|condition| condition.last_transition_time.as_ref());
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    let deleted = pod.metadata.deletion_timestamp.as_ref();
    let deleted = deleted.map(|at| at.0.checked_sub(grace).unwrap_or(at.0));
    let created = pod.metadata.creation_timestamp.as_ref().map(|at| at.0);
    let ended = last_container_end(pod).or(unready.map(|at| at.0)).or(deleted).or(created);
    ended.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `None` while a container runs: what ends last are sidecars.
fn last_container_end(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let sidecars = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|it| it.restart_policy.as_deref() == Some("Always"));
    let sidecars: Vec<_> = sidecars.map(|it| &it.name).collect();
    let of_sidecars = status.init_container_statuses.iter().flatten();
    let of_sidecars = of_sidecars.filter(|status| sidecars.contains(&&status.name));
    let all = status.container_statuses.iter().flatten().chain(of_sidecars);
    let ends = all.map(|status: &ContainerStatus| {
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        Some(ended.finished_at.as_ref()?.0)
    });
    ends.collect::<Option<Vec<_>>>()?.into_iter().reduce(max)
}

/// A pod to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Its index, if pods have one.
    pub(super) index: Option<u32>,
    /// How often its index has failed, and how often in a way that doesn't count; where that is counted.
    pub(super) failures: Option<(u32, u32)>,
}

/// How often the index of this pod, which has failed, has then failed.
pub(super) fn failures_after(pod: Option<&Pod>, spec: &JobSpec) -> (u32, u32) {
    let Some(pod) = pod else { return (0, 0) };
    let (counted, ignored) = (failures(pod), all_failures(pod) - failures(pod));
    let matched = failure_policy::action(spec, pod);
    match matched {
        Some((Action::Ignore, _)) => (counted, ignored.saturating_add(1)),
        _ => (counted.saturating_add(1), ignored),
    }
}

/// The pod.
pub(super) fn make(job: &Job, template: &PodTemplateSpec, wanted: &Wanted) -> Pod {
    let mut pod = pod_of(job, template);
    let metadata = &mut pod.metadata;
    let finalizers = metadata.finalizers.get_or_insert_default();
    if finalizers.iter().all(|finalizer| finalizer != TRACKING) {
        finalizers.push(TRACKING.to_owned());
    }
    let Some(index) = wanted.index else { return pod };
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let end = format!("-{index}-");
    let start = name.get(..LONGEST_PREFIX - end.len()).unwrap_or(name);
    metadata.generate_name = Some(format!("{start}{end}"));
    let index_text = index.to_string();
    metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index_text.clone());
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index_text);
    if let Some((counted, ignored)) = wanted.failures {
        annotations.insert(FAILURES.to_owned(), counted.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_FAILURES.to_owned(), ignored.to_string());
        }
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{name}-{index}"));
        let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
        containers.for_each(tell_index);
    }
    pod
}

/// Lets the container know its index, unless it says itself what the variable is.
fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field_path = format!("metadata.labels['{INDEX}']");
    let field = ObjectFieldSelector { field_path, ..ObjectFieldSelector::default() };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    });
}
