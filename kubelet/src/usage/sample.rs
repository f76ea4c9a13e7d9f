//! A sample: what everything on the node uses at one moment.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use api_types::jiff::Timestamp;

use super::{
    cgroup::Groups,
    figures::{Figures, Measured},
    proc::{self, Interface},
    rates::{Rates, Reading},
    running::{RunningContainer, RunningPod},
};
use crate::{node::resources::Memory, runtime::PodIdentity};

/// Where the kernel shows what is used.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// Where the kubelet keeps files: the file system that pods share with the node.
    pub root: PathBuf,
}

impl Host {
    /// This host.
    pub fn new(root: &Path) -> Self {
        Self { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into(), root: root.to_owned() }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.proc.join(file)).ok()
    }
}

/// What everything uses.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was taken.
    pub taken: Instant,
    /// The same by the clock.
    pub timestamp: Timestamp,
    /// The host.
    pub node: NodeSample,
    /// The pods that run.
    pub pods: Vec<PodSample>,
}

/// What the host uses.
#[derive(Clone, Debug)]
pub struct NodeSample {
    /// Its figures.
    pub measured: Measured,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// All its memory and what can be given to programs, in bytes.
    pub memory: Memory,
    /// Its network.
    pub interfaces: Option<Vec<Interface>>,
    /// The interface that leads everywhere.
    pub default_interface: Option<String>,
    /// Its file system.
    pub fs: Option<FileSystem>,
    /// How many processes and threads there may be.
    pub max_pids: Option<u64>,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its size in bytes.
    pub capacity: u64,
    /// Bytes that are free for everybody.
    pub available: u64,
    /// Bytes that are used.
    pub used: u64,
    /// How many files there may be.
    pub inodes: u64,
    /// How many more there may be.
    pub inodes_free: u64,
}

impl FileSystem {
    fn read(directory: &Path) -> Option<Self> {
        let stat = nix::sys::statvfs::statvfs(directory).ok()?;
        let unit = stat.fragment_size();
        Some(Self {
            capacity: stat.blocks() * unit,
            available: stat.blocks_available() * unit,
            used: stat.blocks().saturating_sub(stat.blocks_free()) * unit,
            inodes: stat.files(),
            inodes_free: stat.files_free(),
        })
    }
}

/// What a pod uses.
#[derive(Clone, Debug)]
pub struct PodSample {
    /// Which it is.
    pub pod: PodIdentity,
    /// All its containers together, the sandbox included.
    pub measured: Measured,
    /// Its network, unless it is the node's.
    pub interfaces: Option<Vec<Interface>>,
    /// Its sandbox.
    pub sandbox: Option<ContainerSample>,
    /// Its containers.
    pub containers: Vec<ContainerSample>,
}

/// What a container uses.
#[derive(Clone, Debug)]
pub struct ContainerSample {
    /// Which it is.
    pub container: Arc<RunningContainer>,
    /// The path of its control group.
    pub group: Option<String>,
    /// Its figures.
    pub measured: Measured,
}

/// Takes a sample. Reads some files per container: not for a thread that others wait for.
pub(super) fn take(host: &Host, running: &[RunningPod], rates: &mut Rates) -> Sample {
    rates.begin();
    let timestamp = Timestamp::now();
    let node = node(host, rates);
    let pods = running.iter().map(|pod| self::pod(host, pod, rates)).collect();
    Sample { taken: Instant::now(), timestamp, node, pods }
}

fn node(host: &Host, rates: &mut Rates) -> NodeSample {
    let figures = proc::host(&|file| host.read(file));
    let routes = host.read("net/route").unwrap_or_default();
    NodeSample {
        measured: measured(figures, "", rates),
        started_at: host.read("stat").and_then(|stat| proc::boot_time(&stat)),
        memory: Memory::parse(&host.read("meminfo").unwrap_or_default()),
        interfaces: host.read("net/dev").map(|text| proc::interfaces(&text)),
        default_interface: proc::default_interface(&routes).map(str::to_owned),
        fs: FileSystem::read(&host.root),
        max_pids: host.read("sys/kernel/pid_max").and_then(|text| text.trim().parse().ok()),
    }
}

fn pod(host: &Host, running: &RunningPod, rates: &mut Rates) -> PodSample {
    let mut sample = |found: &Arc<RunningContainer>| container(host, found, rates);
    let sandbox = running.sandbox.as_ref().map(&mut sample);
    let containers: Vec<_> = running.containers.iter().map(sample).collect();
    let own_network =
        sandbox.as_ref().filter(|found| !running.host_network && found.group.is_some());
    let interfaces = own_network.and_then(|sandbox| {
        let file = format!("{}/net/dev", sandbox.container.pid);
        host.read(&file).map(|text| proc::interfaces(&text))
    });
    let parts: Vec<&Measured> =
        containers.iter().chain(&sandbox).map(|part| &part.measured).collect();
    PodSample {
        pod: running.pod.clone(),
        measured: Measured::sum(&parts),
        interfaces,
        sandbox,
        containers,
    }
}

fn container(host: &Host, found: &Arc<RunningContainer>, rates: &mut Rates) -> ContainerSample {
    let text = host.read(&format!("{}/cgroup", found.pid));
    let groups = text.and_then(|text| Groups::parse(&text, &found.id));
    let figures = groups.as_ref().map(|groups| groups.read(&host.cgroup)).unwrap_or_default();
    ContainerSample {
        container: found.clone(),
        group: groups.map(|groups| groups.path().to_owned()),
        measured: measured(figures, &found.id, rates),
    }
}

fn measured(figures: Figures, counter: &str, rates: &mut Rates) -> Measured {
    let nanos = figures.cpu_nanos;
    let rate = nanos.and_then(|nanos| rates.rate(counter, Reading { nanos, at: Instant::now() }));
    Measured { figures, rate }
}
