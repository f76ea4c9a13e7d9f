//! A version's ReplicaSet: pure.

use std::collections::BTreeMap;

use api_machinery::EntryPoint;
use api_types::IntOrString;
use api_types::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use api_types::api::core::v1::{
    Container, ContainerPort, EnvVar, HTTPGetAction, LocalObjectReference, PodSpec,
    PodTemplateSpec, Probe,
};
use api_types::meta::{LabelSelector, ObjectMeta};
use api_types::minik8s::{Function, FunctionSpec, FunctionVersion};

use crate::owners::controller_reference;

/// Beyond the longest call: what a server needs to end.
const TO_END: i64 = 5;

/// The version that a set is of.
pub(super) fn version(set: &ReplicaSet) -> Option<i64> {
    set.metadata.labels.as_ref()?.get(Function::VERSION_LABEL)?.parse().ok()
}

/// The name of a version's set.
pub(super) fn name(function: &str, version: i64) -> String {
    format!("{function}-v{version}")
}

/// How many instances there are to be.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// How many are ready, as far as the set has seen what it is to be. Of one that has just been made smaller, the status may
/// still count those that are about to go.
pub(super) fn ready(set: &ReplicaSet) -> i32 {
    let seen = set.status.as_ref().filter(|s| s.observed_generation == set.metadata.generation);
    seen.and_then(|status| status.ready_replicas).unwrap_or_default().min(replicas(set))
}

/// Whether there are none, nor are to be any.
pub(super) fn is_empty(set: &ReplicaSet) -> bool {
    replicas(set) == 0 && set.status.as_ref().is_none_or(|status| status.replicas == 0)
}

/// The set of the version that the function's spec describes; its image is pulled with this Secret too, if one is given.
pub(super) fn set(
    function: &Function,
    version: &FunctionVersion,
    replicas: i32,
    pull_secret: Option<&str>,
) -> ReplicaSet {
    let name_of = function.metadata.name.as_deref().unwrap_or_default();
    let labels = BTreeMap::from([
        (Function::LABEL.to_owned(), name_of.to_owned()),
        (Function::VERSION_LABEL.to_owned(), version.version.to_string()),
    ]);
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name(name_of, version.version)),
            namespace: function.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: controller_reference(function).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(labels.clone()), ..Default::default() },
            template: Some(PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(template(&function.spec, version, pull_secret)),
            }),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

fn template(spec: &FunctionSpec, version: &FunctionVersion, pull_secret: Option<&str>) -> PodSpec {
    let mut secrets = spec.image_pull_secrets.clone();
    secrets.extend(pull_secret.map(|name| LocalObjectReference { name: name.to_owned() }));
    let image = version.image.as_deref().unwrap_or_default();
    let mut pod = pod(image, environment(spec), timeout(spec));
    pod.image_pull_secrets = Some(secrets).filter(|secrets| !secrets.is_empty());
    for container in &mut pod.containers {
        container.env_from = Some(spec.env_from.clone()).filter(|sources| !sources.is_empty());
        container.resources = spec.resources.clone();
    }
    pod
}

/// An instance of whichever function, whose calls take so many seconds at most.
pub(super) fn pod(image: &str, env: Vec<EnvVar>, timeout: i32) -> PodSpec {
    PodSpec {
        containers: vec![container(image, env)],
        termination_grace_period_seconds: Some(i64::from(timeout) + TO_END),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        ..PodSpec::default()
    }
}

fn container(image: &str, env: Vec<EnvVar>) -> Container {
    let port = i32::from(Function::PORT);
    Container {
        name: Function::CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        env: Some(env),
        ports: Some(vec![ContainerPort { container_port: port, ..ContainerPort::default() }]),
        readiness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/readyz".to_owned()),
                port: IntOrString::Int(port),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(1),
            ..Probe::default()
        }),
        ..Container::default()
    }
}

/// The user's, and what a runtime goes by.
fn environment(spec: &FunctionSpec) -> Vec<EnvVar> {
    let ours = [
        ("MINIK8S_ENTRY_POINT", entry_point(spec)),
        ("MINIK8S_TIMEOUT_SECONDS", Some(timeout(spec).to_string())),
        ("MINIK8S_CONCURRENCY", concurrency(spec).map(|limit| limit.to_string())),
    ];
    let ours = ours.into_iter().filter_map(|(name, value)| {
        Some(EnvVar { name: name.to_owned(), value: Some(value?), value_from: None })
    });
    spec.env.iter().cloned().chain(ours).collect()
}

/// That of an archive is found in it by the runtime, unless it is named.
pub(super) fn entry_point(spec: &FunctionSpec) -> Option<String> {
    let files = &spec.source.as_ref()?.files;
    let found = EntryPoint::of(spec.entry_point.as_deref(), files.keys().map(String::as_str));
    found.map(|found| found.to_string()).ok().or_else(|| spec.entry_point.clone())
}

/// The most calls at a time, if there is a limit.
pub(super) fn concurrency(spec: &FunctionSpec) -> Option<i32> {
    spec.container_concurrency.filter(|limit| *limit > 0)
}

pub(super) fn timeout(spec: &FunctionSpec) -> i32 {
    spec.timeout_seconds.unwrap_or(60)
}
