//! What is done about which pods; and the controller against the API server, with stores that are told what to show.

use kube::api::{DeleteParams, ListParams};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use testkit::ControlPlane;

use super::*;
use crate::workers::WorkersArgs;

fn set(spec: &Value) -> StatefulSet {
    let mut whole = json!({
        "replicas": 3, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "two"}]}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let metadata = json!({"namespace": "default", "name": "web", "uid": "u"});
    serde_json::from_value(json!({"metadata": metadata, "spec": whole})).unwrap()
}

/// A pod as `0 ready old`: its number, and what holds for it.
fn pod(text: &str) -> Arc<Pod> {
    let words: Vec<&str> = text.split(' ').collect();
    let is = |word: &str| words.contains(&word);
    let phase = if is("failed") { "Failed" } else { "Running" };
    let status = if is("ready") || is("new") { "True" } else { "False" };
    let since = if is("new") { "2026-01-01T00:00:00Z" } else { "2025-01-01T00:00:00Z" };
    let going = is("going").then_some("2026-01-01T00:00:00Z");
    let revision = if is("old") { "web-old" } else { "web-new" };
    let name = format!("web-{}", words[0]);
    let labels = json!({"app": "web", "controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": name});
    let pod = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "labels": labels, "deletionTimestamp": going},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": since}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn version(name: &str, image: &str) -> Version {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    Version { name: name.to_owned(), template: serde_json::from_value(template).unwrap() }
}

/// What is done, as `+0` and `-1`; a pod that is made by the old version as `+0old`.
fn done(spec: &Value, pods: &[&str]) -> String {
    let set = set(spec);
    let (current, update) = (version("web-old", "one"), version("web-new", "two"));
    let wanted = Wanted {
        set: &set,
        spec: set.spec.as_ref().unwrap(),
        current: &current,
        update: &update,
        now: "2026-01-01T00:00:01Z".parse().unwrap(),
    };
    let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
    let plan = wanted.plan(&pods);
    let made = plan.create.iter().map(|(ordinal, pod)| {
        let old = if identity::revision(pod) == "web-old" { "old" } else { "" };
        format!("+{ordinal}{old}")
    });
    let number = |pod: &Arc<Pod>| pod.metadata.name.as_deref().unwrap().replace("web-", "-");
    made.chain(plan.delete.iter().map(number)).collect::<Vec<_>>().join(" ")
}

#[test]
fn in_order_each_pod_waits_for_those_before() {
    let none = json!({});
    for (pods, expected) in [
        (&[][..], "+0"),
        (&["0 pending"], ""),
        (&["0 ready"], "+1"),
        (&["0 ready", "1 pending"], ""),
        (&["0 ready", "1 ready"], "+2"),
        (&["0 ready", "1 ready", "2 ready"], ""),
        (&["0 ready", "2 ready"], "+1"),
        (&["0 failed", "1 ready"], "-0"),
        (&["0 failed going"], ""),
        (&["0 ready going", "1 ready"], ""),
    ] {
        assert_eq!(done(&none, pods), expected, "{pods:?}");
    }
}

#[test]
fn a_pod_counts_once_it_was_ready_for_long_enough() {
    assert_eq!(done(&json!({"minReadySeconds": 1}), &["0 new"]), "+1");
    assert_eq!(done(&json!({"minReadySeconds": 2}), &["0 new"]), "");
}

#[test]
fn in_parallel_nobody_waits() {
    let parallel = json!({"podManagementPolicy": "Parallel"});
    assert_eq!(done(&parallel, &[]), "+0 +1 +2");
    assert_eq!(done(&parallel, &["1 pending"]), "+0 +2");
    assert_eq!(
        done(&parallel, &["0 pending", "1 failed", "2 ready", "3 ready", "4 going"]),
        "-1 -3"
    );
}

#[test]
fn numbers_begin_where_the_set_says() {
    let later = json!({"ordinals": {"start": 5}, "replicas": 2});
    assert_eq!(done(&later, &[]), "+5");
    assert_eq!(done(&later, &["5 ready"]), "+6");
    assert_eq!(done(&later, &["5 ready", "6 ready", "0 ready", "1 ready"]), "-1");
    assert_eq!(done(&json!({"replicas": 0}), &[]), "");
}

