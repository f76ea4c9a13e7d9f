//! What the loop tells a backend that only takes notes, with a real API server in process: each time about
//! the Services that have changed, and no others.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    collections::BTreeSet,
    mem,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use api_types::api::{core::v1::Service, discovery::v1::EndpointSlice};
use async_trait::async_trait;
use component::{Health, Metrics, Tasks, events::Recorder};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use kube_proxy::{
    Metrics as ProxyMetrics, Wake,
    backend::Backend,
    gateway::GatewayPlan,
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Summary},
    router::RouterPlan,
    sync::{self, Outlets},
    world::{self, Here, World},
};
use serde_json::json;
use testkit::{ControlPlane, wait};

const SERVICES: usize = 50;
/// The Service that cannot be served.
const BROKEN: &str = "broken";

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

struct Notetaker {
    notes: Notes,
    local: BTreeSet<IpAddr>,
    /// By uid.
    broken: BTreeSet<String>,
    /// Nginxes that do not answer yet.
    starting: Arc<AtomicUsize>,
}

impl Notes {
    fn add(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }

    /// Waits until these are taken; there must be no others.
    async fn until(&self, expected: &[&str]) {
        let look = async || match self.0.lock().unwrap().clone() {
            notes if notes.len() >= expected.len() => Ok(()),
            notes => Err(notes),
        };
        wait::until(&format!("{expected:?}"), look).await;
        let mut notes = mem::take(&mut *self.0.lock().unwrap());
        notes.sort();
        assert_eq!(notes, expected);
    }
}

#[async_trait]
impl Backend for Notetaker {
    async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError> {
        Ok(Vec::new())
    }

    async fn look(&mut self) -> Result<&BTreeSet<IpAddr>, ReconcileError> {
        Ok(&self.local)
    }

    fn distrust_containers(&mut self) {}

    fn want_all(&mut self, plans: Vec<ServicePlan>) {
        self.notes.add(format!("all {}", plans.len()));
    }

    fn want_router(&mut self, plan: Option<RouterPlan>) {
        if let Some(plan) = plan {
            self.notes.add(format!("router {}", plan.hosts.len()));
        }
    }

    fn want_gateways(&mut self, plans: &[GatewayPlan]) {
        if !plans.is_empty() {
            self.notes.add(format!("gateways {}", plans.len()));
        }
    }

    fn want(&mut self, plan: ServicePlan) {
        let endpoints: usize = plan.ports.iter().map(|port| port.endpoints.len()).sum();
        self.notes.add(format!("{} to {endpoints}", plan.name));
        if plan.name == BROKEN {
            self.broken.insert(plan.uid);
        }
    }

    fn forget(&mut self, uid: &str) {
        self.notes.add("forget".to_owned());
        self.broken.remove(uid);
    }

    async fn pass(&mut self) -> Result<Summary, ReconcileError> {
        let failure = |uid: &String| Failure {
            subject: format!("default/{BROKEN}"),
            uid: Some(uid.clone()),
            error: ReconcileError::Ended("bind() failed".to_owned()),
        };
        let failed = self.broken.iter().map(failure).collect();
        let starting = self.starting.load(Ordering::Relaxed);
        Ok(Summary { failed, pending: starting, starting, ..Summary::default() })
    }
}

/// Runs the loop until the runtime ends.
fn start(plane: &ControlPlane) -> (Notes, Metrics) {
    let (notes, metrics, _) = start_with(plane, Arc::default());
    (notes, metrics)
}

