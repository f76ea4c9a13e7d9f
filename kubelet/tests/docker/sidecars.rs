//! Whole pods with native sidecars: what is started, and what is asked to stop, in which order.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use api_types::api::core::v1::{Pod, PodStatus};
use component::events::Recorder;
use futures::StreamExt;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use kubelet::{
    admission::Ledger, container::dns::ClusterDns, context::Context, metrics::Metrics,
    objects::Objects, pleg, pod::manager::PodManager, services::Services, tokens::Tokens,
    usage::running::RunningPods,
};
use listwatch::{ListWatch, Scope};
use serde_json::{Value, json};
use testkit::ControlPlane;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{BUSYBOX, Node, Runtime, wait};

/// Runs until `/shared/end-NAME` is there; asked to stop, until `/shared/stop-NAME` is.
const SCRIPT: &str = r#"
    say() { echo "$NAME $1" >>/shared/log; }
    until_there() { until [ -e "/shared/$1-$NAME" ]; do sleep 0.02; done; say "$2"; exit 0; }
    trap 'say asked; until_there stop stopped' TERM
    say runs
    until_there end ended"#;
/// Notes that it was asked, and passes once `/shared/start-NAME` is there.
const PROBE: &str = r#"echo "$NAME probed" >>/shared/log; [ -e "/shared/start-$NAME" ]"#;

/// A kubelet that runs pods with Docker.
struct Kubelet {
    _control_plane: ControlPlane,
    api: Api<Pod>,
    shared: tempfile::TempDir,
    _tasks: Vec<AbortOnDropHandle<()>>,
    _root: tempfile::TempDir,
    node: Node,
}

impl Kubelet {
    async fn start(cidr: &str) -> Self {
        let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
        let (client, node) = (control_plane.client(), Node::start(cidr).await);
        let listwatch = control_plane.listwatch();
        let context = context(&node, &listwatch, client.clone(), root.path().to_owned());
        let pods = PodManager::new(context.clone());
        let events = pleg::run(context, pods.clone(), CancellationToken::new());
        let tasks =
            [tokio::spawn(events), tokio::spawn(follow(listwatch, node.name.clone(), pods))];
        Self {
            _control_plane: control_plane,
            api: Api::default_namespaced(client),
            shared: tempfile::tempdir().unwrap(),
            _tasks: tasks.map(AbortOnDropHandle::new).into(),
            _root: root,
            node,
        }
    }

    /// Makes a pod: the sidecar `first`, the init container `init`, the sidecar `second`, and `main`.
    async fn create(&self, restart_policy: &str) {
        let volume = json!({"name": "shared", "hostPath": {"path": self.shared.path()}});
        let pod = json!({
            "metadata": {"name": "web"},
            "spec": {
                "nodeName": self.node.name,
                "restartPolicy": restart_policy,
                "volumes": [volume],
                "initContainers": [sidecar("first"), container("init"), sidecar("second")],
                "containers": [container("main")],
            },
        });
        let pod = serde_json::from_value(pod).unwrap();
        self.api.create(&PostParams::default(), &pod).await.unwrap();
    }

    fn touch(&self, name: &str) {
        fs::write(self.shared.path().join(name), "").unwrap();
    }

    /// What was said, apart from probes that are asked again and again.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.shared.path().join("log")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.dedup();
        lines.retain(|line| !line.ends_with("probed"));
        lines
    }

    async fn until_said(&self, line: &str) {
        let said = async || {
            let text = fs::read_to_string(self.shared.path().join("log")).unwrap_or_default();
            if text.lines().any(|said| said == line) { Ok(()) } else { Err(text) }
        };
        wait::until(&format!("{line:?} is said"), said).await;
    }

    async fn phase(&self) -> String {
        let status = self.api.get("web").await.unwrap().status.unwrap_or_default();
        status.phase.unwrap_or_default()
    }

    /// Lets the pod come up, and looks that each waits for those before it.
    async fn come_up(&self) {
        for (name, expected) in [("first", "first runs"), ("second", "second runs")] {
            // Its probe may come before its own first word.
            self.until_said(expected).await;
            self.until_said(&format!("{name} probed")).await;
            assert_eq!(self.log().last().map(String::as_str), Some(expected));
            let made = self.node.runtime.list(None).await.unwrap();
            assert!(made.iter().all(|c| c.name != "main"), "{name} has not started: {made:?}");
            assert!(name == "second" || made.iter().all(|c| c.name != "init"), "{made:?}");
            self.touch(&format!("start-{name}"));
            if name == "first" {
                self.until_said("init runs").await;
                self.touch("end-init");
            }
        }
        self.until_said("main runs").await;
    }

    /// Lets the sidecars stop, and looks that each waits for those after it.
    async fn go_down(&self) {
        for name in ["second", "first"] {
            self.until_said(&format!("{name} asked")).await;
            assert_eq!(self.phase().await, "Running", "{name} still runs");
            self.touch(&format!("stop-{name}"));
            self.until_said(&format!("{name} stopped")).await;
        }
    }
}