#[test]
fn pods_too_many_go_one_by_one_the_last_one_first() {
    let one = json!({"replicas": 1});
    for (pods, expected) in [
        (&["0 ready", "1 ready", "2 ready"][..], "-2"),
        (&["0 ready", "1 ready", "2 ready going"], ""),
        (&["0 pending", "1 ready"], ""),
        (&["0 ready", "1 ready", "2 pending"], "-2"),
        (&["0 ready", "1 pending", "2 ready"], "-2"),
        (&["0 ready", "1 pending", "2 pending"], ""),
    ] {
        assert_eq!(done(&one, pods), expected, "{pods:?}");
    }
}

#[test]
fn a_new_template_takes_over_from_the_last_pod_on() {
    let none = json!({});
    for (pods, expected) in [
        (&["0 ready old", "1 ready old", "2 ready old"][..], "-2"),
        (&["0 ready old", "1 ready old", "2 going old"], ""),
        (&["0 ready old", "1 ready old"], "+2"),
        (&["0 ready old", "1 ready old", "2 pending"], ""),
        (&["0 ready old", "1 ready old", "2 ready"], "-1"),
        (&["0 ready", "1 ready", "2 ready"], ""),
    ] {
        assert_eq!(done(&none, pods), expected, "{pods:?}");
    }
}

#[test]
fn below_the_partition_pods_stay_and_are_made_as_they_were() {
    let update = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let partition = json!({"updateStrategy": update});
    assert_eq!(done(&partition, &["0 ready old", "1 ready old", "2 ready old"]), "-2");
    assert_eq!(done(&partition, &["0 ready old", "1 ready old", "2 ready"]), "");
    assert_eq!(done(&partition, &["0 ready old"]), "+1old");
    let later = json!({"updateStrategy": update, "ordinals": {"start": 4}});
    assert_eq!(done(&later, &["4 ready old", "5 ready old", "6 ready old"]), "-6");
    assert_eq!(done(&later, &["4 ready old", "5 ready old", "6 ready"]), "");
}

#[test]
fn on_delete_pods_stay_until_somebody_deletes_them() {
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    assert_eq!(done(&on_delete, &["0 ready old", "1 ready old", "2 ready old"]), "");
    assert_eq!(done(&on_delete, &["0 ready old", "1 ready old"]), "+2");
}

#[test]
fn a_pod_has_its_number_in_names_labels_and_claims() {
    let template =
        json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
    let set = set(&json!({"volumeClaimTemplates": [template]}));
    let spec = set.spec.as_ref().unwrap();
    let pod = json!(identity::pod(&set, spec, &version("web-new", "two"), 7));
    assert_eq!(pod["metadata"]["name"], "web-7");
    assert_eq!(pod["metadata"]["generateName"], Value::Null);
    assert_eq!(pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "7");
    assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], "web-new");
    assert_eq!(
        (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
        (&json!("web-7"), &json!("web"))
    );
    let volume = &pod["spec"]["volumes"][0];
    assert_eq!(volume["name"], "data");
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], "data-web-7");
    let (_, claim) = claims::wanted(&set, spec, 7).next().unwrap();
    assert_eq!(claim.metadata.labels.unwrap()["app"], "web");
}

/// `set` and `pod` if the claim of the second pod of three is to be theirs.
fn owners(deleted: &str, scaled: &str, ordinal: i64, there: &Value) -> Option<String> {
    let policy = json!({"whenDeleted": deleted, "whenScaled": scaled});
    let set = set(&json!({"persistentVolumeClaimRetentionPolicy": policy}));
    let claim = serde_json::from_value(json!({"metadata": {"ownerReferences": there}})).unwrap();
    let owners = claims::owners(&claim, &set, set.spec.as_ref()?, &pod(&ordinal.to_string()))?;
    let names = owners.iter().map(|owner| owner.kind.clone());
    Some(names.collect::<Vec<_>>().join(" "))
}

