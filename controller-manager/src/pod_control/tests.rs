//! Pods of owners of several kinds, with a store that is told what to show.

use api_types::api::apps::v1::{DaemonSet, ReplicaSet};
use api_types::api::core::v1::{ConfigMap, Event as Occurrence};
use kube::api::DynamicObject;
use kube::discovery::ApiResource;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use testkit::{ControlPlane, pod, wait};

use super::*;

/// A ConfigMap that owns pods: to the control, kinds are alike.
struct Stage {
    plane: ControlPlane,
    control: PodControl<ConfigMap>,
    owner: ConfigMap,
    key: ObjectKey,
}

impl Stage {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let recorder = Recorder::new(&component::Tasks::default(), plane.client(), "tester", "");
        let control = PodControl::new(plane.client(), recorder, Arc::default());
        let metadata = json!({"namespace": "default", "name": "owner", "uid": "u"});
        let owner = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        Self { plane, control, owner, key: ObjectKey::new("default", "owner") }
    }

    async fn create(&self, count: usize) -> Result<(), Error> {
        let template = json!({"spec": {"containers": [{"name": "c", "image": "nginx"}]}});
        let pod = pod_of(&self.owner, &serde_json::from_value(template).unwrap());
        self.control.create(&self.key, &self.owner, &vec![pod; count]).await
    }

    async fn pods(&self) -> Vec<Pod> {
        let api = Api::<Pod>::namespaced(self.plane.client(), "default");
        api.list(&ListParams::default()).await.unwrap().items
    }

    fn show(&self, events: impl IntoIterator<Item = Event<Pod>>) {
        events.into_iter().for_each(|event| self.control.pods.take_in(event));
    }

    async fn until_told(&self, reason: &str) {
        let events = Api::<Occurrence>::namespaced(self.plane.client(), "default");
        wait::until(reason, async || {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let is_it = |event: &Occurrence| {
                event.reason.as_deref() == Some(reason)
                    && event.involved_object.kind.as_deref() == Some("ConfigMap")
            };
            all.iter().any(is_it).then_some(()).ok_or(all)
        })
        .await;
    }
}

#[tokio::test]
async fn own_writes_are_waited_for_and_told() {
    let stage = Stage::start().await;
    assert!(stage.control.shows_own_writes(&stage.key));
    stage.create(3).await.unwrap();
    stage.until_told("SuccessfulCreate").await;
    assert!(!stage.control.shows_own_writes(&stage.key));
    let made = stage.pods().await;
    assert_eq!(made.len(), 3);
    stage.show(made.iter().cloned().map(Event::Apply));
    assert!(stage.control.shows_own_writes(&stage.key));
    let victim = Arc::new(made[0].clone());
    stage.control.delete(&stage.key, &stage.owner, &[victim]).await.unwrap();
    stage.until_told("SuccessfulDelete").await;
    assert!(!stage.control.shows_own_writes(&stage.key));
    assert_eq!(stage.pods().await.len(), 2);
    stage.control.forget(&stage.key);
    assert!(stage.control.shows_own_writes(&stage.key), "its owner is gone");
}

#[tokio::test]
async fn a_template_that_is_refused_costs_one_request() {
    let stage = Stage::start().await;
    let _refused = stage.plane.refuse(|request| request.uri().path().ends_with("/pods"));
    stage.create(10).await.unwrap_err();
    stage.until_told("FailedCreate").await;
    let requests = stage.plane.requests();
    assert_eq!(
        requests.iter().filter(|request| request.ends_with("/pods?")).count(),
        1,
        "{requests:?}"
    );
}

/// Only the API server knows which pods there are.
#[tokio::test]
async fn creations_that_were_not_answered_are_looked_for_and_those_of_others_are_not() {
    let stage = Stage::start().await;
    let lost = stage.plane.lose_answers(|request| request.method() == "POST");
    stage.create(1).await.unwrap_err();
    drop(lost);
    let made = stage.pods().await;
    let api = Api::<Pod>::namespaced(stage.plane.client(), "default");
    api.create(&PostParams::default(), &pod("other").build()).await.unwrap();
    assert!(stage.control.shows_own_writes(&stage.key), "it knows of none");
    stage.control.settle(&stage.key, &stage.owner).await.unwrap();
    assert!(!stage.control.shows_own_writes(&stage.key));
    stage.show(made.into_iter().map(Event::Apply));
    assert!(stage.control.shows_own_writes(&stage.key));
}

