//! What the routes need: the pods of the node and their containers.

use std::sync::Arc;

use api_types::api::core::v1::Pod;
use axum::http::StatusCode;
use component::Metrics;

use super::refusal::Refusal;
use crate::{
    pod::manager::PodManager,
    runtime::{Container, Runtime, observed::Observed},
    spec,
    usage::sampler::Sampler,
};

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The pods of the node.
    pub pods: Arc<PodManager>,
    /// Their containers.
    pub runtime: Arc<dyn Runtime>,
    /// What they use.
    pub sampler: Sampler,
    /// What the kubelet counts of itself.
    pub metrics: Metrics,
}

impl Shared {
    pub(super) fn find(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<Arc<Pod>, Refusal> {
        let refuse = |why: &str| Refusal(StatusCode::NOT_FOUND, why.to_owned());
        let pod = self.pods.find(namespace, name).ok_or_else(|| refuse("pod does not exist"))?;
        match uid {
            Some(uid) if pod.metadata.uid.as_deref() != Some(uid) => Err(refuse("pod not found")),
            _ => Ok(pod),
        }
    }

    /// The session, for no longer than the pod is there: a client may say nothing, and never leave by itself.
    pub(super) fn while_there(
        &self,
        pod: &Pod,
        session: impl Future<Output = ()>,
    ) -> impl Future<Output = ()> {
        let ended = self.pods.ended(&spec::identity(pod).uid, async || false);
        either(session, ended)
    }

    /// The session, for no longer than the pod has this sandbox.
    pub(super) fn while_in(
        &self,
        pod: &Arc<Pod>,
        sandbox: String,
        session: impl Future<Output = ()>,
    ) -> impl Future<Output = ()> {
        let (shared, of) = (self.clone(), pod.clone());
        let ended = self.pods.ended(&spec::identity(pod).uid, async move || {
            let found = shared.observed(&of).await;
            found.is_ok_and(|pod| pod.sandbox().is_none_or(|current| current.id != sandbox))
        });
        either(session, ended)
    }

    /// The pod as the runtime has it.
    pub(super) async fn observed(&self, pod: &Pod) -> Result<Observed, Refusal> {
        let found = self.runtime.list(Some(&spec::identity(pod).uid)).await;
        found.map(Observed::new).map_err(|error| Refusal::internal(error.to_string()))
    }

    /// The container of the pod, if it runs.
    pub(super) async fn running(
        &self,
        pod: &Pod,
        name: &str,
    ) -> Result<Option<Container>, Refusal> {
        let observed = self.observed(pod).await?;
        Ok(observed.running().find(|container| container.name == name).cloned())
    }
}

/// Ends with the first of them.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}
