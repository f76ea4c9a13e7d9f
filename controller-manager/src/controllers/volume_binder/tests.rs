//! Which volume a claim gets, and what becomes of volumes; and the controller against the API server.

use kube::api::ListParams;
use kube::runtime::watcher::Event;
use testkit::ControlPlane;

use super::decision::{PROVISIONED_BY, PROVISIONER};
use super::*;
use crate::workers::WorkersArgs;

fn claim(spec: &Value) -> PersistentVolumeClaim {
    let mut whole = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "2Gi"}},
    });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let metadata = json!({"namespace": "default", "name": "data", "uid": "u"});
    serde_json::from_value(json!({"metadata": metadata, "spec": whole})).unwrap()
}

fn volume(name: &str, storage: &str, spec: &Value) -> Arc<PersistentVolume> {
    let mut whole = json!({"capacity": {"storage": storage}, "accessModes": ["ReadWriteOnce", "ReadWriteMany"], "hostPath": {"path": "/x"}});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let metadata = json!({"name": name, "labels": {"disk": name}});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": whole})).unwrap())
}

fn node(name: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

fn class(provisioner: &str, mode: &str) -> StorageClass {
    let class =
        json!({"metadata": {"name": "c"}, "provisioner": provisioner, "volumeBindingMode": mode});
    serde_json::from_value(class).unwrap()
}

fn best(spec: &Value, volumes: &[Arc<PersistentVolume>]) -> Option<String> {
    matching::best(&claim(spec), volumes, None)?.metadata.name.clone()
}

#[test]
fn a_claim_gets_the_smallest_volume_that_has_what_it_asks_for() {
    let none = json!({});
    let volumes = [
        volume("large", "9Gi", &none),
        volume("small", "1Gi", &none),
        volume("fits", "3Gi", &none),
    ];
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(best(&none, &volumes), some("fits"));
    assert_eq!(
        best(&json!({"selector": {"matchLabels": {"disk": "large"}}}), &volumes),
        some("large")
    );
    for unfit in [
        json!({"accessModes": ["ReadOnlyMany"]}),
        json!({"storageClassName": "fast"}),
        json!({"volumeMode": "Block"}),
        json!({"resources": {"requests": {"storage": "10Gi"}}}),
    ] {
        assert_eq!(best(&unfit, &volumes), None, "{unfit}");
    }
}

#[test]
fn a_volume_that_says_whose_it_is_is_nobody_elses() {
    let of = |name: &str, uid: &str| json!({"claimRef": {"namespace": "default", "name": name, "uid": uid}});
    let (free, none) = (volume("free", "2Gi", &json!({})), json!({}));
    let check = |reference: &Value, expected: &str| {
        let volumes = [free.clone(), volume("said", "9Gi", reference)];
        assert_eq!(best(&none, &volumes).as_deref(), Some(expected), "{reference}");
    };
    check(&of("data", ""), "said");
    check(&of("data", "u"), "said");
    check(&of("data", "before"), "free");
    check(&of("other", ""), "free");
}

#[test]
fn of_nodes_volumes_one_is_chosen_that_the_first_pod_can_use() {
    let at = |name: &str| {
        let here = json!({"key": "metadata.name", "operator": "In", "values": [name]});
        json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchFields": [here]}]}}})
    };
    let volumes = [volume("v1", "2Gi", &at("n1")), volume("v2", "9Gi", &at("n2"))];
    let found = |node: &Node| {
        matching::best(&claim(&json!({})), &volumes, Some(node)).unwrap().metadata.name.clone()
    };
    assert_eq!(found(&node("n2")).as_deref(), Some("v2"));
    assert_eq!(matching::best(&claim(&json!({})), &volumes, Some(&node("n3"))), None);
}

#[test]
fn what_is_done_about_a_claim() {
    let (none, volumes) = (claim(&json!({})), [volume("v", "2Gi", &json!({}))]);
    let n1 = node("n1");
    let ours = class(PROVISIONER, "WaitForFirstConsumer");
    let check = |claim: &PersistentVolumeClaim,
                 class: Option<&StorageClass>,
                 volumes: &[Arc<PersistentVolume>],
                 node: Option<&Node>,
                 expected: &str| {
        let got = match (Known { claim, class, volumes, node }).action() {
            Action::Bind(volume) => format!("bind {}", volume.metadata.name.as_deref().unwrap()),
            Action::Provision(_) => "provision".to_owned(),
            Action::Lost { reason, .. } | Action::Wait { reason, .. } => reason.to_owned(),
            Action::Nothing => String::new(),
        };
        assert_eq!(got, expected, "{claim:?}");
    };
    check(&none, None, &volumes, None, "bind v");
    check(&none, None, &[], None, "FailedBinding");
    let classed = claim(&json!({"storageClassName": "c"}));
    check(&classed, Some(&ours), &[], None, "WaitForFirstConsumer");
    check(&classed, Some(&ours), &[], Some(&n1), "provision");
    check(&classed, Some(&class("example.com/p", "Immediate")), &[], None, "ExternalProvisioning");
    let at_once = class(PROVISIONER, "Immediate");
    check(&classed, Some(&at_once), &[], None, "WaitForFirstConsumer");
    check(&classed, Some(&at_once), &[], Some(&n1), "provision");
    let in_class = [volume("c", "2Gi", &json!({"storageClassName": "c"}))];
    check(&classed, Some(&ours), &in_class, None, "WaitForFirstConsumer");
    check(&classed, Some(&ours), &in_class, Some(&n1), "bind c");
    // What was made for it is not at the node of the pod that uses it by now.
    let here = json!({"key": "metadata.name", "operator": "In", "values": ["n2"]});
    let mut made = json!({"claimRef": {"namespace": "default", "name": "data", "uid": "u"}, "storageClassName": "c"});
    made["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchFields": [here]}]}});
    let made = [volume("made", "2Gi", &made)];
    check(&classed, Some(&ours), &made, Some(&n1), "bind made");
    check(&classed, Some(&ours), &made, None, "bind made");
    let mut named = claim(&json!({"volumeName": "v"}));
    check(&named, None, &volumes, None, "bind v");
    check(&named, None, &[], None, "");
    named.status = serde_json::from_value(json!({"phase": "Bound"})).unwrap();
    check(&named, None, &[], None, "ClaimLost");
    let theirs = [volume(
        "v",
        "2Gi",
        &json!({"claimRef": {"namespace": "default", "name": "data", "uid": "other"}}),
    )];
    check(&named, None, &theirs, None, "ClaimMisbound");
}

