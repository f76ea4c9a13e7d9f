//! The page of a HorizontalPodAutoscaler.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{list, map, name, number, text};

const UNKNOWN: &str = "<unknown>";

pub(super) fn describe(autoscaler: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    let target = autoscaler.pointer("/spec/scaleTargetRef").unwrap_or(&Value::Null);
    let kind = text(target, "/kind");
    sheet.field(0, "Name", name(autoscaler));
    sheet.field(0, "Namespace", text(autoscaler, "/metadata/namespace"));
    sheet.labels("Labels", &map(autoscaler, "/metadata/labels"));
    sheet.annotations("Annotations", &map(autoscaler, "/metadata/annotations"));
    sheet.field(0, "CreationTimestamp", sheet.time(autoscaler, "/metadata/creationTimestamp"));
    sheet.field(0, "Reference", format_args!("{kind}/{}", text(target, "/name")));
    sheet.field(0, "Metrics", "( current / target )");
    let current = list(autoscaler, "/status/currentMetrics");
    for (i, metric) in list(autoscaler, "/spec/metrics").iter().enumerate() {
        sheet.line(1, self::metric(metric, current.get(i).unwrap_or(&Value::Null)));
    }
    let min = number(autoscaler, "/spec/minReplicas");
    sheet.field(0, "Min replicas", min.map_or("<unset>".to_owned(), |min| min.to_string()));
    sheet.field(0, "Max replicas", number(autoscaler, "/spec/maxReplicas").unwrap_or(0));
    if let Some(behavior) = autoscaler.pointer("/spec/behavior") {
        sheet.line(0, "Behavior:");
        direction(&mut sheet, "Scale Up", &behavior["scaleUp"]);
        direction(&mut sheet, "Scale Down", &behavior["scaleDown"]);
    }
    let of = |field: &str| number(autoscaler, field).unwrap_or(0);
    let (current, desired) = (of("/status/currentReplicas"), of("/status/desiredReplicas"));
    sheet.field(0, &format!("{kind} pods"), format_args!("{current} current / {desired} desired"));
    sheet.conditions(list(autoscaler, "/status/conditions"));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn metric(spec: &Value, status: &Value) -> String {
    let source = match text(spec, "/type") {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        other => return format!("<unknown metric type {other:?}>"),
    };
    let (spec, current) = (&spec[source], &status[source]["current"]);
    let (resource, metric) = (text(spec, "/name"), text(spec, "/metric/name"));
    let target = &spec["target"];
    let has_average = !target["averageValue"].is_null();
    match source {
        "resource" => format!("resource {resource} on pods{}", of_resource(target, current)),
        "containerResource" => {
            let container = text(spec, "/container");
            let of_it = of_resource(target, current);
            format!("resource {resource} of container \"{container}\" on pods{of_it}")
        }
        "pods" => format!("\"{metric}\" on pods:\t{}", amounts(target, current, "averageValue")),
        "external" => format!("\"{metric}\" {}", of_value(target, current, has_average)),
        _ => {
            let object = &spec["describedObject"];
            let (kind, name) = (text(object, "/kind"), text(object, "/name"));
            let of_it = of_value(target, current, target["type"] == "AverageValue");
            format!("\"{metric}\" on {kind}/{name} {of_it}")
        }
    }
}

fn of_resource(target: &Value, current: &Value) -> String {
    if !target["averageValue"].is_null() {
        return format!(":\t{}", amounts(target, current, "averageValue"));
    }
    let now = match number(current, "/averageUtilization") {
        Some(percent) => format!("{percent}% ({})", amount(current, "averageValue")),
        None => UNKNOWN.to_owned(),
    };
    let wanted = number(target, "/averageUtilization");
    let wanted = wanted.map_or("<auto>".to_owned(), |percent| format!("{percent}%"));
    format!("  (as a percentage of request):\t{now} / {wanted}")
}

fn of_value(target: &Value, current: &Value, is_average: bool) -> String {
    if is_average {
        return format!("(target average value):\t{}", amounts(target, current, "averageValue"));
    }
    format!("(target value):\t{}", amounts(target, current, "value"))
}

fn amounts(target: &Value, current: &Value, field: &str) -> String {
    format!("{} / {}", amount(current, field), amount(target, field))
}

fn amount<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or(UNKNOWN)
}

fn direction(sheet: &mut Sheet, title: &str, rules: &Value) {
    if rules.is_null() {
        return;
    }
    sheet.line(1, format_args!("{title}:"));
    if let Some(seconds) = number(rules, "/stabilizationWindowSeconds") {
        sheet.line(2, format_args!("Stabilization Window: {seconds} seconds"));
    }
    let policies = list(rules, "/policies");
    if policies.is_empty() {
        return;
    }
    let select = rules["selectPolicy"].as_str().unwrap_or("Max");
    sheet.line(2, format_args!("Select Policy: {select}"));
    sheet.line(2, "Policies:");
    for policy in policies {
        let of = |field: &str| number(policy, field).unwrap_or(0);
        let (kind, value, period) = (text(policy, "/type"), of("/value"), of("/periodSeconds"));
        sheet.line(3, format_args!("- Type: {kind}\tValue: {value}\tPeriod: {period} seconds"));
    }
}
