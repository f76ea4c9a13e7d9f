//! What the kubelet needs from a container runtime, as a trait: sandboxes and containers that carry
//! the pod's identity in labels, images, an event stream and logs. Nothing here knows Docker.

pub mod command;
pub mod counted;
pub mod docker;
mod error;
#[cfg(test)]
pub(crate) mod fake;
pub mod labels;
pub mod observed;
pub mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use api_machinery::RegistryLogin;
use api_types::jiff::Timestamp;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::net::TcpStream;

use self::process::{Command, Exec, Size, Streams, Terminal};

use crate::addresses::PodAddresses;

pub use self::{error::RuntimeError, labels::PodIdentity};

/// What a container does at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running {
        /// When the process was started.
        started_at: Timestamp,
    },
    /// Its process ended, or could not be started (`error`).
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit status, 128 + signal for a signal.
    pub code: i32,
    /// Whether the kernel's OOM killer ended it.
    pub oom_killed: bool,
    /// When the process was started; `None` if it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it could not be started, otherwise empty.
    pub error: String,
}

/// A container or a pod's sandbox as the runtime reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// The pod it belongs to.
    pub pod: PodIdentity,
    /// The container's name in the pod's spec; [`labels::SANDBOX_NAME`] for a sandbox.
    pub name: String,
    /// 0 for the first container of that name, one more for each restart.
    pub attempt: u32,
    /// Hash of the spec it was made from.
    pub hash: String,
    /// The sandbox it joined; empty for a sandbox.
    pub sandbox_id: String,
    /// The addresses given to the pod, on sandboxes made for some.
    pub addresses: Option<PodAddresses>,
    /// The image as the spec names it.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// What it does at present.
    pub state: State,
    /// The process id while it runs.
    pub pid: Option<i32>,
    /// The signal that asks it to stop.
    pub stop_signal: String,
    /// What it may take.
    pub resources: Resources,
}

impl Container {
    /// Whether this is a pod's sandbox and not one of its containers.
    pub fn is_sandbox(&self) -> bool {
        self.name == labels::SANDBOX_NAME
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<&Exit> {
        match &self.state {
            State::Exited(exit) => Some(exit),
            State::Created | State::Running { .. } => None,
        }
    }
}

/// How a pod's sandbox reaches the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxNetwork {
    /// The node's own network.
    Host,
    /// A network namespace of its own, which the pod network then connects, with these addresses if they are
    /// known yet.
    Private(Option<PodAddresses>),
}

/// The sandbox to make.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// The pod it is for.
    pub pod: PodIdentity,
    /// Counts the sandboxes of this pod.
    pub attempt: u32,
    /// The pod's host name; ignored with the host's network.
    pub hostname: String,
    /// Host or private network.
    pub network: SandboxNetwork,
    /// `hostIPC`.
    pub host_ipc: bool,
    /// `hostPID`.
    pub host_pid: bool,
    /// `securityContext.sysctls`.
    pub sysctls: BTreeMap<String, String>,
}

/// Which mounts made later, on one side of a mount, appear on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// None.
    #[default]
    None,
    /// Those of the node.
    HostToContainer,
    /// Those of both.
    Bidirectional,
}

impl Propagation {
    /// `mountPropagation` of a volume mount.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("HostToContainer") => Self::HostToContainer,
            Some("Bidirectional") => Self::Bidirectional,
            _ => Self::None,
        }
    }
}

/// A directory or file of the node shown to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path on the node.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// Whether writing is forbidden.
    pub read_only: bool,
    /// What becomes of mounts made in it later.
    pub propagation: Propagation,
}

/// Limits and weights of a container; `None` is "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Relative weight, 1024 = one CPU.
    pub cpu_shares: Option<i64>,
    /// CFS quota in microseconds per period of 100 ms.
    pub cpu_quota: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
}

/// The part of `securityContext` that the runtime enforces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// All capabilities and devices.
    pub privileged: bool,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// Capabilities to add.
    pub add: Vec<String>,
    /// Capabilities to drop.
    pub drop: Vec<String>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// Which system calls are allowed.
    pub seccomp: Seccomp,
}

/// A filter of system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// The runtime's own.
    #[default]
    RuntimeDefault,
    /// None.
    Unconfined,
    /// One of the node's, as text.
    Localhost(String),
}

/// How much of a container's output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one file, after which the next is begun.
    pub max_size: u64,
    /// How many files there may be.
    pub max_files: u32,
}

