//! Workers against an API server in process, a runtime and a network in memory.

use std::{sync::Arc, time::Duration};

use api_types::api::core::v1::{ContainerStatus, Event as Recorded, Pod, PodStatus};
use component::events::Recorder;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::Event,
};
use serde_json::json;
use testkit::{ControlPlane, pod, wait};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::manager::PodManager;
use crate::{
    container::dns::ClusterDns, context::Context, network, node::services::Services, pleg, runtime,
    runtime::PodIdentity,
};

const IMAGE: &str = "busybox:1";

/// A kubelet without a runtime and a network of its own.
struct Node {
    control_plane: ControlPlane,
    runtime: Arc<runtime::fake::Fake>,
    network: Arc<network::fake::Fake>,
    pods: Arc<PodManager>,
    api: Api<Pod>,
    _source: AbortOnDropHandle<()>,
    _root: tempfile::TempDir,
}

impl Node {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await;
        let (client, root) = (control_plane.client(), tempfile::tempdir().unwrap());
        let runtime = Arc::new(runtime::fake::Fake::with_images(&[IMAGE]));
        let network = Arc::new(network::fake::Fake::ready());
        let context = Context {
            runtime: runtime.clone(),
            network: network.clone(),
            recorder: Recorder::new(client.clone(), "kubelet", "n1"),
            client: client.clone(),
            node: "n1".to_owned(),
            host_ip: "192.0.2.1".to_owned(),
            root: root.path().to_owned(),
            dns: ClusterDns::default(),
            services: Services::none(),
        };
        let pods = PodManager::new(Arc::new(context));
        let source = tokio::spawn(follow(control_plane.listwatch(), pods.clone()));
        Self {
            api: Api::default_namespaced(client),
            control_plane,
            runtime,
            network,
            pods,
            _source: AbortOnDropHandle::new(source),
            _root: root,
        }
    }

    async fn create(&self, pod: &Pod) -> String {
        let made = self.api.create(&PostParams::default(), pod).await.unwrap();
        made.metadata.uid.unwrap()
    }

    fn context(&self) -> Arc<Context> {
        self.pods.context().clone()
    }

    /// Ends a container, and says so as the runtime's events would.
    fn end(&self, uid: &str, name: &str, code: i32) {
        self.runtime.end(name, code);
        self.pods.wake(uid);
    }

    async fn until_status(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&PodStatus) -> bool,
    ) -> Pod {
        let holds = |pod: &Pod| pod.status.as_ref().is_some_and(&holds);
        wait::until_is(&self.api, name, what, holds).await
    }
}

fn ready_condition(status: &PodStatus) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn follow(listwatch: listwatch::ListWatch, pods: Arc<PodManager>) {
    use futures::StreamExt;
    let mut events = listwatch.watch::<Pod>(listwatch::Scope::PodsOfNode("n1".to_owned())).boxed();
    while let Some(event) = events.next().await {
        if let Ok(event) = event {
            pods.handle(event);
        }
    }
}

fn sample(name: &str) -> Pod {
    pod(name).image(IMAGE).node("n1").build()
}

fn runs(status: &PodStatus) -> bool {
    status.phase.as_deref() == Some("Running") && only(status).ready
}

fn only(status: &PodStatus) -> ContainerStatus {
    status.container_statuses.iter().flatten().next().cloned().unwrap_or_default()
}

fn waits_for(status: &PodStatus, reason: &str) -> bool {
    let state = only(status).state.and_then(|state| state.waiting);
    state.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
}

#[tokio::test]
async fn a_pod_runs_with_an_address_and_is_ready() {
    let node = Node::start().await;
    let uid = node.create(&sample("web")).await;
    let pod = node.until_status("web", "runs", runs).await;
    let status = pod.status.unwrap();
    assert_eq!(status.pod_ip, node.network.held(&uid).map(|ip| ip.to_string()));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(node.runtime.calls(), ["sandbox 0", "start main"]);
}

#[tokio::test]
async fn a_pod_waits_for_the_network_without_complaint() {
    let node = Node::start().await;
    node.network.set_up(false);
    node.create(&sample("web")).await;
    let waits = |status: &PodStatus| waits_for(status, "ContainerCreating");
    node.until_status("web", "waits", waits).await;
    node.network.set_up(true);
    node.until_status("web", "runs", runs).await;
    let events = Api::<Recorded>::default_namespaced(node.control_plane.client());
    let reasons = async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        events.into_iter().filter_map(|event| event.reason).collect::<Vec<_>>()
    };
    let started = async || {
        let reasons = reasons().await;
        if reasons.contains(&"Started".to_owned()) { Ok(()) } else { Err(reasons) }
    };
    wait::until("the start is told", started).await;
    assert!(!reasons().await.contains(&"FailedCreatePodSandBox".to_owned()));
}

#[tokio::test]
async fn what_the_node_controller_said_of_a_silent_node_is_taken_back() {
    let node = Node::start().await;
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    let silent = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let parameters = PatchParams::default();
    let marked = node.api.patch_status("web", &parameters, &Patch::Strategic(silent)).await;
    assert!(!ready_condition(&marked.unwrap().status.unwrap()));
    node.until_status("web", "is ready again", ready_condition).await;
}

