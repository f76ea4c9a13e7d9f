//! Starts of pods: by a kubelet with Docker and a control plane in this process, beside the same containers made and
//! started without them. Needs root, a running dockerd and the images of `scripts/images.sh`.

use std::{process::Command, sync::Arc, time::Duration};

use api_types::api::core::v1::Pod;
use component::events::Recorder;
use futures::StreamExt;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use kubelet::{
    admission::Ledger,
    container::dns::ClusterDns,
    context::Context,
    metrics::Metrics,
    network::{PodNetwork, bridge::Bridge},
    objects::Objects,
    pleg,
    pod::manager::PodManager,
    runtime::{
        ContainerSpec, LogLimits, PodIdentity, Runtime, SandboxNetwork, SandboxSpec, docker::Docker,
    },
    services::Services,
    tokens::Tokens,
    usage::running::RunningPods,
};
use listwatch::Scope;
use serde_json::json;
use testkit::{ControlPlane, remove_pod_ranges};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Args,
    load::{Measured, measure, timed},
    report::{Report, Row},
};

const PAUSE: &str = "minik8s/pause:0.1";
const IMAGE: &str = "minik8s/busybox:0.1";
const COMMAND: [&str; 2] = ["sleep", "100000"];
const PODS: &str = "10.218.0.0/16";
const SERVICES: &str = "10.118.0.0/16";
const LOGS: LogLimits = LogLimits { max_size: 10 << 20, max_files: 2 };

/// One at a time, each after the same containers without a kubelet; then all at once.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("Starts of pods");
    let (node, bare) = (Node::start().await?, docker("bench-bare")?);
    report.step("one at a time");
    let (mut floor, mut pods) = (Vec::new(), Vec::new());
    for index in 0..args.pod_starts {
        floor.push(timed(made(&bare, index)).await?);
        pods.push(timed(node.pod(index)).await?);
        node.remove(index).await?;
    }
    report.add(Row::new("bare one").load(&Measured::in_turn(&floor)));
    report.add_beside("bare one", Row::new("one").load(&Measured::in_turn(&pods)));
    let count = args.pods_at_once;
    report.step(format!("{count} at once"));
    let (all, first) = (&mut vec![(); count], args.pod_starts);
    let floor = measure(count, all, async |(), i| made(&bare, first + i).await).await?;
    let (bare, what) = (format!("bare {count} at once"), format!("{count} at once"));
    report.add(Row::new(&bare).load(&floor));
    let pods = measure(count, all, async |(), i| node.pod(first + i).await).await?;
    report.add_beside(&bare, Row::new(&what).load(&pods));
    for index in 0..count {
        node.remove(first + index).await?;
    }
    Ok(report)
}

fn docker(node: &str) -> anyhow::Result<Docker> {
    Ok(Docker::new(docker::Docker::new(&docker::default_host())?, node, PAUSE, LOGS))
}

/// What a kubelet has made for a pod.
async fn made(docker: &Docker, index: usize) -> anyhow::Result<()> {
    let name = format!("pod-{index}");
    let pod = PodIdentity { uid: name.clone(), namespace: "bench".to_owned(), name };
    let sandbox = SandboxSpec {
        pod: pod.clone(),
        attempt: 0,
        hostname: pod.name.clone(),
        network: SandboxNetwork::Private(None),
        host_ipc: false,
        host_pid: false,
        sysctls: [].into(),
    };
    let sandbox_id = docker.create_sandbox(&sandbox).await?;
    docker.start(&sandbox_id).await?;
    let container = ContainerSpec {
        pod,
        name: "main".to_owned(),
        sandbox_id,
        image: IMAGE.to_owned(),
        command: Some(COMMAND.map(str::to_owned).into()),
        ..ContainerSpec::default()
    };
    let id = docker.create(&container).await?;
    Ok(docker.start(&id).await?)
}