/// The container to make.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    /// The pod it is for.
    pub pod: PodIdentity,
    /// The container's name in the pod.
    pub name: String,
    /// 0 for the first container of that name.
    pub attempt: u32,
    /// Hash of the spec, kept as a label.
    pub hash: String,
    /// The sandbox to join.
    pub sandbox_id: String,
    /// Whether all containers of the pod see each other's processes.
    pub share_pids: bool,
    /// The id of the container whose processes it sees, if it is another's.
    pub pids_of: Option<String>,
    /// `hostPID`.
    pub host_pid: bool,
    /// The image as the spec names it; becomes a label.
    pub image: String,
    /// Replaces the image's entrypoint.
    pub command: Option<Vec<String>>,
    /// Replaces the image's arguments.
    pub args: Option<Vec<String>>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// Replaces the image's working directory.
    pub working_dir: Option<String>,
    /// Whether to allocate a terminal.
    pub tty: bool,
    /// Whether standard input stays open.
    pub stdin: bool,
    /// Whether it is at its end when the first client that has attached to it has gone.
    pub stdin_once: bool,
    /// What the container sees of the node's files.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// How readily the kernel ends it when memory is short (`oom_score_adj`).
    pub oom_score_adj: i64,
    /// Rights.
    pub security: Security,
}

/// An image that is present on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The image's content id.
    pub id: String,
    /// `name@digest` if it came from a registry.
    pub digest: Option<String>,
    /// The user that the image says its containers run as: a name or a number; empty is root.
    pub user: String,
}

/// Something happened to a container of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// The pod's uid.
    pub pod: String,
    /// Docker's word for it: `start`, `die`, `destroy`, …
    pub action: String,
}

/// A container in brief.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Summary {
    /// The pod's uid.
    pub pod: String,
    /// The container's id.
    pub id: String,
    /// The runtime's word for what it does.
    pub state: String,
}

/// Which part of a container's log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether to go on with what is written later.
    pub follow: bool,
    /// Only this many lines from the end.
    pub tail: Option<u64>,
    /// Only lines written since.
    pub since: Option<Timestamp>,
    /// Whether each line starts with the time it was written.
    pub timestamps: bool,
}

/// What the runtime says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `docker://20.10.24`.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Name of the distribution.
    pub os_image: String,
    /// Where it keeps images, if it says so.
    pub images: Option<ImageStore>,
}

/// Where a runtime keeps images on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageStore {
    /// What is in them.
    pub data: PathBuf,
    /// A folder for each of their layers, with its size.
    pub layers: PathBuf,
}

/// A container runtime. All calls concern only containers that carry this node's label.
#[async_trait]
pub trait Runtime: Send + Sync + std::fmt::Debug + 'static {
    /// Version and system; also the check that the runtime answers.
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError>;
    /// Sandboxes and containers, dead ones included: of one pod (by uid), or of the whole node.
    async fn list(&self, pod: Option<&str>) -> Result<Vec<Container>, RuntimeError>;
    /// The same of the whole node in brief, at the price of one call.
    async fn summary(&self) -> Result<Vec<Summary>, RuntimeError>;
    /// Those of these sandboxes and containers that exist.
    async fn inspect(&self, ids: &BTreeSet<String>) -> Result<Vec<Container>, RuntimeError>;
    /// Makes a sandbox; gives its id. A stale one of the same name is replaced.
    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError>;
    /// Makes a container, whose sandbox need not run yet; gives its id. A stale one of the same name is
    /// replaced.
    async fn create(&self, spec: &ContainerSpec) -> Result<String, RuntimeError>;
    /// Starts a sandbox or a container.
    async fn start(&self, id: &str) -> Result<(), RuntimeError>;
    /// Changes what a container may take, while it runs; what is not said stays as it is.
    async fn update(&self, id: &str, resources: &Resources) -> Result<(), RuntimeError>;
    /// Sends a signal; a container that is not running is no error.
    async fn signal(&self, id: &str, signal: &str) -> Result<(), RuntimeError>;
    /// Removes a container, killing it if it runs; one that does not exist is no error.
    async fn remove(&self, id: &str) -> Result<(), RuntimeError>;
    /// The image, if it is present.
    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError>;
    /// Fetches the image; dropping the future ends the transfer.
    async fn pull(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<(), RuntimeError>;
    /// Removes an image from the node; one that a container was made of stays, which is an error, and one that
    /// is not there is none.
    async fn remove_image(&self, reference: &str) -> Result<(), RuntimeError>;
    /// What happens from now on; ends when the connection to the runtime breaks.
    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>>;
    /// The container's output, standard output and error interleaved.
    fn logs(
        &self,
        id: &str,
        options: &LogOptions,
    ) -> BoxStream<'static, Result<Bytes, RuntimeError>>;
    /// Runs a command in a container.
    async fn exec(&self, id: &str, command: &Command) -> Result<Exec, RuntimeError>;
    /// Waits for the end of a command; gives its exit status.
    async fn exec_status(&self, exec: &str) -> Result<i64, RuntimeError>;
    /// Ends a command that still runs; tells it nothing before. What it has begun goes on.
    async fn end_exec(&self, exec: &str) -> Result<(), RuntimeError>;
    /// The streams of a container's own process, from now on; with its input if that is wanted.
    async fn attach(&self, id: &str, stdin: bool) -> Result<Streams, RuntimeError>;
    /// Sets the size of a terminal.
    async fn resize(&self, terminal: &Terminal, size: Size) -> Result<(), RuntimeError>;
    /// Connects to a server in the network of a running sandbox, at its `localhost`.
    async fn connect(&self, sandbox: &str, port: u16) -> Result<TcpStream, RuntimeError>;
}
