//! Writes one pod's status to the API server: only when it changed, the latest first, again and again
//! while the server does not answer. It never blocks the pod's worker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api_types::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{spec, status::OWNED_CONDITIONS};
use crate::runtime::PodIdentity;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What is to be written.
#[derive(Clone, Debug, Default)]
struct Order {
    status: Option<Value>,
    delete: bool,
    /// How often somebody else changed what was written.
    disturbed: u64,
}

/// The worker's end.
#[derive(Debug)]
pub struct StatusWriter {
    orders: watch::Sender<Order>,
    /// The resource version of the last write.
    version: Arc<AtomicU64>,
}

impl StatusWriter {
    /// Starts the task that writes; it ends when this is dropped.
    pub fn spawn(client: Client, pod: &Pod) -> Self {
        let written = pod.status.as_ref().and_then(value);
        let order = Order { status: written.clone(), ..Order::default() };
        let (orders, receiver) = watch::channel(order);
        let version = Arc::new(AtomicU64::new(version(pod)));
        let identity = spec::identity(pod);
        let task = Task {
            api: Api::namespaced(client, &identity.namespace),
            identity,
            orders: receiver,
            version: version.clone(),
            written,
            disturbed: 0,
            deleted: false,
        };
        tokio::spawn(task.run());
        Self { orders, version }
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

    /// Looks at the pod as the API server has it: the node controller marks the pods of a silent node,
    /// and a node that speaks again has to take that back.
    pub fn seen(&self, pod: &Pod) {
        if version(pod) <= self.version.load(Ordering::Relaxed) {
            return;
        }
        let theirs = pod.status.as_ref().and_then(value);
        self.orders.send_if_modified(|order| {
            let disturbed = conditions(theirs.as_ref()) != conditions(order.status.as_ref());
            order.disturbed += u64::from(disturbed);
            disturbed
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

fn version(pod: &Pod) -> u64 {
    let version = pod.metadata.resource_version.as_deref();
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Type and status of the conditions that are the kubelet's.
fn conditions(status: Option<&Value>) -> Vec<(&str, &str)> {
    let all = status.and_then(|status| status["conditions"].as_array());
    let pairs = all
        .into_iter()
        .flatten()
        .filter_map(|condition| Some((condition["type"].as_str()?, condition["status"].as_str()?)));
    let mut owned: Vec<_> = pairs.filter(|(kind, _)| OWNED_CONDITIONS.contains(kind)).collect();
    owned.sort_unstable();
    owned
}

struct Task {
    api: Api<Pod>,
    identity: PodIdentity,
    orders: watch::Receiver<Order>,
    version: Arc<AtomicU64>,
    written: Option<Value>,
    disturbed: u64,
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
        if order.status != self.written || order.disturbed != self.disturbed {
            self.patch(order.status.clone().unwrap_or_default()).await?;
            self.written = order.status;
            self.disturbed = order.disturbed;
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
        if let Ok(pod) = &result {
            self.version.store(version(pod), Ordering::Relaxed);
        }
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
