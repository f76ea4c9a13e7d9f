//! The controller against the API server, with stores that are told what to show.

use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::watcher::Event;
use testkit::{ControlPlane, pod, replica_set};

use super::*;
use crate::workers::WorkersArgs;

/// A controller whose stores follow nothing.
struct Stage {
    plane: ControlPlane,
    controller: ReplicaSets,
    key: ObjectKey,
}

impl Stage {
    /// With a set `web`, which the store shows.
    async fn set(replicas: i32) -> Self {
        let plane = ControlPlane::start().await;
        let context = crate::controllers::tests::context(
            plane.listwatch_as("kube-controller-manager"),
            WorkersArgs::default(),
        );
        let controller = ReplicaSets::new(&context);
        let set = replica_set("web").replicas(replicas).build();
        let api = Api::<ReplicaSet>::namespaced(plane.client(), "default");
        let set = api.create(&PostParams::default(), &set).await.unwrap();
        controller.informers.replica_sets.take_in(Event::Apply(set));
        Self { plane, controller, key: ObjectKey::new("default", "web") }
    }

    async fn reconcile(&self) -> Result<Next, Error> {
        self.controller.reconcile(&self.key).await
    }

    fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.plane.client(), "default")
    }

    async fn pods(&self) -> Vec<Pod> {
        self.pods_api().list(&ListParams::default()).await.unwrap().items
    }

    /// The store shows the set as it is now.
    async fn set_seen(&self) -> ReplicaSet {
        let set = Api::<ReplicaSet>::namespaced(self.plane.client(), "default").get("web").await;
        let set = set.unwrap();
        self.controller.informers.replica_sets.take_in(Event::Apply(set.clone()));
        set
    }

    /// A pod of the set.
    async fn create_owned(&self, set: &ReplicaSet, pod: testkit::PodBuilder) -> Pod {
        let owner = crate::owners::controller_reference(set);
        let pod = pod
            .label("app", "web")
            .with(|pod| pod.metadata.owner_references = Some(owner.into_iter().collect()));
        self.pods_api().create(&PostParams::default(), &pod.build()).await.unwrap()
    }

    fn show(&self, events: impl IntoIterator<Item = Event<Pod>>) {
        events.into_iter().for_each(|event| self.controller.informers.pods.take_in(event));
    }
}

#[tokio::test]
async fn a_list_under_way_makes_no_more_pods_than_wanted() {
    let stage = Stage::set(3).await;
    stage.reconcile().await.unwrap();
    assert_eq!(stage.pods().await.len(), 3);
    let other = pod("other").build();
    let other = stage.pods_api().create(&PostParams::default(), &other).await.unwrap();
    stage.show([Event::Init, Event::InitApply(other)]);
    stage.reconcile().await.unwrap();
    assert_eq!(stage.pods().await.len(), 4, "three and the other");
    let all = stage.pods().await;
    stage.show(all.into_iter().map(Event::InitApply).chain([Event::InitDone]));
    stage.reconcile().await.unwrap();
    assert_eq!(stage.pods().await.len(), 4);
}

#[tokio::test]
async fn the_status_is_written_though_own_writes_have_not_come_back() {
    let stage = Stage::set(2).await;
    stage.reconcile().await.unwrap();
    let mut seen = stage.pods().await.remove(0);
    seen.status = pod("x").running("10.0.0.1").build().status;
    let mut going = pod("going").build();
    going.metadata.uid = Some("u".to_owned());
    let set = stage.set_seen().await;
    let victims = [Arc::new(going.clone())];
    stage.controller.control.delete(&stage.key, &set, &victims).await.unwrap();
    stage.show([Event::Apply(seen), Event::Apply(going)]);
    let status = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    assert_eq!(status(&stage.set_seen().await).ready_replicas.unwrap_or_default(), 0);
    let next = stage.reconcile().await.unwrap();
    assert_eq!(next, Next::After(UNSEEN), "they may come back in a moment");
    assert_eq!(status(&stage.set_seen().await).ready_replicas.unwrap_or_default(), 0);
    tokio::time::pause();
    tokio::time::advance(UNSEEN).await;
    tokio::time::resume();
    stage.reconcile().await.unwrap();
    assert_eq!(status(&stage.set_seen().await).ready_replicas, Some(1));
    assert_eq!(stage.pods().await.len(), 2, "nothing is created meanwhile");
}

/// Days pass in no time.
#[tokio::test]
async fn a_pod_counts_as_available_when_it_has_been_ready_for_long_enough() {
    let mut stage = Stage::set(1).await;
    let patch = Patch::Merge(json!({"spec": {"minReadySeconds": 7 * 86_400}}));
    let sets = Api::<ReplicaSet>::namespaced(stage.plane.client(), "default");
    sets.patch("web", &PatchParams::default(), &patch).await.unwrap();
    let set = stage.set_seen().await;
    let mut ready = stage.create_owned(&set, pod("ready")).await;
    let conditions =
        json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    ready.status =
        serde_json::from_value(json!({"phase": "Running", "conditions": conditions})).unwrap();
    stage.show([Event::Apply(ready)]);
    stage.controller.clock = Clock::starting_at("2026-01-03T00:00:00Z".parse().unwrap());
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(stage.reconcile().await.unwrap(), Next::After(days(5)));
    let available = |set: ReplicaSet| set.status.unwrap().available_replicas.unwrap_or_default();
    assert_eq!(available(stage.set_seen().await), 0);
    tokio::time::pause();
    tokio::time::advance(days(5)).await;
    tokio::time::resume();
    assert_eq!(stage.reconcile().await.unwrap(), Next::Change);
    assert_eq!(available(stage.set_seen().await), 1);
}

