//! The collector with a server whose only kind this program was not built with.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use listwatch::ListWatch;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::controllers::tests::context;
use crate::frame;
use crate::workers::WorkersArgs;

const WIDGETS: &str = "/apis/example.com/v1/widgets";
const ORPHAN: &str = "/apis/example.com/v1/namespaces/default/widgets/orphan";

/// What the server answers: it has one widget, whose owner, another widget, is gone.
fn answer(path: &str) -> (StatusCode, Value) {
    let owner =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": "gone"});
    let orphan = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {
        "namespace": "default", "name": "orphan", "uid": "orphan", "resourceVersion": "1", "ownerReferences": [owner]}});
    let groups = |items: Value| json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items});
    let widgets = json!({"resource": "widgets", "scope": "Namespaced", "verbs": ["get", "list", "watch", "delete"],
        "responseKind": {"group": "example.com", "version": "v1", "kind": "Widget"}});
    let found = match path {
        "/api" => groups(json!([])),
        "/apis" => groups(json!([{"metadata": {"name": "example.com"}, "versions": [
            {"version": "v1", "freshness": "Current", "resources": [widgets]}]}])),
        WIDGETS => json!({"kind": "WidgetList", "apiVersion": "example.com/v1",
            "metadata": {"resourceVersion": "1"}, "items": [orphan]}),
        ORPHAN => orphan,
        _ => {
            let name = path.rsplit('/').next();
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found",
                "reason": "NotFound", "code": 404, "details": {"name": name}});
            return (StatusCode::NOT_FOUND, status);
        }
    };
    (StatusCode::OK, found)
}

/// A client of that server, which writes down what is deleted.
fn client(deleted: &Arc<Mutex<Vec<String>>>) -> Client {
    let deleted = deleted.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let deleted = deleted.clone();
        async move {
            if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
                // Nothing ever changes.
                std::future::pending::<()>().await;
            }
            let path = request.uri().path();
            if request.method() == "DELETE" {
                deleted.lock().push(path.to_owned());
            }
            let (code, body) = answer(path);
            Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn an_object_of_a_kind_that_is_only_discovered_goes_with_its_owner() {
    let deleted = Arc::default();
    let listwatch = ListWatch::new(client(&deleted), None, &component::Tasks::default()).unwrap();
    let mut tasks = JoinSet::new();
    let context = context(listwatch, WorkersArgs::default());
    let collector = super::register(&context, &Arc::default(), &mut tasks);
    frame::work(&collector, &mut tasks);
    testkit::wait::until("the orphan is deleted", async || {
        let deleted = deleted.lock().clone();
        if deleted.is_empty() { Err("nothing is") } else { Ok(deleted) }
    })
    .await;
    assert!(deleted.lock().iter().all(|path| path == ORPHAN), "{deleted:?}");
}
