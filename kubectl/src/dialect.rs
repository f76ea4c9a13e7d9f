//! The seed's dialect: manifests and spellings of the original minik8s, turned into the Kubernetes form.
//! So are files for AWS Step Functions. Pure, and only for the kinds and versions that it had, where the meaning is beyond doubt; everything else is left for
//! the server to judge. Who uses it is told, since Kubernetes refuses such manifests.

use api_types::{ByteString, Resource, minik8s::GpuJob};
use serde_json::{Map, Value, json};

use crate::object::scalar;

/// The group and version of our own kinds.
const OURS: &str = "minik8s.io/v1";

/// The seed's check interval where none is given, in seconds.
const DEFAULT_INTERVAL: u64 = 15;

/// What the seed's commands call a kind that Kubernetes names otherwise.
#[must_use]
pub fn seed_resource(spelling: &str) -> Option<&'static str> {
    Some(match spelling {
        "rss" => "replicasets",
        "hpas" => "horizontalpodautoscalers",
        "dnses" => "dns",
        "wf" | "wfs" => "workflows",
        "func" | "funcs" => "functions",
        "gpu" | "gpus" => "gpujobs",
        _ => return None,
    })
}

/// The manifest in its Kubernetes form; one that has it already comes back unchanged.
#[must_use]
pub fn to_kubernetes(mut manifest: Value) -> Value {
    if !matches!(manifest["apiVersion"].as_str(), None | Some("" | "v1" | "/api/v1")) {
        return manifest;
    }
    match manifest["kind"].as_str().unwrap_or_default() {
        "Node" => node(&mut manifest),
        "Pod" => pod_spec(manifest.get_mut("spec")),
        "ReplicaSet" => replica_set(&mut manifest),
        "Service" => service(&mut manifest),
        "HorizontalPodAutoscaler" => autoscaler(&mut manifest),
        "DNS" => ours(&mut manifest),
        "GpuJob" => gpu_job(&mut manifest),
        "Workflow" => workflow(&mut manifest),
        "" if is_state_machine(&manifest) => state_machine(&mut manifest),
        _ => {}
    }
    manifest
}

/// `ip` at the top becomes the node's address; nodes have no namespace.
fn node(manifest: &mut Value) {
    let Some(object) = manifest.as_object_mut() else { return };
    let Some(ip) = object.remove("ip") else { return };
    object.entry("apiVersion").or_insert_with(|| json!("v1"));
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    let status = object.entry("status").or_insert_with(|| json!({}));
    if status["addresses"].is_null() {
        status["addresses"] = json!([{"type": "InternalIP", "address": ip}]);
    }
}

/// Under `v1` in the seed; its selector was never looked at, the template's labels could be missing.
fn replica_set(manifest: &mut Value) {
    if manifest["apiVersion"] != "v1" {
        return;
    }
    pod_spec(manifest.pointer_mut("/spec/template/spec"));
    manifest["apiVersion"] = json!("apps/v1");
    let name = manifest["metadata"]["name"].clone();
    let Some(spec) = manifest.get_mut("spec").filter(|s| s.is_object()) else { return };
    if !spec["template"].is_object() {
        return;
    }
    let selected = labels(&spec["selector"]["matchLabels"]);
    let mut template = labels(&spec["template"]["metadata"]["labels"]);
    if template.is_empty() && selected.is_empty() {
        template.insert("app".to_owned(), name);
    }
    if selected.is_empty() {
        spec["selector"] = json!({"matchLabels": template});
    }
    template.extend(selected);
    if !spec["template"]["metadata"].is_object() {
        spec["template"]["metadata"] = json!({});
    }
    spec["template"]["metadata"]["labels"] = Value::Object(template);
}