#[tokio::test]
async fn a_pod_whose_creation_was_not_answered_is_counted() {
    let stage = Stage::set(2).await;
    let lost = stage.plane.lose_answers(|request| request.method() == "POST");
    stage.reconcile().await.unwrap_err();
    drop(lost);
    assert_eq!(stage.pods().await.len(), 1);
    assert_eq!(stage.reconcile().await.unwrap(), Next::After(UNSEEN));
    let made = stage.pods().await;
    assert_eq!(made.len(), 1, "it has not come back yet");
    stage.show(made.into_iter().map(Event::Apply));
    stage.reconcile().await.unwrap();
    assert_eq!(stage.pods().await.len(), 2);
}

#[tokio::test]
async fn a_failure_is_told_and_taken_back_with_one_write_each() {
    let stage = Stage::set(1).await;
    let cut = stage.plane.refuse(|request| request.method() == "POST");
    stage.reconcile().await.unwrap_err();
    let conditions = |set: ReplicaSet| set.status.unwrap().conditions.unwrap_or_default();
    let told = conditions(stage.set_seen().await);
    assert_eq!(told[0].reason.as_deref(), Some("FailedCreate"));
    drop(cut);
    stage.reconcile().await.unwrap();
    assert_eq!(conditions(stage.set_seen().await), []);
    let made = stage.pods().await;
    stage.show(made.into_iter().map(Event::Apply));
    stage.reconcile().await.unwrap();
    stage.set_seen().await;
    let writes = || stage.plane.requests().iter().filter(|r| r.starts_with("PATCH")).count();
    let before = writes();
    stage.reconcile().await.unwrap();
    assert_eq!(writes(), before, "nothing has changed");
}

#[tokio::test]
async fn a_set_that_selects_nothing_is_looked_at_when_it_changes() {
    let stage = Stage::set(1).await;
    let mut set = stage.set_seen().await;
    set.spec.as_mut().unwrap().selector = Default::default();
    stage.controller.informers.replica_sets.take_in(Event::Apply(set));
    let error = stage.reconcile().await.unwrap_err();
    assert!(!error.may_pass(), "{error}");
    assert!(stage.pods().await.is_empty());
}

#[tokio::test]
async fn in_a_namespace_on_its_way_out_nothing_is_tried_again() {
    let stage = Stage::set(1).await;
    let namespaces = Api::<api_types::api::core::v1::Namespace>::all(stage.plane.client());
    let team = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces.create(&PostParams::default(), &team).await.unwrap();
    let sets = Api::<ReplicaSet>::namespaced(stage.plane.client(), "team");
    let mut set = replica_set("web").build();
    set.metadata.namespace = Some("team".to_owned());
    let set = sets.create(&PostParams::default(), &set).await.unwrap();
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    stage.controller.informers.replica_sets.take_in(Event::Apply(set));
    let key = ObjectKey::new("team", "web");
    assert_eq!(stage.controller.reconcile(&key).await.unwrap(), Next::Change);
}

#[tokio::test]
async fn a_pod_that_cannot_be_deleted_is_told_as_such() {
    let stage = Stage::set(0).await;
    let set = stage.set_seen().await;
    let surplus = stage.create_owned(&set, pod("surplus")).await;
    stage.show([Event::Apply(surplus)]);
    let _cut = stage.plane.refuse(|request| request.method() == "DELETE");
    stage.reconcile().await.unwrap_err();
    let told = stage.set_seen().await.status.unwrap().conditions.unwrap_or_default();
    assert_eq!(told[0].reason.as_deref(), Some("FailedDelete"));
}

#[tokio::test]
async fn of_two_nodes_the_one_goes_first_that_has_more_pods_of_the_whole_deployment() {
    let stage = Stage::set(1).await;
    let deployment = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true}]);
    let owners: Vec<_> = serde_json::from_value(deployment).unwrap();
    let mut set = stage.set_seen().await;
    set.metadata.owner_references = Some(owners.clone());
    let mut sibling = replica_set("before").build();
    sibling.metadata.namespace = Some("default".to_owned());
    sibling.metadata.uid = Some("before".to_owned());
    sibling.metadata.owner_references = Some(owners);
    for set in [&set, &sibling] {
        stage.controller.informers.replica_sets.take_in(Event::Apply(set.clone()));
    }
    let of_sibling = crate::owners::controller_reference(&sibling);
    let mut theirs = pod("theirs").node("crowded").build();
    theirs.metadata.namespace = Some("default".to_owned());
    theirs.metadata.owner_references = Some(of_sibling.into_iter().collect());
    let crowded = stage.create_owned(&set, pod("crowded").node("crowded")).await;
    let mut shaky = stage.create_owned(&set, pod("shaky").node("empty")).await;
    // By itself it would go first.
    let restarts = json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 9}]});
    shaky.status = serde_json::from_value(restarts).unwrap();
    stage.show([theirs, crowded, shaky].map(Event::Apply));
    stage.reconcile().await.unwrap();
    let living = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    let left = stage.pods().await;
    let left: Vec<_> = left.iter().filter(living).map(|pod| pod.metadata.name.clone()).collect();
    assert_eq!(left, [Some("shaky".to_owned())]);
}
