//! The Docker Engine as container runtime: of one node, whose containers are told by their labels.

mod answer;
mod kill;
mod oom_score;
mod process;
mod request;

use std::{collections::BTreeSet, fs::File, time::Duration};

use api_machinery::RegistryLogin;
use async_trait::async_trait;
use bytes::Bytes;
use docker::{Credentials, Docker as Engine, Error, models::ContainerCreateBody};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    Container, ContainerSpec, Image, LogLimits, LogOptions, Resources, Runtime, RuntimeError,
    RuntimeEvent, RuntimeInfo, SandboxSpec, Summary, labels,
    process::{Command, Exec, Size, Streams, Terminal},
};

/// How long a command that is to end may take to begin.
const BEGINNING: Duration = Duration::from_secs(30);

/// Containers of one node in one Docker Engine.
#[derive(Debug)]
pub struct Docker {
    engine: Engine,
    node: String,
    pause_image: String,
    logs: LogLimits,
}

impl Docker {
    /// The containers of this node.
    pub fn new(engine: Engine, node: &str, pause_image: &str, logs: LogLimits) -> Self {
        Self { engine, node: node.to_owned(), pause_image: pause_image.to_owned(), logs }
    }

    /// The labels of this node's containers, or of those of one pod.
    fn labels(&self, pod: Option<&str>) -> Vec<String> {
        let pod = pod.map(|uid| format!("{}={uid}", labels::POD_UID));
        [format!("{}={}", labels::NODE, self.node)].into_iter().chain(pod).collect()
    }

    async fn look(&self, id: &str) -> Result<Option<Container>, RuntimeError> {
        match self.engine.container(id).await {
            Ok(found) => Ok(answer::container(found)),
            // Removed between list and inspect.
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn create_named(
        &self,
        name: &str,
        body: &ContainerCreateBody,
    ) -> Result<String, RuntimeError> {
        match self.engine.create(name, body).await {
            Err(Error::InUse(_)) => {
                // Left by a kubelet that died between create and start.
                self.remove(name).await?;
                Ok(self.engine.create(name, body).await?)
            }
            made => Ok(made?),
        }
    }

    /// The network namespace of a sandbox.
    async fn network(&self, sandbox: &str) -> Result<File, RuntimeError> {
        let found = self.look(sandbox).await?.and_then(|sandbox| sandbox.pid);
        let pid = found.ok_or_else(|| {
            RuntimeError::NotFound(format!("sandbox container {sandbox:?} is not running"))
        })?;
        File::open(format!("/proc/{pid}/ns/net")).map_err(failed)
    }
}

fn failed(error: impl Into<anyhow::Error>) -> RuntimeError {
    RuntimeError::Failed(format!("{:#}", error.into()))
}

impl From<Error> for RuntimeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(source) => Self::Unreachable(source.to_string()),
            Error::NotFound(said) => Self::NotFound(said),
            Error::InUse(said) | Error::Conflict(said) => Self::Conflict(said),
            Error::Refused(said) => Self::Failed(said),
            Error::Host(_) | Error::Answer(_) => failed(error),
        }
    }
}

/// Whatever state the container is in, there is nothing left to do.
fn unless_over(done: Result<(), Error>) -> Result<(), RuntimeError> {
    match done {
        Err(Error::NotFound(_) | Error::Conflict(_)) => Ok(()),
        other => Ok(other?),
    }
}

// === impl Runtime ===

#[async_trait]
impl Runtime for Docker {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError> {
        let info = self.engine.info().await?;
        Ok(RuntimeInfo {
            version: format!("docker://{}", info.server_version.unwrap_or_default()),
            kernel: info.kernel_version.unwrap_or_default(),
            images: answer::image_store(info.docker_root_dir.as_deref(), info.driver.as_deref()),
            os_image: info.operating_system.unwrap_or_default(),
        })
    }

    async fn list(&self, pod: Option<&str>) -> Result<Vec<Container>, RuntimeError> {
        let found = self.engine.containers(&self.labels(pod)).await?;
        self.inspect(&found.into_iter().filter_map(|summary| summary.id).collect()).await
    }