#[tokio::test]
async fn a_container_that_dies_is_restarted_at_once_and_then_waits() {
    let node = Node::start().await;
    let uid = node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.end(&uid, "main", 1);
    let restarted = |status: &PodStatus| runs(status) && only(status).restart_count == 1;
    node.until_status("web", "was restarted", restarted).await;
    node.end(&uid, "main", 1);
    let waits = |status: &PodStatus| waits_for(status, "CrashLoopBackOff");
    let pod = node.until_status("web", "backs off", waits).await;
    let last = only(&pod.status.unwrap()).last_state.unwrap().terminated.unwrap();
    assert_eq!(last.exit_code, 1);
}

#[tokio::test]
async fn a_pod_that_is_done_succeeds_and_gives_up_its_sandbox() {
    let node = Node::start().await;
    let job = pod("job").image(IMAGE).node("n1").with(|pod| {
        pod.spec.as_mut().unwrap().restart_policy = Some("Never".to_owned());
    });
    let uid = node.create(&job.build()).await;
    node.until_status("job", "runs", runs).await;
    node.end(&uid, "main", 0);
    let succeeded = |status: &PodStatus| status.phase.as_deref() == Some("Succeeded");
    node.until_status("job", "succeeds", succeeded).await;
    let removed = || node.runtime.calls().contains(&"remove POD".to_owned());
    wait::until("the sandbox is removed", async || if removed() { Ok(()) } else { Err("not yet") })
        .await;
    assert!(!node.runtime.calls().contains(&"remove main".to_owned()), "its logs are gone");
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_shows_why() {
    let node = Node::start().await;
    node.create(&pod("web").image("example.org/none:1").node("n1").build()).await;
    let failed = |status: &PodStatus| waits_for(status, "ErrImagePull");
    let pod = node.until_status("web", "cannot be pulled", failed).await;
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    let backs_off = |status: &PodStatus| waits_for(status, "ImagePullBackOff");
    node.until_status("web", "backs off", backs_off).await;
}

#[tokio::test]
async fn a_deleted_pod_is_stopped_killed_and_then_gone_with_all_it_held() {
    let node = Node::start().await;
    let uid = node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    wait::until_gone(&node.api, "web").await;
    let expected =
        ["sandbox 0", "start main", "SIGTERM main", "SIGKILL main", "remove main", "remove POD"];
    // The fake does not tell of the death: the worker finds out when it looks again.
    assert_eq!(node.runtime.calls(), expected);
    assert_eq!(node.network.held(&uid), None);
    let empty = async || if node.pods.count() == 0 { Ok(()) } else { Err(node.pods.count()) };
    wait::until("the worker ends", empty).await;
}

#[tokio::test]
async fn restarts_go_on_while_the_api_server_is_away_and_are_reported_later() {
    let node = Node::start().await;
    let uid = node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.control_plane.stop_server().await;
    node.end(&uid, "main", 1);
    let twice = ["sandbox 0", "start main", "start main"];
    let started =
        async || if node.runtime.calls() == twice { Ok(()) } else { Err(node.runtime.calls()) };
    wait::until("the container is restarted", started).await;
    node.control_plane.start_server().await;
    let restarted = |status: &PodStatus| runs(status) && only(status).restart_count == 1;
    node.until_status("web", "reports the restart", restarted).await;
}

#[tokio::test]
async fn what_is_left_of_an_unknown_pod_is_removed_but_only_after_the_first_list() {
    let node = Node::start().await;
    let left = PodIdentity { uid: "old".into(), namespace: "default".into(), name: "old".into() };
    let fresh = PodManager::new(node.context());
    fresh.adopt_orphan(&left);
    assert_eq!(fresh.count(), 0, "nothing is known yet about which pods exist");
    fresh.handle(Event::Init);
    fresh.handle(Event::InitDone);
    fresh.adopt_orphan(&left);
    assert_eq!(fresh.count(), 1);
    let empty = async || if fresh.count() == 0 { Ok(()) } else { Err(fresh.count()) };
    wait::until("the orphan is gone", empty).await;
}

#[tokio::test]
async fn what_is_left_is_looked_for_as_soon_as_the_pods_are_listed() {
    let node = Node::start().await;
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    let fresh = PodManager::new(node.context());
    let stop = CancellationToken::new();
    let pleg = pleg::run(node.context(), fresh.clone(), stop.clone());
    let _pleg = AbortOnDropHandle::new(tokio::spawn(pleg));
    let looked = || node.runtime.summaries();
    let once = async || if looked() > 0 { Ok(()) } else { Err("not yet") };
    wait::until("the containers are listed", once).await;
    assert_eq!(fresh.count(), 0, "nothing is known yet about which pods exist");
    fresh.handle(Event::Init);
    fresh.handle(Event::InitDone);
    // Well before the next look of its own.
    let found = async || if fresh.count() == 1 { Ok(()) } else { Err(fresh.count()) };
    let found = wait::until("the orphan is found", found);
    tokio::time::timeout(Duration::from_secs(5), found).await.unwrap();
}

#[tokio::test]
async fn pods_missing_from_a_new_list_are_stopped() {
    let node = Node::start().await;
    node.create(&sample("web")).await;
    node.until_status("web", "runs", runs).await;
    node.pods.handle(Event::Init);
    node.pods.handle(Event::InitDone);
    let killed = || node.runtime.calls().contains(&"SIGTERM main".to_owned());
    wait::until("it is asked to stop", async || if killed() { Ok(()) } else { Err("not yet") })
        .await;
}