#[test]
fn what_becomes_of_a_volume() {
    let data = claim(&json!({}));
    let fate = |spec: &Value, claim: Option<&PersistentVolumeClaim>| {
        let mut volume = (*volume("v", "2Gi", spec)).clone();
        volume.metadata.annotations =
            Some([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())].into());
        decision::fate(&volume, claim)
    };
    let of = |uid: &str, policy: &str| json!({"claimRef": {"namespace": "default", "name": "data", "uid": uid}, "persistentVolumeReclaimPolicy": policy});
    assert_eq!(fate(&json!({}), None), Fate::Phase("Available"));
    assert_eq!(fate(&of("", "Retain"), Some(&data)), Fate::Phase("Available"));
    assert_eq!(fate(&of("u", "Delete"), Some(&data)), Fate::Phase("Bound"));
    assert_eq!(fate(&of("before", "Retain"), Some(&data)), Fate::Phase("Released"));
    assert_eq!(fate(&of("before", "Delete"), Some(&data)), Fate::Delete);
    assert_eq!(fate(&of("u", "Delete"), None), Fate::Delete);
    let elsewhere = claim(&json!({"volumeName": "another"}));
    assert_eq!(fate(&of("u", "Retain"), Some(&elsewhere)), Fate::Unbind);
    assert_eq!(fate(&of("u", "Delete"), Some(&elsewhere)), Fate::Delete);
    let here = claim(&json!({"volumeName": "v"}));
    assert_eq!(fate(&of("u", "Retain"), Some(&here)), Fate::Phase("Bound"));
}

#[test]
fn directories_are_made_at_absolute_paths_only() {
    let check = |path: &str, is_usable: bool| {
        let mut class = class(PROVISIONER, "WaitForFirstConsumer");
        class.parameters = Some([("path".to_owned(), path.to_owned())].into());
        let fault = provisioning::fault(Some(&class));
        assert_eq!(fault.is_none(), is_usable, "{path}: {fault:?}");
    };
    check("/srv/volumes", true);
    check("/srv/volumes/", true);
    check("volumes", false);
    check("", false);
    check("/srv/../etc", false);
    assert_eq!(provisioning::fault(None), None);
}

struct Stage {
    plane: ControlPlane,
    binder: Binder,
}

