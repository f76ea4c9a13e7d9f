//! What a pod's spec has where nothing is said (Kubernetes: `pkg/apis/core/v1/defaults.go`).

use std::collections::BTreeMap;

use api_types::{
    Quantity,
    api::core::v1::{
        Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EphemeralContainer, HTTPGetAction,
        LifecycleHandler, ObjectFieldSelector, PodSpec, Probe, ResourceRequirements, Volume,
        VolumeProjection,
    },
};

/// Files of ConfigMaps and Secrets: `rw-r--r--`.
const FILE_MODE: i32 = 0o644;

/// Defaults of a pod's spec.
pub(super) fn pod(spec: &mut PodSpec) {
    template(spec);
    spec.enable_service_links.get_or_insert(true);
    let host_network = spec.host_network.unwrap_or(false);
    for container in containers(spec) {
        requests_from_limits(container);
        if host_network {
            container.ports.iter_mut().flatten().for_each(host_port);
        }
    }
}

/// Defaults of a spec in a template.
pub(super) fn template(spec: &mut PodSpec) {
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_default();
    containers(spec).for_each(defaults);
    spec.ephemeral_containers.iter_mut().flatten().for_each(ephemeral);
    spec.volumes.iter_mut().flatten().for_each(volume);
}

/// Sets a text that is absent or empty.
fn text(field: &mut Option<String>, default: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(default.to_owned());
    }
}

fn containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

fn defaults(container: &mut Container) {
    text(
        &mut container.image_pull_policy,
        pull_policy(container.image.as_deref().unwrap_or_default()),
    );
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
    container.ports.iter_mut().flatten().for_each(|port| text(&mut port.protocol, "TCP"));
    variables(container.env.iter_mut().flatten());
    let probes = [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ];
    probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        let hooks = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
        hooks.into_iter().flatten().for_each(handler);
    }
}

fn ephemeral(container: &mut EphemeralContainer) {
    text(
        &mut container.image_pull_policy,
        pull_policy(container.image.as_deref().unwrap_or_default()),
    );
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
    variables(container.env.iter_mut().flatten());
}

fn variables<'a>(all: impl Iterator<Item = &'a mut EnvVar>) {
    all.filter_map(|it| it.value_from.as_mut()?.field_ref.as_mut()).for_each(field_ref);
}

/// An image whose tag may change its meaning is pulled every time.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(n, d)| (n, d));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        _ if !digest.is_empty() => "IfNotPresent",
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

/// Of a pod on its node's network.
fn host_port(port: &mut ContainerPort) {
    if port.host_port.unwrap_or(0) == 0 {
        port.host_port = Some(port.container_port);
    }
}

fn field_ref(reference: &mut ObjectFieldSelector) {
    text(&mut reference.api_version, "v1");
}

fn probe(probe: &mut Probe) {
    for (field, default) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.unwrap_or(0) == 0 {
            *field = Some(default);
        }
    }
    probe.http_get.iter_mut().for_each(http_get);
}

fn handler(handler: &mut LifecycleHandler) {
    handler.http_get.iter_mut().for_each(http_get);
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
}

/// A limit without a request is the request, too.
fn requests_from_limits(container: &mut Container) {
    let Some(ResourceRequirements { limits: Some(limits), requests, .. }) =
        &mut container.resources
    else {
        return;
    };
    let requests: &mut BTreeMap<String, Quantity> = requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// A volume that doesn't say what it is is an empty directory.
fn volume(volume: &mut Volume) {
    if super::volume::sources(volume).is_empty() {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
        source.sources.iter_mut().flatten().for_each(projection);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.image {
        let policy = pull_policy(source.reference.as_deref().unwrap_or_default());
        text(&mut source.pull_policy, policy);
    }
    let claim = volume.ephemeral.as_mut().and_then(|it| it.volume_claim_template.as_mut());
    if let Some(claim) = claim {
        claim.spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        let items = source.items.iter_mut().flatten();
        items.filter_map(|i| i.field_ref.as_mut()).for_each(field_ref);
    }
}

fn projection(source: &mut VolumeProjection) {
    const HOUR: i64 = 3600;
    if let Some(token) = &mut source.service_account_token {
        token.expiration_seconds.get_or_insert(HOUR);
    }
    let items = source.downward_api.iter_mut().filter_map(|it| it.items.as_mut()).flatten();
    items.filter_map(|item| item.field_ref.as_mut()).for_each(field_ref);
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn an_image_without_a_fixed_tag_is_pulled_always() {
        for (image, expected) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/nginx:1.27", "IfNotPresent"),
            ("nginx:1.27", "IfNotPresent"),
            ("nginx@sha256:0123", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), expected, "{image}");
        }
    }
}
