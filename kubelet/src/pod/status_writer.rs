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
use serde_json::Value;
use tokio::sync::watch;

use super::{conditions::OWNED_CONDITIONS, host_ports, status_patch};
use crate::{metrics::Metrics, recovery::persevere, runtime::PodIdentity, spec};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What is to be written.
#[derive(Clone, Debug, Default)]
struct Order {
    status: Option<Value>,
    /// Of the pod's annotation, if it is to be changed.
    chosen_ports: Option<String>,
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
    pub fn spawn(client: Client, metrics: Metrics, pod: &Pod) -> Self {
        let mut written = pod.status.as_ref().map(status_patch::owned);
        let order = Order { status: written.clone(), ..Order::default() };
        let (orders, receiver) = watch::channel(order);
        let version = Arc::new(AtomicU64::new(version(pod)));
        let (identity, label, latest) = (spec::identity(pod), spec::label(pod), version.clone());
        let mut begun = false;
        let task = move || Task {
            api: Api::namespaced(client.clone(), &identity.namespace),
            identity: identity.clone(),
            orders: receiver.clone(),
            version: latest.clone(),
            begins_anew: std::mem::replace(&mut begun, true),
            // After a panic nothing is known to be written.
            written: written.take(),
            ports: None,
            disturbed: 0,
            deleted: false,
        };
        tokio::spawn(async move {
            let mut task = task;
            persevere("status_writer", &label, &metrics, || task().run()).await;
        });
        Self { orders, version }
    }

    /// The status to be written next.
    pub fn set(&self, status: &PodStatus) {
        let wanted = Some(status_patch::owned(status));
        self.orders.send_if_modified(|order| {
            let changed = order.status != wanted;
            order.status.clone_from(&wanted);
            changed
        });
    }

    /// What an annotation of the pod is to say, from the next status on; nothing if it says it.
    pub(super) fn set_chosen_ports(&self, chosen: Option<&str>) {
        self.orders.send_if_modified(|order| {
            let changed = order.chosen_ports.as_deref() != chosen;
            order.chosen_ports = chosen.map(str::to_owned);
            changed
        });
    }

    /// Looks at the pod as the API server has it: the node controller marks the pods of a silent node,
    /// and a node that speaks again has to take that back.
    pub fn seen(&self, pod: &Pod) {
        if version(pod) <= self.version.load(Ordering::Relaxed) {
            return;
        }
        let theirs = pod.status.as_ref().map(status_patch::owned);
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
    /// Whether an earlier one has panicked.
    begins_anew: bool,
    written: Option<Value>,
    ports: Option<String>,
    disturbed: u64,
    deleted: bool,
}

impl Task {
    async fn run(mut self) {
        // What nobody wants any more is not tried again, however it failed.
        if self.begins_anew && self.orders.has_changed().is_err() {
            return;
        }
        loop {
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
            if self.orders.changed().await.is_err() {
                return;
            }
        }
    }

    async fn write(&mut self) -> Result<(), kube::Error> {
        let order = self.orders.borrow_and_update().clone();
        let disturbed = order.disturbed != self.disturbed;
        let changed = order.status != self.written || disturbed;
        let tells_ports = order.chosen_ports.is_some() && order.chosen_ports != self.ports;
        if changed || tells_ports {
            if let Some(status) = &order.status {
                self.patch(status, order.chosen_ports.as_deref(), disturbed).await?;
            }
            self.written = order.status;
            self.disturbed = order.disturbed;
        }
        self.ports = order.chosen_ports;
        if order.delete && !self.deleted {
            self.delete().await?;
            self.deleted = true;
        }
        Ok(())
    }

    async fn patch(
        &self,
        status: &Value,
        chosen: Option<&str>,
        disturbed: bool,
    ) -> Result<(), kube::Error> {
        let before = self.written.as_ref().filter(|_| !disturbed);
        let mut patch = status_patch::patch(&self.identity.uid, status, before);
        if let Some(chosen) = chosen {
            patch["metadata"]["annotations"] = host_ports::annotation(chosen);
        }
        let patch = Patch::Strategic(patch);
        let parameters = PatchParams::default();
        let result = self.api.patch_status(&self.identity.name, &parameters, &patch).await;
        if let Ok(pod) = &result {
            self.version.store(version(pod), Ordering::Relaxed);
        }
        self.unless_gone(result.map(drop)).await
    }

    async fn delete(&self) -> Result<(), kube::Error> {
        let uid = Some(self.identity.uid.clone());
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        let result = self.api.delete(&self.identity.name, &parameters).await;
        self.unless_gone(result.map(drop)).await
    }

    /// A write to a pod that is gone has nothing left to do. Whether it is gone is asked: a refusal may
    /// mean that another pod has the name, and also that the write lost a race or is wrong.
    async fn unless_gone(&self, result: Result<(), kube::Error>) -> Result<(), kube::Error> {
        let Err(kube::Error::Api(status)) = &result else { return result };
        let gone = match status.code {
            404 => true,
            409 | 422 => self.is_gone().await?,
            _ => false,
        };
        if gone { Ok(()) } else { result }
    }

