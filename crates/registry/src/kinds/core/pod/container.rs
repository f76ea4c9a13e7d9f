//! The faults of a pod's containers (Kubernetes: `validateContainers`, `validateInitContainers`,
//! `validateContainerCommon`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, ephemeral_container::as_container, names};
use api_types::{
    api::core::v1::{Container, PodSpec},
    meta::ObjectMeta,
};

use super::{
    claims::ClaimNames, environment, mounts, probe, requirements, resize, restart, security,
    volume::Volumes,
};
use crate::rules::{self, text};

const INIT: &str = "initContainers";

/// The faults of all containers, which share names.
pub(super) fn validate_all(
    spec: &PodSpec,
    volumes: &Volumes<'_>,
    claims: &ClaimNames<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mut shared = Shared { spec, volumes, claims, names: BTreeSet::new() };
    let list = path.child("containers");
    if spec.containers.is_empty() {
        errors.required(&list, "");
    }
    for (i, container) in spec.containers.iter().enumerate() {
        let path = list.index(i);
        shared.validate(container, &path, errors);
        probe::validate_all(container, spec, &path, errors);
        restart::validate(container, &path, errors);
    }
    host_ports(&spec.containers, &list, errors);
    let list = path.child(INIT);
    for (i, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = list.index(i);
        shared.validate(container, &path, errors);
        restart::validate(container, &path, errors);
        // They run one after the other. Kubernetes tells of their ports as if each were the first.
        host_ports(std::slice::from_ref(container), &list, errors);
        of_init(container, spec, &path, errors);
    }
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = path.child("ephemeralContainers").index(i);
        shared.validate(&as_container(container), &path, errors);
    }
}

/// What the containers of a pod see of each other.
struct Shared<'a> {
    spec: &'a PodSpec,
    volumes: &'a Volumes<'a>,
    claims: &'a ClaimNames<'a>,
    names: BTreeSet<String>,
}

impl Shared<'_> {
    /// The faults that containers of all kinds have.
    fn validate(&mut self, container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
        let at = path.child("name");
        rules::named(&container.name, names::dns1123_label, &at, errors);
        rules::required(text(container.image.as_ref()), &path.child("image"), errors);
        let (policy, policies) =
            (container.termination_message_policy.as_ref(), ["File", "FallbackToLogsOnError"]);
        rules::one_of(policy, &policies, &path.child("terminationMessagePolicy"), errors);
        ports(container, &path.child("ports"), errors);
        environment::validate(container, path, errors);
        mounts::validate(container, self.volumes, path, errors);
        let (policy, policies) =
            (container.image_pull_policy.as_ref(), ["Always", "IfNotPresent", "Never"]);
        rules::one_of(policy, &policies, &path.child("imagePullPolicy"), errors);
        if let Some(resources) = &container.resources {
            let path = path.child("resources");
            requirements::with_names(resources, requirements::name, self.claims, &path, errors);
        }
        resize::policies(container, text(self.spec.restart_policy.as_ref()), path, errors);
        if let Some(context) = &container.security_context {
            let host_users = self.spec.host_users.unwrap_or(true);
            security::of_container(context, host_users, &path.child("securityContext"), errors);
        }
        rules::unique(&mut self.names, &container.name, &at, errors);
    }
}

fn ports(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (i, port) in container.ports.iter().flatten().enumerate() {
        let path = path.index(i);
        let name = text(port.name.as_ref());
        let faults = if name.is_empty() { Vec::new() } else { names::port_name(name) };
        faults.iter().for_each(|fault| errors.invalid(&path.child("name"), name, fault));
        if faults.is_empty() && !name.is_empty() && !seen.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        if port.container_port == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            rules::port(port.container_port, &path.child("containerPort"), errors);
        }
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            rules::port(number, &path.child("hostPort"), errors);
        }
        let (protocol, all) = (port.protocol.as_ref(), ["SCTP", "TCP", "UDP"]);
        rules::one_of(protocol, &all, &path.child("protocol"), errors);
    }
}

/// A port of the node leads to one container.
fn host_ports(containers: &[Container], path: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let (protocol, ip) = (text(port.protocol.as_ref()), text(port.host_ip.as_ref()));
            let taken = format!("{protocol}/{ip}/{number}");
            let path = path.index(i).child("ports").index(j).child("hostPort");
            rules::unique(&mut seen, &taken, &path, errors);
        }
    }
}

/// On the network of its node a port is that of the node. One that isn't given is filled in when there is a pod.
pub(super) fn host_network(
    spec: &PodSpec,
    pod: Option<&ObjectMeta>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if spec.host_network != Some(true) {
        return;
    }
    for (i, container) in spec.containers.iter().enumerate() {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let number = port.host_port.unwrap_or(0);
            if (pod.is_some() || number != 0) && number != port.container_port {
                let path = path.child("containers").index(i).child("ports").index(j);
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&path.child("hostPort"), number, why);
            }
        }
    }
}

/// Init containers end before the pod is ready; only those that stay (restart policy Always) have probes.
fn of_init(container: &Container, spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if container.restart_policy.as_deref() == Some("Always") {
        return probe::validate_all(container, spec, path, errors);
    }
    let why = "may not be set for init containers without restartPolicy=Always";
    for (field, is_set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if is_set {
            errors.forbidden(&path.child(field), why);
        }
    }
    for (i, policy) in container.resize_policy.iter().flatten().enumerate() {
        if policy.restart_policy == "RestartContainer" {
            let path = path.child("resizePolicy").index(i).child("restartPolicy");
            let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.invalid(&path, &policy.restart_policy, why);
        }
    }
}
