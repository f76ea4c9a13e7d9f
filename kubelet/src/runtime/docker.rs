//! The Docker Engine as container runtime. The only module that names `bollard`; it translates and
//! decides nothing.

use std::{collections::HashMap, time::Duration};

use api_types::jiff::{SignedDuration, Timestamp};
use async_trait::async_trait;
use bollard::{
    Docker as Engine,
    errors::Error,
    exec::{CreateExecOptions, StartExecResults},
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum,
        ContainerSummary, EventMessage, HostConfig, HostConfigLogConfig, Mount as EngineMount,
        MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
        InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
        LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    },
};
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use super::{
    Container, ContainerSpec, Exit, Image, LogLimits, LogOptions, Mount, Propagation, Runtime,
    RuntimeError, RuntimeEvent, RuntimeInfo, SandboxNetwork, SandboxSpec, Seccomp, Security, State,
    Summary, labels,
};

/// Seconds to wait for one answer of the engine. Pulls and logs are streams and not bound by it.
const TIMEOUT_SECONDS: u64 = 120;
/// Oldest engine understood: Docker 20.10. Requests carry no version, so that each engine answers in its own.
const API_VERSION: &bollard::ClientVersion =
    &bollard::ClientVersion { major_version: 1, minor_version: 41 };
const CPU_PERIOD_MICROSECONDS: i64 = 100_000;
const SHM_BYTES: i64 = 64 * 1024 * 1024;
/// How much of a command's output is kept, as Kubernetes does for probes.
const EXEC_OUTPUT_BYTES: usize = 10 << 10;
/// The driver whose files `logs` can read after they were rotated.
const LOG_DRIVER: &str = "json-file";

/// Containers of one node in one Docker Engine.
#[derive(Debug)]
pub struct Docker {
    engine: Engine,
    node: String,
    pause_image: String,
    logs: LogLimits,
}

impl Docker {
    /// Connects lazily: an engine that is down shows in the first call.
    pub fn connect(
        host: &str,
        node: &str,
        pause_image: &str,
        logs: LogLimits,
    ) -> Result<Self, RuntimeError> {
        let engine = match host.strip_prefix("unix://") {
            Some(path) => Engine::connect_with_unix(path, TIMEOUT_SECONDS, API_VERSION),
            None => Engine::connect_with_http(host, TIMEOUT_SECONDS, API_VERSION),
        };
        let engine = engine.map_err(failure)?;
        Ok(Self { engine, node: node.to_owned(), pause_image: pause_image.to_owned(), logs })
    }

    async fn summaries(&self, pod: Option<&str>) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let mut wanted = vec![format!("{}={}", labels::NODE, self.node)];
        wanted.extend(pod.map(|uid| format!("{}={uid}", labels::POD_UID)));
        let filters = HashMap::from([("label", wanted)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.engine.list_containers(Some(options)).await.map_err(failure)
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>, RuntimeError> {
        match self.engine.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(answer) => Ok(container(answer)),
            // Removed between list and inspect.
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(failure(error)),
        }
    }

    async fn create_named(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, RuntimeError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        match self.engine.create_container(Some(options.clone()), body.clone()).await {
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                // Left by a kubelet that died between create and start.
                self.remove(name).await?;
                let made = self.engine.create_container(Some(options), body).await;
                made.map(|made| made.id).map_err(failure)
            }
            made => made.map(|made| made.id).map_err(failure),
        }
    }
}

// === impl Runtime ===

#[async_trait]
impl Runtime for Docker {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError> {
        let info = self.engine.info().await.map_err(failure)?;
        Ok(RuntimeInfo {
            version: format!("docker://{}", info.server_version.unwrap_or_default()),
            kernel: info.kernel_version.unwrap_or_default(),
            os_image: info.operating_system.unwrap_or_default(),
        })
    }

    async fn list(&self, pod: Option<&str>) -> Result<Vec<Container>, RuntimeError> {
        let ids = self.summaries(pod).await?.into_iter().filter_map(|summary| summary.id);
        stream::iter(ids)
            .map(|id| async move { self.inspect(&id).await })
            .buffered(8)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await
    }

