//! Writes one pod's status to the API server: only when it changed, the latest first, again and again
//! while the server does not answer. It never blocks the pod's worker.

use std::time::Duration;

use api_types::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::spec;
use crate::runtime::PodIdentity;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What is to be written.
#[derive(Clone, Debug, Default)]
struct Order {
    status: Option<Value>,
    delete: bool,
}

/// The worker's end.
#[derive(Debug)]
pub struct StatusWriter {
    orders: watch::Sender<Order>,
}

impl StatusWriter {
    /// Starts the task that writes; it ends when this is dropped.
    pub fn spawn(client: Client, pod: &Pod) -> Self {
        let written = pod.status.as_ref().and_then(value);
        let (orders, receiver) = watch::channel(Order { status: written.clone(), delete: false });
        let identity = spec::identity(pod);
        let api = Api::namespaced(client, &identity.namespace);
        let task = Task { api, identity, orders: receiver, written, deleted: false };
        tokio::spawn(task.run());
        Self { orders }
    }

    /// The status to be written next.
    pub fn set(&self, status: &PodStatus) {
        let wanted = value(status);
        self.orders.send_if_modified(|order| {
            let changed = order.status != wanted;
            order.status.clone_from(&wanted);
            changed
        });
    }

    /// Nothing of the pod is left here: its object may go.
    pub fn delete(&self) {
        self.orders.send_if_modified(|order| !std::mem::replace(&mut order.delete, true));
    }
}

fn value(status: &PodStatus) -> Option<Value> {
    serde_json::to_value(status).ok()
}

struct Task {
    api: Api<Pod>,
    identity: PodIdentity,
    orders: watch::Receiver<Order>,
    written: Option<Value>,
    deleted: bool,
}

impl Task {
    async fn run(mut self) {
        while self.orders.changed().await.is_ok() {
            let mut wait = FIRST_RETRY;
            while let Err(error) = self.write().await {
                let pod = &self.identity.name;
                tracing::warn!(pod, %error, "cannot write the pod's status yet");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LAST_RETRY);
                if self.orders.has_changed().is_err() {
                    return;
                }
            }
        }
    }

    async fn write(&mut self) -> Result<(), kube::Error> {
        let order = self.orders.borrow_and_update().clone();
        if order.status != self.written {
            self.patch(order.status.clone().unwrap_or_default()).await?;
            self.written = order.status;
        }
        if order.delete && !self.deleted {
            self.delete().await?;
            self.deleted = true;
        }
        Ok(())
    }

    /// Merges: the fields that the kubelet leaves empty are removed.
    async fn patch(&self, mut status: Value) -> Result<(), kube::Error> {
        for field in ["message", "reason"] {
            if status.get(field).is_none() {
                status[field] = Value::Null;
            }
        }
        let patch = json!({"metadata": {"uid": self.identity.uid}, "status": status});
        let parameters = PatchParams::default();
        let name = &self.identity.name;
        let result = self.api.patch_status(name, &parameters, &Patch::Merge(patch)).await;
        gone_is_fine(result.map(drop))
    }

    async fn delete(&self) -> Result<(), kube::Error> {
        let uid = Some(self.identity.uid.clone());
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        gone_is_fine(self.api.delete(&self.identity.name, &parameters).await.map(drop))
    }
}

/// 404: it was deleted meanwhile. 409 and 422: another pod of that name exists; this one is gone.
fn gone_is_fine(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
            tracing::debug!(reason = status.reason, "the API server has no such pod any more");
            Ok(())
        }
        other => other,
    }
}
