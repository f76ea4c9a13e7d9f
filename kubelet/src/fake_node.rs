//! A kubelet for tests: an API server in process, a runtime and a network in memory.

use std::sync::Arc;

use api_types::api::core::v1::{Pod, PodStatus};
use futures::StreamExt;
use kube::{Api, api::PostParams};
use testkit::{ControlPlane, wait};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

use crate::{
    context::Context, network, pleg, pod::manager::PodManager, runtime, services::Services,
};

/// The image that the node has.
pub(crate) const IMAGE: &str = "busybox:1";

/// A kubelet without a runtime and a network of its own.
pub(crate) struct Node {
    pub(crate) control_plane: ControlPlane,
    pub(crate) runtime: Arc<runtime::fake::Fake>,
    pub(crate) network: Arc<network::fake::Fake>,
    pub(crate) pods: Arc<PodManager>,
    pub(crate) api: Api<Pod>,
    tasks: Vec<AbortOnDropHandle<()>>,
    _stop: DropGuard,
    _root: tempfile::TempDir,
}

impl Node {
    /// One that follows its pods and its runtime.
    pub(crate) async fn start() -> Self {
        let runtime = runtime::fake::Fake::with_images(&[IMAGE]);
        Self::on(ControlPlane::start().await, runtime)
    }

    /// One that finds things as an earlier kubelet left them.
    pub(crate) fn on(control_plane: ControlPlane, runtime: runtime::fake::Fake) -> Self {
        let mut node = Self::deaf(control_plane, runtime);
        let events = pleg::run(node.context(), node.pods.clone(), CancellationToken::new());
        node.tasks.push(AbortOnDropHandle::new(tokio::spawn(events)));
        node
    }

    /// One that does not follow its runtime.
    pub(crate) fn deaf(control_plane: ControlPlane, runtime: runtime::fake::Fake) -> Self {
        let (client, root) = (control_plane.client(), tempfile::tempdir().unwrap());
        let (runtime, network) = (Arc::new(runtime), Arc::new(network::fake::Fake::ready()));
        let stop = CancellationToken::new();
        let context = Context {
            network: network.clone(),
            publish_ports: false,
            services: Services::follow(
                &control_plane.listwatch(),
                &component::Tasks::default(),
                stop.clone(),
            ),
            ..Context::fake(client.clone(), runtime.clone(), root.path().to_owned())
        };
        let pods = PodManager::new(Arc::new(context));
        let source = tokio::spawn(follow(control_plane.listwatch(), pods.clone()));
        Self {
            api: Api::default_namespaced(client),
            control_plane,
            runtime,
            network,
            pods,
            tasks: vec![AbortOnDropHandle::new(source)],
            _stop: stop.drop_guard(),
            _root: root,
        }
    }

    /// Makes a pod; gives its uid.
    pub(crate) async fn create(&self, pod: &Pod) -> String {
        let made = self.api.create(&PostParams::default(), pod).await.unwrap();
        made.metadata.uid.unwrap()
    }

    /// What the kubelet's parts share.
    pub(crate) fn context(&self) -> Arc<Context> {
        self.pods.context().clone()
    }

    /// Waits for a status.
    pub(crate) async fn until_status(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&PodStatus) -> bool,
    ) -> Pod {
        let holds = |pod: &Pod| pod.status.as_ref().is_some_and(&holds);
        wait::until_is(&self.api, name, what, holds).await
    }

    /// Waits until the runtime was called so.
    pub(crate) async fn until_called(&self, call: &str) {
        let called = async || {
            let calls = self.runtime.calls();
            if calls.iter().any(|made| made == call) { Ok(()) } else { Err(calls) }
        };
        wait::until(&format!("the runtime is asked to {call}"), called).await;
    }
}

async fn follow(listwatch: listwatch::ListWatch, pods: Arc<PodManager>) {
    let mut events = listwatch.watch::<Pod>(listwatch::Scope::PodsOfNode("n1".to_owned())).boxed();
    while let Some(event) = events.next().await {
        if let Ok(event) = event {
            pods.handle(event);
        }
    }
}