    async fn summary(&self) -> Result<Vec<Summary>, RuntimeError> {
        let brief = |summary: ContainerSummary| {
            Some(Summary {
                pod: labels::pod_of(&summary.labels.unwrap_or_default())?.uid,
                id: summary.id?,
                state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
            })
        };
        Ok(self.summaries(None).await?.into_iter().filter_map(brief).collect())
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        let name = labels::container_name(&spec.pod, labels::SANDBOX_NAME, spec.attempt);
        let id = self.create_named(&name, self.sandbox_body(spec)).await?;
        self.start(&id).await?;
        Ok(id)
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        let name = labels::container_name(&spec.pod, &spec.name, spec.attempt);
        self.create_named(&name, self.container_body(spec)).await
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.engine.start_container(id, None::<StartContainerOptions>).await.map_err(failure)
    }

    async fn signal(&self, id: &str, signal: &str) -> Result<(), RuntimeError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.engine.kill_container(id, Some(options)).await {
            // 409: not running.
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.engine.remove_container(id, Some(options)).await {
            // 409: another removal is in progress.
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        match self.engine.inspect_image(reference).await {
            Ok(image) => Ok(Some(Image {
                id: image.id.unwrap_or_default(),
                digest: image.repo_digests.unwrap_or_default().into_iter().next(),
                user: image.config.and_then(|config| config.user).unwrap_or_default(),
            })),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(failure(error)),
        }
    }

    async fn pull(&self, reference: &str) -> Result<(), RuntimeError> {
        let options = CreateImageOptionsBuilder::default().from_image(&tagged(reference)).build();
        let mut progress = self.engine.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            let step = step.map_err(failure)?;
            if let Some(fault) = step.error_detail {
                return Err(RuntimeError::Failed(fault.message.unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{}={}", labels::NODE, self.node)]),
        ]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        self.engine
            .events(Some(options))
            .map_err(failure)
            .try_filter_map(|message| async move { Ok(event(message)) })
            .boxed()
    }

    fn logs(
        &self,
        id: &str,
        options: &LogOptions,
    ) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        let since = options.since.map_or(0, |since| since.as_second());
        let tail = options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(options.follow)
            .since(i32::try_from(since).unwrap_or(i32::MAX))
            .timestamps(options.timestamps)
            .tail(&tail)
            .build();
        let output = self.engine.logs(id, Some(options));
        output.map_ok(bollard::container::LogOutput::into_bytes).map_err(failure).boxed()
    }

    async fn exec(
        &self,
        id: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<(i64, String), RuntimeError> {
        let run = self.exec_to_end(id, command);
        tokio::time::timeout(timeout, run)
            .await
            .map_err(|_| RuntimeError::Failed(format!("command timed out after {timeout:?}")))?
    }
}

// === Translation to the engine ===

impl Docker {
    fn sandbox_body(&self, spec: &SandboxSpec) -> ContainerCreateBody {
        let mut marks = labels::identity(&self.node, &spec.pod, labels::SANDBOX_NAME, spec.attempt);
        let (network, hostname) = match spec.network {
            SandboxNetwork::Host => ("host", None),
            SandboxNetwork::Private(address) => {
                marks.insert(labels::ADDRESS.to_owned(), address.to_string());
                ("none", Some(spec.hostname.clone()))
            }
        };
        let ipc = if spec.host_ipc { "host" } else { "shareable" };
        ContainerCreateBody {
            image: Some(self.pause_image.clone()),
            labels: Some(marks),
            hostname,
            host_config: Some(HostConfig {
                network_mode: Some(network.to_owned()),
                ipc_mode: Some(ipc.to_owned()),
                pid_mode: spec.host_pid.then(|| "host".to_owned()),
                sysctls: Some(spec.sysctls.clone().into_iter().collect()),
                shm_size: Some(SHM_BYTES),
                log_config: Some(log_config(self.logs)),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn container_body(&self, spec: &ContainerSpec) -> ContainerCreateBody {
        let mut marks = labels::identity(&self.node, &spec.pod, &spec.name, spec.attempt);
        marks.insert(labels::HASH.to_owned(), spec.hash.clone());
        marks.insert(labels::SANDBOX_ID.to_owned(), spec.sandbox_id.clone());
        marks.insert(labels::IMAGE.to_owned(), spec.image.clone());
        ContainerCreateBody {
            image: Some(spec.image.clone()),
            labels: Some(marks),
            entrypoint: spec.command.clone(),
            cmd: spec.args.clone(),
            env: Some(spec.env.clone()),
            working_dir: spec.working_dir.clone(),
            tty: Some(spec.tty),
            open_stdin: Some(spec.stdin),
            user: spec.security.user.clone(),
            host_config: Some(HostConfig {
                log_config: Some(log_config(self.logs)),
                ..host_config(spec)
            }),
            ..ContainerCreateBody::default()
        }
    }

    async fn exec_to_end(
        &self,
        id: &str,
        command: &[String],
    ) -> Result<(i64, String), RuntimeError> {
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.engine.create_exec(id, options).await.map_err(failure)?;
        let started = self.engine.start_exec(&exec.id, None).await.map_err(failure)?;
        let mut text = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = started {
            // Read to its end, or the command would wait for somebody who reads.
            while let Some(part) = output.next().await {
                let part = part.map_err(failure)?.into_bytes();
                let kept = part.len().min(EXEC_OUTPUT_BYTES - text.len());
                text.extend_from_slice(&part[..kept]);
            }
        }
        let end = self.engine.inspect_exec(&exec.id).await.map_err(failure)?;
        Ok((end.exit_code.unwrap_or_default(), String::from_utf8_lossy(&text).into_owned()))
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let sandbox = format!("container:{}", spec.sandbox_id);
    let pid = match (spec.host_pid, spec.share_pids) {
        (true, _) => Some("host".to_owned()),
        (false, true) => Some(sandbox.clone()),
        (false, false) => None,
    };
    let security = &spec.security;
    HostConfig {
        network_mode: Some(sandbox.clone()),
        ipc_mode: Some(sandbox),
        pid_mode: pid,
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        cpu_shares: spec.resources.cpu_shares,
        cpu_quota: spec.resources.cpu_quota,
        cpu_period: spec.resources.cpu_quota.map(|_| CPU_PERIOD_MICROSECONDS),
        memory: spec.resources.memory,
        // The same as the memory limit: no swap.
        memory_swap: spec.resources.memory,
        privileged: Some(security.privileged),
        readonly_rootfs: Some(security.read_only_root),
        cap_add: Some(security.add.clone()),
        cap_drop: Some(security.drop.clone()),
        group_add: Some(security.groups.clone()),
        security_opt: Some(security_options(security)),
        ..HostConfig::default()
    }
}

fn log_config(limits: LogLimits) -> HostConfigLogConfig {
    let options =
        [("max-size", limits.max_size.to_string()), ("max-file", limits.max_files.to_string())];
    HostConfigLogConfig {
        typ: Some(LOG_DRIVER.to_owned()),
        config: Some(options.map(|(name, value)| (name.to_owned(), value)).into()),
    }
}

fn security_options(security: &Security) -> Vec<String> {
    let seccomp = match &security.seccomp {
        Seccomp::RuntimeDefault => None,
        Seccomp::Unconfined => Some("seccomp=unconfined".to_owned()),
        Seccomp::Localhost(profile) => Some(format!("seccomp={profile}")),
    };
    let hardening = security.no_new_privileges.then(|| "no-new-privileges".to_owned());
    hardening.into_iter().chain(seccomp).collect()
}

fn mount(mount: &Mount) -> EngineMount {
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(propagation(mount.propagation)),
            ..MountBindOptions::default()
        }),
        ..EngineMount::default()
    }
}

fn propagation(wanted: Propagation) -> MountBindOptionsPropagationEnum {
    match wanted {
        Propagation::None => MountBindOptionsPropagationEnum::RPRIVATE,
        Propagation::HostToContainer => MountBindOptionsPropagationEnum::RSLAVE,
        Propagation::Bidirectional => MountBindOptionsPropagationEnum::RSHARED,
    }
}

/// Without a tag or digest the engine would pull every tag there is.
fn tagged(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

// === Translation from the engine ===

fn container(answer: ContainerInspectResponse) -> Option<Container> {
    let config = answer.config?;
    let marks = config.labels.unwrap_or_default();
    let mark = |key: &str| marks.get(key).cloned().unwrap_or_default();
    let engine_state = answer.state.unwrap_or_default();
    let image = mark(labels::IMAGE);
    Some(Container {
        id: answer.id?,
        pod: labels::pod_of(&marks)?,
        name: mark(labels::CONTAINER_NAME),
        attempt: mark(labels::RESTART_COUNT).parse().unwrap_or_default(),
        hash: mark(labels::HASH),
        sandbox_id: mark(labels::SANDBOX_ID),
        address: mark(labels::ADDRESS).parse().ok(),
        image: if image.is_empty() { config.image.unwrap_or_default() } else { image },
        image_id: answer.image.unwrap_or_default(),
        pid: engine_state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0),
        state: state(&engine_state, moment(answer.created.as_deref())),
        stop_signal: config.stop_signal.filter(|s| !s.is_empty()).unwrap_or("SIGTERM".into()),
    })
}

fn state(engine: &ContainerState, created: Option<Timestamp>) -> State {
    use ContainerStateStatusEnum as Status;
    let error = engine.error.clone().unwrap_or_default();
    match engine.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING) => {
            State::Running { started_at: moment(engine.started_at.as_deref()).unwrap_or_default() }
        }
        Some(Status::CREATED) if error.is_empty() => State::Created,
        _ => State::Exited(exit(engine, error, created)),
    }
}

fn exit(engine: &ContainerState, error: String, created: Option<Timestamp>) -> Exit {
    let finished_at = moment(engine.finished_at.as_deref());
    Exit {
        code: i32::try_from(engine.exit_code.unwrap_or_default()).unwrap_or(-1),
        oom_killed: engine.oom_killed.unwrap_or_default(),
        started_at: moment(engine.started_at.as_deref()),
        // A container that could not be started has no end of its own.
        finished_at: finished_at.or(created).unwrap_or_default(),
        error,
    }
}

/// The engine writes year 1 for "never".
fn moment(text: Option<&str>) -> Option<Timestamp> {
    let parsed: Timestamp = text?.parse().ok()?;
    (parsed.duration_since(Timestamp::UNIX_EPOCH) > SignedDuration::ZERO).then_some(parsed)
}

fn event(message: EventMessage) -> Option<RuntimeEvent> {
    let marks = message.actor?.attributes?;
    Some(RuntimeEvent { pod: marks.get(labels::POD_UID)?.clone(), action: message.action? })
}

fn failure(error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => {
            RuntimeError::NotFound(message)
        }
        Error::DockerResponseServerError { status_code: 409, message } => {
            RuntimeError::Conflict(message)
        }
        Error::DockerResponseServerError { message, .. } => RuntimeError::Failed(message),
        Error::DockerStreamError { error } => RuntimeError::Failed(error),
        Error::SocketNotFoundError(_)
        | Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::RequestTimeoutError => RuntimeError::Unreachable(error.to_string()),
        other => RuntimeError::Failed(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_without_tag_mean_latest() {
        assert_eq!(tagged("nginx"), "nginx:latest");
        assert_eq!(tagged("localhost:5000/nginx"), "localhost:5000/nginx:latest");
        assert_eq!(tagged("nginx:1.27"), "nginx:1.27");
        assert_eq!(tagged("nginx@sha256:00"), "nginx@sha256:00");
    }

    #[test]
    fn year_one_is_never() {
        assert_eq!(moment(Some("0001-01-01T00:00:00Z")), None);
        assert!(moment(Some("2026-01-02T03:04:05.678Z")).is_some());
    }
}
