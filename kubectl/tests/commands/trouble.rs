//! Servers that answer with conflicts, or end watches at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use kubectl::Environment;

use crate::{
    harness::{Kubectl, Output},
    pod,
};

/// The control plane's client, with another answer for the requests that `trouble` picks.
fn troubled(
    client: Client,
    trouble: impl Fn(&Request<Body>) -> Option<Response<Body>> + Clone + Send + 'static,
) -> Environment {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, answer) = (client.clone(), trouble(&request));
        async move {
            Ok::<_, kube::Error>(match answer {
                Some(answer) => answer,
                None => client.send(request).await?,
            })
        }
    });
    Environment { client: Some(Client::new(service, "default")), ..Environment::default() }
}

fn conflict() -> Response<Body> {
    let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409,"message":"the object has been modified"}"#;
    Response::builder().status(409).body(Body::from(status.as_bytes().to_vec())).unwrap()
}

async fn apply_with_conflicts(conflicts: usize) -> (Output, usize) {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", &pod("web", "first")).await;
    let patches = Arc::new(AtomicUsize::default());
    let counter = patches.clone();
    let environment = troubled(kubectl.plane.client(), move |request| {
        let nth =
            (request.method() == Method::PATCH).then(|| counter.fetch_add(1, Ordering::Relaxed));
        nth.filter(|nth| *nth < conflicts).map(|_| conflict())
    });
    let output = kubectl.run_in(environment, "apply -f -", &pod("web", "second")).await;
    (output, patches.load(Ordering::Relaxed))
}

#[tokio::test]
async fn apply_tries_again_when_somebody_else_was_faster() {
    let (output, patches) = apply_with_conflicts(3).await;
    assert!(output.ok, "{}", output.err);
    assert_eq!((output.out.as_str(), patches), ("pod/web configured\n", 4));
}

#[tokio::test]
async fn apply_gives_up_when_it_is_always_too_late() {
    let (output, patches) = apply_with_conflicts(usize::MAX).await;
    assert!(!output.ok && output.err.contains("(Conflict)"), "{}", output.err);
    assert_eq!(patches, 6);
}

#[tokio::test]
async fn a_server_whose_watches_end_at_once_is_not_asked_without_pause() {
    let kubectl = Kubectl::new().await;
    let held = pod("held", "x").replace("labels:", "finalizers: [example.com/held]\n  labels:");
    kubectl.ok_with("apply -f -", &held).await;
    let lists = Arc::new(AtomicUsize::default());
    let counter = lists.clone();
    let environment = troubled(kubectl.plane.client(), move |request| {
        let query = request.uri().query().unwrap_or_default();
        counter.fetch_add(usize::from(query.contains("fieldSelector")), Ordering::Relaxed);
        query.contains("watch=true").then(|| Response::new(Body::empty()))
    });
    let line = "delete pod held --now --timeout=1s";
    let output = kubectl.run_in(environment, line, "").await;
    assert!(!output.ok && output.err.contains("timed out"), "{}", output.err);
    let asked = lists.load(Ordering::Relaxed);
    assert!((2..20).contains(&asked), "asked {asked} times in a second");
}

#[tokio::test]
async fn one_page_that_fails_leaves_the_others() {
    let kubectl = Kubectl::new().await;
    for name in ["a", "b"] {
        kubectl.ok_with("apply -f -", &pod(name, "x")).await;
    }
    let environment = troubled(kubectl.plane.client(), |request| {
        let events_of_a = request.uri().path().ends_with("/events")
            && request.uri().query().unwrap_or_default().contains("name%3Da");
        events_of_a.then(conflict)
    });
    let output = kubectl.run_in(environment, "describe pods", "").await;
    assert!(!output.ok && output.err.contains("Conflict"), "{}", output.err);
    assert!(output.out.contains("Name:             b"), "{}", output.out);
}
