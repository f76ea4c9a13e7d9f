//! A runtime in memory for tests: containers run until told otherwise, every call is noted, and what
//! happens is told as events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api_machinery::RegistryLogin;
use api_types::{api::core::v1::Container as Wanted, jiff::Timestamp};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::{
    io::duplex,
    net::TcpStream,
    sync::{broadcast, watch},
};
use tokio_util::io::ReaderStream;

use super::{
    Container, ContainerSpec, Exit, Image, LogOptions, Resources, Runtime, RuntimeError,
    RuntimeEvent, RuntimeInfo, SandboxNetwork, SandboxSpec, State, Summary, labels,
    process::{Command, Exec, Output, Size, Streams, Terminal},
};
use crate::container::resources::resources;

/// An image whose pull never ends, as that of other tags of it.
pub(crate) const ENDLESS_IMAGE: &str = "example.org/endless:1";
const ENDLESS: &str = "example.org/endless:";
/// Events that a slow listener may be behind.
const EVENTS: usize = 1024;

#[derive(Debug, Default)]
struct World {
    made: usize,
    containers: Vec<Container>,
    /// What containers were made from, by id.
    specs: BTreeMap<String, ContainerSpec>,
    images: BTreeSet<String>,
    /// What can be pulled.
    registry: BTreeSet<String>,
    /// Who alone may pull, by image.
    private: BTreeMap<String, RegistryLogin>,
    calls: Vec<String>,
    summaries: usize,
    lists: usize,
    /// Names of containers that cannot be started.
    broken: BTreeSet<String>,
    /// Exit status of commands in the containers of a name; 0 by default.
    answers: BTreeMap<String, i64>,
    /// Commands run so far in the containers of a name.
    execs: BTreeMap<String, usize>,
    /// Names of containers whose removal never ends.
    stuck: BTreeSet<String>,
    /// What all containers have written to their output.
    output: String,
    /// Which call panics when it comes next.
    panics: Option<&'static str>,
}

/// The runtime.
#[derive(Debug)]
pub(crate) struct Fake {
    world: Mutex<World>,
    events: broadcast::Sender<RuntimeEvent>,
    /// Names of containers that are slow to start.
    slow: watch::Sender<BTreeSet<String>>,
    /// Held by each pull that never ends.
    pulling: Arc<()>,
}

impl Default for Fake {
    fn default() -> Self {
        let events = broadcast::Sender::new(EVENTS);
        Self {
            world: Mutex::default(),
            events,
            slow: watch::Sender::default(),
            pulling: Arc::default(),
        }
    }
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

    /// How many pulls go on that never end.
    pub(crate) fn pulls(&self) -> usize {
        Arc::strong_count(&self.pulling) - 1
    }

    /// How often all containers were listed.
    pub(crate) fn summaries(&self) -> usize {
        self.world.lock().summaries
    }

    /// How often the containers of a pod were listed.
    pub(crate) fn lists(&self) -> usize {
        self.world.lock().lists
    }

    /// Whether containers of that name cannot be started from now on; nor made, if it is `sandbox`; nor
    /// commands begun in them, if it is `exec NAME`; nor signalled, if it is `SIGTERM NAME`; nor updated, if it is
    /// `update NAME`.
    pub(crate) fn set_broken(&self, name: &str, broken: bool) {
        let names = &mut self.world.lock().broken;
        if broken {
            names.insert(name.to_owned())
        } else {
            names.remove(name)
        };
    }

    /// Ends the running container of that name.
    pub(crate) fn end(&self, name: &str, code: i32) {
        let end = |container: &mut Container| exit(container, code);
        self.change("die", |c| c.name == name && c.is_running(), end);
    }

    /// Puts an image where it can be pulled from.
    pub(crate) fn publish(&self, image: &str) {
        self.world.lock().registry.insert(image.to_owned());
    }

    /// From now on commands in the containers of that name exit with this status.
    pub(crate) fn answer(&self, name: &str, code: i64) {
        self.world.lock().answers.insert(name.to_owned(), code);
    }

