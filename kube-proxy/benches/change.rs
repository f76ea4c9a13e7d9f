//! What a change costs on a node with a thousand Services: planning and one pass, with a Docker and a kernel
//! that only remember. `cargo bench -p kube-proxy`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people to read")]

#[path = "../tests/fake/mod.rs"]
mod fake;

use std::time::{Duration, Instant};

use api_types::api::{core::v1::Service, discovery::v1::EndpointSlice};
use fake::Fake;
use kube_proxy::{
    configs::Configs,
    plan::{Place, plan},
    reconciler::Reconciler,
};
use serde_json::json;

const SERVICES: usize = 1000;
const ROUNDS: usize = 101;

/// A node, and what the API server says.
struct Rig {
    node: Fake,
    _state: tempfile::TempDir,
    reconciler: Reconciler<Fake, Fake>,
    place: Place,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
}

impl Rig {
    fn new() -> Self {
        let (node, state) = (Fake::default(), tempfile::tempdir().unwrap());
        let configs = Configs::open(state.path()).unwrap();
        let reconciler = Reconciler::new(node.clone(), node.clone(), configs);
        let service_cidr = "10.96.0.0/16".parse().unwrap();
        let place = Place { nodes: ["here".to_owned()].into(), service_cidr };
        let services = (0..SERVICES).map(service).collect();
        let slices = (0..SERVICES).map(|number| slice(number, 3)).collect();
        Rig { node, _state: state, reconciler, place, services, slices }
    }

    /// As after an event of a watch. Gives how many Services are not up yet, too.
    async fn pass(&mut self) -> (Duration, usize) {
        let begin = Instant::now();
        self.reconciler.look().await.unwrap();
        let plans = plan(&self.place, &self.services, &self.slices);
        let summary = self.reconciler.reconcile(&plans).await.unwrap();
        assert!(summary.failed.is_empty());
        (begin.elapsed(), summary.pending)
    }

    async fn bring_up(&mut self) -> Duration {
        let begin = Instant::now();
        while self.pass().await.1 > 0 {}
        begin.elapsed()
    }

    /// The median of many passes, each after `change`, and how often Docker, the kernel and nginxes were asked
    /// something meanwhile.
    async fn measure(
        &mut self,
        what: &str,
        mut change: impl FnMut(&mut Vec<EndpointSlice>, usize),
    ) {
        self.node.with(|node| node.looks = 0);
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            change(&mut self.slices, round);
            times.push(self.pass().await.0);
        }
        times.sort_unstable();
        let asked = self.node.with(|node| node.looks);
        println!("{what}: median {:?}, {asked} questions in {ROUNDS} passes", times[ROUNDS / 2]);
    }
}

fn service(number: usize) -> Service {
    let [high, low] = u16::try_from(number + 1).unwrap().to_be_bytes();
    let object = json!({
        "metadata": {"namespace": "default", "name": format!("s{number}"), "uid": format!("u{number}")},
        "spec": {"clusterIP": format!("10.96.{high}.{low}"), "ports": [{"port": 80}]},
    });
    serde_json::from_value(object).unwrap()
}

fn slice(number: usize, endpoints: usize) -> EndpointSlice {
    let endpoint = |last| json!({"addresses": [format!("10.244.0.{last}")]});
    let object = json!({
        "metadata": {
            "namespace": "default",
            "name": format!("s{number}-1"),
            "labels": {"kubernetes.io/service-name": format!("s{number}")},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": (0..endpoints).map(|last| endpoint(last + 2)).collect::<Vec<_>>(),
    });
    serde_json::from_value(object).unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut rig = Rig::new();
    println!("{SERVICES} Services, all brought up: {:?}", rig.bring_up().await);
    rig.measure("no change", |_, _| ()).await;
    rig.measure("one endpoint changes", |slices, round| slices[7] = slice(7, 2 + round % 2)).await;
}
