//! Containers that run together.

mod addresses;
mod affinity;
mod annotations;
pub(crate) mod binding;
mod claims;
mod columns;
pub(crate) mod container;
mod containers;
mod defaults;
mod dns;
pub(crate) mod environment;
mod ephemeral;
mod field_ref;
mod gated;
mod label_keys;
pub(crate) mod mirror;
mod mounts;
mod os;
mod probe;
mod qos;
pub(crate) mod requirements;
mod resize;
mod resources;
mod restart;
mod security;
mod signals;
mod spread;
mod sysctls;
pub(crate) mod template;
pub(crate) mod toleration;
mod update;
mod validation;
pub(crate) mod volume;
pub(crate) mod warnings;
mod windows;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{Pod, PodCondition, PodStatus};
use serde_json::json;

use crate::{Exists, ResourceDef, Strategy, Subresource, resource, rules::text};

pub(crate) fn definition() -> ResourceDef {
    resource::<Pod, _>(PodStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["po"])
        .categories(&["all"])
        .shown_when_deleted()
        .status(|pod, from| pod.status.clone_from(&from.status))
        .subresource(Subresource::Binding)
        .subresource(Subresource::Eviction)
        .subresource(Subresource::EphemeralContainers)
        .subresource(Subresource::Resize)
        .subresource(Subresource::Log)
        .subresource(Subresource::Exec)
        .subresource(Subresource::Attach)
        .subresource(Subresource::PortForward)
        .subresource(Subresource::Proxy)
        .watched_by("spec.nodeName")
        .column("Ready", "string", 0, |pod, _| json!(columns::ready(pod)))
        .column("Status", "string", 0, |pod, _| json!(columns::status(pod)))
        .column("Restarts", "string", 0, |pod, now| json!(columns::restarts(pod, now)))
        .age()
        .column("IP", "string", 1, |pod, _| json!(columns::ip(pod)))
        .column("Node", "string", 1, |pod, _| json!(columns::node(pod)))
        .column("Nominated Node", "string", 1, |pod, _| json!(columns::nominated_node(pod)))
        .column("Readiness Gates", "string", 1, |pod, _| json!(columns::readiness_gates(pod)))
        .build()
}

/// Whether somebody still has to say that the pod may be scheduled.
fn gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|g| !g.is_empty())
}

/// What is said of such a pod until the scheduler has its say.
fn scheduling_gated() -> PodCondition {
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    }
}

struct PodStrategy;

impl PodStrategy {
    /// The faults of a pod by itself that it didn't have before.
    fn validate_changed(&self, new: &Pod, old: &Pod, errors: &mut FieldErrors) {
        let mut faults = self.faults(new);
        if !faults.is_empty() {
            faults.forget(&self.lasting(new, old));
        }
        errors.extend(faults);
    }
}

impl Strategy<Pod> for PodStrategy {
    fn default(&self, pod: &mut Pod) {
        if let Some(spec) = &mut pod.spec {
            defaults::pod(spec);
        }
    }

