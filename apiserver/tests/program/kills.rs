//! The API server is killed again and again while clients count by compare-and-swap: no count is lost or doubled, and
//! a watch that goes on from its last version shows each once and in order.

use std::collections::{BTreeMap, BTreeSet};

use futures::{AsyncBufReadExt, TryStreamExt, future::join_all};
use kube::Client;
use serde_json::{Value, json};
use testkit::{Apiserver, wait};
use tokio::sync::watch;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const COUNTERS: usize = 8;
/// How many counts are acknowledged before each kill; the kill comes in the middle of others. The last server lives long
/// enough to lose one in five hundred writes.
const LIVES: [usize; 10] = [200, 200, 200, 200, 200, 200, 200, 200, 200, 1000];

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> kube::Result<Value> {
    let request = http::Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let body = if body.is_null() { Vec::new() } else { body.to_string().into() };
    client.request(request.body(body).unwrap()).await
}

fn names() -> impl Iterator<Item = String> {
    (0..COUNTERS).map(|i| format!("counter-{i}"))
}

fn number(counter: &Value) -> u64 {
    counter["data"]["count"].as_str().unwrap().parse().unwrap()
}

fn name(counter: &Value) -> String {
    counter["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The counts that clients were told of.
#[derive(Debug, Default)]
struct Acknowledged(BTreeSet<(String, u64)>);

impl Acknowledged {
    fn note(&mut self, counter: &str, count: u64) {
        let is_new = self.0.insert((counter.to_owned(), count));
        assert!(is_new, "{counter}: {count} was acknowledged before, and lost");
    }

    fn latest(&self) -> BTreeMap<&str, u64> {
        self.0.iter().map(|(counter, count)| (counter.as_str(), *count)).collect()
    }
}

type Ledger = watch::Sender<Acknowledged>;

/// Counts until the server is gone.
async fn count(client: &Client, counter: &str, ledger: &Ledger) {
    let path = format!("{MAPS}/{counter}");
    loop {
        match count_once(client, &path).await {
            Ok(count) => ledger.send_modify(|told| told.note(counter, count)),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) => panic!("{counter}: {status:?}"),
            Err(_) => return,
        }
    }
}

async fn count_once(client: &Client, path: &str) -> kube::Result<u64> {
    let mut object = send(client, "GET", path, &Value::Null).await?;
    let next = number(&object) + 1;
    object["data"]["count"] = json!(next.to_string());
    send(client, "PUT", path, &object).await.map(|_| next)
}

/// Two clients count at each counter, and the server is killed under them.
async fn count_and_kill(server: &mut Apiserver, client: &Client, ledger: &Ledger, counts: usize) {
    let enough = ledger.borrow().0.len() + counts;
    let names: Vec<_> = names().chain(names()).collect();
    let counting = join_all(names.iter().map(|name| count(client, name, ledger)));
    let killing = async {
        let mut told = ledger.subscribe();
        told.wait_for(|told| told.0.len() >= enough).await.unwrap();
        server.kill();
    };
    tokio::join!(counting, killing);
}

/// Who watches the counters, and goes on from the last version that it saw.
struct Witness {
    version: String,
    counts: BTreeMap<String, u64>,
}

impl Witness {
    /// Watches until it has seen these counts, or the server is gone.
    async fn watch(&mut self, client: &Client, counts: Option<&BTreeMap<String, u64>>) {
        let query = format!("watch=true&resourceVersion={}", self.version);
        let request = http::Request::get(format!("{MAPS}?{query}")).body(Vec::new()).unwrap();
        let mut lines = match client.request_stream(request).await {
            Ok(stream) => stream.lines(),
            Err(kube::Error::Api(status)) => panic!("the watch goes on: {status:?}"),
            Err(_) => return,
        };
        while counts != Some(&self.counts) {
            let Ok(Some(line)) = lines.try_next().await else { return };
            self.see(&serde_json::from_str(&line).unwrap());
        }
    }

    fn see(&mut self, event: &Value) {
        assert_eq!(event["type"], "MODIFIED", "{event}");
        let object = &event["object"];
        let seen = self.counts.get_mut(&name(object)).unwrap();
        assert_eq!(number(object), *seen + 1, "each count once, in order: {event}");
        *seen += 1;
        self.version = object["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    }
}

/// The counters as a list shows them, and its version.
async fn counters(client: &Client) -> (BTreeMap<String, u64>, String) {
    let list = send(client, "GET", MAPS, &Value::Null).await.unwrap();
    let items = list["items"].as_array().unwrap();
    let counts = items.iter().map(|counter| (name(counter), number(counter))).collect();
    (counts, list["metadata"]["resourceVersion"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn no_count_is_lost_or_doubled_by_kills() {
    let mut server = crate::spawn().await;
    let client = server.client().await;
    for name in names() {
        let counter = json!({"metadata": {"name": name}, "data": {"count": "0"}});
        send(&client, "POST", MAPS, &counter).await.unwrap();
    }
    let (counts, version) = counters(&client).await;
    let mut witness = Witness { version, counts };
    let ledger = Ledger::default();
    for counts in LIVES {
        let client = server.client().await;
        let counting = count_and_kill(&mut server, &client, &ledger, counts);
        tokio::join!(counting, witness.watch(&client, None));
        server.restart().await;
        let stored = counters(&server.client().await).await.0;
        for (counter, told) in ledger.borrow().latest() {
            // Each of the two who count at it may not have been told of the last.
            assert!((told..=told + 2).contains(&stored[counter]), "{counter}: {told}, {stored:?}");
        }
    }
    let client = server.client().await;
    let stored = counters(&client).await.0;
    wait::within("the witness has seen all", witness.watch(&client, Some(&stored))).await;
    assert_eq!(witness.counts, stored);
}