    /// How many commands were run in the containers of that name.
    pub(crate) fn execs(&self, name: &str) -> usize {
        self.world.lock().execs.get(name).copied().unwrap_or_default()
    }

    /// The removal of containers of that name is accepted and never done.
    pub(crate) fn stick(&self, name: &str) {
        self.world.lock().stuck.insert(name.to_owned());
    }

    /// Who calls this next panics: `list`, for a pod, `image` or `exec`.
    pub(crate) fn panic(&self, call: &'static str) {
        self.world.lock().panics = Some(call);
    }

    fn called(&self, call: &str) {
        let panics = self.world.lock().panics.take_if(|panics| *panics == call);
        assert_eq!(panics, None, "as the test wants it");
    }

    /// What all containers have written.
    pub(crate) fn print(&self, output: &str) {
        output.clone_into(&mut self.world.lock().output);
    }

    /// Writes to a file that the running container of that name has mounted.
    pub(crate) fn write(&self, name: &str, target: &str, text: &str) {
        let world = self.world.lock();
        let running = world.containers.iter().find(|c| c.name == name && c.is_running());
        let spec = &world.specs[&running.expect("it runs").id];
        let mount = spec.mounts.iter().find(|mount| mount.target == target).expect("it is mounted");
        std::fs::write(&mount.source, text).expect("the file can be written");
    }

    /// Whether containers of that name are not started before this is taken back; or of `exec NAME`,
    /// whether commands in them do not end; of `update NAME`, whether that does not end; of `read NAME`, whether they do not read; of `connect PORT`,
    /// whether that is not reached; of `sandbox`, whether none is made; of `SIGTERM NAME`, for any signal, and
    /// `remove NAME`, whether that does not end.
    pub(crate) fn hold(&self, name: &str, held: bool) {
        self.slow.send_modify(|slow| {
            if held {
                slow.insert(name.to_owned())
            } else {
                slow.remove(name)
            };
        });
    }

    /// What containers were made from.
    pub(crate) fn specs(&self) -> Vec<ContainerSpec> {
        self.world.lock().specs.values().cloned().collect()
    }

    /// A container that is there already; gives its id.
    pub(crate) fn adopt(&self, container: Container) -> String {
        self.add(container)
    }

    /// Puts an image where only this user can pull it from.
    pub(crate) fn publish_for(&self, login: RegistryLogin, image: &str) {
        self.world.lock().private.insert(image.to_owned(), login);
        self.publish(image);
    }

