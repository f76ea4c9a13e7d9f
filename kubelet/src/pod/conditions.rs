//! A pod's conditions, as Kubernetes computes them. Pure.

use std::collections::BTreeSet;

use api_types::{
    api::core::v1::{ContainerStatus, Pod, PodCondition, PodReadinessGate},
    meta::Time,
};

use super::{
    container_status::{init_done, initialised},
    status_input::StatusInput,
};
use crate::spec;

/// The conditions that the kubelet owns.
pub(super) const OWNED_CONDITIONS: [&str; 4] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// The conditions that the kubelet writes. `PodScheduled` is the scheduler's too, who may not have had
/// a part in a pod that was made with its node.
pub(super) const WRITTEN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

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
        ConditionValue::holds("PodScheduled", true),
    ];
    let owned: BTreeSet<&str> = values.iter().map(|value| value.kind).collect();
    let foreign = old.iter().filter(|condition| !owned.contains(condition.type_.as_str())).cloned();
    values.iter().map(|value| condition(value, &old, input)).chain(foreign).collect()
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