    async fn is_gone(&self) -> Result<bool, kube::Error> {
        let found = self.api.get_opt(&self.identity.name).await?;
        Ok(found.and_then(|pod| pod.metadata.uid).as_ref() != Some(&self.identity.uid))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use http::{Request, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;

    /// A task with a status to write, of an API server that answers so, in turn.
    fn task(answers: &[(u16, Value)]) -> Task {
        let answers = Mutex::new(VecDeque::from(answers.to_vec()));
        let service = tower::service_fn(move |_: Request<Body>| {
            let (code, body) = answers.lock().pop_front().expect("no more requests");
            let body = Body::from(body.to_string().into_bytes());
            let answer = Response::builder().status(code).body(body).unwrap();
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let client = Client::new(service, "default");
        let order = Order { status: Some(json!({"phase": "Running"})), ..Order::default() };
        Task {
            api: Api::namespaced(client, "default"),
            identity: PodIdentity { uid: "u".into(), name: "p".into(), ..PodIdentity::default() },
            orders: watch::Sender::new(order).subscribe(),
            version: Arc::default(),
            begins_anew: false,
            written: None,
            ports: None,
            disturbed: 0,
            deleted: false,
        }
    }

    fn refusal(code: u16) -> (u16, Value) {
        let reason = if code == 404 { "NotFound" } else { "Conflict" };
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": "no", "reason": reason, "code": code});
        (code, status)
    }

    fn pod(uid: &str) -> (u16, Value) {
        let metadata = json!({"name": "p", "uid": uid, "resourceVersion": "7"});
        (200, json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata}))
    }

    #[tokio::test]
    async fn a_write_that_was_refused_is_not_done_while_the_pod_is_there() {
        for code in [409, 422] {
            let mut task = task(&[refusal(code), pod("u"), pod("u")]);
            assert!(task.write().await.is_err(), "{code}");
            assert_eq!(task.written, None);
            task.write().await.unwrap();
            assert!(task.written.is_some());
        }
    }

    #[tokio::test]
    async fn ports_that_are_to_be_told_again_are_told_again() {
        let mut task = task(&[pod("u"), pod("u")]);
        let (status, chosen_ports) = (Some(json!({"phase": "Running"})), Some("1".to_owned()));
        let order = Order { status, chosen_ports: chosen_ports.clone(), ..Order::default() };
        let (orders, receiver) = watch::channel(order);
        task.orders = receiver;
        task.write().await.unwrap();
        assert_eq!(task.ports, chosen_ports);
        orders.send_modify(|order| order.chosen_ports = None);
        task.write().await.unwrap();
        assert_eq!(task.ports, None);
        orders.send_modify(|order| order.chosen_ports.clone_from(&chosen_ports));
        task.write().await.unwrap();
        assert_eq!(task.ports, chosen_ports);
    }

    #[tokio::test]
    async fn a_write_that_panics_ends_no_later_one() {
        let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: Request<Body>| {
            sender.send(request.method().clone()).unwrap();
            let body = Body::from(pod("u").1.to_string().into_bytes());
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        });
        let (client, metrics) = (Client::new(service, "default"), Metrics::default());
        let writer = StatusWriter::spawn(client, metrics.clone(), &testkit::pod("p").build());
        let lost = metrics.lost_tasks("status_writer");
        // A condition that is none.
        writer.orders.send_modify(|order| order.status = Some(json!({"conditions": ["?"]})));
        let panicked = async || if lost.get() == 1 { Ok(()) } else { Err(lost.get()) };
        testkit::wait::until("the writer panics", panicked).await;
        writer.set(&PodStatus { phase: Some("Running".to_owned()), ..PodStatus::default() });
        let mut request = async || testkit::wait::within("a request", requests.recv()).await;
        assert_eq!(request().await, Some(http::Method::PATCH));
        writer.delete();
        assert_eq!(request().await, Some(http::Method::DELETE));
        assert_eq!(lost.get(), 1);
    }

    #[tokio::test]
    async fn a_write_that_always_panics_ends_with_its_pod() {
        let (server, ended) = tokio::sync::oneshot::channel::<Infallible>();
        let server = Arc::new(server);
        let service = tower::service_fn(move |_: Request<Body>| {
            let _server = &server;
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let (client, metrics) = (Client::new(service, "default"), Metrics::default());
        let writer = StatusWriter::spawn(client, metrics.clone(), &testkit::pod("p").build());
        let lost = metrics.lost_tasks("status_writer");
        // A condition that is none.
        writer.orders.send_modify(|order| order.status = Some(json!({"conditions": ["?"]})));
        let panicked = async || if lost.get() == 1 { Ok(()) } else { Err(lost.get()) };
        testkit::wait::until("the writer panics", panicked).await;
        drop(writer);
        // The way to the server goes with the task.
        assert!(testkit::wait::within("its end", ended).await.is_err());
    }

    #[tokio::test]
    async fn a_pod_that_is_gone_or_has_a_successor_needs_no_write() {
        task(&[refusal(404)]).write().await.unwrap();
        task(&[refusal(409), refusal(404)]).write().await.unwrap();
        task(&[refusal(422), pod("another")]).write().await.unwrap();
    }
}
