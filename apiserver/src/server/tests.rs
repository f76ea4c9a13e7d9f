//! What plugins are asked, and what comes of their answers.

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::api::core::v1::{Binding, Pod};
use async_trait::async_trait;
use axum::body::Body;
use http::{Method, Request};
use parking_lot::Mutex;
use registry::AnyObject;
use serde_json::{Value, json};
use store::embedded::Embedded;
use tempfile::TempDir;

use crate::{
    admission::{Admission, Attributes, Claim, Plugin},
    catalogue::{Catalogue, InForce},
    config::Config,
    identity::Identity,
    internal::request,
    metrics::Metrics,
    server::ApiServer,
    state::State,
    storage::Storage,
};

/// Writes down what it is asked, marks what it may change, and refuses what has the phase as a label.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn record(
        &self,
        phase: &str,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let Attributes { operation, at, subresource, old, options, identity, .. } = attributes;
        let sub = subresource.map(|s| format!("/{}", s.name())).unwrap_or_default();
        let shown = |object: Option<&AnyObject>| match object {
            Some(object) if object.get::<Pod>().is_some() => "a pod",
            Some(object) if object.get::<Binding>().is_some() => "a binding",
            Some(_) => "something else",
            None => "nothing",
        };
        if let Some(options) = options {
            self.0.lock().push(options.to_string());
        }
        self.0.lock().push(format!(
            "{phase} {operation:?} {}{sub} {}/{} by {}: {} over {}",
            at.def.names.plural,
            at.namespace.unwrap_or_default(),
            at.name,
            identity.user,
            shown(object),
            shown(*old)
        ));
        let container = options.and_then(|options| options["container"].as_str());
        let labels = object.and_then(|object| object.metadata().labels.as_ref());
        match labels.is_some_and(|labels| labels.contains_key(phase)) || container == Some(phase) {
            true => Err(ApiError::forbidden("", "pods", at.name, phase)),
            false => Ok(()),
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

#[async_trait]
impl Plugin for Recorder {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        self.record("mutate", attributes, object.as_deref())?;
        if let Some(object) = object {
            let annotations = object.metadata_mut().annotations.get_or_insert_default();
            annotations.insert("seen".to_owned(), format!("{:?}", attributes.operation));
        }
        Ok(Vec::new())
    }

    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        self.record("validate", attributes, object)
    }
}

/// A server whose only plugin is the recorder, with a namespace.
async fn server() -> (TempDir, ApiServer, Recorder) {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path().join("store"), Default::default()).unwrap();
    let catalogue = InForce::new(Catalogue::built_in());
    let config = Config::default();
    let storage = Storage::start(Arc::new(store), catalogue.clone(), &config).await.unwrap();
    let recorder = Recorder::default();
    let mut state = State::new(config, catalogue, storage, Metrics::new(None));
    state.admission = Admission(vec![Box::new(recorder.clone())]);
    let server = ApiServer { state: Arc::new(state) };
    let namespace = json!({"metadata": {"name": "default"}});
    request(&server.itself(), Method::POST, "/api/v1/namespaces", &namespace).await.unwrap();
    recorder.take();
    (folder, server, recorder)
}

