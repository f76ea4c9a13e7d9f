//! A server with a store of its own, and requests to it.

use std::{sync::Arc, time::Duration};

use apiserver::{ApiServer, Config, Identity};
use axum::body::{Body, BodyDataStream};
use bytes::BytesMut;
use futures::StreamExt;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::{Store, embedded::Embedded};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::faulty::Faulty;

/// How long anything may take that is bound to happen: longer than the interval of bookmarks, for tests with a clock that
/// runs ahead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) const JSON: &str = "application/json";

/// A running server.
pub(crate) struct Api {
    pub(crate) server: ApiServer,
    pub(crate) store: Arc<dyn Store>,
    _directory: TempDir,
}

pub(crate) fn embedded() -> (TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Arc::new(Embedded::open(path, Default::default()).unwrap());
    (directory, store)
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: http::Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The object of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {}", self.code, self.text);
        self.json()
    }

    /// The message of a failure with this code and reason.
    #[track_caller]
    pub(crate) fn fails(&self, code: u16, reason: &str) -> String {
        assert_eq!(self.code, code, "{}", self.text);
        let status = self.json();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["status"], "Failure");
        assert_eq!(
            (&status["code"], &status["reason"]),
            (&json!(code), &json!(reason)),
            "{status}"
        );
        // client-go reads them without asking.
        assert!(status["details"].is_object(), "{status}");
        status["message"].as_str().unwrap().to_owned()
    }
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let (directory, store) = embedded();
        let server = ApiServer::start(config, store.clone(), None).await.unwrap();
        Self { server, store, _directory: directory }
    }

    /// One whose store can be made to fail. `store` is the real one below.
    pub(crate) async fn faulty() -> (Self, Arc<Faulty>) {
        Self::faulty_with(Config::default()).await
    }

    pub(crate) async fn faulty_with(config: Config) -> (Self, Arc<Faulty>) {
        let (directory, store) = embedded();
        let faulty = Faulty::over(store.clone());
        let server = ApiServer::start(config, faulty.clone(), None).await.unwrap();
        (Self { server, store, _directory: directory }, faulty)
    }

    /// The same with another server over the same store.
    pub(crate) fn with_server(self, server: ApiServer) -> Self {
        Self { server, ..self }
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> http::Response<Body> {
        self.request_as(Identity::admin(), request).await
    }

    pub(crate) async fn request_as(
        &self,
        identity: Identity,
        request: Request<Body>,
    ) -> http::Response<Body> {
        let service = self.server.service(identity);
        tokio::time::timeout(PATIENCE, service.oneshot(request)).await.expect("an answer").unwrap()
    }

    /// A request with a body of any type, and an `Accept` header.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        types: (&str, &str),
        body: impl Into<Body>,
    ) -> Answer {
        Answer::of(self.exchange(method, path, types, body).await).await
    }

    /// The same, whose answer need not be text.
    pub(crate) async fn exchange(
        &self,
        method: &str,
        path: &str,
        types: (&str, &str),
        body: impl Into<Body>,
    ) -> http::Response<Body> {
        let (content_type, accept) = types;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, accept)
            .body(body.into())
            .unwrap();
        self.request(request).await
    }

    /// Asks until the answer has this code.
    pub(crate) async fn until(&self, path: &str, code: u16) {
        let asking = async {
            while self.get(path).await.code != code {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("the answer changes");
    }

    /// Waits until the cache has an object.
    pub(crate) async fn until_cached(&self, collection: &str, name: &str) {
        let looking = async {
            let list = format!("{collection}?resourceVersion=0");
            while !names(&self.get(&list).await.ok()).contains(&name) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the object is seen");
    }

    /// Waits until the store has a key no longer.
    pub(crate) async fn until_gone(&self, key: &str) {
        let looking = async {
            while self.store.get(key).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the key goes");
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, (JSON, JSON), Body::empty()).await
    }

    /// A GET that names the version that its sender has.
    pub(crate) async fn get_with(&self, path: &str, accept: &str, known: Option<&str>) -> Answer {
        let mut request = Request::get(path).header(header::ACCEPT, accept);
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let response = self.request(request.body(Body::empty()).unwrap()).await;
        Answer::of(response).await
    }

    pub(crate) async fn post(&self, path: &str, object: &Value) -> Answer {
        self.send("POST", path, (JSON, JSON), object.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, object: &Value) -> Answer {
        self.send("PUT", path, (JSON, JSON), object.to_string()).await
    }

    /// `kind` is the patch's: `merge-patch`, `json-patch`, `strategic-merge-patch`.
    pub(crate) async fn patch(&self, path: &str, kind: &str, patch: &Value) -> Answer {
        let content_type = format!("application/{kind}+json");
        self.send("PATCH", path, (&content_type, JSON), patch.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, (JSON, JSON), Body::empty()).await
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, path: &str) -> Events {
        self.watch_in(path, JSON).await
    }

    /// The same, of objects in a form.
    pub(crate) async fn watch_in(&self, path: &str, accept: &str) -> Events {
        let request = Request::get(path).header(header::ACCEPT, accept);
        let request = request.body(Body::empty()).unwrap();
        let response = self.request(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events { stream: response.into_body().into_data_stream(), read: BytesMut::new() }
    }

    /// Creates a ConfigMap in `default` and gives it as stored.
    pub(crate) async fn config_map(&self, name: &str, labels: Value) -> Value {
        let object = json!({
            "metadata": { "name": name, "labels": labels }, "data": { "from": "the test" },
        });
        self.post(CONFIG_MAPS, &object).await.ok()
    }
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// A pod that is as simple as can be.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "containers": [{ "name": "main", "image": "nginx:1" }] },
    })
}

/// What is told beside an answer.
pub(crate) fn warnings(answer: &Answer) -> Vec<String> {
    let all = answer.headers.get_all("warning").iter();
    all.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap()).collect()
}

pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// The events of a watch.
pub(crate) struct Events {
    stream: BodyDataStream,
    read: BytesMut,
}

impl Events {
    /// The next event; `None` at the watch's end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line = self.read.split_to(end + 1);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("an event");
            self.read.extend_from_slice(&chunk?.unwrap());
        }
    }

    /// What is sent next in one piece.
    pub(crate) async fn piece(&mut self) -> String {
        let piece = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("events");
        String::from_utf8(piece.unwrap().unwrap().to_vec()).unwrap()
    }

    /// The type of the next event and the name of its object.
    pub(crate) async fn brief(&mut self) -> String {
        match self.next().await {
            None => "END".to_owned(),
            Some(event) => {
                let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
                format!("{} {name}", event["type"].as_str().unwrap()).trim_end().to_owned()
            }
        }
    }
}

pub(crate) fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

/// The names of a list's items.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap())
        .collect()
}
