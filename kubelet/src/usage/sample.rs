//! A sample: what everything on the node uses at one moment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api_types::jiff::Timestamp;

use super::{
    cgroup::Groups,
    disks::{Disk, Disks},
    ended::Ended,
    figures::{Figures, Measured},
    host::{FileSystem, Host},
    proc::{self, Interface},
    rates::{Rates, Reading},
    running::{RunningContainer, RunningPod},
};
use crate::{machine::Memory, runtime::PodIdentity};

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
    /// That of images, of which only what they take counts as used.
    pub image_fs: Option<FileSystem>,
    /// How many processes and threads there may be.
    pub max_pids: Option<u64>,
}

/// What a pod uses.
#[derive(Clone, Debug)]
pub struct PodSample {
    /// Which it is.
    pub pod: PodIdentity,
    /// All its containers together, the sandbox included; counters also of those that have ended.
    pub measured: Measured,
    /// Its network, unless it is the node's.
    pub interfaces: Option<Vec<Interface>>,
    /// Its sandbox.
    pub sandbox: Option<ContainerSample>,
    /// Its containers.
    pub containers: Vec<ContainerSample>,
    /// What its containers and volumes take.
    pub disk: Option<Disk>,
    /// What each of the volumes takes that live with it.
    pub volumes: Vec<(String, Disk)>,
}

impl PodSample {
    /// When it was started.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        let first = self.sandbox.as_ref().or(self.containers.first());
        first.map(|found| found.container.started_at)
    }
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
    /// What it has written.
    pub disk: Option<Disk>,
}

/// What is kept from one sample to the next.
#[derive(Debug, Default)]
pub(super) struct Before {
    rates: Rates,
    ended: Ended,
}

/// Takes a sample, with rates over that period. Reads some files per container: not for a thread that others wait for.
pub(super) fn take(
    host: &Host,
    running: &[RunningPod],
    disks: &Disks,
    before: &mut Before,
    period: Duration,
) -> Sample {
    before.rates.begin(period);
    before.ended.begin(running);
    let timestamp = Timestamp::now();
    let node = node(host, disks, &mut before.rates);
    let pods = running.iter().map(|running| pod(host, running, disks, before)).collect();
    Sample { taken: Instant::now(), timestamp, node, pods }
}

fn node(host: &Host, disks: &Disks, rates: &mut Rates) -> NodeSample {
    let figures = proc::host(&|file| host.read(file));
    let routes = host.read("net/route").unwrap_or_default();
    NodeSample {
        measured: measured(figures, "", rates),
        started_at: host.read("stat").and_then(|stat| proc::boot_time(&stat)),
        memory: Memory::parse(&host.read("meminfo").unwrap_or_default()),
        interfaces: host.read("net/dev").map(|text| proc::host_interfaces(&text)),
        default_interface: proc::default_interface(&routes).map(str::to_owned),
        fs: FileSystem::read(&host.root),
        image_fs: disks.images(),
        max_pids: host.read("sys/kernel/pid_max").and_then(|text| text.trim().parse().ok()),
    }
}

fn pod(host: &Host, running: &RunningPod, disks: &Disks, before: &mut Before) -> PodSample {
    let mut sample =
        |found: &Arc<RunningContainer>| container(host, found, disks, &mut before.rates);
    let sandbox = running.sandbox.as_ref().map(&mut sample);
    let containers: Vec<_> = running.containers.iter().map(sample).collect();
    let own_network =
        sandbox.as_ref().filter(|found| !running.host_network && found.group.is_some());
    let interfaces = own_network.and_then(|sandbox| {
        let file = format!("{}/net/dev", sandbox.container.pid);
        host.read(&file).map(|text| proc::interfaces(&text))
    });
    let parts: Vec<&ContainerSample> = containers.iter().chain(&sandbox).collect();
    let mut measured = Measured::sum(&parts.iter().map(|part| &part.measured).collect::<Vec<_>>());
    let counted = parts.iter().map(|part| (&*part.container.id, &part.measured.figures));
    before.ended.add(&running.pod.uid, counted, &mut measured.figures);
    let written: Option<Vec<Disk>> = parts.iter().map(|part| part.disk).collect();
    let disk = disks.of(&running.pod.uid).zip(written).map(|(volumes, written)| Disk {
        used: volumes.used + written.iter().map(|disk| disk.used).sum::<u64>(),
        ..volumes
    });
    let volumes = disks.volumes(&running.pod.uid);
    PodSample { pod: running.pod.clone(), measured, interfaces, sandbox, containers, disk, volumes }
}

fn container(
    host: &Host,
    found: &Arc<RunningContainer>,
    disks: &Disks,
    rates: &mut Rates,
) -> ContainerSample {
    let groups = groups(host, &found.id, found.pid);
    let figures = groups.as_ref().map(|groups| groups.read(&host.cgroup)).unwrap_or_default();
    ContainerSample {
        container: found.clone(),
        group: groups.map(|groups| groups.path().to_owned()),
        measured: measured(figures, &found.id, rates),
        disk: disks.of(&found.id),
    }
}

fn groups(host: &Host, container: &str, pid: i32) -> Option<Groups> {
    Groups::parse(&host.read(&format!("{pid}/cgroup"))?, container)
}

/// How many bytes of memory the processes of a container take, by its id and its first process.
pub(crate) fn memory(host: &Host, container: &str, pid: i32) -> Option<u64> {
    groups(host, container, pid)?.read(&host.cgroup).memory_usage
}

fn measured(figures: Figures, counter: &str, rates: &mut Rates) -> Measured {
    let nanos = figures.cpu_nanos;
    let rate = nanos.and_then(|nanos| rates.rate(counter, Reading { nanos, at: Instant::now() }));
    Measured { figures, rate }
}