    fn prepare_create(&self, pod: &mut Pod) {
        label_keys::merge(pod);
        let qos_class = pod.spec.as_ref().map(qos::class);
        pod.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: qos_class.map(str::to_owned),
            conditions: gated(pod).then(|| vec![scheduling_gated()]),
            ..PodStatus::default()
        });
    }

    /// Kubernetes: `podStatusStrategy`. Old kubelets corrupted owner references, and dropped the QoS class.
    fn prepare_status_update(&self, new: &mut Pod, old: &Pod) {
        new.metadata.owner_references.clone_from(&old.metadata.owner_references);
        let before = old.status.as_ref().and_then(|s| s.qos_class.as_ref());
        let status = new.status.get_or_insert_default();
        if text(status.qos_class.as_ref()).is_empty() {
            status.qos_class = before.cloned();
        }
        addresses::complete(status);
    }

    fn validate(&self, pod: &Pod, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        let annotations = pod.metadata.annotations.as_ref();
        annotations::validate(annotations, &FieldPath::new("metadata.annotations"), errors);
        match &pod.spec {
            Some(spec) => validation::pod_spec(spec, Some(&pod.metadata), &path, errors),
            None => errors.required(&path.child("containers"), ""),
        }
    }

    /// Who only takes a finalizer away is not held up by what was taken before it was refused.
    fn lasting(&self, _: &Pod, old: &Pod) -> FieldErrors {
        self.faults(old)
    }

    fn validate_create(&self, pod: &Pod, errors: &mut FieldErrors) {
        mirror::validate_create(pod, errors);
        if gated(pod) && !columns::node_name(pod).is_empty() {
            let why = "cannot be set until all schedulingGates have been cleared";
            errors.forbidden(&FieldPath::new("spec").child("nodeName"), why);
        }
        let added = pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref());
        if added.is_some_and(|added| !added.is_empty()) {
            let path = FieldPath::new("spec").child("ephemeralContainers");
            errors.forbidden(&path, "cannot be set on create");
        }
    }

    fn add_containers(&self, pod: &mut Pod, given: &Pod) {
        if let (Some(spec), Some(given)) = (&mut pod.spec, &given.spec) {
            spec.ephemeral_containers.clone_from(&given.ephemeral_containers);
        }
    }

    fn validate_added_containers(&self, new: &Pod, old: &Pod, errors: &mut FieldErrors) {
        if mirror::is_mirror(old) {
            let why = "static pods do not support ephemeral containers";
            return errors.forbidden(&FieldPath::new(""), why);
        }
        self.validate_changed(new, old, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            ephemeral::validate_update(new, old, errors);
        }
    }

    fn resize(&self, pod: &mut Pod, given: &Pod) {
        if let (Some(spec), Some(given)) = (&mut pod.spec, &given.spec) {
            resize::take(spec, given);
        }
    }

    fn validate_resize(&self, new: &Pod, old: &Pod, errors: &mut FieldErrors) {
        if mirror::is_mirror(old) {
            return errors.forbidden(&FieldPath::new(""), "static pods cannot be resized");
        }
        self.validate_changed(new, old, errors);
        resize::validate(new, old, errors);
    }

    fn validate_update(&self, new: &Pod, old: &Pod, errors: &mut FieldErrors) {
        mirror::validate_update(new, old, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            update::validate(new, old, errors);
        }
    }

    fn validate_status(&self, new: &Pod, old: &Pod, errors: &mut FieldErrors) {
        mirror::validate_update(new, old, errors);
        new.status.iter().for_each(|status| addresses::validate(status, errors));
    }

    fn warnings(&self, new: &Pod, old: Option<&Pod>, _: &Exists<'_>) -> Vec<String> {
        if old.is_some() { Vec::new() } else { warnings::of_new(new) }
    }

    fn status_warnings(&self, pod: &Pod) -> Vec<String> {
        pod.status.as_ref().map(warnings::of_status).unwrap_or_default()
    }

    fn grace_period(&self, pod: &Pod, requested: Option<i64>) -> i64 {
        let own = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
        let is_bound = !columns::node_name(pod).is_empty();
        match requested.or(own).unwrap_or(0) {
            _ if !is_bound || columns::is_terminal(pod) => 0,
            negative if negative < 0 => 1,
            period => period,
        }
    }

    fn fields(&self, pod: &Pod) -> Vec<(&'static str, String)> {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let spec_text = |get: fn(&api_types::api::core::v1::PodSpec) -> Option<&String>| {
            text(spec.and_then(get)).to_owned()
        };
        let status_text =
            |get: fn(&PodStatus) -> Option<&String>| text(status.and_then(get)).to_owned();
        let host_network = spec.and_then(|s| s.host_network).unwrap_or(false);
        vec![
            ("spec.nodeName", spec_text(|s| s.node_name.as_ref())),
            // The name of before.
            ("spec.host", spec_text(|s| s.node_name.as_ref())),
            ("spec.restartPolicy", spec_text(|s| s.restart_policy.as_ref())),
            ("spec.schedulerName", spec_text(|s| s.scheduler_name.as_ref())),
            ("spec.serviceAccountName", spec_text(|s| s.service_account_name.as_ref())),
            ("spec.hostNetwork", host_network.to_string()),
            ("status.phase", status_text(|s| s.phase.as_ref())),
            ("status.podIP", status_text(|s| s.pod_ip.as_ref())),
            // Kubernetes takes it, and has nothing there.
            ("status.podIPs", String::new()),
            ("status.nominatedNodeName", status_text(|s| s.nominated_node_name.as_ref())),
        ]
    }
}