fn context(
    node: &Node,
    listwatch: &ListWatch,
    client: kube::Client,
    root: PathBuf,
) -> Arc<Context> {
    let ledger = Ledger::default();
    ledger.note_node(&testkit::node(&node.name).build());
    Arc::new(Context {
        runtime: node.runtime.clone(),
        network: node.bridge.clone(),
        recorder: Recorder::new(
            &component::Tasks::default(),
            client.clone(),
            "kubelet",
            &node.name,
        ),
        objects: Objects::new(client.clone()),
        tokens: Tokens::new(client.clone()),
        sync_frequency: Duration::from_secs(60),
        ledger,
        client,
        node: node.name.clone(),
        host_ip: "192.0.2.1".to_owned(),
        second_host_ip: None,
        root,
        dns: ClusterDns::default(),
        publish_ports: false,
        services: Services::follow(
            listwatch,
            &component::Tasks::default(),
            CancellationToken::new(),
        ),
        running: RunningPods::default(),
        metrics: Metrics::default(),
    })
}

async fn follow(listwatch: ListWatch, node: String, pods: Arc<PodManager>) {
    let mut events = listwatch.watch::<Pod>(Scope::PodsOfNode(node)).boxed();
    while let Some(event) = events.next().await {
        pods.handle(event.unwrap());
    }
}

fn container(name: &str) -> Value {
    json!({
        "name": name,
        "image": BUSYBOX,
        "command": ["sh", "-c", SCRIPT],
        "env": [{"name": "NAME", "value": name}],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    })
}

fn sidecar(name: &str) -> Value {
    let mut sidecar = container(name);
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({"exec": {"command": ["sh", "-c", PROBE]}, "periodSeconds": 1, "failureThreshold": 60});
    sidecar
}

const UP: [&str; 5] = ["first runs", "init runs", "init ended", "second runs", "main runs"];
const DOWN: [&str; 4] = ["second asked", "second stopped", "first asked", "first stopped"];

#[tokio::test]
async fn a_pod_succeeds_when_its_sidecars_have_stopped_after_the_others() {
    let kubelet = Kubelet::start("10.219.15.0/24").await;
    kubelet.create("Never").await;
    kubelet.come_up().await;
    kubelet.touch("end-main");
    kubelet.go_down().await;
    let succeeded = |status: &PodStatus| status.phase.as_deref() == Some("Succeeded");
    let succeeded = |pod: &Pod| pod.status.as_ref().is_some_and(succeeded);
    wait::until_is(&kubelet.api, "web", "succeeds", succeeded).await;
    assert_eq!(kubelet.log(), [&UP[..], &["main ended"], &DOWN].concat());
}

#[tokio::test]
async fn the_sidecars_of_a_deleted_pod_are_asked_to_stop_after_the_others() {
    let kubelet = Kubelet::start("10.219.16.0/24").await;
    kubelet.create("Always").await;
    kubelet.come_up().await;
    kubelet.api.delete("web", &DeleteParams::default().grace_period(600)).await.unwrap();
    kubelet.until_said("main asked").await;
    kubelet.touch("stop-main");
    kubelet.go_down().await;
    wait::until_gone(&kubelet.api, "web").await;
    assert_eq!(kubelet.log(), [&UP[..], &["main asked", "main stopped"], &DOWN].concat());
    assert_eq!(kubelet.node.runtime.list(None).await.unwrap(), []);
}