fn pod(name: &Value, labels: &Value) -> Value {
    json!({
        "metadata": {"name": name, "generateName": "made-", "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
    })
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn plugins_see_every_write_in_both_phases() {
    let (_folder, server, recorder) = server().await;
    let changed = pod(&json!("p"), &json!({"a": "b"}));
    let status = json!({"status": {"phase": "Running"}});
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n"}});
    let of_a_pod = "a pod over a pod";
    let (create, update, delete) = (Method::POST, Method::PUT, Method::DELETE);
    for (method, path, body, operation, objects) in [
        (&create, "", pod(&json!("p"), &json!({})), "Create pods", "a pod over nothing"),
        (&update, "/p", changed, "Update pods", of_a_pod),
        (&update, "/p/status", status, "Update pods/status", of_a_pod),
        (&create, "/p/binding", binding, "Create pods/binding", "a binding over nothing"),
        (&delete, "/p", json!({}), "Delete pods", "nothing over a pod"),
        (&delete, "?gracePeriodSeconds=0", json!({}), "Delete pods", "nothing over a pod"),
    ] {
        // A list catches up with the store: no write begins with a state that is over.
        request(&server.itself(), Method::GET, PODS, &Value::Null).await.unwrap();
        request(&server.itself(), method.clone(), &format!("{PODS}{path}"), &body).await.unwrap();
        let seen = format!("{operation} default/p by system:apiserver: {objects}");
        assert_eq!(recorder.take(), [format!("mutate {seen}"), format!("validate {seen}")]);
    }
}

#[tokio::test]
async fn what_is_changed_is_completed_and_validated_after() {
    let (_folder, server, recorder) = server().await;
    let made = request(&server.itself(), Method::POST, PODS, &pod(&json!(null), &json!({})))
        .await
        .unwrap();
    assert_eq!(made["metadata"]["annotations"]["seen"], "Create");
    let name = made["metadata"]["name"].as_str().unwrap();
    let asked = recorder.take();
    assert!(asked[0].contains("default/ by"), "{asked:?}");
    assert!(asked[1].contains(&format!("default/{name} by")), "{asked:?}");
    let (path, changed) = (format!("{PODS}/{name}"), pod(&json!(name), &json!({"a": "b"})));
    let changed = request(&server.itself(), Method::PUT, &path, &changed).await.unwrap();
    assert_eq!(changed["metadata"]["annotations"]["seen"], "Update");
}

#[tokio::test]
async fn what_either_phase_refuses_is_not_stored() {
    let (_folder, server, recorder) = server().await;
    for (phase, asked) in [("mutate", 1), ("validate", 2)] {
        let refused = pod(&json!("p"), &json!({phase: "no"}));
        let error = request(&server.itself(), Method::POST, PODS, &refused).await.unwrap_err();
        assert_eq!(error.code(), 403, "{error}");
        assert_eq!(recorder.take().len(), asked);
        let gone = request(&server.itself(), Method::GET, &format!("{PODS}/p"), &json!({})).await;
        assert_eq!(gone.unwrap_err().code(), 404);
    }
}

#[tokio::test]
async fn a_connection_can_be_refused_before_anything_is_done_for_it() {
    let (_folder, server, recorder) = server().await;
    for (path, options) in [
        (
            "exec?container=validate&command=ls&command=-l&stdin=true&tty=false",
            json!({
                "kind": "PodExecOptions", "apiVersion": "v1", "container": "validate",
                "command": ["ls", "-l"], "stdin": true,
            }),
        ),
        (
            "attach?container=validate&stdout=1&stderr=1&command=no",
            json!({
                "kind": "PodAttachOptions", "apiVersion": "v1", "container": "validate",
                "stdout": true, "stderr": true,
            }),
        ),
        (
            "portforward?ports=80&ports=443,8080",
            json!({
                "kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": [80, 443, 8080],
            }),
        ),
    ] {
        for method in [Method::GET, Method::POST] {
            // There is no such pod. Who is not refused is told so.
            let refused = path.contains("container=validate");
            let request = Request::builder().method(method).uri(format!("{PODS}/p/{path}"));
            let request = request.body(Body::empty()).unwrap();
            let answer = server.service(Identity::admin()).handle(request).await;
            assert_eq!(answer.status(), if refused { 403 } else { 404 }, "{path}");
            let name = path.split_once('?').unwrap().0;
            let seen = format!("Connect pods/{name} default/p by kubernetes-admin");
            let asked = recorder.take();
            for (asked, phase) in asked.chunks(2).zip(["mutate", "validate"]) {
                assert_eq!(asked[1], format!("{phase} {seen}: nothing over nothing"));
                assert_eq!(serde_json::from_str::<Value>(&asked[0]).unwrap(), options);
            }
            assert_eq!(asked.len(), 4, "{path}");
        }
    }
}
