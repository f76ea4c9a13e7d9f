//! How tables show an autoscaler.

use api_types::{
    Quantity,
    api::autoscaling::v2::{
        HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
    },
};

use crate::cells;

const UNKNOWN: &str = "<unknown>";

pub(super) fn reference(autoscaler: &HorizontalPodAutoscaler) -> String {
    let target = &autoscaler.spec.scale_target_ref;
    format!("{}/{}", target.kind, target.name)
}

pub(super) fn min_pods(autoscaler: &HorizontalPodAutoscaler) -> String {
    let min = autoscaler.spec.min_replicas;
    min.map_or_else(|| "<unset>".to_owned(), |min| min.to_string())
}

pub(super) fn replicas(autoscaler: &HorizontalPodAutoscaler) -> i32 {
    autoscaler.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(0)
}

/// Each metric as `now/wanted`.
pub(super) fn all(autoscaler: &HorizontalPodAutoscaler) -> String {
    let specs = autoscaler.spec.metrics.iter().flatten();
    let status = autoscaler.status.as_ref();
    let statuses = status.and_then(|status| status.current_metrics.as_deref()).unwrap_or_default();
    let shown: Vec<_> = specs.enumerate().map(|(i, spec)| one(spec, statuses.get(i))).collect();
    match shown.as_slice() {
        [] => cells::NONE.to_owned(),
        [first, second, more @ ..] if !more.is_empty() => {
            format!("{first}, {second} + {} more...", more.len())
        }
        few => few.join(", "),
    }
}

fn one(spec: &MetricSpec, status: Option<&MetricStatus>) -> String {
    match spec {
        MetricSpec { resource: Some(metric), .. } => {
            let current = status.and_then(|s| s.resource.as_ref()).map(|s| &s.current);
            format!("{}: {}", metric.name, of_resource(&metric.target, current))
        }
        MetricSpec { container_resource: Some(metric), .. } => {
            let current = status.and_then(|s| s.container_resource.as_ref()).map(|s| &s.current);
            format!("{}: {}", metric.name, of_resource(&metric.target, current))
        }
        MetricSpec { pods: Some(metric), .. } => {
            let current = status.and_then(|s| s.pods.as_ref()).map(|s| &s.current);
            of_average(&metric.target, current)
        }
        MetricSpec { object: Some(metric), .. } => {
            let current = status.and_then(|s| s.object.as_ref()).map(|s| &s.current);
            of_value(&metric.target, current)
        }
        MetricSpec { external: Some(metric), .. } => {
            let current = status.and_then(|s| s.external.as_ref()).map(|s| &s.current);
            of_value(&metric.target, current)
        }
        _ => "<unknown type>".to_owned(),
    }
}

fn of_resource(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    if target.average_value.is_some() {
        return of_average(target, current);
    }
    let percent = |value: i32| format!("{value}%");
    let current = current.and_then(|current| current.average_utilization).map(percent);
    let wanted = target.average_utilization.map_or_else(|| "<auto>".to_owned(), percent);
    format!("{}/{wanted}", current.as_deref().unwrap_or(UNKNOWN))
}

fn of_average(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    let current = current.and_then(|current| current.average_value.as_ref());
    of_quantities(target.average_value.as_ref(), current)
}

fn of_value(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    if target.average_value.is_some() {
        return format!("{} (avg)", of_average(target, current));
    }
    of_quantities(target.value.as_ref(), current.and_then(|current| current.value.as_ref()))
}

fn of_quantities(wanted: Option<&Quantity>, current: Option<&Quantity>) -> String {
    let text = |quantity: Option<&Quantity>| quantity.map_or(UNKNOWN, |q| q.0.as_str()).to_owned();
    format!("{}/{}", text(current), text(wanted))
}