#[test]
fn claims_go_with_whom_the_policy_says() {
    let none = json!([]);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(owners("Retain", "Retain", 1, &none), None);
    assert_eq!(owners("Delete", "Retain", 1, &none), some("StatefulSet"));
    assert_eq!(owners("Delete", "Retain", 9, &none), some("StatefulSet"));
    assert_eq!(owners("Retain", "Delete", 1, &none), None);
    assert_eq!(owners("Retain", "Delete", 9, &none), some("Pod"));
    assert_eq!(owners("Delete", "Delete", 1, &none), some("StatefulSet"));
    assert_eq!(owners("Delete", "Delete", 9, &none), some("Pod"));
    let owner = |kind: &str, name: &str, uid: &str| {
        let version = if kind == "StatefulSet" { "apps/v1" } else { "v1" };
        json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true}])
    };
    assert_eq!(owners("Retain", "Retain", 1, &owner("StatefulSet", "web", "u")), some(""));
    assert_eq!(owners("Delete", "Retain", 1, &owner("StatefulSet", "web", "u")), None);
    assert_eq!(owners("Delete", "Retain", 1, &owner("StatefulSet", "web", "before")), None);
    assert_eq!(owners("Delete", "Retain", 1, &owner("Pod", "other", "x")), None);
}

/// A controller whose stores follow nothing.
struct Stage {
    plane: ControlPlane,
    controller: StatefulSets,
    key: ObjectKey,
}

impl Stage {
    async fn start(spec: &Value) -> Self {
        let plane = ControlPlane::start().await;
        let context = crate::controllers::tests::context(plane.listwatch(), WorkersArgs::default());
        let stage = Self {
            controller: StatefulSets::new(&context),
            key: ObjectKey::new("default", "web"),
            plane,
        };
        let mut set = set(spec);
        set.metadata.uid = None;
        stage.sets().create(&PostParams::default(), &set).await.unwrap();
        stage.see().await;
        stage
    }

    fn sets(&self) -> Api<StatefulSet> {
        Api::namespaced(self.plane.client(), "default")
    }

    /// The stores show everything.
    async fn see(&self) {
        let all = ListParams::default();
        let stores = &self.controller.informers;
        let events = |pods: Vec<Pod>| {
            let each = pods.into_iter().map(Event::InitApply);
            [Event::Init].into_iter().chain(each).chain([Event::InitDone])
        };
        let pods = self.pods().await;
        events(pods).for_each(|event| stores.pods.take_in(event));
        for set in self.sets().list(&all).await.unwrap() {
            stores.stateful_sets.take_in(Event::Apply(set));
        }
        let revisions = Api::namespaced(self.plane.client(), "default");
        for revision in revisions.list(&all).await.unwrap() {
            stores.controller_revisions.take_in(Event::Apply(revision));
        }
        for claim in self.controller.claims(&self.key).list(&all).await.unwrap() {
            stores.persistent_volume_claims.take_in(Event::Apply(claim));
        }
    }

    async fn look(&self) -> StatefulSetStatus {
        self.controller.reconcile(&self.key).await.unwrap();
        self.see().await;
        self.sets().get("web").await.unwrap().status.unwrap()
    }

    async fn pods(&self) -> Vec<Pod> {
        let api = Api::<Pod>::namespaced(self.plane.client(), "default");
        api.list(&ListParams::default()).await.unwrap().items
    }

    async fn names(&self) -> Vec<String> {
        let pods = self.pods().await;
        pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect()
    }

    async fn all_are_ready(&self) {
        let api = Api::<Pod>::namespaced(self.plane.client(), "default");
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let patch = Patch::Merge(json!({"status": {"phase": "Running", "conditions": [ready]}}));
        for name in self.names().await {
            api.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        }
        self.see().await;
    }

