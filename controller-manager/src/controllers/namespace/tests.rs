//! The controller against the API server, with stores that are told what to show.

use std::collections::VecDeque;

use api_types::api::core::v1::{ConfigMap, ServiceAccount};
use api_types::jiff::Timestamp;
use api_types::meta::Time;
use api_types::minik8s::GpuJob;
use kube::api::DeleteParams;
use kube::client::Body;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde_json::Value;
use testkit::{ControlPlane, pod, wait};

use super::*;

/// A controller whose stores follow nothing.
struct Stage {
    plane: ControlPlane,
    controller: Arc<Namespaces>,
}

const TEAM: &str = "team";

impl Stage {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let controller = Namespaces {
            client: plane.client(),
            clock: Clock::default(),
            namespaces: Arc::default(),
            pods: Arc::default(),
            discovery: Arc::new(Discovery::new(plane.client())),
        };
        Self { plane, controller: Arc::new(controller) }
    }

    /// With a namespace that is being deleted and holds these ConfigMaps; the store shows it.
    async fn leaving(maps: &[Value]) -> Self {
        let stage = Self::start().await;
        stage.create_namespace().await;
        for map in maps {
            stage.create_map(map.clone()).await;
        }
        stage.delete_namespace().await;
        stage
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.plane.client())
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.plane.client(), TEAM)
    }

    async fn create_namespace(&self) {
        let team = serde_json::from_value(json!({"metadata": {"name": TEAM}})).unwrap();
        self.namespaces().create(&PostParams::default(), &team).await.unwrap();
    }

    async fn create_map(&self, metadata: Value) {
        let map = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        self.maps().create(&PostParams::default(), &map).await.unwrap();
    }

    async fn delete_namespace(&self) {
        self.settle().await;
        self.namespaces().delete(TEAM, &DeleteParams::default()).await.unwrap();
        let leaving = self.namespaces().get(TEAM).await.unwrap();
        self.controller.namespaces.take_in(Event::Apply(leaving));
    }

    /// The API server looks at what was created once more, and takes it back if the namespace goes by then. A
    /// server that stops has done so.
    async fn settle(&self) {
        self.plane.stop_server().await;
        self.plane.start_server().await;
    }

    /// Somebody else finishes the deletion, and makes the namespace anew.
    async fn recreate_namespace(&self) {
        let mut namespace = self.namespaces().get(TEAM).await.unwrap();
        namespace.spec.as_mut().unwrap().finalizers = None;
        let how = PostParams::default();
        let finalized: Result<Namespace, _> =
            self.namespaces().replace_subresource("finalize", TEAM, &how, &namespace).await;
        finalized.unwrap();
        self.create_namespace().await;
    }

    async fn reconcile(&self) -> Result<Next, Error> {
        self.controller.reconcile(&ObjectKey::cluster(TEAM)).await
    }

    /// The conditions that say something is wrong, as `type: message`.
    async fn complaints(&self) -> Vec<String> {
        let status = self.namespaces().get(TEAM).await.unwrap().status.unwrap();
        let wrong =
            status.conditions.unwrap_or_default().into_iter().filter(|c| c.status == "True");
        wrong.map(|c| format!("{}: {}", c.type_, c.message.unwrap_or_default())).collect()
    }
}

