//! Sandboxes and containers in the words of the Docker Engine. Pure.

use docker::models::{
    ContainerCreateBody, ContainerUpdateBody, HostConfig, HostConfigLogConfig,
    Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
};

use super::Docker;
use crate::{
    addresses::PodAddresses,
    runtime::{
        ContainerSpec, LogLimits, Mount, Propagation, Resources, SandboxNetwork, SandboxSpec,
        Seccomp, Security, labels,
    },
};

const CPU_PERIOD_MICROSECONDS: i64 = 100_000;
const SHM_BYTES: i64 = 64 * 1024 * 1024;
/// Kubernetes' score of sandboxes: without one its pod is gone, and there is next to nothing to be had by its end.
const SANDBOX_OOM_SCORE: i64 = -998;
/// The driver whose files `logs` can read after they were rotated.
const LOG_DRIVER: &str = "json-file";

impl Docker {
    /// `lowest` is what the engine can give of `oom_score_adj`.
    pub(super) fn sandbox_body(&self, spec: &SandboxSpec, lowest: i64) -> ContainerCreateBody {
        let mut marks = labels::identity(&self.node, &spec.pod, labels::SANDBOX_NAME, spec.attempt);
        let (network, hostname) = match spec.network {
            SandboxNetwork::Host => ("host", None),
            SandboxNetwork::Private(addresses) => {
                let names = [labels::ADDRESS, labels::SECOND_ADDRESS].map(str::to_owned);
                let addresses = addresses.iter().flat_map(PodAddresses::iter);
                marks.extend(names.into_iter().zip(addresses.map(|address| address.to_string())));
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
                oom_score_adj: Some(SANDBOX_OOM_SCORE.max(lowest)),
                log_config: Some(log_config(self.logs)),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// `lowest` is what the engine can give of `oom_score_adj`.
    pub(super) fn container_body(&self, spec: &ContainerSpec, lowest: i64) -> ContainerCreateBody {
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
            stdin_once: Some(spec.stdin_once),
            user: spec.security.user.clone(),
            host_config: Some(HostConfig {
                log_config: Some(log_config(self.logs)),
                oom_score_adj: Some(spec.oom_score_adj.max(lowest)),
                ..host_config(spec)
            }),
            ..ContainerCreateBody::default()
        }
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let sandbox = format!("container:{}", spec.sandbox_id);
    let pid = match (spec.host_pid, spec.share_pids, &spec.pids_of) {
        (true, ..) => Some("host".to_owned()),
        (false, true, _) => Some(sandbox.clone()),
        (false, false, Some(other)) => Some(format!("container:{other}")),
        (false, false, None) => None,
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

impl Docker {
    /// The bounds of `host_config`, for a container that is there.
    pub(super) fn update_body(resources: &Resources) -> ContainerUpdateBody {
        ContainerUpdateBody {
            cpu_shares: resources.cpu_shares,
            cpu_quota: resources.cpu_quota,
            cpu_period: resources.cpu_quota.map(|_| CPU_PERIOD_MICROSECONDS),
            memory: resources.memory,
            memory_swap: resources.memory,
            ..ContainerUpdateBody::default()
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::runtime::PodIdentity;

    #[test]
    fn no_score_is_lower_than_the_engine_can_give() {
        let engine = docker::Docker::new("unix:///nowhere").unwrap();
        let docker = Docker::new(engine, "n1", "pause", LogLimits { max_size: 1, max_files: 1 });
        let sandbox = SandboxSpec {
            pod: PodIdentity::default(),
            attempt: 0,
            hostname: String::new(),
            network: SandboxNetwork::Host,
            host_ipc: false,
            host_pid: false,
            sysctls: BTreeMap::new(),
        };
        let check = |lowest: i64, expected: [i64; 3]| {
            let container = |oom_score_adj| {
                let spec = ContainerSpec { oom_score_adj, ..ContainerSpec::default() };
                docker.container_body(&spec, lowest)
            };
            let bodies = [docker.sandbox_body(&sandbox, lowest), container(-997), container(900)];
            let scores = bodies.map(|body| body.host_config.unwrap().oom_score_adj.unwrap());
            assert_eq!(scores, expected, "{lowest}");
        };
        check(-1000, [-998, -997, 900]);
        check(-500, [-500, -500, 900]);
        check(0, [0, 0, 900]);
    }

    #[test]
    fn whose_processes_a_container_sees() {
        let check = |host: bool, shared: bool, other: Option<&str>, expected: Option<&str>| {
            let spec = ContainerSpec {
                sandbox_id: "s".to_owned(),
                host_pid: host,
                share_pids: shared,
                pids_of: other.map(str::to_owned),
                ..ContainerSpec::default()
            };
            assert_eq!(host_config(&spec).pid_mode.as_deref(), expected);
        };
        check(false, false, None, None);
        check(false, false, Some("a"), Some("container:a"));
        check(false, true, Some("a"), Some("container:s"));
        check(true, false, Some("a"), Some("host"));
    }
}
