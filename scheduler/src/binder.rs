//! The rim: tells the API server what was decided. Every call runs in a task of its own, so that a slow
//! answer holds up no other pod.

use std::time::Duration;

use api_types::api::core::v1::{Binding, ObjectReference, Pod};
use api_types::jiff::Timestamp;
use api_types::meta::ObjectMeta;
use component::events::{EventType, Recorder};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::pod::{PodInfo, node_of};
use crate::schedule::FitError;
use crate::snapshot::NodeName;

const PATIENCE: Duration = Duration::from_secs(30);
const CONFLICTS: usize = 5;

/// How a binding ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The API server has it.
    Bound(PodInfo),
    /// It may work later, if the pod then still wants a node.
    Failed(PodInfo),
}

/// Speaks to the API server about pods.
#[derive(Clone)]
pub(crate) struct Binder {
    client: Client,
    recorder: Recorder,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

impl Binder {
    pub(crate) fn new(
        client: Client,
        recorder: Recorder,
        outcomes: mpsc::UnboundedSender<Outcome>,
    ) -> Self {
        Self { client, recorder, outcomes }
    }

    /// Binds the pod in the background; the outcome comes through the channel.
    pub(crate) fn bind(&self, pod: PodInfo, node: NodeName) {
        let binder = self.clone();
        tokio::spawn(async move {
            let result = tokio::time::timeout(PATIENCE, binder.post(&pod, &node)).await;
            let answer = result.unwrap_or_else(|elapsed| Err(kube::Error::Service(elapsed.into())));
            let bound = answer.is_ok();
            let outcome = outcome(answer, pod.clone());
            // The scheduler is gone only when the program ends.
            let _ = binder.outcomes.send(outcome);
            if bound {
                binder.announce(&pod, &node);
            }
        });
    }

    /// Writes down in the background why no node takes the pod.
    pub(crate) fn report_unschedulable(&self, pod: PodInfo, why: FitError) {
        let binder = self.clone();
        tokio::spawn(async move {
            let message = why.to_string();
            binder.mark_unschedulable(&pod.pod, &message).await;
            binder.recorder.about(&*pod.pod, EventType::Warning, "FailedScheduling", message);
        });
    }

    async fn post(&self, pod: &PodInfo, node: &NodeName) -> kube::Result<Value> {
        let key = pod.key();
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let body = binding(&pod.pod, node);
        api.create_subresource("binding", &key.name, &PostParams::default(), &body).await
    }

    fn announce(&self, pod: &PodInfo, node: &NodeName) {
        let message = format!("Successfully assigned {} to {node}", pod.key());
        self.recorder.about(&*pod.pod, EventType::Normal, "Scheduled", message);
    }

    /// Sets the condition unless the pod has got a node meanwhile: a late report must not overwrite
    /// the better news, so each attempt is tied to the version it has looked at.
    async fn mark_unschedulable(&self, pod: &Pod, message: &str) {
        let metadata = &pod.metadata;
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { return };
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let mut current = pod.clone();
        for _ in 0..CONFLICTS {
            if node_of(&current).is_some() || current.metadata.uid != metadata.uid {
                return;
            }
            let patch = Patch::Strategic(condition(&current, message));
            match api.patch_status(name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return log(&error, "writing down why a pod fits nowhere"),
                Ok(_) => return,
            }
            match api.get(name).await {
                Ok(newer) => current = newer,
                Err(error) => return log(&error, "reading a pod again"),
            }
        }
    }
}

fn log(error: &kube::Error, doing: &str) {
    tracing::debug!(error = error as &dyn std::error::Error, "{doing}");
}

fn outcome(answer: kube::Result<Value>, pod: PodInfo) -> Outcome {
    match answer {
        Ok(_) => Outcome::Bound(pod),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(pod = %pod.key(), error, "binding failed");
            Outcome::Failed(pod)
        }
    }
}

fn binding(pod: &Pod, node: &NodeName) -> Binding {
    let metadata = &pod.metadata;
    Binding {
        metadata: ObjectMeta {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_string()),
            ..ObjectReference::default()
        },
    }
}

fn condition(pod: &Pod, message: &str) -> Value {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let known = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled");
    let since = known
        .filter(|known| known.status == "False")
        .and_then(|known| known.last_transition_time.clone());
    let since = since.map_or_else(Timestamp::now, |time| time.0);
    json!({
        "metadata": {"resourceVersion": pod.metadata.resource_version, "uid": pod.metadata.uid},
        "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": since,
        }]},
    })
}