/// A kubelet. What it made goes with it.
pub(crate) struct Node {
    running: RunningPods,
    _control_plane: ControlPlane,
    api: Api<Pod>,
    docker: Arc<Docker>,
    name: String,
    link: String,
    tasks: [AbortHandle; 2],
    _root: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir()?);
        let (client, listwatch) = (control_plane.client(), control_plane.listwatch());
        let name = "bench".to_owned();
        let docker = Arc::new(docker(&name)?);
        let bridge = Bridge::new(&name, PODS.parse()?, SERVICES.parse()?);
        bridge.start("10.218.0.0/22".parse()?, &[]).await?;
        let (link, ledger) = (bridge.name().to_owned(), Ledger::default());
        let pods = u32::MAX.to_string();
        ledger.note_node(&testkit::node(&name).allocatable("pods", &pods).build());
        let running = RunningPods::default();
        let context = Arc::new(Context {
            runtime: docker.clone(),
            network: Arc::new(bridge),
            recorder: Recorder::new(&component::Tasks::default(), client.clone(), "kubelet", &name),
            objects: Objects::new(client.clone()),
            tokens: Tokens::new(client.clone()),
            sync_frequency: Duration::from_secs(60),
            ledger,
            client: client.clone(),
            node: name.clone(),
            host_ip: "192.0.2.1".to_owned(),
            second_host_ip: None,
            root: root.path().to_owned(),
            dns: ClusterDns::default(),
            publish_ports: false,
            services: Services::follow(
                &listwatch,
                &component::Tasks::default(),
                CancellationToken::new(),
            ),
            running: running.clone(),
            metrics: Metrics::default(),
        });
        let manager = PodManager::new(context.clone());
        let mut events = listwatch.watch::<Pod>(Scope::PodsOfNode(name.clone())).boxed();
        let followed = manager.clone();
        let source = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                event.into_iter().for_each(|event| followed.handle(event));
            }
        });
        let events = tokio::spawn(pleg::run(context, manager, CancellationToken::new()));
        let tasks = [source.abort_handle(), events.abort_handle()];
        let api = Api::default_namespaced(client);
        Ok(Self {
            running,
            _control_plane: control_plane,
            api,
            docker,
            name,
            link,
            tasks,
            _root: root,
        })
    }

    /// What runs, as far as it is known.
    pub(crate) fn running(&self) -> RunningPods {
        self.running.clone()
    }

    /// Makes a pod and waits until it is known to run.
    pub(crate) async fn pod(&self, index: usize) -> anyhow::Result<()> {
        let name = format!("pod-{index}");
        let container = json!({"name": "main", "image": IMAGE, "command": COMMAND});
        let spec = json!({"nodeName": self.name, "containers": [container]});
        let pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        self.api.create(&PostParams::default(), &pod).await?;
        await_condition(self.api.clone(), &name, conditions::is_pod_running()).await?;
        Ok(())
    }

    /// Waits until nothing is left of it that would be in the way of the next.
    pub(crate) async fn remove(&self, index: usize) -> anyhow::Result<()> {
        let name = format!("pod-{index}");
        let uid = self.api.get(&name).await?.metadata.uid.unwrap_or_default();
        self.api.delete(&name, &DeleteParams::default().grace_period(0)).await?;
        // It heeds no SIGTERM, and need not be given time.
        for container in self.docker.list(Some(&uid)).await?.iter().filter(|c| !c.is_sandbox()) {
            self.docker.signal(&container.id, "SIGKILL").await?;
        }
        while !self.docker.list(Some(&uid)).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        let ours = "docker ps -aq --filter label=io.minik8s.node";
        let script = format!(
            "for n in bench bench-bare; do {ours}=$n | xargs -r docker rm -f; done; ip link del {}",
            self.link
        );
        // What is left has names of its own and is in nobody's way.
        let _ = Command::new("sh").args(["-c", &script]).output();
        remove_pod_ranges(&[PODS, SERVICES]);
    }
}
