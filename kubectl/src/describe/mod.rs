//! `kubectl describe`: an object with what belongs to it, as kubectl lays it out. Pure: what is to be told
//! is fetched by the command and comes in as values.

mod config_map;
mod container;
mod daemon_set;
mod deployment;
mod dns;
mod function;
mod generic;
mod gpu_job;
mod horizontal_pod_autoscaler;
mod job;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod related;
mod replica_set;
mod secret;
mod service;
mod sheet;
mod stateful_set;
mod workflow;

use api_types::jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::object;

pub use related::Related;

/// What has to be fetched to describe an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but its events.
    Events,
    /// The pods bound to the node, and its lease.
    Node,
    /// The pods that its selector selects.
    SelectedPods,
    /// The ReplicaSets that its selector selects.
    ReplicaSets,
    /// The pods of the function.
    Instances,
    /// The endpoint slices of the service.
    EndpointSlices,
    /// The quotas and LimitRanges of the namespace.
    Limits,
}

/// What has to be fetched for this kind.
#[must_use]
pub fn needs(object: &Value) -> Needs {
    match kind(object) {
        ("", "Node") => Needs::Node,
        ("apps", "Deployment") => Needs::ReplicaSets,
        ("apps", "DaemonSet" | "ReplicaSet" | "StatefulSet") => Needs::SelectedPods,
        ("minik8s.io", "Function") => Needs::Instances,
        ("", "Service") => Needs::EndpointSlices,
        ("", "Namespace") => Needs::Limits,
        _ => Needs::Events,
    }
}

/// The object's page.
#[must_use]
pub fn describe(object: &Value, related: &Related) -> String {
    match kind(object) {
        ("", "Pod") => pod::describe(object, related),
        ("", "Node") => node::describe(object, related),
        ("", "Namespace") => namespace::describe(object, related),
        ("", "ConfigMap") => config_map::describe(object, related),
        ("", "Secret") => secret::describe(object, related),
        ("", "Service") => service::describe(object, related),
        ("apps", "DaemonSet") => daemon_set::describe(object, related),
        ("apps", "Deployment") => deployment::describe(object, related),
        ("apps", "ReplicaSet") => replica_set::describe(object, related),
        ("apps", "StatefulSet") => stateful_set::describe(object, related),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            horizontal_pod_autoscaler::describe(object, related)
        }
        ("batch", "Job") => job::describe(object, related),
        ("networking.k8s.io", "NetworkPolicy") => network_policy::describe(object, related),
        ("minik8s.io", "DNS") => dns::describe(object, related),
        ("minik8s.io", "Function") => function::describe(object, related),
        ("minik8s.io", "GpuJob") => gpu_job::describe(object, related),
        ("minik8s.io", "Workflow") => workflow::describe(object, related),
        ("minik8s.io", "WorkflowRun") => workflow::describe_run(object, related),
        _ => generic::describe(object, related),
    }
}

/// A template of pods, as it is told of in the pages of those that have one.
#[must_use]
pub fn template(template: &Value) -> String {
    let mut sheet = sheet::Sheet::new(&Related::new(Timestamp::now(), TimeZone::UTC));
    replica_set::template(&mut sheet, template);
    sheet.finish()
}

fn kind(object: &Value) -> (&str, &str) {
    (object::group_version(object).0, object::kind(object))
}
