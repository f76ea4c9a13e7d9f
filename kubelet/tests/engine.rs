//! Which version of the Docker Engine's API is spoken, with stand-ins for engines of other times.

#![expect(clippy::unwrap_used, reason = "in tests, helpers included, a panic is a failure")]

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use kubelet::runtime::{LogLimits, Runtime, docker::Docker};
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::UnixListener;

const LOGS: LogLimits = LogLimits { max_size: 10 << 20, max_files: 5 };

/// An engine that understands these versions, 1.x each, and refuses all others as Docker does.
#[derive(Clone)]
struct Engine {
    oldest: u32,
    newest: u32,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(engine): State<Engine>, uri: Uri) -> Response {
    engine.asked.lock().push(uri.path().to_owned());
    let (version, path) = match uri.path().strip_prefix("/v1.").and_then(|p| p.split_once('/')) {
        Some((version, path)) => (version.parse().unwrap(), path.to_owned()),
        None => (engine.newest, uri.path().trim_start_matches('/').to_owned()),
    };
    let Engine { oldest, newest, .. } = engine;
    let refusal =
        |why: String| (StatusCode::BAD_REQUEST, Json(json!({"message": why}))).into_response();
    if version < oldest {
        return refusal(format!(
            "client version 1.{version} is too old. Minimum supported API version is 1.{oldest}"
        ));
    }
    if version > newest {
        return refusal(format!(
            "client version 1.{version} is too new. Maximum supported API version is 1.{newest}"
        ));
    }
    let of_engine = json!({"ApiVersion": format!("1.{newest}"), "Version": "29.0.0",
        "MinAPIVersion": format!("1.{oldest}"), "ServerVersion": "29.0.0"});
    match path.as_str() {
        "containers/json" => Json(json!([])).into_response(),
        _ => Json(of_engine).into_response(),
    }
}

/// Uses an engine of these versions; gives what it was asked.
async fn used(oldest: u32, newest: u32) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let engine = Engine { oldest, newest, asked: Arc::default() };
    let asked = engine.asked.clone();
    let router = Router::new().fallback(answer).with_state(engine);
    let listener = UnixListener::bind(&socket).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let host = format!("unix://{}", socket.display());
    let docker = Docker::connect(&host, "n1", "pause", LOGS).unwrap();
    assert_eq!(docker.info().await.unwrap().version, "docker://29.0.0");
    assert_eq!(docker.list(None).await.unwrap(), []);
    server.abort();
    let asked = asked.lock();
    asked.clone()
}

#[tokio::test]
async fn engines_of_all_times_are_spoken_to() {
    // Docker 20.10, 27, 29, and one to come.
    for (oldest, newest) in [(12, 41), (24, 47), (44, 52), (54, 60)] {
        let asked = used(oldest, newest).await;
        assert_eq!(asked, ["/info", "/containers/json"], "1.{oldest} to 1.{newest}");
    }
}