impl Stage {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let context = crate::controllers::tests::context(plane.listwatch(), WorkersArgs::default());
        Self { binder: Binder::new(&context), plane }
    }

    /// The stores show everything; all of it is looked at.
    async fn look(&self) {
        let (all, stores) = (ListParams::default(), &self.binder.informers);
        let claims =
            Api::<PersistentVolumeClaim>::all(self.plane.client()).list(&all).await.unwrap();
        let volumes = self.binder.volumes().list(&all).await.unwrap();
        let (claims, volumes) = (claims.items, volumes.items);
        for class in Api::all(self.plane.client()).list(&all).await.unwrap() {
            stores.storage_classes.take_in(Event::Apply(class));
        }
        stores.persistent_volume_claims.take_in(Event::Init);
        claims
            .iter()
            .for_each(|it| stores.persistent_volume_claims.take_in(Event::InitApply(it.clone())));
        stores.persistent_volume_claims.take_in(Event::InitDone);
        volumes.iter().for_each(|it| stores.persistent_volumes.take_in(Event::Apply(it.clone())));
        for metadata in
            claims.iter().map(|it| &it.metadata).chain(volumes.iter().map(|it| &it.metadata))
        {
            self.binder.reconcile(&ObjectKey::of(metadata)).await.unwrap();
        }
    }

    async fn phase(&self) -> Option<String> {
        let claims = Api::<PersistentVolumeClaim>::default_namespaced(self.plane.client());
        claims.get("data").await.unwrap().status.unwrap().phase
    }
}

#[tokio::test]
async fn a_claim_of_the_clusters_class_gets_a_directory_of_its_pods_node_and_gives_it_back() {
    let stage = Stage::start().await;
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(stage.plane.client());
    let mut wanted = claim(&json!({"storageClassName": null}));
    wanted.metadata.uid = None;
    let made = claims.create(&PostParams::default(), &wanted).await.unwrap();
    assert_eq!(made.spec.unwrap().storage_class_name.as_deref(), Some("host-path"));
    stage.look().await;
    assert_eq!(stage.phase().await.as_deref(), Some("Pending"));
    let source = json!({"claimName": "data"});
    let pod = testkit::pod("p").node("n1").with(|pod| {
        let volume = json!({"name": "v", "persistentVolumeClaim": source});
        pod.spec.as_mut().unwrap().volumes = Some(vec![serde_json::from_value(volume).unwrap()]);
        pod.metadata.namespace = Some("default".to_owned());
    });
    stage.binder.informers.pods.take_in(Event::Apply(pod.build()));
    stage.binder.informers.nodes.take_in(Event::Apply(node("n1")));
    for _ in 0..3 {
        stage.look().await;
    }
    assert_eq!(stage.phase().await.as_deref(), Some("Bound"));
    let name = claims.get("data").await.unwrap().spec.unwrap().volume_name.unwrap();
    let volume = json!(stage.binder.volumes().get(&name).await.unwrap());
    assert_eq!(volume["status"]["phase"], "Bound");
    assert_eq!(volume["spec"]["hostPath"]["path"], format!("{}/{name}", provisioning::USUAL_PATH));
    assert_eq!(volume["spec"]["capacity"]["storage"], "2Gi");
    let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
    assert_eq!(terms[0]["matchFields"][0]["values"], json!(["n1"]));
    // Once the claim is gone, which its finalizer is for others to see to, so is the volume.
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    claims.patch("data", &PatchParams::default(), &free).await.unwrap();
    claims.delete("data", &DeleteParams::default()).await.unwrap();
    stage.look().await;
    let volume = json!(stage.binder.volumes().get(&name).await.unwrap());
    assert!(volume["metadata"]["deletionTimestamp"].is_string(), "{volume}");
    assert!(volume["metadata"]["finalizers"].as_array().unwrap().contains(&json!(OF_NODE)));
    // Its node is told, and once it has done so there is nothing left to wait for.
    let nodes = Api::<Node>::all(stage.plane.client());
    nodes.create(&PostParams::default(), &node("n1")).await.unwrap();
    stage.look().await;
    let told = nodes.get("n1").await.unwrap().metadata.annotations.unwrap();
    assert_eq!(told[&removal::key(&name)], format!("{}/{name}", provisioning::USUAL_PATH));
    stage.look().await;
    let held = async || {
        let volume = stage.binder.volumes().get(&name).await.unwrap();
        volume.metadata.finalizers.unwrap().iter().any(|it| it == OF_NODE)
    };
    assert!(held().await);
    let done = Patch::Merge(json!({"metadata": {"annotations": {removal::key(&name): null}}}));
    nodes.patch("n1", &PatchParams::default(), &done).await.unwrap();
    stage.look().await;
    assert!(!held().await);
}

#[tokio::test]
async fn a_claim_gets_a_volume_that_is_there() {
    let stage = Stage::start().await;
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(stage.plane.client());
    let mut wanted = claim(&json!({}));
    wanted.metadata.uid = None;
    claims.create(&PostParams::default(), &wanted).await.unwrap();
    let there = volume("there", "5Gi", &json!({}));
    stage.binder.volumes().create(&PostParams::default(), &there).await.unwrap();
    for _ in 0..2 {
        stage.look().await;
    }
    assert_eq!(stage.phase().await.as_deref(), Some("Bound"));
    let status = claims.get("data").await.unwrap().status.unwrap();
    assert_eq!(json!(status.capacity), json!({"storage": "5Gi"}));
}