#[tokio::test]
async fn a_namespace_that_was_made_anew_is_left_alone() {
    let stage = Stage::leaving(&[]).await;
    stage.recreate_namespace().await;
    stage.create_map(json!({"name": "new"})).await;
    assert_eq!(stage.reconcile().await.unwrap(), Next::Change);
    stage.maps().get("new").await.unwrap();
    assert!(stage.namespaces().get(TEAM).await.unwrap().metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn a_namespace_made_anew_while_it_is_emptied_is_left_alone() {
    let stage = Stage::leaving(&[]).await;
    let held = stage.plane.hold(|request| {
        request.method() == "GET" && request.uri().path().ends_with("/team/configmaps")
    });
    let reconciling = tokio::spawn({
        let controller = stage.controller.clone();
        async move { controller.reconcile(&ObjectKey::cluster(TEAM)).await }
    });
    wait::until("the contents are asked for", async || {
        let asked = stage.plane.requests().iter().any(|r| r.contains("/team/configmaps"));
        asked.then_some(()).ok_or(())
    })
    .await;
    stage.recreate_namespace().await;
    stage.create_map(json!({"name": "new"})).await;
    drop(held);
    reconciling.await.unwrap().unwrap_err();
    stage.maps().get("new").await.unwrap();
    assert!(stage.namespaces().get(TEAM).await.unwrap().metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn a_namespace_made_anew_is_not_let_go_in_the_place_of_the_one_that_was_emptied() {
    let stage = Stage::leaving(&[]).await;
    let emptied = stage.namespaces().get(TEAM).await.unwrap();
    stage.recreate_namespace().await;
    stage.create_map(json!({"name": "new"})).await;
    stage.delete_namespace().await;
    stage.controller.finalize(&emptied).await.unwrap();
    let now = stage.namespaces().get(TEAM).await.unwrap();
    assert_ne!(now.metadata.uid, emptied.metadata.uid);
    stage.maps().get("new").await.unwrap();
}

#[tokio::test]
async fn an_object_made_anew_under_a_name_that_is_being_deleted_is_left_alone() {
    let stage = Stage::leaving(&[json!({"name": "a"})]).await;
    let is_deletion = |request: &http::Request<Body>| {
        request.method() == "DELETE" && request.uri().path().ends_with("/configmaps/a")
    };
    let held = stage.plane.hold(is_deletion);
    let reconciling = tokio::spawn({
        let controller = stage.controller.clone();
        async move { controller.reconcile(&ObjectKey::cluster(TEAM)).await }
    });
    wait::until("it is to be deleted", async || {
        let asked = stage.plane.requests();
        asked
            .iter()
            .any(|r| r.starts_with("DELETE") && r.contains("/configmaps/a"))
            .then_some(())
            .ok_or(asked)
    })
    .await;
    stage.maps().delete_collection(&DeleteParams::default(), &Default::default()).await.unwrap();
    stage.recreate_namespace().await;
    stage.create_map(json!({"name": "a"})).await;
    drop(held);
    reconciling.await.unwrap().unwrap_err();
    stage.maps().get("a").await.unwrap();
}

#[tokio::test]
async fn a_resource_that_fails_holds_up_no_other_and_is_told() {
    let stage = Stage::start().await;
    stage.create_namespace().await;
    stage.create_map(json!({"name": "a"})).await;
    let accounts = Api::<ServiceAccount>::namespaced(stage.plane.client(), TEAM);
    let account = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    stage.delete_namespace().await;
    let cut = stage.plane.refuse(|request| request.uri().path().ends_with("/team/endpoints"));
    stage.reconcile().await.unwrap_err();
    assert!(stage.maps().get_opt("a").await.unwrap().is_none(), "a kind before it");
    assert!(accounts.get_opt("a").await.unwrap().is_none(), "a kind after it");
    let complaints = stage.complaints().await;
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    let expected =
        "NamespaceDeletionContentFailure: Failed to delete all resource types, 1 remaining: ";
    assert!(complaints[0].starts_with(expected), "{complaints:?}");
    drop(cut);
    assert_eq!(stage.reconcile().await.unwrap(), Next::Change);
    assert!(stage.namespaces().get_opt(TEAM).await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_goes_before_the_pods_even_if_they_cannot_be_asked_for() {
    let stage = Stage::leaving(&[json!({"name": "a"})]).await;
    let _cut = stage.plane.refuse(|request| request.uri().path().ends_with("/team/pods"));
    stage.reconcile().await.unwrap_err();
    stage.maps().get("a").await.unwrap();
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_holds_up_no_other() {
    let names = ["a", "b", "c"];
    let stage = Stage::leaving(&names.map(|name| json!({"name": name}))).await;
    let cut = stage.plane.refuse(|request| request.uri().path().ends_with("/configmaps/b"));
    stage.reconcile().await.unwrap_err();
    drop(cut);
    let left = stage.maps().list(&Default::default()).await.unwrap().items;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].metadata.name.as_deref(), Some("b"));
}

#[tokio::test]
async fn without_discovery_a_namespace_is_not_let_go() {
    let stage = Stage::leaving(&[]).await;
    let cut = stage.plane.refuse(|request| request.uri().path() == "/apis");
    stage.reconcile().await.unwrap_err();
    let complaints = stage.complaints().await;
    assert!(complaints[0].starts_with("NamespaceDeletionDiscoveryFailure: "), "{complaints:?}");
    drop(cut);
    stage.reconcile().await.unwrap();
    assert!(stage.namespaces().get_opt(TEAM).await.unwrap().is_none());
}

impl Stage {
    /// Once, discovery answers this for the core group instead of what is true.
    fn with_discovered(self, resources: Value) -> Self {
        let version = json!({"version": "v1", "freshness": "Current", "resources": resources});
        self.with_versions([json!([version])])
    }

    /// The same with all versions, of several answers one after the other.
    fn with_versions<const N: usize>(mut self, versions: [Value; N]) -> Self {
        let answer = |versions: Value| {
            let group = json!({"metadata": {}, "versions": versions});
            json!({"apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "items": [group]})
        };
        let answers = VecDeque::from(versions.map(answer));
        let (answers, client) = (Mutex::new(answers), self.plane.client());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let is_asked = request.uri().path() == "/api";
            let (answer, client) =
                (is_asked.then(|| answers.lock().pop_front()).flatten(), client.clone());
            async move {
                match answer {
                    Some(answer) => {
                        let body = Body::from(answer.to_string().into_bytes());
                        http::Response::builder().body(body).map_err(tower::BoxError::from)
                    }
                    None => client.send(request).await.map_err(tower::BoxError::from),
                }
            }
        });
        let controller = Arc::get_mut(&mut self.controller).unwrap();
        controller.discovery = Arc::new(Discovery::new(Client::new(service, "default")));
        self
    }
}

#[tokio::test]
async fn kinds_that_have_come_since_discovery_are_looked_through_before_the_namespace_goes() {
    let stage = Stage::leaving(&[json!({"name": "a"})]).await.with_discovered(json!([]));
    assert_eq!(stage.reconcile().await.unwrap(), Next::After(Duration::ZERO));
    stage.maps().get("a").await.unwrap();
    assert_eq!(stage.reconcile().await.unwrap(), Next::Change);
    assert!(stage.namespaces().get_opt(TEAM).await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_says_nothing_by_the_end_holds_up_the_namespace() {
    let current = json!({"version": "v1", "freshness": "Current", "resources": []});
    let stale = json!({"version": "v0", "freshness": "Stale", "resources": []});
    let versions = [json!([current]), json!([current, stale])];
    let stage = Stage::leaving(&[]).await.with_versions(versions);
    let error = stage.reconcile().await.unwrap_err();
    let message = error.reason();
    assert!(message.contains("v0: stale GroupVersion discovery: v0"), "{message}");
    assert!(stage.namespaces().get_opt(TEAM).await.unwrap().is_some());
}

#[tokio::test]
async fn kinds_that_have_gone_since_discovery_hold_up_nobody() {
    let gone = json!([{"resource": "ghosts", "scope": "Namespaced", "verbs": ["list", "delete"],
        "responseKind": {"group": "", "version": "v1", "kind": "Ghost"}}]);
    let stage = Stage::leaving(&[]).await.with_discovered(gone);
    stage.reconcile().await.unwrap();
    stage.reconcile().await.unwrap();
    assert!(stage.namespaces().get_opt(TEAM).await.unwrap().is_none());
}

#[tokio::test]
async fn pods_go_first_and_are_given_half_their_time() {
    let stage = Stage::start().await;
    stage.create_namespace().await;
    stage.create_map(json!({"name": "a"})).await;
    let pods = stage.pods();
    let pod = pod("p").namespace(TEAM).node("n1");
    let pod =
        pod.with(|pod| pod.spec.as_mut().unwrap().termination_grace_period_seconds = Some(3600));
    let pod = pods.create(&PostParams::default(), &pod.build()).await.unwrap();
    stage.controller.pods.take_in(Event::Apply(pod));
    stage.delete_namespace().await;

    assert_eq!(stage.reconcile().await.unwrap(), Next::After(Duration::from_secs(1801)));
    assert!(pods.get("p").await.unwrap().metadata.deletion_timestamp.is_some());
    stage.maps().get("a").await.unwrap();
    let remaining =
        "NamespaceContentRemaining: Some resources are remaining: pods. has 1 resource instances";
    assert_eq!(stage.complaints().await, [remaining]);
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    stage.reconcile().await.unwrap();
    assert!(stage.namespaces().get_opt(TEAM).await.unwrap().is_none());
}

impl Stage {
    /// A namespace that is being deleted, with a GPU job that its pod `p` has to let go, and a ConfigMap `a`.
    async fn with_gpu_job() -> Self {
        let stage = Self::start().await;
        stage.create_namespace().await;
        stage.create_map(json!({"name": "a"})).await;
        let spec = json!({"runScripts": ["./add"], "credentials": {"secretRef": {"name": "hpc"}}});
        let metadata = json!({"name": "add", "finalizers": [GpuJob::FINALIZER]});
        let job = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        stage.jobs().create(&PostParams::default(), &job).await.unwrap();
        let pod = pod("p").namespace(TEAM).node("n1");
        let pod =
            pod.with(|pod| pod.spec.as_mut().unwrap().termination_grace_period_seconds = Some(100));
        stage.pods().create(&PostParams::default(), &pod.build()).await.unwrap();
        stage.delete_namespace().await;
        stage
    }

    fn jobs(&self) -> Api<GpuJob> {
        Api::namespaced(self.plane.client(), TEAM)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.plane.client(), TEAM)
    }

    async fn is_pod_living(&self) -> bool {
        self.pods().get("p").await.unwrap().metadata.deletion_timestamp.is_none()
    }
}

#[tokio::test]
async fn a_gpu_job_goes_before_the_pod_that_has_to_cancel_it_in_slurm() {
    let stage = Stage::with_gpu_job().await;
    let Next::After(delay) = stage.reconcile().await.unwrap() else { panic!("it is not gone") };
    assert!(delay < Duration::from_secs(9), "{delay:?}");
    assert!(stage.jobs().get("add").await.unwrap().metadata.deletion_timestamp.is_some());
    assert!(stage.is_pod_living().await);
    stage.maps().get("a").await.unwrap();
    let complaints = stage.complaints().await;
    assert!(
        complaints[1].ends_with("minik8s.io/gpu-job in 1 resource instances"),
        "{complaints:?}"
    );
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage.jobs().patch("add", &PatchParams::default(), &freed).await.unwrap();
    stage.reconcile().await.unwrap();
    assert!(!stage.is_pod_living().await);
    stage.maps().get("a").await.unwrap();
}

#[tokio::test]
async fn a_gpu_job_that_nobody_lets_go_holds_up_its_namespace_for_a_minute() {
    let stage = Stage::with_gpu_job().await;
    let namespace = stage.namespaces().get(TEAM).await.unwrap();
    let deleted = namespace.metadata.deletion_timestamp.clone().unwrap().0;
    let resources = stage.controller.discovery.recent().await.unwrap();
    let after = async |seconds: i64| {
        let now = Timestamp::from_second(deleted.as_second() + seconds).unwrap();
        let (client, pods) = (&stage.controller.client, &*stage.controller.pods);
        let content = Content { client, namespace: &namespace, pods, now };
        content.delete(&resources).await.next().unwrap().unwrap().as_secs()
    };
    after(59).await;
    assert!(stage.is_pod_living().await);
    assert!(after(60).await >= 11, "half of what the pod has left");
    assert!(!stage.is_pod_living().await);
    stage.maps().get("a").await.unwrap();
    stage.pods().delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    after(61).await;
    assert!(stage.maps().get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn what_has_finalizers_is_told_and_waited_for() {
    let held = json!({"name": "held", "finalizers": ["example.com/hold"]});
    let stage = Stage::leaving(&[held]).await;
    let Next::After(delay) = stage.reconcile().await.unwrap() else { panic!("it is not gone") };
    assert!(delay < Duration::from_secs(8), "{delay:?} at the beginning");
    let complaints = stage.complaints().await;
    assert_eq!(
        complaints,
        [
            "NamespaceContentRemaining: Some resources are remaining: configmaps. has 1 resource instances",
            "NamespaceFinalizersRemaining: Some content in the namespace has finalizers remaining: \
             example.com/hold in 1 resource instances",
        ]
    );
}

#[tokio::test]
async fn the_longer_finalizers_last_the_less_often_they_are_looked_at() {
    let stage =
        Stage::leaving(&[json!({"name": "held", "finalizers": ["example.com/hold"]})]).await;
    let mut namespace = stage.namespaces().get(TEAM).await.unwrap();
    namespace.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let resources = stage.controller.discovery.recent().await.unwrap();
    for (age, expected) in [(6, 4), (10, 6), (3600, 8)] {
        let now = Timestamp::from_second(age).unwrap();
        let (client, pods) = (&stage.controller.client, &*stage.controller.pods);
        let content = Content { client, namespace: &namespace, pods, now };
        let next = content.delete(&resources).await.next().unwrap().unwrap();
        assert_eq!(next.as_secs(), expected, "after {age} s");
    }
}

#[tokio::test]
async fn an_empty_namespace_costs_a_list_of_each_kind_and_no_discovery_of_its_own() {
    let stage = Stage::leaving(&[]).await;
    let discovery = || {
        let asked = stage.plane.requests();
        asked.iter().filter(|r| ["GET /api", "GET /apis"].contains(&r.as_str())).count()
    };
    let kinds = stage.controller.discovery.recent().await.unwrap();
    let kinds = kinds.all.iter().filter(|found| found.is_namespaced()).count();
    let (before, requests) = (discovery(), stage.plane.requests().len());
    stage.reconcile().await.unwrap();
    assert!(stage.namespaces().get_opt(TEAM).await.unwrap().is_none());
    assert_eq!(discovery() - before, 2, "once more, to be sure that nothing is new");
    let requests = stage.plane.requests().len() - requests;
    assert!(requests <= kinds + 6, "{requests} requests for {kinds} kinds");
}
