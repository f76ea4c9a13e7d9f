//! What only `/metrics/cadvisor` tells. It is read for who asks for that, and not with every sample.

use std::collections::{BTreeMap, HashMap};

use super::{
    cgroup::Groups,
    figures::{field, number},
    host::Host,
    io::{self, Devices, Number},
    running::RunningContainer,
    sample::Sample,
};
use crate::machine::{CpuTicks, kibibytes, ticks_nanos};

/// Of everything in a sample.
#[derive(Clone, Debug, Default)]
pub struct Detailed {
    /// Of the host.
    pub node: Details,
    /// Of the containers, by id.
    pub containers: HashMap<String, Details>,
    /// The paths of block devices, and what is mounted of others.
    pub devices: BTreeMap<Number, String>,
    /// What the host is.
    pub machine: Machine,
}

/// What a container or the host has used, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Processor time of programs, in nanoseconds.
    pub user_nanos: Option<u64>,
    /// Processor time of the kernel for them, in nanoseconds.
    pub system_nanos: Option<u64>,
    /// Periods in which processes ran whose processor time has a limit.
    pub periods: Option<u64>,
    /// Those in which they had to wait, because they had used up what they may.
    pub throttled_periods: Option<u64>,
    /// For how long, in nanoseconds.
    pub throttled_nanos: Option<u64>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Bytes of files that are mapped into memory.
    pub mapped_file: Option<u64>,
    /// The most bytes that were in use at one moment.
    pub max_usage: Option<u64>,
    /// How often the limit of memory was hit.
    pub limit_hits: Option<u64>,
    /// How many processes were killed because of that.
    pub oom_kills: Option<u64>,
    /// Block devices.
    pub io: Option<Devices>,
}

/// What the host is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Processor sockets.
    pub sockets: Option<u64>,
    /// Cores of all of them, however many threads each of them runs.
    pub cores: Option<u64>,
}

/// Reads some files per container: not for a thread that others wait for.
pub(super) fn read(host: &Host, sample: &Sample) -> Detailed {
    let mut devices = io::mounted(&host.read("self/mountinfo").unwrap_or_default());
    let (names, io) = io::host(&host.read("diskstats").unwrap_or_default());
    devices.extend(names);
    let pods = sample.pods.iter();
    let found = pods.flat_map(|pod| pod.containers.iter().chain(&pod.sandbox));
    let containers = found.filter_map(|found| {
        let container = &found.container;
        Some((container.id.clone(), container_details(host, container)?))
    });
    Detailed {
        node: Details { io: Some(io), ..node(&|file| host.read(file)) },
        containers: containers.collect(),
        devices,
        machine: machine(&|file| host.read(file)),
    }
}

/// `None` if its process is another one by now.
fn container_details(host: &Host, container: &RunningContainer) -> Option<Details> {
    let text = host.read(&format!("{}/cgroup", container.pid))?;
    let groups = Groups::parse(&text, &container.id)?;
    let of = if matches!(groups, Groups::V1(_)) { v1 } else { v2 };
    Some(of(&|controller, file| groups.file(&host.cgroup, controller, file)))
}

type Read<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

/// `total_` includes the groups below.
fn v1(read: Read<'_>) -> Details {
    let times = read("cpuacct", "cpuacct.stat").unwrap_or_default();
    let throttled = read("cpu", "cpu.stat").unwrap_or_default();
    let memory = read("memory", "memory.stat").unwrap_or_default();
    let kills = read("memory", "memory.oom_control").unwrap_or_default();
    // Kernels before 5.x have no sum over groups below.
    let io = |kind: &str| {
        let file = format!("blkio.throttle.{kind}");
        read("blkio", &format!("{file}_recursive")).or_else(|| read("blkio", &file))
    };
    let io = io("io_service_bytes").zip(io("io_serviced"));
    Details {
        user_nanos: field(&times, "user").map(ticks_nanos),
        system_nanos: field(&times, "system").map(ticks_nanos),
        periods: field(&throttled, "nr_periods"),
        throttled_periods: field(&throttled, "nr_throttled"),
        throttled_nanos: field(&throttled, "throttled_time"),
        swap: field(&memory, "total_swap"),
        mapped_file: field(&memory, "total_mapped_file"),
        max_usage: number(read("memory", "memory.max_usage_in_bytes")),
        limit_hits: number(read("memory", "memory.failcnt")),
        oom_kills: field(&kills, "oom_kill"),
        io: io.map(|(bytes, requests)| io::v1(&bytes, &requests)),
    }
}

