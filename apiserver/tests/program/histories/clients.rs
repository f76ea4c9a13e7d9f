//! Who acts: each client does one thing after another, to one of a few objects, and notes what it was told.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use kube::Client;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use super::log::{Act, Action, Moment, Outcome};

pub(super) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CLIENTS: usize = 6;
const KEYS: u64 = 5;
/// How long a client that got no answer lets the server alone.
const PACE: Duration = Duration::from_millis(50);

pub(super) async fn send(
    client: &Client,
    method: &str,
    path: &str,
    body: &Value,
) -> kube::Result<Value> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into() };
    client.request(request.body(body).unwrap()).await
}

pub(super) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// All of them, with what they did.
#[derive(Debug)]
pub(super) struct Clients {
    clock: AtomicU64,
    log: Mutex<Vec<Act>>,
    count: watch::Sender<usize>,
}

impl Default for Clients {
    fn default() -> Self {
        Self { clock: AtomicU64::new(1), log: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Clients {
    fn now(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn acts(&self) -> usize {
        *self.count.borrow()
    }

    pub(super) async fn until(&self, acts: usize) {
        self.count.subscribe().wait_for(|count| *count >= acts).await.unwrap();
    }

    pub(super) fn log(&self) -> Vec<Act> {
        self.log.lock().unwrap().clone()
    }

    /// They act, spread over the servers, until they are stopped, or there is no server: gives what one of them found instead
    /// of it.
    pub(super) async fn act(
        &self,
        servers: &[Client],
        stop: watch::Receiver<bool>,
    ) -> Option<kube::Error> {
        let clients = servers.iter().cycle().take(CLIENTS);
        let all = join_all(clients.map(|client| self.act_one(client, stop.clone()))).await;
        all.into_iter().flatten().next_back()
    }

    async fn act_one(
        &self,
        client: &Client,
        mut stop: watch::Receiver<bool>,
    ) -> Option<kube::Error> {
        let mut random = StdRng::seed_from_u64(self.now());
        // What it last saw of each object.
        let mut seen = vec![0; usize::try_from(KEYS).unwrap()];
        while !*stop.borrow() {
            let key = random.random_range(0..KEYS);
            let last = &mut seen[usize::try_from(key).unwrap()];
            let began = self.now();
            let action = choose(&mut random, *last, &began.to_string());
            let key = format!("key-{key}");
            let answer = perform(client, &key, &action).await;
            let outcome = outcome(&action, &answer);
            let is_unknown = outcome == Outcome::Unknown;
            if let Outcome::Written(version) | Outcome::Read(Some(version)) = outcome {
                *last = version;
            }
            let ended = self.now();
            self.log.lock().unwrap().push(Act { key, action, began, ended, outcome });
            self.count.send_modify(|count| *count += 1);
            match answer {
                Err(error) if !matches!(error, kube::Error::Api(_)) => return Some(error),
                _ if is_unknown => drop(timeout(PACE, stop.wait_for(|stop| *stop)).await),
                _ => {}
            }
        }
        None
    }
}

/// Something to do to an object that was last seen at a version, with a value that nobody else writes.
fn choose(random: &mut StdRng, base: u64, value: &str) -> Action {
    let value = value.to_owned();
    match random.random_range(0..20) {
        0..4 => Action::Create(value),
        4..9 if base > 0 => Action::Update { base, value },
        4..12 => Action::Patch(value),
        12..14 => Action::Delete { base: None },
        14 if base > 0 => Action::Delete { base: Some(base) },
        19 => Action::List,
        _ => Action::Get,
    }
}

async fn perform(client: &Client, key: &str, action: &Action) -> kube::Result<Value> {
    let path = format!("{MAPS}/{key}");
    let map = |value: &str| json!({"metadata": {"name": key}, "data": {"value": value}});
    match action {
        Action::Create(value) => send(client, "POST", MAPS, &map(value)).await,
        Action::Update { base, value } => {
            let mut map = map(value);
            map["metadata"]["resourceVersion"] = json!(base.to_string());
            send(client, "PUT", &path, &map).await
        }
        Action::Patch(value) => {
            send(client, "PATCH", &path, &json!({"data": {"value": value}})).await
        }
        Action::Delete { base } => {
            let version = base.map(|base| base.to_string());
            let options = json!({"preconditions": {"resourceVersion": version}});
            send(client, "DELETE", &path, &options).await
        }
        Action::Get => send(client, "GET", &path, &Value::Null).await,
        Action::List => send(client, "GET", MAPS, &Value::Null).await,
    }
}

fn outcome(action: &Action, answer: &kube::Result<Value>) -> Outcome {
    match (action, answer) {
        (Action::Get, Ok(object)) => Outcome::Read(Some(version(object))),
        (Action::List, Ok(list)) => {
            let items = list["items"].as_array().unwrap().iter();
            let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
            let versions = items.map(|item| (name(item), version(item))).collect();
            Outcome::Listed { at: version(list), versions }
        }
        (Action::Delete { .. }, Ok(status)) => {
            Outcome::Deleted(status["details"]["uid"].as_str().unwrap().to_owned())
        }
        (_, Ok(object)) => Outcome::Written(version(object)),
        (action, Err(kube::Error::Api(status))) => match (action, status.code) {
            (Action::Get, 404) => Outcome::Read(None),
            (_, 404 | 409) => Outcome::Refused,
            // It has too much to do, or its store is away.
            (_, 429 | 500..) => Outcome::Unknown,
            _ => panic!("{action:?}: {status:?}"),
        },
        (_, Err(_)) => Outcome::Unknown,
    }
}
