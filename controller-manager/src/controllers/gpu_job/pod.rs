//! The pod of a job: its server, and a file server over the same results. Pure.

use std::collections::BTreeMap;

use api_types::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerPort, DownwardAPIProjection,
    DownwardAPIVolumeFile, EmptyDirVolumeSource, HTTPGetAction, HostPathVolumeSource, KeyToPath,
    ObjectFieldSelector, Pod, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource,
    ResourceRequirements, SecretVolumeSource, ServiceAccountTokenProjection, Toleration, Volume,
    VolumeMount, VolumeProjection,
};
use api_types::meta::ObjectMeta;
use api_types::minik8s::{GpuJob, GpuJobSources};
use api_types::{IntOrString, Quantity};

use super::cluster::Cluster;
use super::directories::below_root;
use super::identity;
use super::plan::is_going;
use crate::gpu_jobs::GpuJobArgs;
use crate::nodes::{NOT_READY, UNREACHABLE};
use crate::pod_control::pod_of;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
const CREDENTIALS: (&str, &str) = ("credentials", "/credentials");
const SOURCES: (&str, &str) = ("sources", "/sources");
const RESULTS: (&str, &str) = ("results", "/results");
/// Sources on the node, which no container mounts by this name: the pod waits until they are there.
const PRESENT: (&str, &str) = ("sources-on-node", "");
/// Where in-cluster clients look. Only the server has it: the file server needs no account.
const TOKEN: (&str, &str) = ("token", "/var/run/secrets/kubernetes.io/serviceaccount");
/// A job that goes with its namespace is cancelled within this time, in seconds.
const TO_END: i64 = 60;
/// How long a job's pod stays on a node of which nothing is heard, in seconds. Another one follows the same job in Slurm.
const TOLERATED: i64 = 30;
/// As kubelets ask for tokens of their own accord, in seconds.
const TOKEN_LIFE: i64 = 3607;

pub(super) fn pod(
    job: &GpuJob,
    cluster: &Cluster,
    account_uid: Option<String>,
    images: &GpuJobArgs,
) -> Pod {
    let name = job.metadata.name.clone().unwrap_or_default();
    let default = (DEFAULT_CONTAINER.to_owned(), GpuJob::SERVER_CONTAINER.to_owned());
    let account = account_uid.map(|uid| (identity::ACCOUNT_UID.to_owned(), uid));
    let metadata = ObjectMeta {
        labels: Some(BTreeMap::from([(GpuJob::LABEL.to_owned(), name)])),
        annotations: Some([default].into_iter().chain(account).collect()),
        ..ObjectMeta::default()
    };
    let mut pod = pod_of(
        job,
        &PodTemplateSpec { metadata: Some(metadata), spec: Some(spec(job, cluster, images)) },
    );
    // Who deletes a job and waits for what it owns would otherwise see its pod deleted again and again, which is needed to
    // delete the job.
    for owner in pod.metadata.owner_references.iter_mut().flatten() {
        owner.block_owner_deletion = Some(false);
    }
    pod
}

fn spec(job: &GpuJob, cluster: &Cluster, images: &GpuJobArgs) -> PodSpec {
    PodSpec {
        containers: vec![server(job, cluster, images), file_server(job, images)],
        volumes: Some(volumes(job, images)),
        service_account_name: Some(identity::name(job)),
        automount_service_account_token: Some(false),
        node_selector: Some(job.spec.node_selector.clone()).filter(|labels| !labels.is_empty()),
        restart_policy: Some("Always".to_owned()),
        termination_grace_period_seconds: Some(TO_END),
        tolerations: Some([NOT_READY, UNREACHABLE].map(tolerated).to_vec()),
        ..PodSpec::default()
    }
}

fn volumes(job: &GpuJob, images: &GpuJobArgs) -> Vec<Volume> {
    let mut volumes = vec![credentials(job), sources(job, images), results(job, images), token()];
    volumes.extend(node_sources(job).map(|path| directory(PRESENT, path, "Directory")));
    volumes
}

fn tolerated(taint: &str) -> Toleration {
    Toleration {
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(TOLERATED),
        value: None,
    }
}

fn server(job: &GpuJob, cluster: &Cluster, images: &GpuJobArgs) -> Container {
    let way = |path: Option<&str>| below_root(path?, &images.gpu_volume_roots)?.1;
    let mounts = vec![
        mount(CREDENTIALS, true),
        VolumeMount { sub_path: way(node_sources(job)), ..mount(SOURCES, true) },
        mount(TOKEN, true),
        results_mount(job, images, false),
    ];
    Container {
        name: GpuJob::SERVER_CONTAINER.to_owned(),
        image: Some(images.gpu_server_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments(job, cluster)),
        ports: Some(port(GpuJob::SERVER_PORT)),
        volume_mounts: Some(mounts),
        readiness_probe: Some(answers(GpuJob::SERVER_PORT, "/healthz")),
        resources: Some(requests("10m", "16Mi")),
        ..Container::default()
    }
}

/// Each flag is one word with its value: a value may begin with anything.
fn arguments(job: &GpuJob, cluster: &Cluster) -> Vec<String> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let metadata = &job.metadata;
    let mut arguments = vec![
        format!("--job={}/{}", text(&metadata.namespace), text(&metadata.name)),
        format!("--uid={}", text(&metadata.uid)),
        format!("--ssh-host={}", cluster.host),
        format!("--ssh-port={}", cluster.port),
    ];
    let maybe = [
        ("ssh-host-key", &cluster.host_key),
        ("ssh-known-hosts", &cluster.known_hosts),
        ("directory", &cluster.directory),
    ];
    let maybe = maybe.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
    arguments.extend(maybe.map(|(flag, value)| format!("--{flag}={value}")));
    let folders = [CREDENTIALS, SOURCES, RESULTS];
    arguments.extend(folders.map(|(flag, path)| format!("--{flag}={path}")));
    // Kubelets expand variables in arguments.
    arguments.into_iter().map(|argument| argument.replace('$', "$$")).collect()
}