    async fn set_image(&self, image: &str) {
        let containers = json!([{"name": "c", "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.sets().patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        self.see().await;
    }
}

#[tokio::test]
async fn a_set_gets_its_pods_and_claims_and_a_new_template_takes_over() {
    let templates = [claim_template()];
    let stage = Stage::start(&json!({"replicas": 2, "volumeClaimTemplates": templates})).await;
    stage.look().await;
    assert_eq!(stage.names().await, ["web-0"]);
    stage.all_are_ready().await;
    stage.look().await;
    stage.all_are_ready().await;
    let before = stage.look().await;
    assert_eq!(stage.names().await, ["web-0", "web-1"]);
    assert_eq!((before.ready_replicas, before.updated_replicas), (Some(2), Some(2)));
    assert_eq!(before.current_revision, before.update_revision);
    let claims = stage.controller.claims(&stage.key).list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = claims.iter().filter_map(|it| it.metadata.name.as_deref()).collect();
    assert_eq!(names, ["data-web-0", "data-web-1"]);

    stage.set_image("three").await;
    let going = stage.look().await;
    assert_ne!(going.current_revision, going.update_revision);
    // Pods that are bound to no node are gone at once. First it is the last one's turn.
    assert_eq!(stage.names().await, ["web-0"]);
    for _ in 0..3 {
        stage.look().await;
        stage.all_are_ready().await;
    }
    let after = stage.look().await;
    assert_eq!(after.current_revision, going.update_revision);
    assert_eq!(after.current_revision, after.update_revision);
    let images: Vec<_> = stage
        .pods()
        .await
        .iter()
        .map(|it| it.spec.as_ref().unwrap().containers[0].image.clone())
        .collect();
    assert_eq!(images, [Some("three".to_owned()), Some("three".to_owned())]);
}

#[tokio::test]
async fn a_status_is_seen_before_the_next_look() {
    let stage = Stage::start(&json!({"replicas": 1})).await;
    stage.look().await;
    stage.all_are_ready().await;
    // This one writes nothing else.
    stage.controller.reconcile(&stage.key).await.unwrap();
    let requests = stage.plane.requests().len();
    let next = stage.controller.reconcile(&stage.key).await.unwrap();
    assert_eq!(next, Next::After(UNSEEN));
    assert_eq!(stage.plane.requests().len(), requests);
    stage.see().await;
    let next = stage.controller.reconcile(&stage.key).await.unwrap();
    assert_eq!(next, Next::Change);
}

fn claim_template() -> Value {
    json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }})
}

#[tokio::test]
async fn a_pod_waits_for_the_claim_of_the_one_before_and_the_set_looks_again() {
    let policy = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    let stage = Stage::start(&json!({
        "replicas": 1, "volumeClaimTemplates": [claim_template()],
        "persistentVolumeClaimRetentionPolicy": policy,
    }))
    .await;
    let before = json!([{"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "before"}]);
    let mut claim = claim_template();
    claim["metadata"] = json!({"name": "data-web-0", "ownerReferences": before});
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
    stage.controller.claims(&stage.key).create(&PostParams::default(), &claim).await.unwrap();
    stage.see().await;
    let waits = stage.controller.reconcile(&stage.key).await.unwrap_err();
    assert!(waits.may_pass(), "{waits}");
    assert_eq!(waits.reason(), "pvc data-web-0 is being deleted");
    assert!(stage.names().await.is_empty());
}

#[tokio::test]
async fn a_claim_on_its_way_out_keeps_no_other_pod_from_its_end() {
    let stage = Stage::start(&json!({
        "replicas": 3, "podManagementPolicy": "Parallel",
        "volumeClaimTemplates": [claim_template()],
    }))
    .await;
    stage.look().await;
    assert_eq!(stage.names().await, ["web-0", "web-1", "web-2"]);
    // Pods that have not ended hold them.
    for name in ["data-web-0", "data-web-2"] {
        stage.controller.claims(&stage.key).delete(name, &DeleteParams::default()).await.unwrap();
    }
    let fewer = Patch::Merge(json!({"spec": {"replicas": 2}}));
    stage.sets().patch("web", &PatchParams::default(), &fewer).await.unwrap();
    stage.see().await;
    let waits = stage.controller.reconcile(&stage.key).await.unwrap_err();
    assert_eq!(waits.reason(), "pvc data-web-0 is being deleted");
    assert_eq!(stage.names().await, ["web-0", "web-1"]);
}

#[tokio::test]
async fn a_pod_of_another_name_is_not_taken() {
    let stage = Stage::start(&json!({"replicas": 1})).await;
    let stranger = testkit::pod("stranger").label("app", "web").build();
    let api = Api::<Pod>::namespaced(stage.plane.client(), "default");
    api.create(&PostParams::default(), &stranger).await.unwrap();
    stage.see().await;
    stage.look().await;
    assert_eq!(api.get("stranger").await.unwrap().metadata.owner_references, None);
    assert_eq!(stage.names().await, ["stranger", "web-0"]);
}
