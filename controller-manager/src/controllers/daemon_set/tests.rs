//! The controller against the API server, with stores that are told what to show; which nodes concern which sets.

use api_types::meta::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use testkit::ControlPlane;

use super::*;
use crate::workers::WorkersArgs;

/// A controller whose stores follow nothing, with nodes `a` and `b`.
struct Stage {
    plane: ControlPlane,
    controller: DaemonSets,
    key: ObjectKey,
}

impl Stage {
    async fn start(strategy: Value) -> Self {
        let plane = ControlPlane::start().await;
        let context = crate::controllers::tests::context(plane.listwatch(), WorkersArgs::default());
        let key = ObjectKey::new("default", "logs");
        let stage = Self { controller: DaemonSets::new(&context), key, plane };
        let template = json!({"metadata": {"labels": {"app": "logs"}},
            "spec": {"containers": [{"name": "c", "image": "one"}]}});
        let spec = json!({"selector": {"matchLabels": {"app": "logs"}}, "template": template,
            "updateStrategy": strategy});
        let set = json!({"metadata": {"name": "logs"}, "spec": spec});
        let set = serde_json::from_value(set).unwrap();
        stage.sets().create(&PostParams::default(), &set).await.unwrap();
        for name in ["a", "b"] {
            stage.controller.informers.nodes.take_in(Event::Apply(node(name, &json!([]))));
        }
        stage.see().await;
        stage
    }

