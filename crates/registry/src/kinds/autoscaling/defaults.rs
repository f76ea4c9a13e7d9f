//! What goes without saying.

use api_types::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior, MetricSpec, MetricTarget,
    ResourceMetricSource,
};

/// Of an autoscaler that names no metric.
pub(super) const DEFAULT_CPU_UTILIZATION: i32 = 80;

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

/// Of both directions.
pub(super) fn behavior(behavior: &mut HorizontalPodAutoscalerBehavior) {
    scale_up(behavior.scale_up.get_or_insert_default());
    scale_down(behavior.scale_down.get_or_insert_default());
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
