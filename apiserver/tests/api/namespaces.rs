//! The life of namespaces, and what may be in them.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::join_all;
use serde_json::json;
use store::Query;

use crate::{
    faulty::{Fate, Faulty, Op},
    harness::{Answer, Api, names, pod},
};

#[tokio::test]
async fn the_system_s_namespaces_are_there_and_stay() {
    let api = Api::start().await;
    let list = api.get("/api/v1/namespaces").await.ok();
    assert_eq!(names(&list), ["default", "kube-node-lease", "kube-public", "kube-system"]);
    let message = api.delete("/api/v1/namespaces/default").await.fails(403, "Forbidden");
    assert_eq!(message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn devices_that_others_use_are_asked_for_in_labelled_namespaces_alone() {
    let api = Api::start().await;
    let exactly = json!({"deviceClassName": "gpu.example.com", "adminAccess": true});
    let spec = json!({"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}});
    let namespaced = "/apis/resource.k8s.io/v1/namespaces/default";
    let claim =
        (format!("{namespaced}/resourceclaims"), json!({"metadata": {"name": "a"}, "spec": spec}));
    let template = (
        format!("{namespaced}/resourceclaimtemplates"),
        json!({"metadata": {"name": "a"}, "spec": {"spec": spec}}),
    );
    for (path, object) in [&claim, &template] {
        let refused = api.post(path, object).await.fails(422, "Invalid");
        let why = "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the \
                   `resource.kubernetes.io/admin-access: true` label on the containing namespace";
        assert!(refused.ends_with(why), "{refused}");
    }
    let plain = json!({"metadata": {"name": "plain"}, "spec": {"devices": {"requests": [
        {"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}},
    ]}}});
    api.post(&claim.0, &plain).await.ok();
    let status = format!("{}/plain/status", claim.0);
    let result = json!({
        "request": "gpu", "driver": "gpu.example.com", "pool": "a", "device": "b", "adminAccess": true,
    });
    let allocated = json!({"status": {"allocation": {"devices": {"results": [result]}}}});
    let refused = api.patch(&status, "merge-patch", &allocated).await.fails(422, "Invalid");
    let at = "status.allocation.devices.results[0].adminAccess: Forbidden: admin access to devices requires";
    assert!(refused.contains(at), "{refused}");
    let labels = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    api.patch("/api/v1/namespaces/default", "merge-patch", &labels).await.ok();
    for (path, object) in [&claim, &template] {
        api.post(path, object).await.ok();
    }
    api.patch(&status, "merge-patch", &allocated).await.ok();
    let unlabelled = json!({"metadata": {"labels": null}});
    api.patch("/api/v1/namespaces/default", "merge-patch", &unlabelled).await.ok();
    // What was allocated stays so, whoever tells of it.
    let reserved =
        json!({"status": {"reservedFor": [{"resource": "pods", "name": "a", "uid": "1"}]}});
    api.patch(&status, "merge-patch", &reserved).await.ok();
}

#[tokio::test]
async fn a_namespaces_phase_says_whether_it_stays() {
    let api = Api::start().await;
    let status = "/api/v1/namespaces/default/status";
    let metadata = json!({"metadata": {"name": "default"}});
    assert_eq!(api.put(status, &metadata).await.ok()["status"]["phase"], "Active");
    let patch = json!({"status": {"phase": "Terminating"}});
    let refused = api.patch(status, "merge-patch", &patch).await.fails(422, "Invalid");
    let why = "may only be 'Active' if `deletionTimestamp` is empty";
    assert!(refused.ends_with(&format!("status.Phase: Invalid value: \"Terminating\": {why}")));
}

#[tokio::test]
async fn objects_need_a_namespace_that_stays() {
    let api = Api::start().await;
    let config_map = json!({"metadata": {"name": "c"}});
    let collection = "/api/v1/namespaces/n/configmaps";
    let message = api.post(collection, &config_map).await.fails(404, "NotFound");
    assert_eq!(message, "namespaces \"n\" not found");
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.ok();
    api.post(collection, &config_map).await.ok();
    let account = json!({"metadata": {"name": "default"}});
    api.post("/api/v1/namespaces/n/serviceaccounts", &account).await.ok();
    api.post("/api/v1/namespaces/n/pods", &pod("p")).await.ok();
    let terminating = api.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(terminating["status"]["phase"], "Terminating");
    // The cache knows of it once a list has been answered; a binding asks nobody else.
    api.get("/api/v1/namespaces").await.ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "node"}});
    let refused = api.post("/api/v1/namespaces/n/pods/p/binding", &binding).await;
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let refused = api.post(collection, &json!({"metadata": {"name": "d"}})).await;
    assert_eq!(
        refused.json()["details"]["causes"],
        json!([{
            "reason": "NamespaceTerminating", "message": "namespace n is being terminated",
            "field": "metadata.namespace",
        }])
    );
    assert_eq!(
        refused.fails(403, "Forbidden"),
        "configmaps \"d\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let api = Api::start().await;
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.ok();
    let mut namespace = api.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    namespace["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/n/finalize", &namespace).await.ok();
    api.get("/api/v1/namespaces/n").await.fails(404, "NotFound");
}

const NAMESPACES: &str = "/api/v1/namespaces";
const COLLECTION: &str = "/api/v1/namespaces/n/configmaps";
const NAMESPACE_KEY: &str = "/registry/core/namespaces/n";
const KEYS: &str = "/registry/core/configmaps/n/";

async fn make_namespace(api: &Api) {
    api.post(NAMESPACES, &json!({"metadata": {"name": "n"}})).await.ok();
}

async fn finalize_namespace(api: &Api) {
    let mut namespace = api.get("/api/v1/namespaces/n").await.ok();
    namespace["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/n/finalize", &namespace).await.ok();
}

async fn post(api: &Api, name: &str) -> Answer {
    api.post(COLLECTION, &json!({"metadata": {"name": name}})).await
}

async fn is_stored(api: &Api, name: &str) -> bool {
    api.store.get(&format!("{KEYS}{name}")).await.unwrap().is_some()
}

/// The fates of a config map's puts one after the other; the last is that of all that follow.
fn puts(faulty: &Faulty, fates: &'static [Fate]) {
    let next = AtomicUsize::new(0);
    faulty.rule(move |op, key| match (op, key.starts_with(KEYS)) {
        (Op::Put, true) => fates[next.fetch_add(1, Ordering::SeqCst).min(fates.len() - 1)],
        _ => Fate::Pass,
    });
}

/// Creates `c`; something else is done in the moment in which it is held back on its way into the store.
async fn post_while(api: &Api, faulty: &Faulty, meanwhile: impl Future<Output = ()>) -> Answer {
    let meanwhile = async {
        faulty.holds().await;
        meanwhile.await;
        faulty.release();
    };
    tokio::join!(post(api, "c"), meanwhile).0
}

#[tokio::test]
async fn nothing_is_stored_in_a_namespace_whose_deletion_began_before() {
    let (api, faulty) = Api::faulty().await;
    make_namespace(&api).await;
    puts(&faulty, &[Fate::Hold]);
    let meanwhile = async { drop(api.delete("/api/v1/namespaces/n").await.ok()) };
    let refused = post_while(&api, &faulty, meanwhile).await;
    refused.fails(403, "Forbidden");
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert!(!is_stored(&api, "c").await);
}

#[tokio::test]
async fn nothing_is_stored_in_a_namespace_that_went_before() {
    let (api, faulty) = Api::faulty().await;
    make_namespace(&api).await;
    puts(&faulty, &[Fate::Hold]);
    let meanwhile = async {
        api.delete("/api/v1/namespaces/n").await.ok();
        finalize_namespace(&api).await;
    };
    let refused = post_while(&api, &faulty, meanwhile).await;
    assert_eq!(refused.fails(404, "NotFound"), "namespaces \"n\" not found");
    assert!(!is_stored(&api, "c").await);
}

#[tokio::test]
async fn a_namespace_that_is_changed_or_made_anew_takes_what_was_on_its_way() {
    let (api, faulty) = Api::faulty().await;
    make_namespace(&api).await;
    puts(&faulty, &[Fate::Hold]);
    let meanwhile = async {
        api.delete("/api/v1/namespaces/n").await.ok();
        finalize_namespace(&api).await;
        make_namespace(&api).await;
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        api.patch("/api/v1/namespaces/n", "merge-patch", &label).await.ok();
    };
    post_while(&api, &faulty, meanwhile).await.ok();
    assert!(is_stored(&api, "c").await);
}

#[tokio::test]
async fn a_cache_that_is_behind_neither_lets_in_nor_keeps_out() {
    let (api, faulty) = Api::faulty().await;
    make_namespace(&api).await;
    api.until_cached(NAMESPACES, "n").await;
    faulty.hush();
    api.delete("/api/v1/namespaces/n").await.ok();
    post(&api, "a").await.fails(403, "Forbidden");
    finalize_namespace(&api).await;
    post(&api, "a").await.fails(404, "NotFound");
    make_namespace(&api).await;
    post(&api, "a").await.ok();
    api.post(NAMESPACES, &json!({"metadata": {"name": "unheard"}})).await.ok();
    let object = json!({"metadata": {"name": "a"}});
    api.post("/api/v1/namespaces/unheard/configmaps", &object).await.ok();
    assert!(is_stored(&api, "a").await);
}

#[tokio::test]
async fn a_creation_is_one_request_to_the_store() {
    let (api, faulty) = Api::faulty().await;
    make_namespace(&api).await;
    api.until_cached(NAMESPACES, "n").await;
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    faulty.rule(move |op, key| {
        if key.starts_with(KEYS) || key == NAMESPACE_KEY {
            seen.lock().unwrap().push(op);
        }
        Fate::Pass
    });
    post(&api, "c").await.ok();
    assert_eq!(*requests.lock().unwrap(), [Op::Put]);
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_is_found_though_its_namespace_is_going_since() {
    let (api, faulty) = Api::faulty().await;
    make_namespace(&api).await;
    puts(&faulty, &[Fate::Lose, Fate::Hold]);
    let meanwhile = async { drop(api.delete("/api/v1/namespaces/n").await.ok()) };
    let created = post_while(&api, &faulty, meanwhile).await.ok();
    assert_eq!(api.get(&format!("{COLLECTION}/c")).await.ok(), created);
}

/// If it isn't there, it may have been, and have been deleted.
#[tokio::test]
async fn a_creation_without_an_answer_in_a_namespace_that_is_going_is_not_said_to_be_refused() {
    let (api, faulty) = Api::faulty().await;
    make_namespace(&api).await;
    puts(&faulty, &[Fate::Fail, Fate::Hold]);
    let meanwhile = async { drop(api.delete("/api/v1/namespaces/n").await.ok()) };
    let message = post_while(&api, &faulty, meanwhile).await.fails(503, "ServiceUnavailable");
    assert!(message.contains("it is not known whether the change was made"), "{message}");
    assert!(!is_stored(&api, "c").await);
}

/// Objects as fast as they can be made, until the namespace refuses them.
async fn fill(api: &Api, writer: usize) -> usize {
    for number in 0.. {
        let answer = post(api, &format!("{writer}-{number}")).await;
        if answer.code != 201 {
            assert!([403, 404].contains(&answer.code), "{}", answer.text);
            return number;
        }
    }
    unreachable!("numbers don't end")
}

/// As the namespace controller does it: what is there after the deletion began is all there ever is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_object_that_was_acknowledged_outlives_its_namespace() {
    let api = Api::start().await;
    for _ in 0..5 {
        make_namespace(&api).await;
        let delete = async {
            api.until_cached(COLLECTION, "0-5").await;
            api.delete("/api/v1/namespaces/n").await.ok();
            api.delete(COLLECTION).await.ok();
            finalize_namespace(&api).await;
        };
        let (made, ()) = tokio::join!(join_all((0..8).map(|writer| fill(&api, writer))), delete);
        assert!(made.iter().sum::<usize>() > 5);
        assert_eq!(api.store.list(KEYS, Query::default()).await.unwrap().entries, []);
    }
}
