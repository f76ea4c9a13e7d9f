//! A pod's conditions, as Kubernetes computes them. Pure.

use api_types::{
    api::core::v1::{ContainerStatus, Pod, PodCondition, PodReadinessGate},
    meta::Time,
};

use super::{
    container_status::{init_done, initialised},
    size,
    status_input::StatusInput,
};
use crate::spec;

const RESIZE_PENDING: &str = "PodResizePending";
pub(super) const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";

/// The conditions that the kubelet owns.
pub(super) const OWNED_CONDITIONS: [&str; 6] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    RESIZE_PENDING,
    RESIZE_IN_PROGRESS,
];

/// Another one that the kubelet writes. It is the scheduler's too, who may not have had a part in a pod that was made
/// with its node.
const POD_SCHEDULED: &str = "PodScheduled";

/// Those that are there only while they hold.
pub(super) const PASSING_CONDITIONS: [&str; 2] = [RESIZE_PENDING, RESIZE_IN_PROGRESS];

/// Whether the kubelet writes the condition.
pub(super) fn is_written(kind: &str) -> bool {
    kind == POD_SCHEDULED || OWNED_CONDITIONS.contains(&kind)
}

/// A condition's value before it is compared with what was reported.
#[derive(Clone)]
struct ConditionValue {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl ConditionValue {
    fn holds(kind: &'static str, holds: bool) -> Self {
        Self { kind, holds, reason: None, message: None }
    }

    fn because(self, reason: &'static str, message: Option<String>) -> Self {
        Self { reason: Some(reason), message, ..self }
    }
}

/// All conditions of the pod: the kubelet's own, and those of others as they are.
pub(super) fn conditions(
    input: &StatusInput<'_>,
    phase: &str,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> Vec<PodCondition> {
    let old = input.pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let sandbox = input.observed.sandbox().is_some() && input.pod_ip.is_some();
    let ready = containers_ready(input.pod, phase, init, containers);
    let values = [
        ConditionValue::holds("PodReadyToStartContainers", sandbox),
        initialised_value(input.pod, phase, init, containers),
        pod_ready(input.pod, &old, &ready),
        ready,
        ConditionValue::holds(POD_SCHEDULED, true),
    ];
    let foreign = old.iter().filter(|condition| !is_written(&condition.type_)).cloned();
    let resize = resize(input);
    let own = values.iter().chain(&resize).map(|value| condition(value, &old, input));
    own.chain(foreign).collect()
}

/// What is said of containers that are to take more or less than they do.
fn resize(input: &StatusInput<'_>) -> Vec<ConditionValue> {
    let pending = input.resizing.pending.as_ref().map(|pending| {
        let value = ConditionValue::holds(RESIZE_PENDING, true);
        value.because(pending.reason, Some(pending.message.clone()))
    });
    let in_progress = size::is_in_progress(input.pod, input.observed).then(|| {
        let value = ConditionValue::holds(RESIZE_IN_PROGRESS, true);
        match input.resizing.refused.values().next() {
            Some(refused) => value.because("Error", Some(refused.message.clone())),
            None => value,
        }
    });
    pending.into_iter().chain(in_progress).collect()
}

fn initialised_value(
    pod: &Pod,
    phase: &str,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> ConditionValue {
    let value = ConditionValue::holds("Initialized", initialised(pod, init, containers));
    if phase == "Succeeded" {
        return ConditionValue { holds: true, ..value }.because("PodCompleted", None);
    }
    if value.holds {
        return value;
    }
    let open =
        spec::init_containers(pod).zip(init).filter(|(spec, status)| !init_done(spec, status));
    let names: Vec<&str> = open.map(|(spec, _)| spec.name.as_str()).collect();
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    value.because("ContainersNotInitialized", Some(message))
}

/// `ContainersReady`: sidecars count as the containers proper do.
fn containers_ready(
    pod: &Pod,
    phase: &str,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> ConditionValue {
    let value = ConditionValue::holds("ContainersReady", false);
    match phase {
        "Succeeded" => return value.because("PodCompleted", None),
        "Failed" => return value.because("PodFailed", None),
        _ => {}
    }
    let sidecars = spec::init_containers(pod).zip(init).filter(|(spec, _)| spec::is_sidecar(spec));
    let counted = sidecars.map(|(_, status)| status).chain(containers);
    let unready: Vec<&str> = counted.filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    if unready.is_empty() {
        return ConditionValue { holds: true, ..value };
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    value.because("ContainersNotReady", Some(message))
}

/// `Ready` is `ContainersReady` and all readiness gates.
fn pod_ready(pod: &Pod, all: &[PodCondition], containers: &ConditionValue) -> ConditionValue {
    let value = ConditionValue { kind: "Ready", ..containers.clone() };
    let gates = spec::spec(pod).and_then(|spec| spec.readiness_gates.as_deref());
    let closed: Vec<String> =
        gates.unwrap_or_default().iter().filter_map(|gate| closed(gate, all)).collect();
    if !value.holds || closed.is_empty() {
        return value;
    }
    ConditionValue::holds("Ready", false).because("ReadinessGatesNotReady", Some(closed.join(", ")))
}

/// What to say of a gate that is not open.
fn closed(gate: &PodReadinessGate, all: &[PodCondition]) -> Option<String> {
    let name = &gate.condition_type;
    match all.iter().find(|condition| condition.type_ == *name) {
        None => {
            Some(format!("corresponding condition of pod readiness gate {name:?} does not exist."))
        }
        Some(condition) if condition.status != "True" => Some(format!(
            "the status of pod readiness gate {name:?} is not \"True\", but {}",
            condition.status
        )),
        Some(_) => None,
    }
}

/// Keeps the transition time while the status stays the same.
fn condition(
    value: &ConditionValue,
    old: &[PodCondition],
    input: &StatusInput<'_>,
) -> PodCondition {
    let status = if value.holds { "True" } else { "False" };
    let before = old.iter().find(|condition| condition.type_ == value.kind);
    let unchanged = before.filter(|before| before.status == status);
    let since = unchanged.and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: value.kind.to_owned(),
        status: status.to_owned(),
        reason: value.reason.map(str::to_owned),
        message: value.message.clone(),
        last_transition_time: since.or(Some(Time(input.now))),
        observed_generation: input.pod.metadata.generation,
        ..PodCondition::default()
    }
}
