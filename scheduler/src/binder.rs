//! The rim: tells the API server what was decided.

use std::time::Duration;

use api_types::api::core::v1::{Binding, ObjectReference, Pod};
use api_types::jiff::Timestamp;
use api_types::meta::ObjectMeta;
use component::events::{EventType, Recorder};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::pod::{PodInfo, PodKey, Uid, node_of};
use crate::schedule::{Choice, FitError};
use crate::snapshot::NodeName;

const PATIENCE: Duration = Duration::from_secs(30);
const CONFLICTS: usize = 5;

/// How a call about a pod ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The API server has its binding.
    Bound(Uid),
    /// Its binding failed; it may work later, if the pod then still wants a node.
    Failed(Uid),
    /// This is written down about it, unless it was too late for that.
    Reported(Uid, FitError),
    /// Nothing is written down about it.
    NotReported(Uid),
}

/// Speaks to the API server about pods.
#[derive(Clone)]
pub(crate) struct Binder {
    client: Client,
    recorder: Recorder,
}

impl Binder {
    pub(crate) fn new(client: Client, recorder: Recorder) -> Self {
        Self { client, recorder }
    }

    /// Binds the pod.
    pub(crate) async fn bind(self, pod: PodInfo, choice: Choice) -> Outcome {
        match in_time(self.post(&pod, &choice.node)).await {
            Ok(_) => {
                let message = format!("Successfully assigned {} to {choice}", pod.key());
                self.recorder.about(&*pod.pod, EventType::Normal, "Scheduled", message);
                Outcome::Bound(pod.uid)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(pod = %pod.key(), error, "binding failed");
                Outcome::Failed(pod.uid)
            }
        }
    }

    /// Writes down why no node takes the pod.
    pub(crate) async fn report_unschedulable(self, pod: PodInfo, why: FitError) -> Outcome {
        let message = why.to_string();
        let written = in_time(self.mark_unschedulable(&pod.pod, &message)).await;
        self.recorder.about(&*pod.pod, EventType::Warning, "FailedScheduling", message);
        match written {
            Ok(()) => Outcome::Reported(pod.uid, why),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "writing down why a pod fits nowhere");
                Outcome::NotReported(pod.uid)
            }
        }
    }

    async fn post(&self, pod: &PodInfo, node: &NodeName) -> kube::Result<Value> {
        let key = pod.key();
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let body = binding(&pod.pod, node);
        api.create_subresource("binding", &key.name, &PostParams::default(), &body).await
    }

    /// Sets the condition unless the pod has got a node meanwhile: a late report must not overwrite
    /// the better news, so each attempt is tied to the version it has looked at.
    async fn mark_unschedulable(&self, pod: &Pod, message: &str) -> kube::Result<()> {
        let PodKey { namespace, name } = PodKey::of(pod);
        let api = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        let (mut current, mut conflicts) = (Some(pod.clone()), 0);
        while let Some(pod) = current.filter(|now| node_of(now).is_none() && now.uid() == pod.uid())
        {
            let patch = Patch::Strategic(condition(&pod, message));
            match api.patch_status(&name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(status)) if status.code == 409 && conflicts < CONFLICTS => {
                    conflicts += 1;
                }
                Err(kube::Error::Api(status)) if status.code == 404 => break,
                written => return written.map(drop),
            }
            current = api.get_opt(&name).await?;
        }
        Ok(())
    }
}

/// A call that hangs has failed.
async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let result = tokio::time::timeout(PATIENCE, call).await;
    result.unwrap_or_else(|elapsed| Err(kube::Error::Service(elapsed.into())))
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
