//! How many pods there are, by what they use. The second version of the group is stored, the first one made of it.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::autoscaling::{
    v1,
    v2::{
        HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus,
        MetricSpec, MetricTarget, ResourceMetricSource,
    },
};
use serde_json::json;

use super::{
    targets,
    v1::{Annotated, V1, V1Strategy},
    validation,
};
use crate::{ResourceDef, Strategy, resource, rules};

pub(super) const DEFAULT_CPU_UTILIZATION: i32 = 80;

pub(crate) fn definition() -> ResourceDef {
    resource::<HorizontalPodAutoscaler, _>(V2Strategy)
        .short_names(&["hpa"])
        .categories(&["all"])
        .status(|autoscaler, from| autoscaler.status.clone_from(&from.status))
        .column("Reference", "string", 0, |hpa, _| json!(targets::reference(hpa)))
        .column("Targets", "string", 0, |hpa, _| json!(targets::all(hpa)))
        .column("MinPods", "string", 0, |hpa, _| json!(targets::min_pods(hpa)))
        .column("MaxPods", "string", 0, |hpa, _| json!(hpa.spec.max_replicas))
        .column("Replicas", "string", 0, |hpa, _| json!(targets::replicas(hpa)))
        .build()
}

/// The first version.
pub(crate) fn v1_definition() -> ResourceDef {
    let of = |hpa: &v1::HorizontalPodAutoscaler| super::v1::stored(hpa).unwrap_or_default();
    resource::<v1::HorizontalPodAutoscaler, _>(V1Strategy)
        .short_names(&["hpa"])
        .categories(&["all"])
        .status(|autoscaler, from| autoscaler.status.clone_from(&from.status))
        .column("Reference", "string", 0, move |hpa, _| json!(targets::reference(&of(hpa))))
        .column("Targets", "string", 0, move |hpa, _| json!(targets::all(&of(hpa))))
        .column("MinPods", "string", 0, move |hpa, _| json!(targets::min_pods(&of(hpa))))
        .column("MaxPods", "string", 0, |hpa, _| json!(hpa.spec.max_replicas))
        .column("Replicas", "string", 0, move |hpa, _| json!(targets::replicas(&of(hpa))))
        .converted(V1)
        .build()
}

struct V2Strategy;

impl Strategy<HorizontalPodAutoscaler> for V2Strategy {
    /// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#default-behavior>
    fn default(&self, autoscaler: &mut HorizontalPodAutoscaler) {
        autoscaler.metadata.drop_annotations();
        let spec = &mut autoscaler.spec;
        spec.min_replicas.get_or_insert(1);
        let metrics = spec.metrics.get_or_insert_default();
        if metrics.is_empty() {
            metrics.push(cpu_utilization(DEFAULT_CPU_UTILIZATION));
        }
        if let Some(behavior) = &mut spec.behavior {
            scale_up(behavior.scale_up.get_or_insert_default());
            scale_down(behavior.scale_down.get_or_insert_default());
        }
    }

    fn prepare_create(&self, autoscaler: &mut HorizontalPodAutoscaler) {
        autoscaler.status = Some(HorizontalPodAutoscalerStatus::default());
    }

    fn validate(&self, autoscaler: &HorizontalPodAutoscaler, errors: &mut FieldErrors) {
        validation::spec(&autoscaler.spec, errors);
    }

    fn validate_status(
        &self,
        new: &HorizontalPodAutoscaler,
        _: &HorizontalPodAutoscaler,
        errors: &mut FieldErrors,
    ) {
        let (Some(status), path) = (&new.status, FieldPath::new("status")) else { return };
        rules::not_negative(status.current_replicas, &path.child("currentReplicas"), errors);
        let desired = Some(status.desired_replicas);
        rules::not_negative(desired, &path.child("desiredReplicas"), errors);
    }
}

/// So many percent of what the pods request.
pub(super) fn cpu_utilization(percent: i32) -> MetricSpec {
    let target = MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: Some(percent),
        ..MetricTarget::default()
    };
    let resource = Some(ResourceMetricSource { name: "cpu".to_owned(), target });
    MetricSpec { type_: "Resource".to_owned(), resource, ..MetricSpec::default() }
}

fn scale_up(rules: &mut HPAScalingRules) {
    rules.stabilization_window_seconds.get_or_insert(0);
    complete(rules, &[("Pods", 4), ("Percent", 100)]);
}

/// The window stays open: it is a setting of the controller.
fn scale_down(rules: &mut HPAScalingRules) {
    complete(rules, &[("Percent", 100)]);
}

fn complete(rules: &mut HPAScalingRules, policies: &[(&str, i32)]) {
    rules.select_policy.get_or_insert_with(|| "Max".to_owned());
    rules.policies.get_or_insert_with(|| {
        let policy = |(type_, value): &(&str, i32)| HPAScalingPolicy {
            type_: (*type_).to_owned(),
            value: *value,
            period_seconds: 15,
        };
        policies.iter().map(policy).collect()
    });
}