fn v2(read: Read<'_>) -> Details {
    let read = |file: &str| read("", file);
    let cpu = read("cpu.stat").unwrap_or_default();
    let nanos = |name| field(&cpu, name).and_then(|micros| micros.checked_mul(1000));
    let memory = read("memory.stat").unwrap_or_default();
    let events = read("memory.events").unwrap_or_default();
    Details {
        user_nanos: nanos("user_usec"),
        system_nanos: nanos("system_usec"),
        periods: field(&cpu, "nr_periods"),
        throttled_periods: field(&cpu, "nr_throttled"),
        throttled_nanos: nanos("throttled_usec"),
        swap: number(read("memory.swap.current")),
        mapped_file: field(&memory, "file_mapped"),
        max_usage: number(read("memory.peak")),
        limit_hits: field(&events, "max"),
        oom_kills: field(&events, "oom_kill"),
        io: read("io.stat").map(|text| io::v2(&text)),
    }
}

/// From `stat`, `meminfo` and `vmstat`.
fn node(read: &dyn Fn(&str) -> Option<String>) -> Details {
    let ticks = read("stat").and_then(|text| CpuTicks::parse(&text));
    let memory = read("meminfo").unwrap_or_default();
    let bytes = |name| kibibytes(&memory, name);
    Details {
        user_nanos: ticks.map(CpuTicks::user_nanos),
        system_nanos: ticks.map(CpuTicks::system_nanos),
        swap: bytes("SwapTotal:")
            .zip(bytes("SwapFree:"))
            .map(|(all, free)| all.saturating_sub(free)),
        mapped_file: bytes("Mapped:"),
        oom_kills: read("vmstat").and_then(|text| field(&text, "oom_kill")),
        ..Details::default()
    }
}

/// From `meminfo` and `cpuinfo`, which does not tell of sockets and cores on all architectures.
fn machine(read: &dyn Fn(&str) -> Option<String>) -> Machine {
    let text = read("cpuinfo").unwrap_or_default();
    let processors = text.split("\n\n").filter_map(|processor| {
        let value = |name: &str| {
            let line = processor.lines().find(|line| line.starts_with(name))?;
            line.split_once(": ")?.1.trim().parse::<u64>().ok()
        };
        Some((value("physical id")?, value("core id")?))
    });
    let cores: std::collections::BTreeSet<_> = processors.collect();
    let sockets: std::collections::BTreeSet<_> = cores.iter().map(|(socket, _)| socket).collect();
    let count = |number: usize| u64::try_from(number).ok().filter(|number| *number > 0);
    Machine {
        swap: kibibytes(&read("meminfo").unwrap_or_default(), "SwapTotal:"),
        sockets: count(sockets.len()),
        cores: count(cores.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_by_socket() {
        let processor = |socket, core| {
            format!("processor\t: 9\nphysical id\t: {socket}\ncore id\t\t: {core}\nflags\t: x\n\n")
        };
        let text = [processor(0, 0), processor(0, 0), processor(0, 1), processor(1, 0)].concat();
        let read = |file: &str| (file == "cpuinfo").then(|| text.clone());
        assert_eq!(machine(&read), Machine { swap: None, sockets: Some(2), cores: Some(3) });
        assert_eq!(machine(&|_| None), Machine::default());
    }

    #[test]
    fn the_hosts_own_are_those_of_all_its_processes() {
        let read = |file: &str| {
            let text = match file {
                "stat" => "cpu 10 2 3 500 7 4 5 6 1 1\n",
                "meminfo" => "SwapTotal: 100 kB\nSwapFree: 40 kB\nMapped: 5 kB\n",
                "vmstat" => "oom_kill 3\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        let expected = Details {
            user_nanos: Some(120_000_000),
            system_nanos: Some(120_000_000),
            swap: Some(60 << 10),
            mapped_file: Some(5 << 10),
            oom_kills: Some(3),
            ..Details::default()
        };
        assert_eq!(node(&read), expected);
    }
}
