//! The controllers against a real control plane in process.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::needless_pass_by_value, reason = "json!() is given as it is made")]

mod certificates;
mod cron_job;
mod deployment;
mod disruption;
mod dns;
mod dynamic;
mod endpoints;
mod function;
mod garbage_collector;
mod gateway;
mod gpu_job;
mod ingress;
mod job;

mod namespace;
mod nodes;
mod quotas;
mod replicaset;
mod starting;
mod workflow;

use component::Tasks;
use controller_manager::eviction::EvictionArgs;
use controller_manager::frame::Metrics;
use controller_manager::functions::FunctionArgs;
use controller_manager::gpu_jobs::GpuJobArgs;
use controller_manager::load_balancer_pool::Pool;
use controller_manager::network::{Network, NodePrefixes};
use controller_manager::workers::WorkersArgs;
use controller_manager::{Context, Settings};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use listwatch::ListWatch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use testkit::ControlPlane;
use tokio::task::JoinSet;

/// A control plane with all controllers running; they stop with it.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) metrics: component::Metrics,
    pub(crate) health: component::Health,
    #[expect(dead_code, reason = "held so that the controllers run")]
    controllers: JoinSet<()>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::over(ControlPlane::start().await)
    }

    pub(crate) fn over(plane: ControlPlane) -> Self {
        let listwatch = plane.listwatch_as("kube-controller-manager");
        Self::over_with(plane, listwatch, EvictionArgs::default())
    }

    pub(crate) fn over_with(
        plane: ControlPlane,
        listwatch: ListWatch,
        eviction: EvictionArgs,
    ) -> Self {
        let settings = Settings {
            pod_network: Network::new("10.244.0.0/16".parse().unwrap(), NodePrefixes::default())
                .unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            root_ca: Some("PEM".to_owned()),
            reserved_addresses: Vec::new(),
            signing: Some(certificates::signing()),
            eviction,
            workers: WorkersArgs::default(),
            functions: FunctionArgs::default(),
            gpu_jobs: GpuJobArgs::default(),
            load_balancer_pool: Pool::default(),
            prometheus_url: None,
        };
        let metrics = component::Metrics::default();
        let counted = Metrics::register(&metrics);
        let health = component::Health::default();
        let check = health.check("watching");
        let context = Context::new(listwatch, settings, Tasks::default());
        let mut controllers = JoinSet::new();
        controllers.spawn(async move {
            let ended = controller_manager::run(&context, &counted, &check).await;
            panic!("the controllers have ended: {ended:?}")
        });
        Self { plane, metrics, health, controllers }
    }

    /// The objects of a kind in the namespace `default`.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>,
    {
        Api::namespaced(self.plane.client(), "default")
    }

    pub(crate) fn cluster_api<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.plane.client())
    }
}

/// The objects of a file of the examples, which are of one kind.
pub(crate) fn example<K: DeserializeOwned>(file: &str) -> Vec<K> {
    let path = format!("{}/../examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml::Deserializer::from_str(&text).map(|it| K::deserialize(it).unwrap()).collect()
}

pub(crate) async fn create<K>(api: &Api<K>, object: &K) -> K
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), object).await.unwrap()
}

pub(crate) async fn list<K>(api: &Api<K>) -> Vec<K>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    api.list(&ListParams::default()).await.unwrap().items
}

pub(crate) async fn patch_status<K>(api: &Api<K>, name: &str, status: Value) -> K
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let patch = Patch::Merge(serde_json::json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap()
}

pub(crate) async fn patch<K>(api: &Api<K>, name: &str, patch: Value) -> K
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

/// Names of objects, in order.
pub(crate) fn names<K: Resource<DynamicType = ()>>(objects: &[K]) -> Vec<String> {
    let mut names: Vec<String> =
        objects.iter().filter_map(|object| object.meta().name.clone()).collect();
    names.sort();
    names
}