    async fn inspect(&self, ids: &BTreeSet<String>) -> Result<Vec<Container>, RuntimeError> {
        stream::iter(ids.iter().cloned())
            .map(|id| async move { self.look(&id).await })
            .buffered(8)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await
    }

    async fn summary(&self) -> Result<Vec<Summary>, RuntimeError> {
        let found = self.engine.containers(&self.labels(None)).await?;
        Ok(found.into_iter().filter_map(answer::summary).collect())
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        let name = labels::container_name(&spec.pod, labels::SANDBOX_NAME, spec.attempt);
        let lowest = oom_score::lowest(&self.engine).await;
        self.create_named(&name, &self.sandbox_body(spec, lowest)).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        let name = labels::container_name(&spec.pod, &spec.name, spec.attempt);
        let lowest = oom_score::lowest(&self.engine).await;
        self.create_named(&name, &self.container_body(spec, lowest)).await
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        Ok(self.engine.start(id).await?)
    }

    async fn update(&self, id: &str, resources: &Resources) -> Result<(), RuntimeError> {
        Ok(self.engine.update(id, &Self::update_body(resources)).await?)
    }

    async fn signal(&self, id: &str, signal: &str) -> Result<(), RuntimeError> {
        unless_over(self.engine.kill(id, signal).await)
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        unless_over(self.engine.remove(id).await)
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        match self.engine.image(reference).await {
            Ok(image) => Ok(Some(Image {
                id: image.id.unwrap_or_default(),
                digest: image.repo_digests.unwrap_or_default().into_iter().next(),
                user: image.config.and_then(|config| config.user).unwrap_or_default(),
            })),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn pull(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<(), RuntimeError> {
        let credentials = login
            .cloned()
            .map(|RegistryLogin { username, password }| Credentials { username, password });
        Ok(self.engine.pull(reference, credentials).await?)
    }

    async fn remove_image(&self, reference: &str) -> Result<(), RuntimeError> {
        match self.engine.remove_image(reference).await {
            Err(Error::NotFound(_)) => Ok(()),
            done => Ok(done?),
        }
    }

    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        let events = self.engine.events(&self.labels(None), &[]);
        let known = events.map_err(RuntimeError::from);
        known.try_filter_map(|message| async move { Ok(answer::event(message)) }).boxed()
    }

    fn logs(
        &self,
        id: &str,
        options: &LogOptions,
    ) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        let options = docker::LogOptions {
            follow: options.follow,
            tail: options.tail,
            since: options.since.map_or(0, |since| since.as_second()),
            timestamps: options.timestamps,
        };
        self.engine.logs(id, &options).map_err(RuntimeError::from).boxed()
    }

    async fn exec(&self, id: &str, command: &Command) -> Result<Exec, RuntimeError> {
        Ok(self.engine.exec(id, &process::command(command)).await?.into())
    }

    async fn exec_status(&self, exec: &str) -> Result<i64, RuntimeError> {
        Ok(self.engine.exec_status(exec).await?)
    }

    /// Docker has no request for that.
    async fn end_exec(&self, exec: &str) -> Result<(), RuntimeError> {
        let late = |_| RuntimeError::Failed("it has not begun".to_owned());
        match timeout(BEGINNING, self.engine.exec_process(exec)).await.map_err(late)? {
            Ok(Some(process)) => kill::kill(&process).map_err(failed),
            Ok(None) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn attach(&self, id: &str, stdin: bool) -> Result<Streams, RuntimeError> {
        Ok(self.engine.attach(id, stdin).await?.into())
    }

    async fn resize(&self, terminal: &Terminal, size: Size) -> Result<(), RuntimeError> {
        let Size { width, height } = size;
        Ok(match terminal {
            Terminal::Container(id) => self.engine.resize(id, width, height).await,
            Terminal::Exec(id) => self.engine.resize_exec(id, width, height).await,
        }?)
    }

    async fn connect(&self, sandbox: &str, port: u16) -> Result<TcpStream, RuntimeError> {
        let namespace = self.network(sandbox).await?;
        let stream = netlink::connect_inside(namespace, port).await.map_err(failed)?;
        stream.set_nonblocking(true).map_err(failed)?;
        TcpStream::from_std(stream).map_err(failed)
    }
}
