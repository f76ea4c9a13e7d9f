//! A runtime in memory for tests: containers run until told otherwise, and every call is noted.

use std::{collections::BTreeSet, time::Duration};

use api_types::jiff::Timestamp;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;

use super::{
    Container, ContainerSpec, Exit, Image, LogOptions, Runtime, RuntimeError, RuntimeEvent,
    RuntimeInfo, SandboxNetwork, SandboxSpec, State, Summary, labels,
};

#[derive(Debug, Default)]
struct World {
    made: usize,
    containers: Vec<Container>,
    images: BTreeSet<String>,
    calls: Vec<String>,
    summaries: usize,
}

/// The runtime.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    world: Mutex<World>,
}

impl Fake {
    /// A runtime that has these images.
    pub(crate) fn with_images(images: &[&str]) -> Self {
        let fake = Self::default();
        fake.world.lock().images = images.iter().map(|image| (*image).to_owned()).collect();
        fake
    }

    /// The calls that changed something, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.world.lock().calls.clone()
    }

    /// How often all containers were listed.
    pub(crate) fn summaries(&self) -> usize {
        self.world.lock().summaries
    }

    /// Ends the running container of that name.
    pub(crate) fn end(&self, name: &str, code: i32) {
        let mut world = self.world.lock();
        let running = world.containers.iter_mut().filter(|c| c.name == name && c.is_running());
        for container in running {
            exit(container, code);
        }
    }

    fn note(&self, call: String) {
        self.world.lock().calls.push(call);
    }

    fn add(&self, container: Container) -> String {
        let mut world = self.world.lock();
        world.made += 1;
        let id = format!("id{}", world.made);
        world.containers.push(Container { id: id.clone(), ..container });
        id
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Container)) {
        if let Some(found) = self.world.lock().containers.iter_mut().find(|c| c.id == id) {
            change(found);
        }
    }

    fn name(&self, id: &str) -> String {
        let world = self.world.lock();
        let found = world.containers.iter().find(|container| container.id == id);
        found.map(|container| container.name.clone()).unwrap_or_default()
    }
}

fn exit(container: &mut Container, code: i32) {
    container.pid = None;
    container.state = State::Exited(Exit {
        code,
        oom_killed: false,
        started_at: Some(Timestamp::now()),
        finished_at: Timestamp::now(),
        error: String::new(),
    });
}

fn blank(name: &str) -> Container {
    Container {
        id: String::new(),
        pod: super::PodIdentity::default(),
        name: name.to_owned(),
        attempt: 0,
        hash: String::new(),
        sandbox_id: String::new(),
        address: None,
        image: String::new(),
        image_id: String::new(),
        state: State::Created,
        pid: None,
        stop_signal: "SIGTERM".to_owned(),
    }
}

#[async_trait]
impl Runtime for Fake {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError> {
        Ok(RuntimeInfo { version: "fake://1".to_owned(), ..RuntimeInfo::default() })
    }

    async fn list(&self, pod: Option<&str>) -> Result<Vec<Container>, RuntimeError> {
        let world = self.world.lock();
        let wanted = world.containers.iter().filter(|c| pod.is_none_or(|uid| c.pod.uid == uid));
        Ok(wanted.cloned().collect())
    }

    async fn summary(&self) -> Result<Vec<Summary>, RuntimeError> {
        let mut world = self.world.lock();
        world.summaries += 1;
        let brief = |container: &Container| Summary {
            pod: container.pod.uid.clone(),
            id: container.id.clone(),
            state: if container.is_running() { "running" } else { "exited" }.to_owned(),
        };
        Ok(world.containers.iter().map(brief).collect())
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        self.note(format!("sandbox {}", spec.attempt));
        Ok(self.add(Container {
            pod: spec.pod.clone(),
            attempt: spec.attempt,
            address: match spec.network {
                SandboxNetwork::Private(address) => Some(address),
                SandboxNetwork::Host => None,
            },
            state: State::Running { started_at: Timestamp::now() },
            pid: Some(1),
            ..blank(labels::SANDBOX_NAME)
        }))
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        Ok(self.add(Container {
            pod: spec.pod.clone(),
            attempt: spec.attempt,
            hash: spec.hash.clone(),
            sandbox_id: spec.sandbox_id.clone(),
            image: spec.image.clone(),
            ..blank(&spec.name)
        }))
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.note(format!("start {}", self.name(id)));
        self.change(id, |container| {
            container.state = State::Running { started_at: Timestamp::now() };
        });
        Ok(())
    }

    async fn signal(&self, id: &str, signal: &str) -> Result<(), RuntimeError> {
        self.note(format!("{signal} {}", self.name(id)));
        if signal == "SIGKILL" {
            self.change(id, |container| exit(container, 137));
        }
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        self.note(format!("remove {}", self.name(id)));
        self.world.lock().containers.retain(|container| container.id != id);
        Ok(())
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        let present = self.world.lock().images.contains(reference);
        Ok(present.then(|| Image { id: "sha256:0".to_owned(), digest: None, user: String::new() }))
    }

    async fn pull(&self, reference: &str) -> Result<(), RuntimeError> {
        self.note(format!("pull {reference}"));
        Err(RuntimeError::NotFound(format!("manifest for {reference} not found")))
    }

    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        stream::pending().boxed()
    }

    fn logs(&self, _: &str, _: &LogOptions) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        stream::empty().boxed()
    }

    async fn exec(
        &self,
        _: &str,
        _: &[String],
        _: Duration,
    ) -> Result<(i64, String), RuntimeError> {
        Ok((0, String::new()))
    }
}
