//! What a change of one Service's endpoints costs beside so many others: planning it and one pass, with a Docker and
//! a kernel that only remember. `cargo bench -p kube-proxy`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people to read")]

#[path = "../tests/fake/mod.rs"]
mod fake;

use std::time::{Duration, Instant};

use api_types::api::{core::v1::Service, discovery::v1::EndpointSlice};
use fake::Fake;
use kube_proxy::{
    backend::{Backend, Nginx},
    configs::Configs,
    plan::{Place, plan, plan_service},
    reconciler::Reconciler,
};
use serde_json::json;

const SERVICES: [usize; 3] = [100, 1000, 10_000];
/// Each changes another one: none is told again within a moment.
const ROUNDS: usize = 99;

/// A node, and what the API server says.
struct Rig {
    node: Fake,
    _state: tempfile::TempDir,
    reconciler: Nginx<Fake, Fake>,
    place: Place,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
}

impl Rig {
    fn new(count: usize) -> Self {
        let (node, state) = (Fake::default(), tempfile::tempdir().unwrap());
        let configs = Configs::open(state.path()).unwrap();
        let reconciler = Nginx(Reconciler::new(node.clone(), node.clone(), configs));
        let service_cidr = "10.96.0.0/16".parse().unwrap();
        let nodes = ["here".to_owned()].into();
        let place = Place {
            nodes,
            service_cidr,
            cluster_dns: None,
            zone: None,
            addresses: [].into(),
            node_addresses: [].into(),
        };
        let services = (0..count).map(service).collect();
        let slices = (0..count).map(|number| slice(number, 3)).collect();
        Rig { node, _state: state, reconciler, place, services, slices }
    }

    async fn bring_up(&mut self) -> Duration {
        let begin = Instant::now();
        self.reconciler.want_all(plan(&self.place, &self.services, &self.slices));
        while self.reconciler.pass().await.unwrap().pending > 0 {}
        begin.elapsed()
    }

    /// As after an event of a watch: until the Service goes by it.
    async fn change(&mut self, number: usize) -> Duration {
        self.slices[number] = slice(number, 2);
        let begin = Instant::now();
        let plan = plan_service(&self.place, &self.services[number], [&self.slices[number]]);
        self.reconciler.want(plan.unwrap());
        while self.reconciler.pass().await.unwrap().pending > 0 {}
        begin.elapsed()
    }

    /// The median of many changes, and how often Docker, the kernel and nginxes were asked something meanwhile.
    async fn measure(&mut self) {
        self.node.with(|node| node.looks = 0);
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            times.push(self.change(round).await);
        }
        times.sort_unstable();
        let asked = self.node.with(|node| node.looks);
        println!(
            "  a change: median {:?}, {asked} questions in {ROUNDS} changes",
            times[ROUNDS / 2]
        );
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
    for services in SERVICES {
        let mut rig = Rig::new(services);
        println!("{services} Services, all brought up: {:?}", rig.bring_up().await);
        rig.measure().await;
    }
}
