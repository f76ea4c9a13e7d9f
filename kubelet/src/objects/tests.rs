use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use kube::{
    api::{DeleteParams, Patch, PatchParams, PostParams},
    client::Body,
};
use serde_json::json;
use testkit::{ControlPlane, wait};

use super::*;

fn pod(uid: &str) -> PodIdentity {
    PodIdentity { uid: uid.to_owned(), namespace: "default".to_owned(), name: uid.to_owned() }
}

fn value(object: Option<ConfigMap>) -> Option<String> {
    object?.data?.remove("key")
}

async fn made(plane: &ControlPlane) -> Api<ConfigMap> {
    let api: Api<ConfigMap> = Api::default_namespaced(plane.client());
    let object = json!({"metadata": {"name": "c"}, "data": {"key": "old"}});
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    api
}

/// Waits until the pod sees this.
async fn until_seen(objects: &Objects, user: &str, expected: Option<&str>) {
    let seen = async || {
        let found = value(objects.config_map(&pod(user), "c").await.unwrap());
        if found.as_deref() == expected { Ok(()) } else { Err(found) }
    };
    wait::until(&format!("{user} sees {expected:?}"), seen).await;
}

#[tokio::test]
async fn changes_are_seen_and_outages_are_not() {
    let plane = ControlPlane::start().await;
    let api = made(&plane).await;
    let objects = Objects::new(plane.client());
    until_seen(&objects, "a", Some("old")).await;
    let change = Patch::Merge(json!({"data": {"key": "new"}}));
    api.patch("c", &PatchParams::default(), &change).await.unwrap();
    until_seen(&objects, "a", Some("new")).await;
    plane.stop_server().await;
    for user in ["a", "b"] {
        until_seen(&objects, user, Some("new")).await;
    }
    assert!(objects.config_map(&pod("a"), "never-seen").await.is_err());
    plane.start_server().await;
    api.delete("c", &DeleteParams::default()).await.unwrap();
    until_seen(&objects, "a", None).await;
}

#[tokio::test]
async fn only_a_pod_that_is_new_has_the_api_server_asked() {
    let plane = ControlPlane::start().await;
    let api = made(&plane).await;
    let objects = Objects::new(plane.client());
    let asked = || plane.requests().iter().filter(|r| r.ends_with("/configmaps/c")).count();
    for (user, times) in [("a", 1), ("a", 1), ("b", 2), ("a", 2), ("b", 2)] {
        until_seen(&objects, user, Some("old")).await;
        assert_eq!(asked(), times, "{user}");
    }
    // Whatever the watch has told by now.
    let change = Patch::Merge(json!({"data": {"key": "new"}}));
    api.patch("c", &PatchParams::default(), &change).await.unwrap();
    let found = objects.config_map(&pod("c"), "c").await.unwrap();
    assert_eq!(value(found).as_deref(), Some("new"));
}

#[tokio::test]
async fn an_object_is_watched_until_its_last_user_is_gone() {
    let plane = ControlPlane::start().await;
    made(&plane).await;
    let objects = Objects::new(plane.client());
    until_seen(&objects, "a", Some("old")).await;
    until_seen(&objects, "b", Some("old")).await;
    let watched = objects.config_maps.lock().watched().remove(0);
    objects.release("a");
    assert_eq!(objects.config_maps.lock().watched().len(), 1);
    objects.release("b");
    let gone = async || watched.upgrade().map_or(Ok(()), |_| Err("it is watched"));
    wait::until("the watch ends", gone).await;
}

#[tokio::test]
async fn what_a_pod_has_seen_is_not_older_when_it_is_used_again() {
    let versions = [None, Some("1"), Some("2"), None];
    let asked = Arc::new(AtomicUsize::new(0));
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked = asked.clone();
        async move {
            if !request.uri().path().ends_with("/configmaps/c") {
                // The watch.
                return std::future::pending().await;
            }
            let answer = match versions[asked.fetch_add(1, Ordering::Relaxed)] {
                Some(version) => json!({"metadata": {"name": "c", "resourceVersion": version},
                    "data": {"key": version}}),
                None => json!({"kind": "Status", "status": "Failure", "reason": "NotFound",
                    "code": 404, "message": ""}),
            };
            let code = if answer["code"].is_null() { 200 } else { 404 };
            let body = Body::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    let objects = Objects::new(Client::new(service, "default"));
    for (user, version) in ["a", "b", "c", "d"].into_iter().zip(versions) {
        for turn in ["first", "second"] {
            let found = value(objects.config_map(&pod(user), "c").await.unwrap());
            assert_eq!(found.as_deref(), version, "{user}, {turn} use");
        }
    }
    objects.release("d");
    assert_eq!(objects.config_maps.lock().watched().len(), 1, "the others use it still");
}

#[tokio::test]
async fn an_api_server_that_says_nothing_is_not_waited_for_if_the_object_is_known() {
    let asked = AtomicUsize::new(0);
    let service = tower::service_fn(move |_: Request<Body>| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if !first {
                std::future::pending::<()>().await;
            }
            let object = json!({"metadata": {"name": "c"}, "data": {"key": "old"}});
            Ok::<_, Infallible>(Response::new(Body::from(object.to_string().into_bytes())))
        }
    });
    let client = Client::new(service, "default");
    let objects = Objects { patience: Duration::from_millis(1), ..Objects::new(client) };
    for user in ["a", "b"] {
        let found = timeout(wait::DEADLINE, objects.config_map(&pod(user), "c")).await;
        assert_eq!(value(found.unwrap().unwrap()).as_deref(), Some("old"));
    }
}
