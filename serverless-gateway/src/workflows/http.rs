//! `POST /workflows/<namespace>/<name>` creates a run of a workflow, with the body as its input.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api_machinery::{names, status::ApiError};
use api_types::{
    Resource,
    meta::OwnerReference,
    minik8s::{RunPhase, Workflow, WorkflowRun, WorkflowRunSpec},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, Query, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use kube::{Api, ResourceExt, api::PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{news::Progress, runs::Runs};
use crate::{access::Access, error::CallError};

/// Tells which run it was.
const RUN: HeaderName = HeaderName::from_static("x-minik8s-run");
/// How long a caller waits for the end of a run, if it does not say.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of a workflow's name the names of its runs begin with, in bytes.
const MAX_BEGINNING: usize = 52;

/// What a caller wishes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wishes {
    /// Whether to answer with the run's output, and not before it.
    wait: bool,
    /// How long to wait.
    timeout_seconds: u64,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { wait: false, timeout_seconds: PATIENCE.as_secs() }
    }
}

/// The route, for those who have `access`.
pub fn router(runs: Runs, access: Arc<Access>) -> Router {
    Router::new()
        .route("/workflows/{namespace}/{name}", post(start))
        .route_layer(from_fn_with_state(access, check))
        .with_state(runs)
}

async fn check(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Result<Response, CallError> {
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|caller| caller.0);
    access.check(caller, request.headers())?;
    Ok(next.run(request).await)
}

async fn start(
    State(runs): State<Runs>,
    Path((namespace, name)): Path<(String, String)>,
    Query(wishes): Query<Wishes>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let input = input(&body)?;
    // They become parts of the API server's paths.
    if !names::dns1123_label(&namespace).is_empty() || !names::dns1123_subdomain(&name).is_empty() {
        return Err(ApiError::not_found(Workflow::GROUP, Workflow::URL_PATH_SEGMENT, &name).into());
    }
    let workflows: Api<Workflow> = Api::namespaced(runs.client().clone(), &namespace);
    let workflow = workflows.get(&name).await?;
    // Its name is made here, so that its end is heard of, however soon it comes.
    let id = uuid::Uuid::new_v4().simple().to_string();
    let run_name = run_name(&name, &id);
    let key = (namespace.clone(), run_name.clone());
    let end = wishes.wait.then(|| runs.await_end(key.clone()));
    let creation = runs.creating(key);
    let api: Api<WorkflowRun> = Api::namespaced(runs.client().clone(), &namespace);
    let created =
        api.create(&PostParams::default(), &run(&workflow, run_name.clone(), input)).await?;
    creation.created(created.into());
    let mut answer = match end {
        None => (StatusCode::ACCEPTED, Json(json!({"run": run_name}))).into_response(),
        Some(mut end) => {
            let limit = Duration::from_secs(wishes.timeout_seconds);
            match tokio::time::timeout(limit, end.run()).await {
                Ok(Some(run)) => outcome(run.status.clone()),
                Ok(None) | Err(_) => not_ended(&run_name),
            }
        }
    };
    answer.headers_mut().extend(HeaderValue::try_from(run_name).map(|name| (RUN, name)));
    Ok(answer)
}

/// A name's parts neither begin nor end with `-`.
fn run_name(workflow: &str, id: &str) -> String {
    let beginning = &workflow[..workflow.floor_char_boundary(MAX_BEGINNING)];
    format!("{}-{}", beginning.trim_end_matches(['-', '.']), &id[..10])
}

/// No body, no input of its own.
fn input(body: &Bytes) -> Result<Option<Value>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    let input = serde_json::from_slice(body);
    let why = |error| ApiError::bad_request(format!("the input is no JSON: {error}"));
    input.map(Some).map_err(|error| why(error).into())
}

/// The run goes with its workflow.
fn run(workflow: &Workflow, name: String, input: Option<Value>) -> WorkflowRun {
    let mut run = WorkflowRun::default();
    run.metadata.name = Some(name);
    run.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Workflow::API_VERSION.to_owned(),
        kind: Workflow::KIND.to_owned(),
        name: workflow.name_any(),
        uid: workflow.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    run.spec = WorkflowRunSpec { workflow: workflow.name_any(), input, cancel: false };
    run
}

/// The output, or the error as a function would tell it.
fn outcome(status: Progress) -> Response {
    let message = status.message.unwrap_or_default();
    let (code, body) = match status.phase {
        RunPhase::Succeeded => (StatusCode::OK, status.output.unwrap_or_default()),
        RunPhase::Cancelled => {
            (StatusCode::CONFLICT, json!({"error": {"type": "Cancelled", "message": message}}))
        }
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({"error": {"type": status.error, "message": message}}),
        ),
    };
    (code, Json(body)).into_response()
}

/// It takes longer than the caller waits, or than this gateway serves.
fn not_ended(name: &str) -> Response {
    let message = format!("run {name} has not ended yet");
    let body = json!({"error": {"type": "Timeout", "message": message}});
    (StatusCode::GATEWAY_TIMEOUT, Json(body)).into_response()
}

/// What is told as a `Status`.
struct Refusal(ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        Self(match error {
            kube::Error::Api(status) => {
                ApiError::new(status.code, &status.reason, status.message.clone())
            }
            other => ApiError::unavailable(format!("the API server does not answer: {other}")),
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.0.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, Json(self.0.status())).into_response()
    }
}
