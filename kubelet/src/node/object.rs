//! The Node object: what the kubelet says about its node. Pure.

use std::collections::BTreeMap;

use api_types::{
    Quantity,
    api::core::v1::{
        DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
        NodeSystemInfo,
    },
    jiff::Timestamp,
    meta::{ObjectMeta, Time},
};

use super::pressure::Thresholds;
use crate::{machine::allocatable_disk, runtime::RuntimeInfo};

const DISK: &str = "ephemeral-storage";

/// What does not change while the kubelet runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub ip: String,
    /// That of the other family, if it has one.
    pub second_ip: Option<String>,
    /// The port of the kubelet's server.
    pub port: u16,
    /// Labels from the command line.
    pub labels: BTreeMap<String, String>,
    /// Number of processors.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the file system that pods' files are on.
    pub disk: u64,
    /// How many pods may run.
    pub max_pods: u32,
    /// How much memory and disk there has to be.
    pub thresholds: Thresholds,
    /// What the runtime said about itself and the system.
    pub runtime: RuntimeInfo,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// How the node is at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why no pods can run, if so.
    pub not_ready: Option<String>,
    /// Too little memory is left.
    pub memory_short: bool,
    /// Too little disk space is left.
    pub disk_short: bool,
}

/// The labels that every node has, and those from the command line.
pub fn labels(facts: &Facts) -> BTreeMap<String, String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut labels = facts.labels.clone();
    for (key, value) in
        [("hostname", facts.name.as_str()), ("os", std::env::consts::OS), ("arch", architecture)]
    {
        labels.entry(format!("kubernetes.io/{key}")).or_insert_with(|| value.to_owned());
    }
    labels
}

/// The object to create.
pub fn node(facts: &Facts, health: &Health, now: Timestamp) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(facts.name.clone()),
            labels: Some(labels(facts)),
            ..ObjectMeta::default()
        },
        status: Some(status(facts, health, &NodeStatus::default(), now)),
        ..Node::default()
    }
}

/// The status to report; conditions keep their transition time, and conditions of others stay.
pub fn status(facts: &Facts, health: &Health, old: &NodeStatus, now: Timestamp) -> NodeStatus {
    let address = |type_: &str, address: &str| NodeAddress {
        type_: type_.to_owned(),
        address: address.to_owned(),
    };
    let internal = [&facts.ip].into_iter().chain(&facts.second_ip);
    let addresses = internal.map(|ip| address("InternalIP", ip));
    let addresses = addresses.chain([address("Hostname", &facts.name)]);
    NodeStatus {
        addresses: Some(addresses.collect()),
        capacity: Some(capacity(facts)),
        allocatable: Some(allocatable(facts)),
        conditions: Some(conditions(health, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: facts.port.into() }),
        }),
        node_info: Some(info(facts)),
        ..old.clone()
    }
}

fn capacity(facts: &Facts) -> BTreeMap<String, Quantity> {
    [
        ("cpu", facts.cpus.to_string()),
        ("memory", format!("{}Ki", facts.memory / 1024)),
        ("pods", facts.max_pods.to_string()),
        (DISK, format!("{}Ki", facts.disk / 1024)),
    ]
    .into_iter()
    .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
    .collect()
}

/// Pods may not fill the disk: below a share of free space the node is under pressure.
fn allocatable(facts: &Facts) -> BTreeMap<String, Quantity> {
    let mut amounts = capacity(facts);
    amounts.insert(DISK.to_owned(), Quantity(allocatable_disk(facts.disk).to_string()));
    amounts
}

fn info(facts: &Facts) -> NodeSystemInfo {
    let version = format!("v1.36.0+minik8s.{}", env!("CARGO_PKG_VERSION"));
    NodeSystemInfo {
        architecture: labels(facts).remove("kubernetes.io/arch").unwrap_or_default(),
        boot_id: facts.boot_id.clone(),
        container_runtime_version: facts.runtime.version.clone(),
        kernel_version: facts.runtime.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: version,
        machine_id: facts.machine_id.clone(),
        operating_system: std::env::consts::OS.to_owned(),
        os_image: facts.runtime.os_image.clone(),
        system_uuid: facts.machine_id.clone(),
        ..NodeSystemInfo::default()
    }
}