fn start_with(plane: &ControlPlane, starting: Arc<AtomicUsize>) -> (Notes, Metrics, Health) {
    let (notes, metrics, health) = (Notes::default(), Metrics::default(), Health::default());
    let (local, broken) = Default::default();
    let mut backend = Notetaker { notes: notes.clone(), local, broken, starting };
    let outlets = Outlets {
        check: health.check("services"),
        metrics: ProxyMetrics::register(&metrics),
        recorder: Recorder::new(&Tasks::default(), plane.client(), "kube-proxy", "here"),
    };
    let service_cidr = "10.96.0.0/16".parse().unwrap();
    let node = "here".into();
    let here = Here {
        node,
        service_cidr,
        cluster_dns: None,
        node_addresses: Vec::new(),
        leads_by_rules: false,
    };
    let listwatch = plane.listwatch();
    tokio::spawn(async move {
        let wake = Arc::new(Wake::default());
        let (nodes, nodes_watch) = world::follow(&listwatch, vec![wake.clone()]);
        let (world, watches) = World::watch(&listwatch, nodes, &wake, None);
        let passes = sync::run(&world, &here, &mut backend, &wake, &outlets);
        tokio::join!(watches, nodes_watch, passes)
    });
    (notes, metrics, health)
}

async fn create(services: &Api<Service>, name: &str) {
    let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let service = serde_json::from_value(service).unwrap();
    services.create(&PostParams::default(), &service).await.unwrap();
}

fn slice(service: &str) -> EndpointSlice {
    let slice = json!({
        "metadata": {"name": "slice", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.244.0.2"]}],
    });
    serde_json::from_value(slice).unwrap()
}

#[tokio::test]
async fn the_backend_is_told_of_what_has_changed_and_nothing_else() {
    let plane = ControlPlane::start().await;
    let services: Api<Service> = Api::default_namespaced(plane.client());
    let slices: Api<EndpointSlice> = Api::default_namespaced(plane.client());
    for number in 0..SERVICES {
        create(&services, &format!("s{number}")).await;
    }
    let (notes, _) = start(&plane);
    // With `kubernetes`.
    notes.until(&[&format!("all {}", SERVICES + 1)]).await;

    slices.create(&PostParams::default(), &slice("s7")).await.unwrap();
    notes.until(&["s7 to 1"]).await;
    let more = Patch::Merge(json!({"endpoints": [
        {"addresses": ["10.244.0.2"]}, {"addresses": ["10.244.0.3"]}]}));
    slices.patch("slice", &PatchParams::default(), &more).await.unwrap();
    notes.until(&["s7 to 2"]).await;

    // It becomes another one's.
    let moved = json!({"metadata": {"labels": {"kubernetes.io/service-name": "s8"}}});
    slices.patch("slice", &PatchParams::default(), &Patch::Merge(moved)).await.unwrap();
    notes.until(&["s7 to 0", "s8 to 2"]).await;
    slices.delete("slice", &Default::default()).await.unwrap();
    notes.until(&["s8 to 0"]).await;

    services.delete("s7", &Default::default()).await.unwrap();
    notes.until(&["forget"]).await;
    create(&services, "s7").await;
    notes.until(&["s7 to 0"]).await;
}

#[tokio::test]
async fn it_is_counted_how_many_services_are_not_as_they_should_be() {
    let plane = ControlPlane::start().await;
    let services: Api<Service> = Api::default_namespaced(plane.client());
    let (notes, metrics) = start(&plane);
    notes.until(&["all 1"]).await;
    let until = async |failed: usize| {
        let line = format!("\nkubeproxy_services_failed {failed}\n");
        let counted = async || match metrics.encode().unwrap() {
            text if text.contains(&line) => Ok(()),
            text => Err(text),
        };
        wait::until(&line, counted).await;
    };
    create(&services, BROKEN).await;
    until(1).await;
    services.delete(BROKEN, &Default::default()).await.unwrap();
    until(0).await;
}

#[tokio::test]
async fn it_is_ready_once_all_services_are_served() {
    let plane = ControlPlane::start().await;
    let services: Api<Service> = Api::default_namespaced(plane.client());
    let starting = Arc::new(AtomicUsize::new(1));
    let (notes, _, health) = start_with(&plane, starting.clone());
    notes.until(&["all 1"]).await;
    // Told of in a second pass: the first one's outcome is known.
    create(&services, "web").await;
    notes.until(&["web to 0"]).await;
    assert!(!health.is_ready());

    starting.store(0, Ordering::Relaxed);
    let ready = async || health.is_ready().then_some(()).ok_or_else(|| health.report());
    wait::until("kube-proxy to be ready", ready).await;
}
