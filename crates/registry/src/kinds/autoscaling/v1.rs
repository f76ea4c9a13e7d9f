//! The first version of the group: a target of processor time, and all else in annotations, as Kubernetes has them
//! (`pkg/apis/autoscaling/v1/conversion.go`).

use std::collections::BTreeMap;

use api_machinery::{ApiError, FieldErrors};
use api_types::{
    api::autoscaling::{v1, v2},
    meta::ObjectMeta,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    defaults::{self, DEFAULT_CPU_UTILIZATION, cpu_utilization},
    validation,
};
use crate::{Strategy, conversion::Conversion};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// What a field of the second version is called in the annotations, by the source of the metric.
type Names = &'static [(&'static str, &'static str)];

const SPEC: &[(&str, Names)] = &[
    (
        "resource",
        &[
            ("/name", "name"),
            ("/target/averageUtilization", "targetAverageUtilization"),
            ("/target/averageValue", "targetAverageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            ("/name", "name"),
            ("/container", "container"),
            ("/target/averageUtilization", "targetAverageUtilization"),
            ("/target/averageValue", "targetAverageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "selector"),
            ("/target/averageValue", "targetAverageValue"),
        ],
    ),
    (
        "object",
        &[
            ("/describedObject", "target"),
            ("/metric/name", "metricName"),
            ("/metric/selector", "selector"),
            ("/target/value", "targetValue"),
            ("/target/averageValue", "averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "metricSelector"),
            ("/target/value", "targetValue"),
            ("/target/averageValue", "targetAverageValue"),
        ],
    ),
];

const STATUS: &[(&str, Names)] = &[
    (
        "resource",
        &[
            ("/name", "name"),
            ("/current/averageUtilization", "currentAverageUtilization"),
            ("/current/averageValue", "currentAverageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            ("/name", "name"),
            ("/container", "container"),
            ("/current/averageUtilization", "currentAverageUtilization"),
            ("/current/averageValue", "currentAverageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "selector"),
            ("/current/averageValue", "currentAverageValue"),
        ],
    ),
    (
        "object",
        &[
            ("/describedObject", "target"),
            ("/metric/name", "metricName"),
            ("/metric/selector", "selector"),
            ("/current/value", "currentValue"),
            ("/current/averageValue", "averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("/metric/name", "metricName"),
            ("/metric/selector", "metricSelector"),
            ("/current/value", "currentValue"),
            ("/current/averageValue", "currentAverageValue"),
        ],
    ),
];

/// The metadata of an autoscaler, whose annotations stand for fields in the first version and for nothing in the second.
pub(super) trait Annotated {
    fn drop_annotations(&mut self);
    /// Has of these annotations what the other has.
    fn take_annotations(&mut self, keys: &[&str], from: &Self);
}

impl Annotated for ObjectMeta {
    fn drop_annotations(&mut self) {
        let none = Self::default();
        self.take_annotations(&[METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS], &none);
    }

    fn take_annotations(&mut self, keys: &[&str], from: &Self) {
        for key in keys {
            match from.annotations.as_ref().and_then(|all| all.get(*key)) {
                Some(value) => {
                    let all = self.annotations.get_or_insert_default();
                    all.insert((*key).to_owned(), value.clone());
                }
                None => drop(self.annotations.as_mut().and_then(|all| all.remove(*key))),
            }
        }
        self.annotations.take_if(|all| all.is_empty());
    }
}

pub(super) struct V1Strategy;

impl Strategy<v1::HorizontalPodAutoscaler> for V1Strategy {
    fn default(&self, autoscaler: &mut v1::HorizontalPodAutoscaler) {
        let annotations = autoscaler.metadata.annotations.as_ref();
        let has_others = annotations.is_some_and(|all| all.contains_key(METRICS));
        let spec = &mut autoscaler.spec;
        spec.min_replicas.get_or_insert(1);
        if !has_others {
            spec.target_cpu_utilization_percentage.get_or_insert(DEFAULT_CPU_UTILIZATION);
        }
    }

    fn prepare_create(&self, autoscaler: &mut v1::HorizontalPodAutoscaler) {
        autoscaler.status = Some(v1::HorizontalPodAutoscalerStatus::default());
        let none = ObjectMeta::default();
        autoscaler.metadata.take_annotations(&[CURRENT_METRICS, CONDITIONS], &none);
    }

    fn prepare_update(
        &self,
        new: &mut v1::HorizontalPodAutoscaler,
        old: &v1::HorizontalPodAutoscaler,
    ) {
        new.metadata.take_annotations(&[CURRENT_METRICS, CONDITIONS], &old.metadata);
    }

    fn prepare_status_update(
        &self,
        new: &mut v1::HorizontalPodAutoscaler,
        old: &v1::HorizontalPodAutoscaler,
    ) {
        new.metadata.take_annotations(&[METRICS, BEHAVIOR], &old.metadata);
    }

    fn validate(&self, autoscaler: &v1::HorizontalPodAutoscaler, errors: &mut FieldErrors) {
        let stored = stored(autoscaler).unwrap_or_default();
        validation::spec(&stored.spec, errors);
    }
}

/// The autoscaler in the second version, if it can be read in it.
pub(super) fn stored(
    autoscaler: &v1::HorizontalPodAutoscaler,
) -> Option<v2::HorizontalPodAutoscaler> {
    let mut object = V1.to_stored(serde_json::to_value(autoscaler).ok()?).ok()?;
    object["apiVersion"] = json!("autoscaling/v2");
    v2::HorizontalPodAutoscaler::deserialize(object).ok()
}

#[derive(Debug)]
pub(super) struct V1;

impl Conversion for V1 {
    fn to_served(&self, mut object: Value) -> Result<Value, ApiError> {
        let mut annotations = BTreeMap::new();
        spec_to_served(&mut object["spec"], &mut annotations);
        if object["status"].is_object() {
            status_to_served(&mut object["status"], &mut annotations);
        }
        for (key, value) in annotations {
            object["metadata"]["annotations"][key] = value.to_string().into();
        }
        Ok(object)
    }

    /// An annotation that can't be read stands for nothing, as in Kubernetes.
    fn to_stored(&self, mut object: Value) -> Result<Value, ApiError> {
        let [metrics, behavior, current, conditions] =
            [METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS].map(|key| taken(&mut object, key));
        if object["metadata"]["annotations"] == json!({}) {
            object["metadata"].as_object_mut().map(|metadata| metadata.remove("annotations"));
        }
        spec_to_stored(&mut object["spec"], &metrics, &behavior);
        if object["status"].is_object() {
            status_to_stored(&mut object["status"], &current, conditions);
        }
        Ok(object)
    }
}

fn taken(object: &mut Value, key: &str) -> Value {
    let annotations = object["metadata"]["annotations"].as_object_mut();
    let text = annotations.and_then(|all| all.remove(key));
    let text = text.as_ref().and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn cpu_percent<'a>(metric: &'a Value, field: &str) -> Option<&'a Value> {
    let of_cpu = metric["resource"]["name"] == "cpu";
    let percent = metric.pointer(field).filter(|percent| !percent.is_null())?;
    of_cpu.then_some(percent)
}

fn spec_to_served(spec: &mut Value, annotations: &mut BTreeMap<&str, Value>) {
    const PERCENT: &str = "/resource/target/averageUtilization";
    let Some(fields) = spec.as_object_mut() else { return };
    let (metrics, behavior) = (fields.remove("metrics"), fields.remove("behavior"));
    let metrics = metrics.unwrap_or_default();
    let (percents, others): (Vec<_>, Vec<_>) =
        elements(&metrics).partition(|metric| cpu_percent(metric, PERCENT).is_some());
    if let Some(percent) = percents.first().and_then(|metric| cpu_percent(metric, PERCENT)) {
        spec["targetCPUUtilizationPercentage"] = percent.clone();
    }
    if !others.is_empty() {
        let old = others.into_iter().map(|metric| to_annotation(metric, SPEC));
        annotations.insert(METRICS, old.collect());
    }
    if let Some(behavior) = behavior.filter(Value::is_object) {
        annotations.insert(BEHAVIOR, with_keys(&behavior, &first_upper_case));
    }
}

fn status_to_served(status: &mut Value, annotations: &mut BTreeMap<&str, Value>) {
    let Some(fields) = status.as_object_mut() else { return };
    let current = fields.remove("currentMetrics").unwrap_or_default();
    let conditions = fields.remove("conditions").unwrap_or_default();
    let percents =
        elements(&current).filter_map(|m| cpu_percent(m, "/resource/current/averageUtilization"));
    if let Some(percent) = percents.last() {
        status["currentCPUUtilizationPercentage"] = percent.clone();
    }
    if elements(&current).next().is_some() {
        let old = elements(&current).map(|metric| to_annotation(metric, STATUS));
        annotations.insert(CURRENT_METRICS, old.collect());
    }
    if elements(&conditions).next().is_some() {
        annotations.insert(CONDITIONS, conditions);
    }
}

fn spec_to_stored(spec: &mut Value, others: &Value, behavior: &Value) {
    let Some(fields) = spec.as_object_mut() else { return };
    let percent = fields.remove("targetCPUUtilizationPercentage");
    let mut metrics: Vec<_> =
        elements(others).map(|metric| with_target_type(from_annotation(metric, SPEC))).collect();
    let percent = percent.and_then(|percent| i32::deserialize(percent).ok());
    let percent = percent.or(metrics.is_empty().then_some(DEFAULT_CPU_UTILIZATION));
    metrics.extend(percent.map(|percent| json!(cpu_utilization(percent))));
    spec["metrics"] = metrics.into();
    if behavior.is_object() {
        let behavior = with_keys(behavior, &first_lower_case);
        spec["behavior"] = with_both_directions(behavior);
    }
}

/// Nobody completes what is stored. What can't be read is left as it is.
fn with_both_directions(behavior: Value) -> Value {
    match v2::HorizontalPodAutoscalerBehavior::deserialize(&behavior) {
        Ok(mut behavior) => {
            defaults::behavior(&mut behavior);
            json!(behavior)
        }
        Err(_) => behavior,
    }
}

fn status_to_stored(status: &mut Value, current: &Value, conditions: Value) {
    let Some(fields) = status.as_object_mut() else { return };
    let percent = fields.remove("currentCPUUtilizationPercentage");
    if current.is_array() {
        let metrics = elements(current).map(|metric| from_annotation(metric, STATUS));
        status["currentMetrics"] = metrics.collect();
    } else if let Some(percent) = percent {
        status["currentMetrics"] = json!([{"type": "Resource", "resource":
            {"name": "cpu", "current": {"averageUtilization": percent}}}]);
    }
    if conditions.is_array() {
        status["conditions"] = conditions;
    }
}

fn to_annotation(metric: &Value, table: &[(&str, Names)]) -> Value {
    let mut old = json!({"type": metric["type"]});
    for (source, names) in table.iter().filter(|(source, _)| metric[source].is_object()) {
        let found = names.iter().filter_map(|(new, name)| {
            let value = metric[source].pointer(new).filter(|value| !value.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        });
        old[source] = found.collect::<Map<_, _>>().into();
    }
    old
}

fn from_annotation(old: &Value, table: &[(&str, Names)]) -> Value {
    let mut metric = json!({"type": old["type"]});
    for (source, names) in table.iter().filter(|(source, _)| old[source].is_object()) {
        metric[source] = json!({});
        for (new, name) in names.iter().filter(|(_, name)| !old[source][name].is_null()) {
            let path = new.split('/').skip(1);
            *path.fold(&mut metric[source], |at, field| &mut at[field]) = old[source][name].clone();
        }
    }
    metric
}

/// The type of a target goes without saying in the first version.
fn with_target_type(mut metric: Value) -> Value {
    for (source, _) in SPEC {
        let Some(target) = metric.get_mut(source).and_then(|source| source.get_mut("target"))
        else {
            continue;
        };
        target["type"] = if !target["averageUtilization"].is_null() {
            json!("Utilization")
        } else if !target["averageValue"].is_null() {
            json!("AverageValue")
        } else {
            json!("Value")
        };
    }
    metric
}

/// Kubernetes encodes the behaviour without its fields' JSON names.
fn with_keys(value: &Value, rename: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (rename(key), with_keys(value, rename)));
            Value::Object(fields.collect())
        }
        Value::Array(list) => list.iter().map(|value| with_keys(value, rename)).collect(),
        other => other.clone(),
    }
}

fn first_upper_case(key: &str) -> String {
    key.chars().enumerate().map(|(i, c)| if i == 0 { c.to_ascii_uppercase() } else { c }).collect()
}

fn first_lower_case(key: &str) -> String {
    key.chars().enumerate().map(|(i, c)| if i == 0 { c.to_ascii_lowercase() } else { c }).collect()
}