    fn sets(&self) -> Api<DaemonSet> {
        Api::namespaced(self.plane.client(), "default")
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.plane.client(), "default")
    }

    /// The stores show everything.
    async fn see(&self) {
        let (all, stores) = (ListParams::default(), &self.controller.informers);
        let pods = self.pods().list(&all).await.unwrap().into_iter().map(Event::InitApply);
        let list = [Event::Init].into_iter().chain(pods).chain([Event::InitDone]);
        list.for_each(|event| stores.pods.take_in(event));
        for set in self.sets().list(&all).await.unwrap() {
            stores.daemon_sets.take_in(Event::Apply(set));
        }
        for revision in self.revisions().await {
            stores.controller_revisions.take_in(Event::Apply(revision));
        }
    }

    async fn revisions(&self) -> Vec<ControllerRevision> {
        let api = Api::<ControllerRevision>::namespaced(self.plane.client(), "default");
        api.list(&ListParams::default()).await.unwrap().items
    }

    async fn look(&self) -> Next {
        let next = self.controller.reconcile(&self.key).await.unwrap();
        self.see().await;
        next
    }

    async fn status(&self) -> Value {
        serde_json::to_value(self.sets().get("logs").await.unwrap().status).unwrap()
    }

    /// The node and the image of each pod.
    async fn places(&self) -> Vec<(String, String)> {
        let pods = self.pods().list(&ListParams::default()).await.unwrap();
        let place = |pod: &Pod| {
            let image = pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
            (placement::node_of(pod).unwrap().to_owned(), image)
        };
        let mut places: Vec<_> = pods.iter().map(place).collect();
        places.sort();
        places
    }

    async fn all_are(&self, phase: &str) {
        let since = "2026-01-01T00:00:00Z";
        let status = if phase == "Running" { "True" } else { "False" };
        let ready = json!([{"type": "Ready", "status": status, "lastTransitionTime": since}]);
        let patch = Patch::Merge(json!({"status": {"phase": phase, "conditions": ready}}));
        for pod in self.pods().list(&ListParams::default()).await.unwrap() {
            let name = pod.metadata.name.unwrap();
            self.pods().patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        }
        self.see().await;
    }

    async fn set_image(&self, image: &str) {
        let containers = json!([{"name": "c", "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.sets().patch("logs", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        self.see().await;
    }
}

fn node(name: &str, taints: &Value) -> Node {
    let labels = json!({"kubernetes.io/hostname": name});
    let node = json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
    serde_json::from_value(node).unwrap()
}

fn places(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(node, image)| ((*node).to_owned(), (*image).to_owned())).collect()
}

#[tokio::test]
async fn each_node_gets_a_pod_and_a_template_takes_over_node_by_node() {
    let stage = Stage::start(json!({"type": "RollingUpdate"})).await;
    stage.look().await;
    assert_eq!(stage.places().await, places(&[("a", "one"), ("b", "one")]));
    stage.all_are("Running").await;
    stage.look().await;
    let all = json!({"observedGeneration": 1, "desiredNumberScheduled": 2,
        "currentNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2,
        "updatedNumberScheduled": 2, "numberAvailable": 2});
    assert_eq!(stage.status().await, all);

    stage.set_image("two").await;
    stage.look().await;
    // Pods that are bound to no node are gone at once.
    assert_eq!(stage.places().await, places(&[("b", "one")]));
    stage.look().await;
    assert_eq!(stage.places().await, places(&[("a", "two"), ("b", "one")]));
    stage.look().await;
    assert_eq!(stage.places().await, places(&[("a", "two"), ("b", "one")]), "it does not serve");
    let status = stage.status().await;
    assert_eq!(
        (&status["updatedNumberScheduled"], &status["numberUnavailable"]),
        (&json!(1), &json!(1))
    );
    stage.all_are("Running").await;
    for _ in 0..2 {
        stage.look().await;
    }
    assert_eq!(stage.places().await, places(&[("a", "two"), ("b", "two")]));
    let revisions = stage.revisions().await;
    let mut numbers: Vec<_> = revisions.iter().map(|it| it.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    let labels = revisions[0].metadata.labels.as_ref().unwrap();
    assert!(labels.contains_key("controller-revision-hash"), "{labels:?}");
}

#[tokio::test]
async fn going_back_leaves_the_pods_that_are_of_the_template_alone() {
    let stage = Stage::start(json!({"type": "RollingUpdate"})).await;
    stage.look().await;
    stage.all_are("Running").await;
    stage.look().await;
    stage.set_image("broken").await;
    stage.look().await;
    let kept = stage.pods().list(&ListParams::default()).await.unwrap().items.remove(0);
    stage.look().await;
    stage.set_image("one").await;
    for _ in 0..2 {
        stage.look().await;
    }
    assert_eq!(stage.places().await, places(&[("a", "one"), ("b", "one")]));
    assert_eq!(
        stage.pods().get(kept.metadata.name.as_ref().unwrap()).await.unwrap().metadata.uid,
        kept.metadata.uid
    );
}

#[tokio::test]
async fn a_revision_that_somebody_has_made_of_the_template_replaces_no_pod() {
    let stage = Stage::start(json!({"type": "RollingUpdate"})).await;
    stage.look().await;
    stage.all_are("Running").await;
    stage.look().await;
    let mut copy = stage.revisions().await.remove(0);
    let labels = Some([("app".to_owned(), "logs".to_owned())].into());
    copy.metadata = ObjectMeta {
        name: Some("copy".to_owned()),
        owner_references: copy.metadata.owner_references,
        labels,
        ..ObjectMeta::default()
    };
    copy.revision = 2;
    let api = Api::<ControllerRevision>::namespaced(stage.plane.client(), "default");
    api.create(&PostParams::default(), &copy).await.unwrap();
    stage.see().await;
    let before = stage.pods().list(&ListParams::default()).await.unwrap().items;
    stage.look().await;
    assert_eq!(stage.pods().list(&ListParams::default()).await.unwrap().items, before);
    // A pod that is made anew is of that one.
    let name = before[0].metadata.name.as_ref().unwrap();
    stage.pods().delete(name, &DeleteParams::default()).await.unwrap();
    stage.see().await;
    stage.look().await;
    let pods = stage.pods().list(&ListParams::default()).await.unwrap();
    let hashes: BTreeSet<_> = pods.iter().filter_map(|pod| placement::hash_of(pod)).collect();
    assert!(hashes.contains("copy") && hashes.len() == 2, "{hashes:?}");
}

#[tokio::test]
async fn by_hand_only_what_is_deleted_is_made_of_the_template() {
    let stage = Stage::start(json!({"type": "OnDelete"})).await;
    stage.look().await;
    stage.all_are("Running").await;
    stage.set_image("two").await;
    stage.look().await;
    assert_eq!(stage.places().await, places(&[("a", "one"), ("b", "one")]));
    let status = stage.status().await;
    assert_eq!((&status["observedGeneration"], &status["numberAvailable"]), (&json!(2), &json!(2)));
    assert_eq!(status["updatedNumberScheduled"], Value::Null);
    let name =
        stage.pods().list(&ListParams::default()).await.unwrap().items[0].metadata.name.clone();
    stage.pods().delete(&name.unwrap(), &DeleteParams::default()).await.unwrap();
    stage.see().await;
    stage.look().await;
    let images: Vec<_> = stage.places().await.into_iter().map(|(_, image)| image).collect();
    assert!(images.contains(&"two".to_owned()) && images.contains(&"one".to_owned()), "{images:?}");
}

#[tokio::test]
async fn a_pod_that_fails_again_stays_for_a_while() {
    let stage = Stage::start(json!({"type": "RollingUpdate"})).await;
    stage.look().await;
    stage.all_are("Failed").await;
    stage.look().await;
    assert!(stage.places().await.is_empty(), "the first is made anew at once");
    // Again and again: the test is not to be over before the wait.
    for _ in 0..8 {
        let mut backoff = stage.controller.backoff.lock();
        for node in ["a", "b"] {
            backoff.renew(&stage.key, 1, node, Instant::now());
        }
    }
    stage.look().await;
    stage.all_are("Failed").await;
    let next = stage.look().await;
    assert_eq!(stage.places().await.len(), 2);
    assert!(matches!(next, Next::After(wait) if wait > Duration::from_secs(60)), "{next:?}");
    // Of a changed template it is worth another try.
    stage.set_image("two").await;
    stage.look().await;
    assert!(stage.places().await.is_empty());
}

#[tokio::test]
async fn a_pod_that_has_the_labels_is_taken_and_one_that_has_lost_them_let_go() {
    let stage = Stage::start(json!({"type": "OnDelete"})).await;
    let orphan = testkit::pod("orphan").label("app", "logs").node("a").build();
    stage.pods().create(&PostParams::default(), &orphan).await.unwrap();
    stage.see().await;
    stage.look().await;
    let orphan = stage.pods().get("orphan").await.unwrap();
    assert_eq!(orphan.metadata.owner_references.unwrap()[0].name, "logs");
    assert_eq!(stage.pods().list(&ListParams::default()).await.unwrap().items.len(), 2);
    let patch = Patch::Merge(json!({"metadata": {"labels": {"app": "other"}}}));
    stage.pods().patch("orphan", &PatchParams::default(), &patch).await.unwrap();
    stage.see().await;
    stage.look().await;
    let orphan = stage.pods().get("orphan").await.unwrap();
    assert!(orphan.metadata.owner_references.is_none_or(|owners| owners.is_empty()));
    assert_eq!(stage.pods().list(&ListParams::default()).await.unwrap().items.len(), 3);
}

#[test]
fn a_node_concerns_the_sets_that_find_another_place_on_it() {
    let sets = Informer::<DaemonSet>::default();
    for (name, selector) in [("all", json!({})), ("a", json!({"kubernetes.io/hostname": "a"}))] {
        let template = json!({"spec": {"containers": [], "nodeSelector": selector}});
        let set = json!({"metadata": {"namespace": "ns", "name": name}, "spec": {"selector": {}, "template": template}});
        sets.take_in(Event::Apply(serde_json::from_value(set).unwrap()));
    }
    let check = |old: Option<Node>, new: Option<Node>, expected: &[&str]| {
        let change = Change { old: old.map(Arc::new), new: new.map(Arc::new) };
        let mut found: Vec<_> = concerned(&sets, &change).into_iter().map(|key| key.name).collect();
        found.sort();
        assert_eq!(found, expected, "{change:?}");
    };
    let plain = |name: &str| Some(node(name, &json!([])));
    let tainted =
        |key: &str, effect: &str| Some(node("b", &json!([{"key": key, "effect": effect}])));
    check(None, plain("a"), &["a", "all"]);
    check(plain("a"), None, &["a", "all"]);
    check(plain("b"), plain("b"), &[]);
    check(plain("b"), tainted("gpu", "NoSchedule"), &["all"]);
    check(plain("b"), tainted("node.kubernetes.io/unschedulable", "NoSchedule"), &[]);
    check(tainted("gpu", "NoSchedule"), tainted("gpu", "NoExecute"), &["all"]);
}