fn file_server(job: &GpuJob, images: &GpuJobArgs) -> Container {
    Container {
        name: GpuJob::FILE_SERVER_CONTAINER.to_owned(),
        image: Some(images.gpu_file_server_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        ports: Some(port(GpuJob::FILES_PORT)),
        volume_mounts: Some(vec![results_mount(job, images, true)]),
        readiness_probe: Some(answers(GpuJob::FILES_PORT, GpuJob::FILES_PATH)),
        resources: Some(requests("10m", "8Mi")),
        ..Container::default()
    }
}

fn port(port: u16) -> Vec<ContainerPort> {
    vec![ContainerPort { container_port: port.into(), ..ContainerPort::default() }]
}

fn answers(port: u16, path: &str) -> Probe {
    let get = HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::Int(port.into()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(get), ..Probe::default() }
}

fn requests(cpu: &str, memory: &str) -> ResourceRequirements {
    let of = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    let requests = BTreeMap::from([of("cpu", cpu), of("memory", memory)]);
    ResourceRequirements { requests: Some(requests), ..ResourceRequirements::default() }
}

fn mount((name, path): (&str, &str), read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}

fn results_mount(job: &GpuJob, images: &GpuJobArgs, read_only: bool) -> VolumeMount {
    let way = node_results(job).and_then(|path| below_root(path, &images.gpu_volume_roots)?.1);
    VolumeMount { sub_path: way, ..mount(RESULTS, read_only) }
}

fn named((name, _): (&str, &str)) -> Volume {
    Volume { name: name.to_owned(), ..Volume::default() }
}

fn empty(volume: (&str, &str)) -> Volume {
    Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..named(volume) }
}

fn directory(volume: (&str, &str), path: &str, type_: &str) -> Volume {
    let source = HostPathVolumeSource { path: path.to_owned(), type_: Some(type_.to_owned()) };
    Volume { host_path: Some(source), ..named(volume) }
}

fn credentials(job: &GpuJob) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(job.spec.credentials.secret_ref.name.clone()),
        default_mode: Some(0o400),
        ..SecretVolumeSource::default()
    };
    Volume { secret: Some(source), ..named(CREDENTIALS) }
}

/// Once they are on the cluster, or the job is only to be cleared up after, they are needed no more: the pod may be on
/// another node, and the objects gone.
fn needs_sources(job: &GpuJob) -> bool {
    !is_uploaded(job) && !is_going(job)
}

fn sources(job: &GpuJob, images: &GpuJobArgs) -> Volume {
    if let Some(path) = node_sources(job) {
        return root(SOURCES, path, images);
    }
    let given = job.spec.sources.as_ref().filter(|_| needs_sources(job));
    let GpuJobSources { config_map, secret, .. } = given.cloned().unwrap_or_default();
    if let Some(map) = config_map {
        let source = ConfigMapVolumeSource { name: map.name, ..ConfigMapVolumeSource::default() };
        return Volume { config_map: Some(source), ..named(SOURCES) };
    }
    if let Some(secret) = secret {
        let source =
            SecretVolumeSource { secret_name: Some(secret.name), ..SecretVolumeSource::default() };
        return Volume { secret: Some(source), ..named(SOURCES) };
    }
    // An archive is in the job itself.
    empty(SOURCES)
}

/// The directory of the node that has the sources: the volume, if nothing else is said. It is on the node or it is the
/// wrong one: kubelets make directories in whatever order.
fn node_sources(job: &GpuJob) -> Option<&str> {
    let path = match &job.spec.sources {
        Some(sources) => sources.host_path.as_deref(),
        None => job.spec.volume.as_deref(),
    };
    path.filter(|_| needs_sources(job))
}

fn is_uploaded(job: &GpuJob) -> bool {
    job.condition(GpuJob::UPLOADED).is_some_and(|condition| condition.status == "True")
}

fn results(job: &GpuJob, images: &GpuJobArgs) -> Volume {
    node_results(job).map_or_else(|| empty(RESULTS), |path| root(RESULTS, path, images))
}

fn node_results(job: &GpuJob) -> Option<&str> {
    job.spec.volume.as_deref().filter(|_| !is_going(job))
}

/// The root that the directory is below: mounts go on from there.
fn root(volume: (&str, &str), path: &str, images: &GpuJobArgs) -> Volume {
    let root =
        below_root(path, &images.gpu_volume_roots).map(|(root, _)| root.display().to_string());
    root.map_or_else(|| empty(volume), |root| directory(volume, &root, "DirectoryOrCreate"))
}

/// What every pod with an account gets, for one container.
fn token() -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(TOKEN_LIFE),
        audience: None,
    };
    let ca = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![KeyToPath {
            key: "ca.crt".to_owned(),
            path: "ca.crt".to_owned(),
            mode: None,
        }]),
        optional: None,
    };
    let namespace = ObjectFieldSelector {
        field_path: "metadata.namespace".to_owned(),
        api_version: Some("v1".to_owned()),
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(namespace),
        ..DownwardAPIVolumeFile::default()
    };
    let downward = DownwardAPIProjection { items: Some(vec![namespace]) };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(ca), ..VolumeProjection::default() },
        VolumeProjection { downward_api: Some(downward), ..VolumeProjection::default() },
    ];
    let projected = ProjectedVolumeSource { sources: Some(sources), default_mode: Some(0o644) };
    Volume { projected: Some(projected), ..named(TOKEN) }
}
