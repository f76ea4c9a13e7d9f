//! The faults of a pod's containers.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::{FieldErrors, FieldPath, Quantity, ephemeral_container::as_container, names};
use api_types::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, PodSpec, ResourceRequirements, VolumeMount,
};

use super::{probe, resize};
use crate::rules::{self, text};

type Resources = BTreeMap<String, api_types::Quantity>;

/// Tells the faults of a name.
type ResourceName = fn(&str, &FieldPath, &mut FieldErrors);

/// The faults of all containers, which share names and host ports.
pub(super) fn validate_all(
    spec: &PodSpec,
    volumes: &BTreeSet<String>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if spec.containers.is_empty() {
        errors.required(&path.child("containers"), "");
    }
    let mut shared = Shared {
        volumes,
        host_network: spec.host_network.unwrap_or(false),
        restarts: text(spec.restart_policy.as_ref()),
        names: BTreeSet::new(),
        host_ports: BTreeSet::new(),
    };
    for (i, container) in spec.containers.iter().enumerate() {
        shared.validate(container, &path.child("containers").index(i), errors);
    }
    for (i, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = path.child("initContainers").index(i);
        shared.validate(container, &path, errors);
        no_probes(container, &path, errors);
    }
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = path.child("ephemeralContainers").index(i);
        shared.validate(&as_container(container), &path, errors);
    }
}

/// What the containers of a pod see of each other.
struct Shared<'a> {
    volumes: &'a BTreeSet<String>,
    host_network: bool,
    restarts: &'a str,
    names: BTreeSet<String>,
    host_ports: BTreeSet<String>,
}

impl Shared<'_> {
    fn validate(&mut self, container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
        let name_path = path.child("name");
        rules::named(&container.name, names::dns1123_label, &name_path, errors);
        if !container.name.is_empty() {
            rules::unique(&mut self.names, &container.name, &name_path, errors);
        }
        image(container, path, errors);
        self.ports(container, path, errors);
        environment(container, path, errors);
        mounts(container, self.volumes, path, errors);
        probe::validate_all(container, path, errors);
        if let Some(resources) = &container.resources {
            validate_resources(resources, &path.child("resources"), errors);
        }
        resize::policies(container, self.restarts, path, errors);
    }

    fn ports(&mut self, container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
        let mut seen = BTreeSet::new();
        for (i, port) in container.ports.iter().flatten().enumerate() {
            let path = path.child("ports").index(i);
            if let Some(name) = port.name.as_ref().filter(|n| !n.is_empty()) {
                rules::follows(name, names::port_name, &path.child("name"), errors);
                rules::unique(&mut seen, name, &path.child("name"), errors);
            }
            validate_port(port, &path, errors);
            self.host_port(port, &path, errors);
        }
    }

    fn host_port(&mut self, port: &ContainerPort, path: &FieldPath, errors: &mut FieldErrors) {
        let Some(number) = port.host_port.filter(|n| *n != 0) else { return };
        rules::port(number, &path.child("hostPort"), errors);
        if self.host_network && number != port.container_port {
            let why = "must match `containerPort` when `hostNetwork` is true";
            errors.invalid(&path.child("hostPort"), number, why);
        }
        let (protocol, ip) = (text(port.protocol.as_ref()), text(port.host_ip.as_ref()));
        let taken = format!("{protocol}/{ip}/{number}");
        rules::unique(&mut self.host_ports, &taken, &path.child("hostPort"), errors);
    }
}

