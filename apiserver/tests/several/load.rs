//! Clients that write all the time, and listeners that take note of every change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use api_types::api::core::v1::Pod;
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher::Event,
};
use listwatch::{ListWatch, Scope};
use serde_json::json;
use testkit::{pod, wait};
use tokio::{sync::watch, task::JoinHandle};

/// How often a client writes.
const PERIOD: Duration = Duration::from_millis(20);
/// A pod is created, labelled, and deleted with its last write.
const WRITES_PER_POD: u32 = 10;

/// Name and version.
pub(crate) type Change = (String, u64);

fn change(pod: &Pod) -> Change {
    (pod.name_any(), pod.resource_version().unwrap().parse().unwrap())
}

/// What all clients were told that they have written.
type Acknowledged = Arc<Mutex<Vec<Change>>>;

pub(crate) struct Load {
    acknowledged: Acknowledged,
    stop: watch::Sender<bool>,
    clients: Vec<JoinHandle<Option<(String, String)>>>,
}

impl Load {
    pub(crate) fn start(clients: impl IntoIterator<Item = Client>) -> Self {
        let (acknowledged, stop) = (Acknowledged::default(), watch::Sender::new(false));
        let clients = clients.into_iter().enumerate().map(|(i, client)| {
            let pods = Api::default_namespaced(client);
            tokio::spawn(write(pods, format!("c{i}"), acknowledged.clone(), stop.subscribe()))
        });
        let clients = clients.collect();
        Self { acknowledged, stop, clients }
    }

    /// Waits until each client has written more.
    pub(crate) async fn goes_on(&self) {
        let before = self.acknowledged.lock().unwrap().len();
        wait::until("all clients have written", async || {
            let acknowledged = self.acknowledged.lock().unwrap();
            let since = &acknowledged[before..];
            let is_of = |client: usize| {
                since
                    .iter()
                    .filter(move |(name, _)| name.starts_with(&format!("c{client}-")))
                    .count()
            };
            let counts: Vec<_> = (0..self.clients.len()).map(is_of).collect();
            if counts.iter().all(|count| *count >= 30) { Ok(()) } else { Err(counts) }
        })
        .await;
    }

    /// Ends it; gives what was acknowledged, and the pods that there must be with their labels.
    pub(crate) async fn stop(self) -> (Vec<Change>, BTreeMap<String, String>) {
        self.stop.send_replace(true);
        let mut left = BTreeMap::new();
        for client in self.clients {
            left.extend(client.await.unwrap());
        }
        (std::mem::take(&mut *self.acknowledged.lock().unwrap()), left)
    }
}

/// Writes one after the other, each until it is known to be done, and gives the pod that is left, with its label.
async fn write(
    pods: Api<Pod>,
    client: String,
    acknowledged: Acknowledged,
    stop: watch::Receiver<bool>,
) -> Option<(String, String)> {
    let mut ticks = tokio::time::interval(PERIOD);
    let mut left = None;
    for i in 0.. {
        let name = format!("{client}-{}", i / WRITES_PER_POD);
        let label = i.to_string();
        while let Err(error) =
            write_once(&pods, &name, &label, i % WRITES_PER_POD, &acknowledged).await
        {
            // The server died, and nobody knows whether it was done.
            assert!(!matches!(error, kube::Error::Api(_)), "{name}: {error}");
            ticks.tick().await;
        }
        let is_deleted = i % WRITES_PER_POD == WRITES_PER_POD - 1;
        left = (!is_deleted).then_some((name, label));
        if *stop.borrow() {
            break;
        }
        ticks.tick().await;
    }
    left
}

async fn write_once(
    pods: &Api<Pod>,
    name: &str,
    label: &str,
    step: u32,
    acknowledged: &Acknowledged,
) -> kube::Result<()> {
    let labels = json!({ "metadata": { "labels": { "i": label } } });
    let written = match step {
        0 => {
            let pod = pod(name).with(|pod| {
                pod.labels_mut().insert("i".to_owned(), label.to_owned());
            });
            pods.create(&PostParams::default(), &pod.build()).await
        }
        _ if step == WRITES_PER_POD - 1 => {
            let deleted = pods.delete(name, &DeleteParams::default().grace_period(0)).await;
            return already(deleted.map(drop), 404);
        }
        _ => pods.patch(name, &PatchParams::default(), &Patch::Merge(labels)).await,
    };
    let written = written.map(|pod| acknowledged.lock().unwrap().push(change(&pod)));
    already(written, if step == 0 { 409 } else { 0 })
}

/// A write whose first try was done without an answer has met itself.
fn already(result: kube::Result<()>, code: u16) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == code => Ok(()),
        result => result,
    }
}

/// What a listener has told of pods, in order.
#[derive(Clone, Default)]
pub(crate) struct Told {
    changes: Arc<Mutex<Vec<Change>>>,
    lists: Arc<Mutex<usize>>,
}

impl Told {
    /// Listens from now on.
    pub(crate) async fn by(listwatch: &ListWatch) -> Self {
        let told = Self::default();
        let (listening, mut events) = (told.clone(), listwatch.watch::<Pod>(Scope::All).boxed());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // Errors are told and got over.
                match event {
                    Ok(Event::Apply(pod) | Event::Delete(pod) | Event::InitApply(pod)) => {
                        listening.changes.lock().unwrap().push(change(&pod));
                    }
                    Ok(Event::InitDone) => *listening.lists.lock().unwrap() += 1,
                    Ok(Event::Init) | Err(_) => {}
                }
            }
        });
        wait::until("it has listed", async || match told.lists() {
            0 => Err(0),
            lists => Ok(lists),
        })
        .await;
        told
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap().clone()
    }

    pub(crate) fn lists(&self) -> usize {
        *self.lists.lock().unwrap()
    }
}
