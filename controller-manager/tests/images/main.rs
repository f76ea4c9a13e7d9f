//! The images of functions: built by real Docker, of packages from a real index, and pushed to a real registry. The control
//! plane is in process, and a kubelet's part is played.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod index;
mod limits;
mod order;
mod registry;
mod requirements;

use std::process::Command;

use api_types::NamespaceResourceScope;
use api_types::api::core::v1::{Event, Pod};
use api_types::minik8s::{Function, FunctionStatus, FunctionVersion};
use component::Tasks;
use controller_manager::eviction::EvictionArgs;
use controller_manager::frame::Metrics;
use controller_manager::functions::FunctionArgs;
use controller_manager::gpu_jobs::GpuJobArgs;
use controller_manager::load_balancer_pool::Pool;
use controller_manager::network::{Network, NodePrefixes};
use controller_manager::workers::WorkersArgs;
use controller_manager::{Context, Settings};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use testkit::{ControlPlane, Dockerd, wait};
use tokio_util::task::AbortOnDropHandle;

/// The controllers, and one function.
struct Rig {
    plane: ControlPlane,
    name: &'static str,
    functions: Api<Function>,
    _controllers: AbortOnDropHandle<()>,
}

impl Rig {
    async fn start(name: &'static str, functions: FunctionArgs) -> Self {
        Dockerd::shared();
        component::install_crypto_provider();
        let plane = ControlPlane::start().await;
        let settings = Settings {
            pod_network: Network::new("10.244.0.0/16".parse().unwrap(), NodePrefixes::default())
                .unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            root_ca: None,
            reserved_addresses: Vec::new(),
            signing: None,
            eviction: EvictionArgs::default(),
            workers: WorkersArgs::default(),
            functions: FunctionArgs { docker_host: Dockerd::HOST.to_owned(), ..functions },
            gpu_jobs: GpuJobArgs::default(),
            load_balancer_pool: Pool::default(),
            prometheus_url: None,
        };
        let context =
            Context::new(plane.listwatch_as("kube-controller-manager"), settings, Tasks::default());
        let controllers = tokio::spawn(async move {
            let metrics = Metrics::register(&component::Metrics::default());
            let check = component::Health::default().check("watching");
            let ended = controller_manager::run(&context, &metrics, &check).await;
            panic!("the controllers have ended: {ended:?}")
        });
        let functions = Api::namespaced(plane.client(), "default");
        let rig =
            Self { plane, name, functions, _controllers: AbortOnDropHandle::new(controllers) };
        rig.remove_images();
        rig
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.plane.client(), namespace)
    }

    async fn create(&self, spec: Value) {
        let function = json!({"metadata": {"name": self.name}, "spec": spec});
        let function = serde_json::from_value(function).unwrap();
        self.functions.create(&PostParams::default(), &function).await.unwrap();
    }

    async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.functions.patch(self.name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn delete(&self) {
        self.functions.delete(self.name, &DeleteParams::default()).await.unwrap();
    }

    async fn until_status(
        &self,
        what: &str,
        is: impl Fn(&FunctionStatus) -> bool,
    ) -> FunctionStatus {
        wait::until(what, async || {
            let function = self.functions.get(self.name).await.unwrap();
            let status = function.status.unwrap_or_default();
            if is(&status) { Ok(status) } else { Err(status) }
        })
        .await
    }

    /// Waits for the image of a version.
    async fn until_built(&self, number: i64) -> String {
        let status = self
            .until_status("the image is there", |status| {
                version(status, number).is_some_and(|version| version.image.is_some())
            })
            .await;
        version(&status, number).unwrap().image.clone().unwrap()
    }

    /// Plays the kubelet until a version serves.
    async fn until_serves(&self, number: i64) {
        let pods: Api<Pod> = self.api("default");
        let ready = json!({"type": "Ready", "status": "True"});
        let running = Patch::Merge(json!({"status": {"phase": "Running", "conditions": [ready]}}));
        wait::until("the version serves", async || {
            for pod in pods.list(&ListParams::default()).await.unwrap() {
                let name = pod.metadata.name.unwrap();
                // It may have gone.
                let _ = pods.patch_status(&name, &PatchParams::default(), &running).await;
            }
            let function = self.functions.get(self.name).await.unwrap();
            let status = function.status.unwrap_or_default();
            let is_ready = condition(&status, "Ready").0 == "True";
            if is_ready && status.version == Some(number) { Ok(()) } else { Err(status) }
        })
        .await;
    }

    async fn until_event(&self, reason: &str, words: &str) {
        let events: Api<Event> = self.api("default");
        wait::until(&format!("an event {reason} with {words:?}"), async || {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let told = |event: &Event| {
                event.reason.as_deref() == Some(reason)
                    && event.message.as_deref().is_some_and(|message| message.contains(words))
            };
            if all.iter().any(told) { Ok(()) } else { Err(messages(&all)) }
        })
        .await;
    }

    async fn until_gone(&self) {
        wait::until_gone(&self.functions, self.name).await;
    }

    /// Docker's images of the function, by their names.
    fn images(&self) -> Vec<String> {
        let label = format!("label=minik8s.io/function=default/{}", self.name);
        let format = "{{.Repository}}:{{.Tag}}";
        let listed = docker(&["images", "--filter", &label, "--format", format]);
        listed.lines().filter(|line| !line.contains("<none>")).map(str::to_owned).collect()
    }

    fn remove_images(&self) {
        self.images().iter().for_each(|image| drop(docker(&["rmi", "-f", image])));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.remove_images();
    }
}

fn messages(events: &[Event]) -> Vec<String> {
    events.iter().filter_map(|event| event.message.clone()).collect()
}

fn version(status: &FunctionStatus, number: i64) -> Option<&FunctionVersion> {
    status.versions.iter().find(|version| version.version == number)
}

/// Status and message of a condition.
fn condition<'a>(status: &'a FunctionStatus, kind: &str) -> (&'a str, &'a str) {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == kind);
    found.map_or(("", ""), |found| (&found.status, &found.message))
}

/// Runs docker's own client.
fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", Dockerd::HOST]).args(args).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {args:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}