/// The faults of the image and of how it is pulled.
pub(crate) fn image(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    let image = text(container.image.as_ref());
    if image.is_empty() {
        errors.required(&path.child("image"), "");
    } else if image.trim() != image {
        errors.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    rules::one_of(
        container.image_pull_policy.as_ref(),
        &policies,
        &path.child("imagePullPolicy"),
        errors,
    );
    let messages = ["FallbackToLogsOnError", "File"];
    let policy = container.termination_message_policy.as_ref();
    rules::one_of(policy, &messages, &path.child("terminationMessagePolicy"), errors);
}

fn validate_port(port: &ContainerPort, path: &FieldPath, errors: &mut FieldErrors) {
    if port.container_port == 0 {
        errors.required(&path.child("containerPort"), "");
    } else {
        rules::port(port.container_port, &path.child("containerPort"), errors);
    }
    rules::one_of(port.protocol.as_ref(), &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
}

/// The faults of the environment variables.
pub(crate) fn environment(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, env) in container.env.iter().flatten().enumerate() {
        validate_env(env, &path.child("env").index(i), errors);
    }
    env_from(container, path, errors);
}

fn validate_env(env: &EnvVar, path: &FieldPath, errors: &mut FieldErrors) {
    rules::named(&env.name, names::env_var_name, &path.child("name"), errors);
    let Some(source) = &env.value_from else { return };
    let path = path.child("valueFrom");
    let given = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
    ];
    match given.iter().filter(|g| **g).count() {
        0 => errors.invalid(&path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"),
        1 if !text(env.value.as_ref()).is_empty() => {
            errors.invalid(&path, "", "may not be specified when `value` is not empty");
        }
        1 => env_source(source, &path, errors),
        _ => errors.invalid(&path, "", "may not have more than one field specified at a time"),
    }
}

fn env_source(source: &EnvVarSource, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(reference) = &source.field_ref {
        let path = path.child("fieldRef").child("fieldPath");
        rules::named(&reference.field_path, |_| Vec::new(), &path, errors);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let path = path.child("configMapKeyRef");
        rules::named(&reference.name, |_| Vec::new(), &path.child("name"), errors);
        rules::named(&reference.key, names::config_map_key, &path.child("key"), errors);
    }
    if let Some(reference) = &source.secret_key_ref {
        let path = path.child("secretKeyRef");
        rules::named(&reference.name, |_| Vec::new(), &path.child("name"), errors);
        rules::named(&reference.key, names::config_map_key, &path.child("key"), errors);
    }
    if let Some(reference) = &source.resource_field_ref {
        let path = path.child("resourceFieldRef").child("resource");
        rules::named(&reference.resource, |_| Vec::new(), &path, errors);
    }
}

fn env_from(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, source) in container.env_from.iter().flatten().enumerate() {
        let path = path.child("envFrom").index(i);
        match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => {
                errors.invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`");
            }
            (Some(_), Some(_)) => {
                errors.invalid(&path, "", "may not have more than one field specified at a time");
            }
            (Some(map), None) => rules::named(
                &map.name,
                names::dns1123_subdomain,
                &path.child("configMapRef").child("name"),
                errors,
            ),
            (None, Some(secret)) => rules::named(
                &secret.name,
                names::dns1123_subdomain,
                &path.child("secretRef").child("name"),
                errors,
            ),
        }
    }
}

fn mounts(
    container: &Container,
    volumes: &BTreeSet<String>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mut places = BTreeSet::new();
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.child("volumeMounts").index(i);
        validate_mount(mount, volumes, &path, errors);
        if !mount.mount_path.is_empty() && !places.insert(&mount.mount_path) {
            errors.invalid(&path.child("mountPath"), &mount.mount_path, "must be unique");
        }
    }
}

fn validate_mount(
    mount: &VolumeMount,
    volumes: &BTreeSet<String>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if mount.name.is_empty() {
        errors.required(&path.child("name"), "");
    } else if !volumes.contains(&mount.name) {
        errors.not_found(&path.child("name"), &mount.name);
    }
    if mount.mount_path.is_empty() {
        errors.required(&path.child("mountPath"), "");
    }
    let sub_path = text(mount.sub_path.as_ref());
    if sub_path.starts_with('/') {
        errors.invalid(&path.child("subPath"), sub_path, "must be a relative path");
    }
    if sub_path.split('/').any(|part| part == "..") {
        errors.invalid(&path.child("subPath"), sub_path, "must not contain '..'");
    }
}

/// The faults of what a container requests and may use.
pub(crate) fn validate_resources(
    resources: &ResourceRequirements,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    requirements(resources, resource_name, path, errors);
}

/// The same, of resources with such names.
pub(super) fn requirements(
    resources: &ResourceRequirements,
    name: ResourceName,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let none = Resources::new();
    let limits = resources.limits.as_ref().unwrap_or(&none);
    let requests = resources.requests.as_ref().unwrap_or(&none);
    amounts(limits, name, &path.child("limits"), errors);
    amounts(requests, name, &path.child("requests"), errors);
    for (name, request) in requests {
        let parsed = |q: &api_types::Quantity| Quantity::try_from(q).ok();
        let (Some(asked), Some(limit)) = (parsed(request), limits.get(name)) else { continue };
        if parsed(limit).is_some_and(|limit| asked.compare(limit).is_gt()) {
            let why = format!("must be less than or equal to {name} limit of {}", limit.0);
            errors.invalid(&path.child("requests"), &request.0, &why);
        }
    }
}

fn amounts(amounts: &Resources, name_of: ResourceName, path: &FieldPath, errors: &mut FieldErrors) {
    for (name, amount) in amounts {
        let path = path.key(name);
        name_of(name, &path, errors);
        match Quantity::try_from(amount) {
            Err(error) => errors.invalid(&path, &amount.0, &error.to_string()),
            Ok(amount) if amount.is_negative() => {
                errors.invalid(&path, amount.to_string(), rules::NOT_NEGATIVE);
            }
            Ok(_) => {}
        }
    }
}

/// The faults of a name of what a container may use.
pub(crate) fn resource_name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    rules::follows(name, names::qualified_name, path, errors);
    let is_standard =
        ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    if !name.contains('/') && !is_standard {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
        errors.invalid(path, name, "must be a standard resource for containers");
    }
}

/// Init containers end before the pod is ready; only those that stay (restart policy Always) have probes.
fn no_probes(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    if container.restart_policy.as_deref() == Some("Always") {
        return;
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
}
