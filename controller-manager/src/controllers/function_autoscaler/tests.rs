//! The autoscaler alone, over a control plane in process.

use api_types::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use testkit::{ControlPlane, replica_set, wait};

use super::*;
use crate::controllers::tests::context;
use crate::frame;
use crate::workers::WorkersArgs;

struct World {
    client: Client,
    sets: Api<ReplicaSet>,
    functions: Api<Function>,
    leases: Api<Lease>,
    _tasks: JoinSet<()>,
}

impl World {
    /// With a function `add`, of which version 1 serves with one instance.
    async fn new(spec: Value) -> Self {
        let plane = ControlPlane::start().await;
        let client = plane.client();
        let context =
            context(plane.listwatch_as("kube-controller-manager"), WorkersArgs::default());
        let mut tasks = JoinSet::new();
        let registered = register(&context, Pools::new(&context), &mut tasks);
        context.informers.start(&context.listwatch, &mut tasks);
        frame::work(&registered, &mut tasks);
        tasks.spawn(async move {
            let _plane = plane;
            std::future::pending().await
        });
        let this = Self {
            sets: Api::namespaced(client.clone(), "default"),
            functions: Api::namespaced(client.clone(), "default"),
            leases: Api::namespaced(client.clone(), "kube-system"),
            client,
            _tasks: tasks,
        };
        this.create::<Function>(json!({
            "apiVersion": "minik8s.io/v1", "kind": "Function",
            "metadata": {"name": "add", "namespace": "default"}, "spec": spec,
        }))
        .await;
        this.create::<Lease>(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": format!("{LEASE_PREFIX}g"), "namespace": "kube-system",
                "labels": {LEASE_LABEL.0: LEASE_LABEL.1},
            },
        }))
        .await;
        this.create_version("1", 1).await;
        this.serve(1).await;
        this
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let namespace = object["metadata"]["namespace"].as_str().unwrap().to_owned();
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let object = serde_json::from_value(object).unwrap();
        api.create(&kube::api::PostParams::default(), &object).await.unwrap()
    }

    async fn create_version(&self, version: &str, replicas: i32) {
        let function = self.functions.get("add").await.unwrap();
        let set = replica_set(&format!("add-v{version}")).replicas(replicas).with(|set| {
            let label = (Function::VERSION_LABEL.to_owned(), version.to_owned());
            set.metadata.labels.get_or_insert_default().extend([label]);
            set.metadata.namespace = Some("default".to_owned());
            set.metadata.owner_references =
                crate::owners::controller_reference(&function).map(|owner| vec![owner]);
        });
        self.create::<ReplicaSet>(serde_json::to_value(set.build()).unwrap()).await;
    }

    async fn serve(&self, version: i64) {
        let patch = Patch::Merge(json!({"status": {"version": version}}));
        self.functions.patch_status("add", &PatchParams::default(), &patch).await.unwrap();
    }

    /// What a gateway without Redis says of its calls of `add`.
    async fn tell(&self, queued: u32) {
        self.tell_demand(json!({"queued": queued, "inFlight": 0, "arrived": queued})).await;
    }

    async fn tell_demand(&self, calls: Value) {
        let demand = json!({"gateway": "g", "functions": {"default/add": calls}}).to_string();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION: demand}}}));
        let name = format!("{LEASE_PREFIX}g");
        self.leases.patch(&name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn until_replicas(&self, set: &str, replicas: i32) {
        let what = format!("is to have {replicas}");
        wait::until_is(&self.sets, set, &what, |set| {
            set.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas)
        })
        .await;
    }
}

fn container(more: Value) -> Value {
    let mut spec = json!({"runtime": "container", "image": "i", "idleSeconds": 1, "maxScale": 5});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_goes_when_it_is_idle_and_comes_with_its_calls() {
    let world = World::new(container(json!({}))).await;
    world.until_replicas("add-v1", 0).await;
    world.tell(20).await;
    world.until_replicas("add-v1", 3).await;
    world.tell(300).await;
    world.until_replicas("add-v1", 5).await;
    world.tell(0).await;
    world.until_replicas("add-v1", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_expected_wakes_one_instance() {
    let world = World::new(container(json!({}))).await;
    world.until_replicas("add-v1", 0).await;
    world.tell_demand(json!({"queued": 0, "inFlight": 0, "arrived": 1})).await;
    world.until_replicas("add-v1", 1).await;
    world.until_replicas("add-v1", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fewest_instances_are_there_without_calls_and_follow_the_spec() {
    let world = World::new(container(json!({"minScale": 2}))).await;
    world.until_replicas("add-v1", 2).await;
    let patch = Patch::Merge(json!({"spec": {"minScale": 4}}));
    world.functions.patch("add", &PatchParams::default(), &patch).await.unwrap();
    world.until_replicas("add-v1", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_version_that_serves_is_scaled() {
    let world = World::new(container(json!({}))).await;
    world.until_replicas("add-v1", 0).await;
    world.create_version("2", 1).await;
    world.tell(20).await;
    world.until_replicas("add-v1", 3).await;
    world.until_replicas("add-v2", 1).await;
    world.serve(2).await;
    world.until_replicas("add-v2", 3).await;
    world.tell(300).await;
    world.until_replicas("add-v2", 5).await;
    world.until_replicas("add-v1", 3).await;
}
