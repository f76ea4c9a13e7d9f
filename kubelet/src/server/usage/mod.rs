//! What the node and its pods use, in the forms that Kubernetes' kubelets serve: Prometheus' metrics under
//! cAdvisor's names and under the names for `kubectl top`, and the summary as JSON.

mod cadvisor;
mod families;
mod resource;
mod summary;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::task::JoinError;

use super::{Shared, refusal::Refusal};
use crate::{machine::cpus, usage::sample::Sample};

/// Whoever asks every second gets figures of that second.
const RECENT: Duration = Duration::from_secs(1);

/// `/metrics/resource`.
pub(super) async fn resource(State(shared): State<Shared>) -> Response {
    let sample = sample(&shared).await.ok();
    families::metrics(resource::families(sample.as_deref())).into_response()
}

/// `/metrics/cadvisor`.
pub(super) async fn cadvisor(State(shared): State<Shared>) -> Result<Response, Refusal> {
    let sample = sample(&shared).await?;
    let detailed = shared.sampler.details(sample.clone()).await.map_err(|error| failed(&error))?;
    Ok(families::metrics(cadvisor::families(&sample, &detailed, cpus())).into_response())
}

/// `/stats/summary`.
pub(super) async fn summary(State(shared): State<Shared>) -> Result<Response, Refusal> {
    let sample = sample(&shared).await?;
    Ok(Json(summary::of(&sample, &shared.pods.context().node)).into_response())
}

async fn sample(shared: &Shared) -> Result<Arc<Sample>, Refusal> {
    shared.sampler.sample(RECENT).await.map_err(|error| failed(&error))
}

fn failed(error: &JoinError) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot measure: {error}"))
}