#[tokio::test(start_paused = true)]
async fn a_pod_concerns_its_controller_and_without_one_all_that_would_adopt_it() {
    let (pods, sets) = (Informer::default(), Arc::new(Informer::<ReplicaSet>::default()));
    for name in ["web", "db"] {
        let selector = json!({"matchLabels": {"app": name}});
        let set =
            json!({"metadata": {"namespace": "ns", "name": name}, "spec": {"selector": selector}});
        sets.take_in(Event::Apply(serde_json::from_value(set).unwrap()));
    }
    let queue = Arc::new(WorkQueue::default());
    watch(&pods, &sets, &queue);
    let concerned = async |owner: Value| {
        let name = format!("p-{owner}");
        let metadata = json!({"namespace": "ns", "name": name, "labels": {"app": "web"}, "ownerReferences": [owner]});
        pods.take_in(Event::Apply(serde_json::from_value(json!({"metadata": metadata})).unwrap()));
        let next = tokio::time::timeout(Duration::from_secs(1), queue.next()).await.ok()?;
        queue.done(&next);
        Some(next.to_string())
    };
    let owner = |kind: &str, controls: bool| json!({"apiVersion": "apps/v1", "kind": kind, "name": "db", "uid": "u", "controller": controls});
    assert_eq!(concerned(owner("ReplicaSet", true)).await.as_deref(), Some("ns/db"));
    assert_eq!(concerned(owner("ReplicaSet", false)).await.as_deref(), Some("ns/web"));
    assert_eq!(concerned(owner("StatefulSet", true)).await, None);
}

/// A kind of which there is no type here.
#[tokio::test]
async fn an_owner_of_a_kind_that_is_found_adopts_and_makes_pods() {
    let plane = ControlPlane::start().await;
    let kind = ApiResource::erase::<ReplicaSet>(&());
    let sets = Api::<DynamicObject>::namespaced_with(plane.client(), "default", &kind);
    let template = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    let set = json!({"metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}});
    let set = serde_json::from_value(set).unwrap();
    let set = sets.create(&PostParams::default(), &set).await.unwrap();
    let pods = Api::<Pod>::namespaced(plane.client(), "default");
    let orphan = pod("orphan").label("app", "web").build();
    let orphan = pods.create(&PostParams::default(), &orphan).await.unwrap();

    let recorder = Recorder::new(&component::Tasks::default(), plane.client(), "tester", "");
    let control =
        PodControl::<DynamicObject>::of(kind.clone(), plane.client(), recorder, Arc::default());
    control.pods.take_in(Event::Apply(orphan));
    let key = ObjectKey::of(&set.metadata);
    let claims = control.claims(|_| true);
    let owned = claims.claim(&key, &set, &"app=web".parse().unwrap()).await.unwrap();
    assert_eq!(owned.len(), 1);
    let template = serde_json::from_value(template).unwrap();
    control.create(&key, &set, &[pod_of_kind(&kind, &set, &template)]).await.unwrap();
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let owner = controller_of(&pod.metadata).unwrap();
        let named = (owner.api_version.as_str(), owner.kind.as_str(), Some(&owner.uid));
        assert_eq!(named, ("apps/v1", "ReplicaSet", set.metadata.uid.as_ref()), "{pod:?}");
    }
}

/// The pod of an owner of this kind, as JSON.
fn made_by<O>(kind: &str) -> Value
where
    O: Owner<DynamicType = ()> + serde::de::DeserializeOwned,
{
    let template = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    let owner: O = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"namespace": "ns", "name": "web", "uid": "u"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }))
    .unwrap();
    serde_json::to_value(pod_of(&owner, &serde_json::from_value(template).unwrap())).unwrap()
}

#[test]
fn a_pod_is_the_template_with_an_owner() {
    let made = made_by::<DaemonSet>("DaemonSet");
    assert_eq!(
        made,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": "web-", "namespace": "ns", "labels": {"app": "web"},
                "annotations": {"a": "b"}, "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "DaemonSet", "name": "web", "uid": "u", "controller": true,
                "blockOwnerDeletion": true}]},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        })
    );
}