fn labels(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn pod_spec(spec: Option<&mut Value>) {
    let Some(spec) = spec.and_then(Value::as_object_mut) else { return };
    spec.remove("clusterIp"); // the seed's server overwrites it in any case
    for list in ["containers", "initContainers"] {
        elements(spec.get_mut(list)).for_each(container);
    }
}

fn container(container: &mut Value) {
    rename(container, "cmd", "command");
    for hook in ["postStart", "preStop"] {
        if let Some(exec) = container.pointer_mut(&format!("/lifecycle/{hook}/exec")) {
            rename(exec, "cmd", "command");
        }
    }
    for port in elements(container.get_mut("ports")) {
        numbers(port, &["containerPort", "hostPort"]);
        upper_case(port, "protocol");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(request) = container.pointer_mut(&format!("/{probe}/httpGet")) {
            numbers(request, &["port"]);
        }
    }
}

fn service(manifest: &mut Value) {
    let Some(spec) = manifest.get_mut("spec") else { return };
    for port in elements(spec.get_mut("ports")) {
        numbers(port, &["port", "targetPort", "nodePort"]);
        upper_case(port, "protocol");
    }
}

/// `scaleTargetRef.metadata`, `metrics` as a map and `scaleInterval` mark the seed's form.
fn autoscaler(manifest: &mut Value) {
    let Some(spec) = manifest.get("spec") else { return };
    if !spec["scaleTargetRef"]["metadata"].is_object() && !spec["metrics"].is_object() {
        return;
    }
    let target = &spec["scaleTargetRef"];
    let name = target.pointer("/metadata/name").or(target.get("name")).cloned().unwrap_or_default();
    let mut autoscaler = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name},
        "metrics": metrics(&spec["metrics"]),
        "behavior": behavior(spec["scaleInterval"].as_u64().filter(|i| *i > 0).unwrap_or(DEFAULT_INTERVAL)),
    });
    for field in ["minReplicas", "maxReplicas"] {
        if let Some(value) = spec.get(field) {
            autoscaler[field] = value.clone();
        }
    }
    manifest["apiVersion"] = json!("autoscaling/v2");
    manifest["spec"] = autoscaler;
}

/// What the seed measured.
const METRICS: [&str; 2] = ["CPUUtilizationPercentage", "MemUtilizationPercentage"];
/// Stands for a field that the seed did not have, until it is refused.
const UNKNOWN: &str = "unknown";

/// The seed's percents are of one processor, whatever the pods request, and of the memory that they request. Where it
/// has both, processor time alone counted there; here whichever needs more pods does.
fn metrics(given: &Value) -> Value {
    let percent = |field: &str| given[field].as_f64().filter(|percent| *percent > 0.0);
    let cpu = percent("CPUUtilizationPercentage").map(|percent| {
        let milli = format!("{:.0}m", (percent * 10.0).ceil());
        ("cpu", json!({"type": "AverageValue", "averageValue": milli}))
    });
    let memory = percent("MemUtilizationPercentage").map(|percent| {
        ("memory", json!({"type": "Utilization", "averageUtilization": whole(percent)}))
    });
    let metric = |(name, target): (&str, Value)| json!({"type": "Resource", "resource": {"name": name, "target": target}});
    let fields = given.as_object().into_iter().flat_map(Map::keys);
    let unknown = fields.filter(|field| !METRICS.contains(&field.as_str()));
    let unknown = unknown.map(|field| json!({UNKNOWN: field}));
    cpu.into_iter().chain(memory).map(metric).chain(unknown).collect()
}

/// The next whole percent, so that no target becomes 0.
fn whole(percent: f64) -> Value {
    serde_json::from_str(&format!("{:.0}", percent.ceil())).unwrap_or_default()
}

/// Why what a manifest of the seed has become is not asked for: Kubernetes would take an autoscaler without metrics for
/// one by processor time.
#[must_use]
pub fn refusal(kubernetes: &Value) -> Option<String> {
    if kubernetes["kind"] != "HorizontalPodAutoscaler" {
        return None;
    }
    let (metrics, [cpu, memory]) = (kubernetes["spec"]["metrics"].as_array()?, METRICS);
    if let Some(field) = metrics.iter().find_map(|metric| metric[UNKNOWN].as_str()) {
        let known = format!("{cpu} and {memory} are known");
        return Some(format!("unknown field \"spec.metrics.{field}\": {known}"));
    }
    let none = format!("spec.metrics: Required value: {cpu} or {memory} must be above 0");
    metrics.is_empty().then_some(none)
}

