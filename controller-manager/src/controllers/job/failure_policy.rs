//! What a pod's failure means for its Job (Kubernetes: `matchPodFailurePolicy`).
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy>

use api_types::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
};
use api_types::api::core::v1::{ContainerStatus, Pod, PodCondition};

/// What the first rule that matches says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The Job has failed.
    FailJob,
    /// The pod's index has failed.
    FailIndex,
    /// The pod does not count.
    Ignore,
    /// It counts, as without a rule.
    Count,
}

/// What the policy says of a pod that has failed, and why the Job fails if it does.
pub(super) fn action(spec: &JobSpec, pod: &Pod) -> Option<(Action, String)> {
    let policy = spec.pod_failure_policy.as_ref()?;
    let matches = policy.rules.iter().enumerate().filter_map(|(place, rule)| {
        let action = match rule.action.as_str() {
            "FailJob" => Action::FailJob,
            "FailIndex" => Action::FailIndex,
            "Ignore" => Action::Ignore,
            "Count" => Action::Count,
            _ => return None,
        };
        let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
        let what = match &rule.on_exit_codes {
            Some(codes) => failed_container(pod, codes).map(|it| container_failed(it, pod)),
            None => condition(pod, patterns).map(|it| has_condition(it, pod)),
        };
        Some((action, format!("{} matching {} rule at index {place}", what?, rule.action)))
    });
    { matches }.next()
}

fn failed_container<'a>(
    pod: &'a Pod,
    codes: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let own = status.container_statuses.iter().flatten();
    let mut all = own.chain(status.init_container_statuses.iter().flatten());
    all.find(|container| {
        let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
        let listed = |code: i32| codes.values.contains(&code) == (codes.operator == "In");
        named && exit_code(container).is_some_and(|code| code != 0 && listed(code))
    })
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn condition<'a>(
    pod: &'a Pod,
    patterns: &[PodFailurePolicyOnPodConditionsPattern],
) -> Option<&'a PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|condition| {
        patterns.iter().any(|pattern| {
            let status = pattern.status.as_deref().unwrap_or("True");
            pattern.type_ == condition.type_ && status == condition.status
        })
    })
}

fn container_failed(container: &ContainerStatus, pod: &Pod) -> String {
    let (name, code) = (&container.name, exit_code(container).unwrap_or_default());
    format!("Container {name} for pod {} failed with exit code {code}", named(pod))
}

fn has_condition(condition: &PodCondition, pod: &Pod) -> String {
    format!("Pod {} has condition {}", named(pod), condition.type_)
}

fn named(pod: &Pod) -> String {
    let [namespace, name] = [&pod.metadata.namespace, &pod.metadata.name]
        .map(|text| text.as_deref().unwrap_or_default());
    format!("{namespace}/{name}")
}