    async fn unless_held(&self, call: &str) {
        // The sender is as old as this.
        let _ = self.slow.subscribe().wait_for(|slow| !slow.contains(call)).await;
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

    fn change(
        &self,
        action: &str,
        which: impl Fn(&Container) -> bool,
        change: impl Fn(&mut Container),
    ) {
        let mut world = self.world.lock();
        for container in world.containers.iter_mut().filter(|container| which(container)) {
            change(container);
            self.tell(&container.pod.uid, action);
        }
    }

    fn tell(&self, pod: &str, action: &str) {
        // Without listeners nobody misses it.
        let _ = self.events.send(RuntimeEvent { pod: pod.to_owned(), action: action.to_owned() });
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

/// A container that was made and never started.
pub(crate) fn blank(name: &str) -> Container {
    Container {
        id: String::new(),
        pod: super::PodIdentity::default(),
        name: name.to_owned(),
        attempt: 0,
        hash: String::new(),
        sandbox_id: String::new(),
        addresses: None,
        image: String::new(),
        image_id: String::new(),
        state: State::Created,
        pid: None,
        stop_signal: "SIGTERM".to_owned(),
        resources: resources(&Wanted::default()),
    }
}

#[async_trait]
impl Runtime for Fake {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError> {
        Ok(RuntimeInfo { version: "fake://1".to_owned(), ..RuntimeInfo::default() })
    }

    async fn list(&self, pod: Option<&str>) -> Result<Vec<Container>, RuntimeError> {
        if pod.is_some() {
            self.called("list");
        }
        let mut world = self.world.lock();
        world.lists += usize::from(pod.is_some());
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

    async fn inspect(&self, ids: &BTreeSet<String>) -> Result<Vec<Container>, RuntimeError> {
        let world = self.world.lock();
        Ok(world.containers.iter().filter(|c| ids.contains(&c.id)).cloned().collect())
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        self.note(format!("sandbox {}", spec.attempt));
        self.unless_held("sandbox").await;
        if self.world.lock().broken.contains("sandbox") {
            return Err(RuntimeError::Failed("it is broken".to_owned()));
        }
        Ok(self.add(Container {
            pod: spec.pod.clone(),
            attempt: spec.attempt,
            addresses: match spec.network {
                SandboxNetwork::Private(addresses) => addresses,
                SandboxNetwork::Host => None,
            },
            ..blank(labels::SANDBOX_NAME)
        }))
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        let stale =
            |c: &Container| (&c.pod, &c.name, c.attempt) == (&spec.pod, &spec.name, spec.attempt);
        self.world.lock().containers.retain(|container| !stale(container));
        let id = self.add(Container {
            pod: spec.pod.clone(),
            attempt: spec.attempt,
            hash: spec.hash.clone(),
            sandbox_id: spec.sandbox_id.clone(),
            image: spec.image.clone(),
            image_id: "sha256:0".to_owned(),
            resources: spec.resources,
            ..blank(&spec.name)
        });
        self.world.lock().specs.insert(id.clone(), spec.clone());
        Ok(id)
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        let name = self.name(id);
        if name != labels::SANDBOX_NAME {
            self.note(format!("start {name}"));
        }
        self.unless_held(&name).await;
        if self.world.lock().broken.contains(&name) {
            return Err(RuntimeError::Failed("it is broken".to_owned()));
        }
        let run = |container: &mut Container| {
            container.state = State::Running { started_at: Timestamp::now() };
            container.pid = Some(1);
        };
        self.change("start", |container| container.id == id, run);
        Ok(())
    }

    async fn update(&self, id: &str, given: &Resources) -> Result<(), RuntimeError> {
        let call = format!("update {}", self.name(id));
        self.note(call.clone());
        self.unless_held(&call).await;
        if self.world.lock().broken.contains(&call) {
            return Err(RuntimeError::Failed("it is broken".to_owned()));
        }
        let resize = |container: &mut Container| container.resources = *given;
        self.change("update", |container| container.id == id, resize);
        Ok(())
    }

    async fn signal(&self, id: &str, signal: &str) -> Result<(), RuntimeError> {
        let call = format!("{signal} {}", self.name(id));
        self.note(call.clone());
        self.unless_held(&call).await;
        if self.world.lock().broken.contains(&call) {
            return Err(RuntimeError::Failed("it is broken".to_owned()));
        }
        if signal == "SIGKILL" {
            let end = |container: &mut Container| exit(container, 137);
            self.change("die", |container| container.id == id, end);
        }
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        // A worker that does nothing but remove must not keep the test from seeing that.
        tokio::task::yield_now().await;
        let call = format!("remove {}", self.name(id));
        self.note(call.clone());
        self.unless_held(&call).await;
        let mut world = self.world.lock();
        let stuck = world.stuck.clone();
        let goes = |c: &Container| c.id == id && !stuck.contains(&c.name);
        let gone: Vec<_> = world.containers.extract_if(.., |c| goes(c)).collect();
        for container in gone {
            self.tell(&container.pod.uid, "destroy");
        }
        Ok(())
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        self.called("image");
        let present = self.world.lock().images.contains(reference);
        Ok(present.then(|| Image { id: "sha256:0".to_owned(), digest: None, user: String::new() }))
    }

    async fn pull(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<(), RuntimeError> {
        self.note(format!("pull {reference}"));
        if reference.starts_with(ENDLESS) {
            let _pulling = self.pulling.clone();
            std::future::pending::<()>().await;
        }
        let mut world = self.world.lock();
        if !world.registry.contains(reference) {
            let message = format!("manifest for {reference} not found");
            return Err(RuntimeError::NotFound(message));
        }
        if world.private.get(reference).is_some_and(|private| Some(private) != login) {
            return Err(RuntimeError::Failed("unauthorized".to_owned()));
        }
        world.images.insert(reference.to_owned());
        Ok(())
    }

    async fn remove_image(&self, reference: &str) -> Result<(), RuntimeError> {
        self.note(format!("remove image {reference}"));
        if reference.starts_with(ENDLESS) {
            std::future::pending::<()>().await;
        }
        let mut world = self.world.lock();
        if world.containers.iter().any(|container| container.image == reference) {
            return Err(RuntimeError::Conflict(format!("{reference} is being used")));
        }
        world.images.remove(reference);
        Ok(())
    }

    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        let next = async |mut events: broadcast::Receiver<RuntimeEvent>| {
            let event = events.recv().await.ok()?;
            Some((Ok(event), events))
        };
        stream::unfold(self.events.subscribe(), next).boxed()
    }

    fn logs(&self, _: &str, _: &LogOptions) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        let output = Bytes::from(self.world.lock().output.clone());
        stream::iter([Ok(output)]).boxed()
    }

    /// Writes the command to standard error, and to standard output what it reads.
    async fn exec(&self, id: &str, command: &Command) -> Result<Exec, RuntimeError> {
        self.called("exec");
        let name = self.name(id);
        *self.world.lock().execs.entry(name.clone()).or_default() += 1;
        if self.world.lock().broken.contains(&format!("exec {name}")) {
            return Err(RuntimeError::Failed("it is broken".to_owned()));
        }
        let words = Output::Stderr(command.words.join(" ").into());
        let held = format!("read {name}");
        let mut slow = self.slow.subscribe();
        let reads = async move {
            let _ = slow.wait_for(|slow| !slow.contains(&held)).await;
        };
        Ok(Exec { id: name, streams: echo(command.stdin, Some(words), reads) })
    }

    async fn exec_status(&self, exec: &str) -> Result<i64, RuntimeError> {
        self.unless_held(&format!("exec {exec}")).await;
        Ok(self.world.lock().answers.get(exec).copied().unwrap_or_default())
    }

    async fn end_exec(&self, exec: &str) -> Result<(), RuntimeError> {
        self.note(format!("end exec {exec}"));
        Ok(())
    }

    /// A process that writes what it reads.
    async fn attach(&self, id: &str, stdin: bool) -> Result<Streams, RuntimeError> {
        self.note(format!("attach {}", self.name(id)));
        Ok(echo(stdin, None, ready(())))
    }

    async fn resize(&self, terminal: &Terminal, size: Size) -> Result<(), RuntimeError> {
        self.note(format!("{terminal:?} {}x{}", size.width, size.height));
        Ok(())
    }

    /// The host's own network.
    async fn connect(&self, _: &str, port: u16) -> Result<TcpStream, RuntimeError> {
        self.unless_held(&format!("connect {port}")).await;
        let connected = TcpStream::connect(("127.0.0.1", port)).await;
        connected.map_err(|error| RuntimeError::Failed(error.to_string()))
    }
}

/// The streams of a process that writes this, and then what it reads once it does, if it reads anything.
fn echo(
    stdin: bool,
    first: Option<Output>,
    reads: impl Future<Output = ()> + Send + 'static,
) -> Streams {
    let (input, output) = duplex(1 << 10);
    let read = |part: std::io::Result<Bytes>| Ok(Output::Stdout(part.expect("it is in memory")));
    let echoed = ReaderStream::new(output).map(read);
    let echoed = reads.map(|()| echoed).flatten_stream();
    let output = stream::iter(first.map(Ok)).chain(echoed).boxed();
    Streams { input: Box::pin(input), output: if stdin { output } else { output.take(1).boxed() } }
}