struct HealthFinding {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn findings(health: &Health) -> [HealthFinding; 4] {
    let pressure =
        |kind, holds, (bad, good): (&'static str, &'static str), what: &str| HealthFinding {
            kind,
            holds,
            reason: if holds { bad } else { good },
            message: format!("kubelet has {}{what}", if holds { "in" } else { "" }),
        };
    let ready = HealthFinding {
        kind: "Ready",
        holds: health.not_ready.is_none(),
        reason: if health.not_ready.is_none() { "KubeletReady" } else { "KubeletNotReady" },
        message: health.not_ready.clone().unwrap_or("kubelet is posting ready status".into()),
    };
    [
        pressure(
            "MemoryPressure",
            health.memory_short,
            ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            "sufficient memory available",
        ),
        pressure(
            "DiskPressure",
            health.disk_short,
            ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            "sufficient disk space available",
        ),
        pressure(
            "PIDPressure",
            false,
            ("KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            "sufficient PID available",
        ),
        ready,
    ]
}

fn conditions(health: &Health, old: &NodeStatus, now: Timestamp) -> Vec<NodeCondition> {
    let before = old.conditions.as_deref().unwrap_or_default();
    let findings = findings(health);
    let foreign = before.iter().filter(|c| findings.iter().all(|f| f.kind != c.type_)).cloned();
    findings.iter().map(|finding| condition(finding, before, now)).chain(foreign).collect()
}

fn condition(finding: &HealthFinding, before: &[NodeCondition], now: Timestamp) -> NodeCondition {
    let status = if finding.holds { "True" } else { "False" };
    let same = before.iter().find(|c| c.type_ == finding.kind && c.status == status);
    NodeCondition {
        type_: finding.kind.to_owned(),
        status: status.to_owned(),
        reason: Some(finding.reason.to_owned()),
        message: Some(finding.message.clone()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: same
            .and_then(|condition| condition.last_transition_time.clone())
            .or(Some(Time(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "n1".into(),
            cpus: 2,
            memory: 4 << 30,
            disk: 10 << 30,
            max_pods: 110,
            ..Facts::default()
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(status: &NodeStatus) -> NodeCondition {
        let conditions = status.conditions.clone().unwrap();
        conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap()
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let first = status(&facts(), &Health::default(), &NodeStatus::default(), at(1));
        let second = status(&facts(), &Health::default(), &first, at(2));
        assert_eq!(ready(&second).last_transition_time, Some(Time(at(1))));
        assert_eq!(ready(&second).last_heartbeat_time, Some(Time(at(2))));
        let health = Health { not_ready: Some("no runtime".into()), ..Health::default() };
        let third = status(&facts(), &health, &second, at(3));
        assert_eq!(ready(&third).last_transition_time, Some(Time(at(3))));
        assert_eq!(ready(&third).reason.as_deref(), Some("KubeletNotReady"));
        assert_eq!(third.conditions.unwrap().len(), 4);
    }

    #[test]
    fn capacity_is_written_as_kubernetes_does() {
        let capacity = capacity(&facts());
        assert_eq!(capacity["cpu"].0, "2");
        assert_eq!(capacity["memory"].0, "4194304Ki");
        assert_eq!(capacity["pods"].0, "110");
        assert_eq!(capacity["ephemeral-storage"].0, "10485760Ki");
        assert_eq!(allocatable(&facts())["ephemeral-storage"].0, "9663676416");
    }

    #[test]
    fn labels_from_the_command_line_win() {
        let mut facts = facts();
        facts.labels.insert("kubernetes.io/hostname".into(), "other".into());
        assert_eq!(labels(&facts)["kubernetes.io/hostname"], "other");
        assert_eq!(labels(&facts)["kubernetes.io/os"], "linux");
    }
}
