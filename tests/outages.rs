//! The API server while etcd is away: it says so in time, shows what it knows, and goes on when etcd does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{future::ready, io, pin::pin, time::Duration};

use futures::{AsyncBufReadExt, StreamExt, future::join_all, stream::BoxStream};
use kube::Client;
use serde_json::{Value, json};
use testkit::{ControlPlane, Etcd, EtcdMembers, Proxy, wait};
use tokio::time::timeout;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// What a client may count on.
const LONGEST: Duration = Duration::from_secs(8);
/// What this test adds on a machine with other things to do.
const TOLERANCE: Duration = Duration::from_secs(1);

type Answer = Result<String, kube::Error>;
type Events = BoxStream<'static, io::Result<String>>;

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    client.request_text(request.body(body).unwrap()).await
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

async fn create(client: &Client, name: &str) -> Answer {
    send(client, "POST", MAPS, &map(name)).await
}

/// A request of each kind that needs the store.
fn requests() -> Vec<(&'static str, String, Value)> {
    let known = || format!("{MAPS}/known");
    vec![
        ("GET", known(), Value::Null),
        ("GET", MAPS.to_owned(), Value::Null),
        ("GET", format!("{MAPS}?limit=1"), Value::Null),
        ("GET", format!("{MAPS}?watch=true&timeoutSeconds=1"), Value::Null),
        ("POST", MAPS.to_owned(), map("new")),
        ("PUT", known(), map("known")),
        ("PATCH", known(), json!({"data": {"a": "2"}})),
        ("DELETE", known(), Value::Null),
    ]
}

async fn is_refused_in_time(client: &Client, (method, path, body): (&str, String, Value)) {
    match timeout(LONGEST + TOLERANCE, send(client, method, &path, &body)).await {
        Ok(Err(kube::Error::Api(status))) if status.code == 503 => {}
        other => panic!("{method} {path}: {other:?}"),
    }
}

/// A control plane on an etcd that is going to be away.
struct Outage {
    plane: ControlPlane,
    /// A watch from before.
    events: Events,
}

impl Outage {
    async fn prepare(etcd: &str) -> Self {
        let plane = ControlPlane::builder().etcd_url(etcd).start().await;
        let client = plane.client();
        create(&client, "known").await.unwrap();
        let version = version(&send(&client, "GET", MAPS, &Value::Null).await.unwrap());
        let watch = format!("{MAPS}?watch=true&resourceVersion={version}");
        let watch = http::Request::get(watch).body(Vec::new()).unwrap();
        let events = client.request_stream(watch).await.unwrap().lines().boxed();
        send(&client, "GET", "/readyz", &Value::Null).await.unwrap();
        Self { plane, events }
    }

    /// Each request is a 503 in time, many at once as well; what is known is listed.
    async fn is_told(&self) {
        let client = self.plane.client();
        let many = requests().into_iter().flat_map(|request| vec![request; 3]);
        join_all(many.map(|request| is_refused_in_time(&client, request))).await;
        let health = send(&client, "GET", "/readyz", &Value::Null).await;
        assert!(health.is_err(), "health says so: {health:?}");
        let list = send(&client, "GET", &format!("{MAPS}?resourceVersion=0"), &Value::Null).await;
        assert!(list.unwrap().contains("\"known\""));
    }

    /// Writes go on, and so does the watch.
    async fn goes_on(self) {
        let client = self.plane.client();
        // Of what was refused, an etcd that wakes up carries out what it had been sent: an attempt of this write
        // too, which is then there already, and others' writes, which the watch shows before it.
        let write = async || match create(&client, "after").await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            attempt => attempt.map(drop),
        };
        wait::until("writes go on", write).await;
        let is_it = |event: &io::Result<String>| {
            ready(event.as_ref().is_ok_and(|event| event.contains("\"after\"")))
        };
        let mut events = pin!(self.events.filter(is_it));
        wait::within("the watch goes on", events.next()).await.unwrap().unwrap();
    }
}

fn version(list: &str) -> String {
    let list: Value = serde_json::from_str(list).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_was_killed_is_a_503_in_time() {
    let mut etcd = Etcd::spawn().await;
    let outage = Outage::prepare(&etcd.endpoint()).await;
    etcd.kill();
    outage.is_told().await;
    etcd.restart().await;
    outage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_was_stopped_is_a_503_in_time() {
    let etcd = Etcd::spawn().await;
    let outage = Outage::prepare(&etcd.endpoint()).await;
    etcd.freeze();
    outage.is_told().await;
    etcd.thaw();
    outage.goes_on().await;
}

/// The way there is broken in one way or the other.
async fn check(silence: fn(&Proxy)) {
    let etcd = Etcd::spawn().await;
    let proxy = Proxy::before(etcd.address()).await;
    let outage = Outage::prepare(&format!("http://{}", proxy.address())).await;
    silence(&proxy);
    outage.is_told().await;
    proxy.open();
    outage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_to_etcd_that_is_not_there_is_a_503_in_time() {
    check(Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_to_etcd_that_swallows_all_is_a_503_in_time() {
    check(Proxy::freeze).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_etcd_that_is_away_is_missed_by_nobody() {
    let mut members = EtcdMembers::spawn().await;
    let plane = ControlPlane::builder().etcd_members(&members).start().await;
    let client = plane.client();
    members.roles().await.1[0].kill();
    // Without another try one request in three would meet it.
    all_is_answered(&client, "without-a-follower").await;
    let (leader, followers) = members.roles().await;
    for follower in followers {
        follower.restart().await;
    }
    leader.kill();
    members.roles().await;
    all_is_answered(&client, "without-its-leader").await;
}

async fn all_is_answered(client: &Client, name: &str) {
    for i in 0..20 {
        create(client, &format!("{name}-{i}")).await.unwrap();
        send(client, "GET", MAPS, &Value::Null).await.unwrap();
    }
}
