use std::fs;

use api_types::api::core::v1::PodStatus;
use kube::{Api, api::PostParams, runtime::watcher::Event};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};

use super::*;
use crate::runtime::{PodIdentity, Runtime, SandboxNetwork, SandboxSpec, fake::Fake};

struct Node {
    _control_plane: ControlPlane,
    api: Api<Pod>,
    runtime: Arc<Fake>,
    context: Arc<Context>,
    pods: Arc<PodManager>,
    _root: tempfile::TempDir,
}

impl Node {
    async fn start() -> Self {
        let (control_plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
        let (client, runtime) =
            (control_plane.client(), Arc::new(Fake::with_images(&["busybox:1"])));
        let context = Context::fake(client.clone(), runtime.clone(), root.path().to_owned());
        let context = Arc::new(context);
        Self {
            _control_plane: control_plane,
            api: Api::default_namespaced(client),
            runtime,
            pods: PodManager::new(context.clone()),
            context,
            _root: root,
        }
    }

    fn listed(&self, pods: Vec<Pod>) {
        self.pods.handle(Event::Init);
        pods.into_iter().for_each(|pod| self.pods.handle(Event::InitApply(pod)));
        self.pods.handle(Event::InitDone);
    }

    async fn create(&self, volumes: &Value) -> Pod {
        let pod = json!({
            "metadata": {"name": "web"},
            "spec": {
                "nodeName": "n1",
                "volumes": volumes,
                "containers": [{"name": "main", "image": "busybox:1"}],
            },
        });
        let pod = serde_json::from_value(pod).unwrap();
        self.api.create(&PostParams::default(), &pod).await.unwrap()
    }

    fn called(&self, call: &str) -> bool {
        self.runtime.calls().iter().any(|made| made == call)
    }

    async fn status(&self) -> PodStatus {
        self.api.get("web").await.unwrap().status.unwrap_or_default()
    }
}

#[tokio::test]
async fn only_directories_of_pods_that_are_gone_are_removed() {
    let node = Node::start().await;
    let pod = node.create(&json!([])).await;
    let known = spec::identity(&pod).uid;
    let identity = PodIdentity { uid: "running".into(), ..PodIdentity::default() };
    let sandbox = SandboxSpec {
        pod: identity,
        attempt: 0,
        hostname: String::new(),
        network: SandboxNetwork::Host,
        host_ipc: false,
        host_pid: false,
        sysctls: BTreeMap::new(),
    };
    node.runtime.create_sandbox(&sandbox).await.unwrap();
    let all = [known.as_str(), "running", "gone"];
    for uid in all {
        fs::create_dir_all(node.context.pod_dir(uid).join("volumes/x")).unwrap();
    }
    let left = || all.map(|uid| node.context.pod_dir(uid).exists());
    remove_orphans(&node.context, &node.pods).await;
    assert_eq!(left(), [true, true, true], "nothing is known before the first list");
    node.listed(vec![pod]);
    remove_orphans(&node.context, &node.pods).await;
    assert_eq!(left(), [true, true, false]);
}

#[tokio::test]
async fn a_pod_whose_volume_outgrows_its_limit_is_evicted() {
    let node = Node::start().await;
    let pod = node.create(&json!([{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}])).await;
    let path = limited(&pod, &node.context.pod_dir(&spec::identity(&pod).uid))[0].path.clone();
    node.listed(vec![pod]);
    let started =
        async || if node.called("start main") { Ok(()) } else { Err(node.runtime.calls()) };
    wait::until("the container runs", started).await;
    fs::write(path.join("small"), vec![1; 500_000]).unwrap();
    enforce_limits(&node.context, &node.pods).await;
    assert_ne!(node.status().await.reason.as_deref(), Some("Evicted"));
    fs::write(path.join("large"), vec![1; 2_000_000]).unwrap();
    enforce_limits(&node.context, &node.pods).await;
    let asked =
        async || if node.called("SIGTERM main") { Ok(()) } else { Err(node.runtime.calls()) };
    wait::until("the container is asked to stop", asked).await;
    let failed = |pod: &Pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Failed");
    let pod = wait::until_is(&node.api, "web", "fails", failed).await;
    assert!(node.called("SIGKILL main"), "it has failed while it runs");
    let status = pod.status.unwrap();
    let said =
        [&status.phase, &status.reason, &status.message].map(|s| s.clone().unwrap_or_default());
    let message = "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ";
    assert_eq!(said, ["Failed", "Evicted", message]);
}
