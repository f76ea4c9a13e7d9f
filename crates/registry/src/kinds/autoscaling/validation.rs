//! What an autoscaler must be like (Kubernetes: `pkg/apis/autoscaling/validation`).

use api_machinery::{FieldErrors, FieldPath, Quantity, names};
use api_types::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules,
    HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec, MetricTarget,
};

use crate::{kinds::core::pod::requirements, rules};

const MAX_PERIOD_SECONDS: i32 = 1800;
const MAX_STABILIZATION_WINDOW_SECONDS: i32 = 3600;
const POSITIVE: &str = "must be greater than zero";
const MISSING_SOURCE: &str = "must populate information for the given metric source";
const MISSING_TARGET: &str = "must set either a target raw value or a target utilization";
const BOTH_TARGETS: &str = "may not set both a target raw value and a target utilization";

pub(super) fn spec(spec: &HorizontalPodAutoscalerSpec, errors: &mut FieldErrors) {
    let path = FieldPath::new("spec");
    replicas(spec, &path, errors);
    let target = &spec.scale_target_ref;
    reference(target, &path.child("scaleTargetRef"), errors);
    if target.kind != "ReplicationController" {
        in_a_group(target, &path.child("scaleTargetRef"), errors);
    }
    for (i, metric) in spec.metrics.iter().flatten().enumerate() {
        metric_spec(metric, &path.child("metrics").index(i), errors);
    }
    if let Some(behavior) = &spec.behavior {
        let path = path.child("behavior");
        scaling_rules(behavior.scale_up.as_ref(), &path.child("scaleUp"), errors);
        scaling_rules(behavior.scale_down.as_ref(), &path.child("scaleDown"), errors);
    }
}

fn replicas(spec: &HorizontalPodAutoscalerSpec, path: &FieldPath, errors: &mut FieldErrors) {
    const AT_LEAST_ONE: &str = "must be greater than or equal to 1";
    if let Some(min) = spec.min_replicas.filter(|min| *min < 1) {
        errors.invalid(&path.child("minReplicas"), min, AT_LEAST_ONE);
    }
    let (max, path) = (spec.max_replicas, path.child("maxReplicas"));
    match max {
        0 => errors.required(&path, "must be set and greater than 0"),
        ..0 => errors.invalid(&path, max, AT_LEAST_ONE),
        _ => {}
    }
    if spec.min_replicas.is_some_and(|min| max < min) {
        errors.invalid(&path, max, "must be greater than or equal to `minReplicas`");
    }
}

fn reference(to: &CrossVersionObjectReference, path: &FieldPath, errors: &mut FieldErrors) {
    rules::named(&to.kind, names::path_segment, &path.child("kind"), errors);
    rules::named(&to.name, names::path_segment, &path.child("name"), errors);
    let version = rules::text(to.api_version.as_ref());
    if version.matches('/').count() > 1 {
        let detail = format!("unexpected GroupVersion string: {version}");
        errors.invalid(&path.child("apiVersion"), version, &detail);
    }
}

fn in_a_group(to: &CrossVersionObjectReference, path: &FieldPath, errors: &mut FieldErrors) {
    let version = rules::text(to.api_version.as_ref());
    if !version.contains('/') || version.starts_with('/') {
        errors.invalid(&path.child("apiVersion"), version, "apiVersion must specify API group");
    }
}

fn metric_spec(metric: &MetricSpec, path: &FieldPath, errors: &mut FieldErrors) {
    const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    if metric.type_.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    }
    if !TYPES.contains(&metric.type_.as_str()) {
        errors.not_supported(&path.child("type"), &metric.type_, &TYPES);
    }
    let mut expected = metric.type_.clone();
    expected.get_mut(..1).into_iter().for_each(str::make_ascii_lowercase);
    let sources = sources(metric);
    if TYPES.contains(&metric.type_.as_str()) && sources.iter().all(|name| *name != expected) {
        errors.required(&path.child(&expected), MISSING_SOURCE);
    }
    source(metric, path, errors);
    if sources.len() > 1 {
        for other in sources.iter().filter(|name| **name != expected) {
            errors.forbidden(&path.child(other), "must populate the given metric source only");
        }
    }
}

/// Those that are given, in the order in which Kubernetes looks at them.
fn sources(metric: &MetricSpec) -> Vec<&'static str> {
    let all = [
        ("object", metric.object.is_some()),
        ("external", metric.external.is_some()),
        ("pods", metric.pods.is_some()),
        ("resource", metric.resource.is_some()),
        ("containerResource", metric.container_resource.is_some()),
    ];
    all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}

