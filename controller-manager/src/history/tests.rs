//! Histories of StatefulSets against the API server, with a store that is told what to show.

use api_types::api::apps::v1::StatefulSet;
use kube::api::ListParams;
use kube::runtime::watcher::Event;
use serde_json::Value;
use testkit::ControlPlane;

use super::*;

fn set(name: &str) -> StatefulSet {
    let metadata = json!({"namespace": "default", "name": name, "uid": name,
                          "annotations": {"kubernetes.io/change-cause": "why"}});
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn pods(image: &str) -> PodTemplateSpec {
    let spec = json!({"containers": [{"name": "c", "image": image}]});
    serde_json::from_value(json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})).unwrap()
}

struct Stage {
    plane: ControlPlane,
    history: History<StatefulSet>,
    key: ObjectKey,
}

impl Stage {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let history = History::new(plane.client(), Arc::default());
        Self { plane, history, key: ObjectKey::new("default", "web") }
    }

    async fn look(&self, image: &str, collisions: i32) -> Revisions {
        let selector = "app=web".parse().unwrap();
        let (owner, pods) = (set("web"), pods(image));
        let looked = self.history.revisions(&self.key, &owner, &selector, &pods, collisions);
        looked.await.unwrap().unwrap()
    }

    /// The store shows everything.
    async fn see(&self) -> Vec<ControllerRevision> {
        let api = Api::<ControllerRevision>::namespaced(self.plane.client(), "default");
        let all = api.list(&ListParams::default()).await.unwrap().items;
        all.iter().for_each(|it| self.history.revisions.take_in(Event::Apply(it.clone())));
        all
    }
}

#[tokio::test]
async fn a_template_has_one_revision_whether_the_store_shows_it_or_not() {
    let stage = Stage::start().await;
    let first = stage.look("one", 0).await;
    let again = stage.look("one", 0).await;
    assert_eq!(name(&first.newest), name(&again.newest));
    assert!(!stage.history.shows_own_writes(&stage.key));
    let all = stage.see().await;
    assert!(stage.history.shows_own_writes(&stage.key));
    assert_eq!((all.len(), all[0].revision), (1, 1));
    let metadata = &all[0].metadata;
    let hash = &metadata.labels.as_ref().unwrap()["controller.kubernetes.io/hash"];
    assert_eq!(name(&all[0]), format!("web-{hash}"));
    assert_eq!(metadata.annotations.as_ref().unwrap()["kubernetes.io/change-cause"], "why");
    assert_eq!(template(&all[0]), Some(pods("one")));
}

#[tokio::test]
async fn going_back_to_an_older_template_makes_its_revision_the_newest() {
    let stage = Stage::start().await;
    for image in ["one", "two"] {
        stage.look(image, 0).await;
        stage.see().await;
    }
    let back = stage.look("one", 0).await;
    assert_eq!((back.newest.revision, back.before.len()), (3, 1));
    let numbers: Vec<_> = stage.see().await.iter().map(|it| it.revision).collect();
    assert_eq!(numbers.len(), 2, "{numbers:?}");
    assert!(numbers.contains(&2) && numbers.contains(&3), "{numbers:?}");
}

#[tokio::test]
async fn a_name_that_is_taken_leads_to_another_one() {
    let stage = Stage::start().await;
    let first = stage.look("one", 0).await;
    let api = Api::<ControllerRevision>::namespaced(stage.plane.client(), "default");
    api.delete(name(&first.newest), &DeleteParams::default()).await.unwrap();
    let foreign: ControllerRevision = serde_json::from_value::<Value>(json!({
        "metadata": {"name": name(&first.newest)}, "revision": 1, "data": {"spec": {}},
    }))
    .and_then(serde_json::from_value)
    .unwrap();
    api.create(&PostParams::default(), &foreign).await.unwrap();
    let second = stage.look("one", 0).await;
    assert_eq!(second.collisions, 1);
    assert_ne!(name(&second.newest), name(&first.newest));
}

#[tokio::test]
async fn a_revision_that_is_gone_is_made_anew_once_that_is_seen() {
    let stage = Stage::start().await;
    let first = stage.look("one", 0).await;
    stage.see().await;
    stage.look("two", 0).await;
    stage.see().await;
    let api = Api::<ControllerRevision>::namespaced(stage.plane.client(), "default");
    api.delete(name(&first.newest), &DeleteParams::default()).await.unwrap();
    let (owner, template, selector) = (set("web"), pods("one"), "app=web".parse().unwrap());
    let look = stage.history.revisions(&stage.key, &owner, &selector, &template, 0);
    let gone = look.await.unwrap_err();
    assert!(gone.may_pass(), "{gone}");
    stage.history.revisions.take_in(Event::Delete(ControllerRevision::clone(&first.newest)));
    assert_eq!(stage.look("one", 0).await.newest.revision, 3);
}

#[test]
fn what_is_used_and_what_is_within_the_limit_is_kept() {
    let revision = |number: i64| {
        let metadata = json!({"name": format!("web-{number}")});
        let revision = json!({"metadata": metadata, "revision": number});
        Arc::new(serde_json::from_value::<ControllerRevision>(revision).unwrap())
    };
    let all =
        Revisions { before: (1..=4).map(revision).collect(), newest: revision(5), collisions: 0 };
    let forgotten = |used: &[&str], limit: i32| -> Vec<i64> {
        let used = used.iter().map(|&name| name.to_owned()).collect();
        all.forgotten(&used, limit).iter().map(|it| it.revision).collect()
    };
    assert_eq!(forgotten(&[], 2), [1, 2]);
    assert_eq!(forgotten(&["web-1"], 2), [2]);
    assert!(forgotten(&[], 4).is_empty());
    assert_eq!(forgotten(&["web-2"], 0), [1, 3, 4]);
    assert!(forgotten(&[], -1).is_empty());
}

/// What Kubernetes' own `HashControllerRevision` makes of the same.
#[test]
fn names_are_made_as_kubernetes_makes_them() {
    let owner = set("web");
    let draft = revision::Draft::of(&owner, &PodTemplateSpec::default(), json!({"a": 1}), 1);
    assert_eq!(name(&draft.revision(0, HASH_LABEL)), GOLDEN[0]);
    assert_eq!(name(&draft.revision(1, HASH_LABEL)), GOLDEN[1]);
}

const GOLDEN: [&str; 2] = ["web-d55c4ff5f", "web-d55c4ff5d"];