/// One pod per interval, up and down, without looking back: what `scaleInterval` says.
fn behavior(interval: u64) -> Value {
    let rule = json!({
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": interval}],
    });
    json!({"scaleUp": rule, "scaleDown": rule})
}

/// Kinds that Kubernetes does not have: without a version, or under one that the seed made up.
fn ours(manifest: &mut Value) {
    manifest["apiVersion"] = json!(OURS);
}

/// The seed's `workDir` was a place of the Slurm cluster; here each job has a directory of its own there, and what is
/// absolute says nothing about the sources in it.
fn gpu_job(manifest: &mut Value) {
    ours(manifest);
    let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("workDir").and_then(Value::as_str).is_some_and(|dir| dir.starts_with('/')) {
        spec.remove("workDir");
    }
}

/// Takes the login out of what a job of the seed has become, and gives the Secret that it belongs in.
#[must_use]
pub fn credentials(job: &mut Value) -> Option<Value> {
    let metadata = job["metadata"].clone();
    if job["kind"] != GpuJob::KIND || job["spec"].get("credentials").is_some() {
        return None;
    }
    let spec = job.get_mut("spec")?.as_object_mut()?;
    let login = ["username", "password"].into_iter().filter_map(|field| spec.remove_entry(field));
    let data: Map<_, _> =
        login.map(|(field, text)| (field, json!(ByteString(scalar(&text).into_bytes())))).collect();
    if data.is_empty() {
        return None;
    }
    let name = credentials_name(metadata["name"].as_str().unwrap_or_default());
    spec.insert("credentials".to_owned(), json!({"secretRef": {"name": name}}));
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": name, "labels": {GpuJob::LABEL: metadata["name"]}}, "data": data,
    });
    if let Some(namespace) = metadata.get("namespace") {
        secret["metadata"]["namespace"] = namespace.clone();
    }
    Some(secret)
}

/// The name of the Secret with the login of a job of the seed.
#[must_use]
pub fn credentials_name(job: &str) -> String {
    format!("{job}-gpu-credentials")
}

/// The seed's workflow has its fields at the top.
fn workflow(manifest: &mut Value) {
    ours(manifest);
    let Some(object) = manifest.as_object_mut().filter(|o| !o.contains_key("spec")) else { return };
    let fields = ["startAt", "params", "nodes"];
    let moved: Map<_, _> = fields.iter().filter_map(|f| object.remove_entry(*f)).collect();
    if !moved.is_empty() {
        object.insert("spec".to_owned(), Value::Object(moved));
    }
}

/// A definition in the Amazon States Language is no manifest: it has neither kind nor metadata.
fn is_state_machine(manifest: &Value) -> bool {
    manifest["StartAt"].is_string() && manifest["States"].is_object()
}

/// It becomes what the workflow does.
fn state_machine(manifest: &mut Value) {
    let definition = manifest.take();
    *manifest = json!({"apiVersion": OURS, "kind": "Workflow", "metadata": {}, "spec": {"definition": definition}});
}

fn elements(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

/// Where both are given, the Kubernetes name holds.
fn rename(value: &mut Value, from: &str, to: &str) {
    let Some(object) = value.as_object_mut() else { return };
    if object.contains_key(to) {
        return;
    }
    if let Some(moved) = object.remove(from) {
        object.insert(to.to_owned(), moved);
    }
}

/// `"80"` → `80`; a port's name stays a text.
fn numbers(value: &mut Value, fields: &[&str]) {
    for field in fields {
        if let Some(number) = value[*field].as_str().and_then(|t| t.parse::<u32>().ok()) {
            value[*field] = json!(number);
        }
    }
}

fn upper_case(value: &mut Value, field: &str) {
    if let Some(text) = value[field].as_str().filter(|t| matches!(*t, "tcp" | "udp")) {
        value[field] = json!(text.to_uppercase());
    }
}
