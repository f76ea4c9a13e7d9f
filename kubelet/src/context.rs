//! What the parts of the kubelet share.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api_types::{
    Quantity,
    api::core::v1::{ObjectReference, Pod},
};
use component::events::{EventType, Recorder};
use kube::Client;

use crate::{
    addresses::Ips, admission::Ledger, container::dns::ClusterDns, metrics::Metrics,
    network::PodNetwork, objects::Objects, runtime::Runtime, services::Services, spec,
    tokens::Tokens, usage::running::RunningPods, volumes::PodContext,
};

/// The rims of the kubelet and its place in the cluster.
pub struct Context {
    /// Containers and images.
    pub runtime: Arc<dyn Runtime>,
    /// Addresses and links.
    pub network: Arc<dyn PodNetwork>,
    /// The API server.
    pub client: Client,
    /// What pods use of it.
    pub objects: Objects,
    /// Tokens that they show.
    pub tokens: Tokens,
    /// How often files that show what the API server has are brought up to date.
    pub sync_frequency: Duration,
    /// Who has a share of the node.
    pub ledger: Ledger,
    /// For events about pods.
    pub recorder: Recorder,
    /// This node's name.
    pub node: String,
    /// This node's address.
    pub host_ip: String,
    /// That of the other family, if it has one.
    pub second_host_ip: Option<String>,
    /// Where the kubelet keeps files.
    pub root: PathBuf,
    /// The cluster's DNS.
    pub dns: ClusterDns,
    /// Whether all pods have their ports published on the node.
    pub publish_ports: bool,
    /// The cluster's services.
    pub services: Services,
    /// Which containers run.
    pub running: RunningPods,
    /// What is counted.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Context {
    /// The directory of a pod, by its uid.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(uid)
    }

    /// Where the directories of all pods are.
    pub fn pods_dir(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// Where the node's seccomp profiles are.
    pub fn seccomp_dir(&self) -> PathBuf {
        self.root.join("seccomp")
    }

    /// What the volumes of a pod are made of.
    pub(crate) fn of_pod<'a>(
        &'a self,
        pod: &'a Pod,
        pod_ip: &'a str,
        pod_dir: &'a Path,
        allocatable: &'a BTreeMap<String, Quantity>,
    ) -> PodContext<'a> {
        let Self { host_ip, objects, tokens, .. } = self;
        PodContext { pod, pod_ip, host_ip, allocatable, pod_dir, objects, tokens }
    }

    /// The addresses of this node.
    pub(crate) fn host_ips(&self) -> Ips {
        Ips { first: self.host_ip.clone(), second: self.second_host_ip.clone() }
    }

    /// With a runtime and a network in memory.
    #[cfg(test)]
    pub(crate) fn fake(client: Client, runtime: Arc<dyn Runtime>, root: PathBuf) -> Self {
        let ledger = Ledger::default();
        ledger.note_node(&testkit::node("n1").label("disk", "ssd").build());
        Self {
            runtime,
            network: Arc::new(crate::network::fake::Fake::ready()),
            objects: Objects::new(client.clone()),
            tokens: Tokens::new(client.clone()),
            sync_frequency: Duration::from_millis(200),
            ledger,
            recorder: Recorder::new(&component::Tasks::default(), client.clone(), "kubelet", "n1"),
            client,
            node: "n1".to_owned(),
            host_ip: "192.0.2.1".to_owned(),
            second_host_ip: None,
            root,
            dns: ClusterDns::default(),
            publish_ports: false,
            services: Services::fixed([]),
            running: RunningPods::default(),
            metrics: Metrics::default(),
        }
    }

    /// Something happened to a pod.
    pub fn pod_event(&self, pod: &Pod, kind: EventType, reason: &str, message: impl Into<String>) {
        self.recorder.record(&reference(pod, None), kind, reason, message);
    }

    /// Something happened to a container of a pod.
    pub fn container_event(
        &self,
        pod: &Pod,
        container: &str,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder.record(&reference(pod, Some(container)), kind, reason, message);
    }
}

fn reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let field = container.map(|name| {
        let list = match () {
            () if spec::init_containers(pod).any(|it| it.name == name) => "initContainers",
            () if spec::ephemeral_containers(pod).any(|it| it.name == name) => {
                "ephemeralContainers"
            }
            () => "containers",
        };
        format!("spec.{list}{{{name}}}")
    });
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: field,
    }
}
