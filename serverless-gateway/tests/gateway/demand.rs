//! What several gateways tell about the calls they have in hand, with Redis and without it.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use api_types::api::coordination::v1::Lease;
use futures::{Stream, StreamExt};
use kube::{Api, ResourceExt, api::ListParams, runtime::watcher::Event};
use listwatch::{
    Demand, FunctionDemand, ListWatch,
    demand::{ANNOTATION, LEASE_LABEL, LEASE_NAMESPACE},
};
use reqwest::Response;
use serverless_gateway::{Calls, Limits, tell, workflows::CallFunction};
use testkit::{ControlPlane, Redis, wait};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, address, echo, instance, pod};

/// A gateway that tells about its calls.
struct Telling {
    rig: Rig,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Telling {
    async fn start(identity: &'static str, port: u16, listwatch: ListWatch) -> Self {
        if listwatch.demand().is_some() {
            // Its first Lease is written with Redis there.
            let connected = async || listwatch.redis_connected().then_some(()).ok_or(());
            wait::until("Redis is connected", connected).await;
        }
        let rig = Rig::start(port, &[]).await;
        let (functions, shutdown) = (rig.functions.clone(), CancellationToken::new());
        let stopped = shutdown.clone();
        let task = tokio::spawn(async move {
            tell(&functions, &listwatch, identity, (&CancellationToken::new(), &stopped)).await;
        });
        Telling { rig, shutdown, task }
    }

    fn call(&self) -> JoinHandle<Response> {
        let call = self.rig.client.post(format!("{}/add", self.rig.url)).send();
        tokio::spawn(async { call.await.unwrap() })
    }

    fn instance_is_ready(&self) {
        self.rig.functions.pod(Event::Apply(pod("add", address(1))));
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// The demand of `add` that each gateway told last.
struct Heard(Pin<Box<dyn Stream<Item = Demand> + Send>>, BTreeMap<String, FunctionDemand>);

impl Heard {
    /// Listens until this is what the gateways tell.
    async fn until(&mut self, expected: &[(&str, FunctionDemand)]) {
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(gateway, demand)| ((*gateway).to_owned(), *demand)).collect();
        let heard = async {
            while self.1 != expected {
                let demand = self.0.next().await.unwrap();
                if let Some(add) = demand.functions.get("default/add") {
                    self.1.insert(demand.gateway, at_the_moment(*add));
                }
            }
        };
        wait::within("the gateways tell so", heard).await;
    }
}

fn calls(queued: u32, in_flight: u32, arrived: u64) -> FunctionDemand {
    FunctionDemand { queued, in_flight, arrived, ..FunctionDemand::default() }
}

/// Without what depends on how long the calls take.
fn at_the_moment(demand: FunctionDemand) -> FunctionDemand {
    calls(demand.queued, demand.in_flight, demand.arrived)
}

async fn leases(plane: &ControlPlane) -> Vec<Lease> {
    let api = Api::<Lease>::namespaced(plane.client(), LEASE_NAMESPACE);
    let (label, value) = LEASE_LABEL;
    api.list(&ListParams::default().labels(&format!("{label}={value}"))).await.unwrap().items
}

/// What the gateways' Leases say, by gateway; nothing if one has no annotation.
async fn told(plane: &ControlPlane) -> BTreeMap<String, Option<FunctionDemand>> {
    let of = |lease: Lease| {
        let demand: Option<Demand> =
            lease.annotations().get(ANNOTATION).map(|text| serde_json::from_str(text).unwrap());
        let add = demand.map(|demand| demand.functions.get("default/add").copied());
        let add = add.map(|add| add.map(at_the_moment));
        (lease.spec.unwrap().holder_identity.unwrap(), add.map(Option::unwrap_or_default))
    };
    leases(plane).await.into_iter().map(of).collect()
}

async fn until_told(plane: &ControlPlane, expected: &[(&str, Option<FunctionDemand>)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(gateway, demand)| ((*gateway).to_owned(), *demand)).collect();
    let look = async || match told(plane).await {
        told if told == expected => Ok(()),
        other => Err(other),
    };
    wait::until(&format!("the Leases say {expected:?}"), look).await;
}

#[tokio::test]
async fn gateways_tell_their_calls_over_redis_and_that_there_are_no_more() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let listwatch = plane.listwatch();
    let mut heard = Heard(Box::pin(listwatch.demand().unwrap()), BTreeMap::new());
    let port = instance(address(1), 0, echo("x")).await;
    let a = Telling::start("a", port, plane.listwatch()).await;
    let b = Telling::start("b", port, plane.listwatch()).await;
    let idle = ["a", "b"].map(|gateway| (gateway, Some(calls(0, 0, 0))));
    until_told(&plane, &idle).await;
    let waiting = [a.call(), b.call(), b.call()];
    heard.until(&[("a", calls(1, 0, 1)), ("b", calls(2, 0, 2))]).await;
    // Whoever hears nothing reads it.
    until_told(&plane, &[("a", Some(calls(1, 0, 1))), ("b", Some(calls(2, 0, 2)))]).await;
    a.instance_is_ready();
    b.instance_is_ready();
    for call in waiting {
        assert_eq!(call.await.unwrap().status(), 201);
    }
    heard.until(&[("a", calls(0, 0, 1)), ("b", calls(0, 0, 2))]).await;
    until_told(&plane, &idle).await;
    a.stop().await;
    until_told(&plane, &idle[1..]).await;
    b.stop().await;
    until_told(&plane, &[]).await;
}

#[tokio::test]
async fn without_redis_the_leases_say_it() {
    let plane = ControlPlane::start().await;
    let port = instance(address(1), 0, echo("x")).await;
    let a = Telling::start("a", port, plane.listwatch()).await;
    let b = Telling::start("b", port, plane.listwatch()).await;
    until_told(&plane, &[("a", Some(calls(0, 0, 0))), ("b", Some(calls(0, 0, 0)))]).await;
    let waiting = a.call();
    until_told(&plane, &[("a", Some(calls(1, 0, 1))), ("b", Some(calls(0, 0, 0)))]).await;
    a.instance_is_ready();
    assert_eq!(waiting.await.unwrap().status(), 201);
    // Once it says that there are none, and then no more.
    until_told(&plane, &[("a", Some(calls(0, 0, 0))), ("b", Some(calls(0, 0, 0)))]).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_call_that_is_expected_is_told_at_once_as_one_that_came() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let listwatch = plane.listwatch();
    let mut heard = Heard(Box::pin(listwatch.demand().unwrap()), BTreeMap::new());
    let a = Telling::start("a", 1, plane.listwatch()).await;
    let limits = Limits { request_bytes: 1, queue_time: Duration::from_secs(1) };
    let functions = Calls::new(a.rig.functions.clone(), limits);
    functions.expect("default", "add");
    heard.until(&[("a", calls(0, 0, 1))]).await;
    functions.expect("default", "none");
    functions.expect("default", "add");
    heard.until(&[("a", calls(0, 0, 2))]).await;
    a.stop().await;
}

#[tokio::test]
async fn a_gateway_is_alive_once_its_lease_is_there() {
    let plane = ControlPlane::start().await;
    let rig = Rig::start(1, &[]).await;
    let held = plane.hold(|request| request.uri().path().contains("/leases/"));
    let (alive, shutdown) = (CancellationToken::new(), CancellationToken::new());
    let (is_alive, stopped, listwatch) = (alive.clone(), shutdown.clone(), plane.listwatch());
    let telling = tokio::spawn(async move {
        tell(&rig.functions, &listwatch, "a", (&is_alive, &stopped)).await;
    });
    let asked = async || {
        let requests = plane.requests();
        requests.iter().any(|request| request.contains("/leases/")).then_some(()).ok_or(requests)
    };
    wait::until("the Lease is to be written", asked).await;
    assert!(!alive.is_cancelled());
    drop(held);
    wait::within("it is alive", alive.cancelled()).await;
    assert_eq!(leases(&plane).await.len(), 1);
    shutdown.cancel();
    telling.await.unwrap();
}

#[tokio::test]
async fn when_redis_is_lost_the_leases_say_it() {
    let mut redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let a = Telling::start("a", 1, plane.listwatch()).await;
    let idle = [("a", Some(calls(0, 0, 0)))];
    until_told(&plane, &idle).await;
    redis.kill();
    let waiting = a.call();
    until_told(&plane, &[("a", Some(calls(1, 0, 1)))]).await;
    redis.restart().await;
    waiting.abort();
    until_told(&plane, &idle).await;
    a.stop().await;
}