/// The first one that is given.
fn source(metric: &MetricSpec, path: &FieldPath, errors: &mut FieldErrors) {
    match metric {
        MetricSpec { object: Some(source), .. } => {
            let path = path.child("object");
            reference(&source.described_object, &path.child("describedObject"), errors);
            identifier(&source.metric, &path.child("metric"), errors);
            let detail = "must set either a target value or averageValue";
            value_target(&source.target, detail, &path.child("target"), errors);
        }
        MetricSpec { external: Some(source), .. } => {
            let path = path.child("external");
            identifier(&source.metric, &path.child("metric"), errors);
            let (path, target) = (path.child("target"), &source.target);
            let detail = "must set either a target value for metric or a per-pod target";
            value_target(target, detail, &path, errors);
            if target.value.is_some() && target.average_value.is_some() {
                let both = "may not set both a target value for metric and a per-pod target";
                errors.forbidden(&path.child("value"), both);
            }
        }
        MetricSpec { pods: Some(source), .. } => {
            let path = path.child("pods");
            identifier(&source.metric, &path.child("metric"), errors);
            let path = path.child("target");
            metric_target(&source.target, &path, errors);
            if source.target.average_value.is_none() {
                let detail = "must specify a positive target averageValue";
                errors.required(&path.child("averageValue"), detail);
            }
        }
        MetricSpec { resource: Some(source), .. } => {
            let path = path.child("resource");
            if source.name.is_empty() {
                errors.required(&path.child("name"), "must specify a resource name");
            }
            resource_target(&source.target, &path.child("target"), errors);
        }
        MetricSpec { container_resource: Some(source), .. } => {
            container_resource(source, &path.child("containerResource"), errors);
        }
        _ => {}
    }
}

fn container_resource(
    source: &ContainerResourceMetricSource,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if source.name.is_empty() {
        errors.required(&path.child("name"), "must specify a resource name");
    } else {
        requirements::name(&source.name, &path.child("name"), errors);
    }
    if source.container.is_empty() {
        errors.required(&path.child("container"), "must specify a container");
    } else {
        rules::follows(&source.container, names::dns1123_label, &path.child("container"), errors);
    }
    resource_target(&source.target, &path.child("target"), errors);
}

fn resource_target(target: &MetricTarget, path: &FieldPath, errors: &mut FieldErrors) {
    metric_target(target, path, errors);
    match (target.average_utilization, &target.average_value) {
        (None, None) => errors.required(&path.child("averageUtilization"), MISSING_TARGET),
        (Some(_), Some(_)) => errors.forbidden(&path.child("averageValue"), BOTH_TARGETS),
        _ => {}
    }
}

fn value_target(target: &MetricTarget, missing: &str, path: &FieldPath, errors: &mut FieldErrors) {
    metric_target(target, path, errors);
    if target.value.is_none() && target.average_value.is_none() {
        errors.required(&path.child("averageValue"), missing);
    }
}

fn metric_target(target: &MetricTarget, path: &FieldPath, errors: &mut FieldErrors) {
    if target.type_.is_empty() {
        errors.required(&path.child("type"), "must specify a metric target type");
    }
    if !matches!(&*target.type_, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.invalid(&path.child("type"), &target.type_, detail);
    }
    for (name, value) in [("value", &target.value), ("averageValue", &target.average_value)] {
        let is_positive = |q: Quantity| !q.is_negative() && !q.is_zero();
        if let Some(value) = value.as_ref().filter(|v| !v.0.parse().is_ok_and(is_positive)) {
            errors.invalid(&path.child(name), &value.0, "must be positive");
        }
    }
    rules::positive(target.average_utilization, &path.child("averageUtilization"), errors);
}

fn identifier(metric: &MetricIdentifier, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("name");
    if metric.name.is_empty() {
        errors.required(&path, "must specify a metric name");
    }
    rules::follows(&metric.name, names::path_segment, &path, errors);
}

fn scaling_rules(rules: Option<&HPAScalingRules>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(rules) = rules else { return };
    let window = path.child("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(seconds @ ..0) => {
            errors.invalid(&window, seconds, "must be greater than or equal to zero");
        }
        Some(seconds) if seconds > MAX_STABILIZATION_WINDOW_SECONDS => {
            let detail =
                format!("must be less than or equal to {MAX_STABILIZATION_WINDOW_SECONDS}");
            errors.invalid(&window, seconds, &detail);
        }
        _ => {}
    }
    let select = rules.select_policy.as_deref().unwrap_or("Max");
    if !["Disabled", "Max", "Min"].contains(&select) {
        errors.not_supported(&path.child("selectPolicy"), select, &["Disabled", "Max", "Min"]);
    }
    let policies = rules.policies.as_deref().unwrap_or_default();
    if policies.is_empty() {
        errors.required(&path.child("policies"), "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        scaling_policy(policy, &path.child("policies").index(i), errors);
    }
    let is_negative = |q: Quantity| q.is_negative();
    if let Some(value) = rules.tolerance.as_ref().filter(|t| t.0.parse().is_ok_and(is_negative)) {
        errors.invalid(&path.child("tolerance"), &value.0, rules::NOT_NEGATIVE);
    }
}

fn scaling_policy(policy: &HPAScalingPolicy, path: &FieldPath, errors: &mut FieldErrors) {
    if !matches!(&*policy.type_, "Pods" | "Percent") {
        errors.not_supported(&path.child("type"), &policy.type_, &["Percent", "Pods"]);
    }
    if policy.value <= 0 {
        errors.invalid(&path.child("value"), policy.value, POSITIVE);
    }
    let (period, path) = (policy.period_seconds, path.child("periodSeconds"));
    if period <= 0 {
        errors.invalid(&path, period, POSITIVE);
    }
    if period > MAX_PERIOD_SECONDS {
        let detail = format!("must be less than or equal to {MAX_PERIOD_SECONDS}");
        errors.invalid(&path, period, &detail);
    }
}
