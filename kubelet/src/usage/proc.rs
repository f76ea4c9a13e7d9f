//! What the kernel says of the host, and of the network of a process, in `/proc`. Pure.

use api_types::jiff::Timestamp;

use super::figures::{Figures, field};
use crate::machine::{CpuTicks, kibibytes};

/// Traffic of an interface since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What came.
    pub received: Traffic,
    /// What went.
    pub transmitted: Traffic,
}

/// Traffic in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were faulty.
    pub errors: u64,
    /// Packets that were thrown away.
    pub dropped: u64,
}

impl Traffic {
    /// The first of eight columns of a direction.
    fn parse(columns: &[u64]) -> Option<Self> {
        let [bytes, packets, errors, dropped, ..] = *columns else { return None };
        Some(Self { bytes, packets, errors, dropped })
    }
}

/// What cAdvisor does not tell of: the loopback, and the host's ends of what belongs to containers, whose traffic
/// is that of other interfaces too. Beginnings of their names.
const IGNORED: &str = "lo veth docker nerdctl";

/// `/proc/net/dev` of the host.
pub(super) fn host_interfaces(text: &str) -> Vec<Interface> {
    let mut interfaces = interfaces(text);
    interfaces.retain(|found| !IGNORED.split(' ').any(|prefix| found.name.starts_with(prefix)));
    interfaces
}

/// `/proc/<pid>/net/dev`, without the loopback.
pub(super) fn interfaces(text: &str) -> Vec<Interface> {
    let interfaces = text.lines().filter_map(interface);
    interfaces.filter(|interface| interface.name != "lo").collect()
}

fn interface(line: &str) -> Option<Interface> {
    let (name, columns) = line.split_once(':')?;
    let columns: Vec<u64> =
        columns.split_whitespace().map_while(|word| word.parse().ok()).collect();
    Some(Interface {
        name: name.trim().to_owned(),
        received: Traffic::parse(columns.get(..8)?)?,
        transmitted: Traffic::parse(columns.get(8..16)?)?,
    })
}

/// The interface that leads everywhere, by `/proc/net/route`: tunnels may have a half of everything.
pub(super) fn default_interface(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (name, destination, mask) = (words.next()?, words.next()?, words.nth(5)?);
        (destination == "00000000" && mask == "00000000").then_some(name)
    })
}

/// The host's, from `stat`, `meminfo`, `vmstat` and `loadavg`.
pub(super) fn host(read: &dyn Fn(&str) -> Option<String>) -> Figures {
    let memory = read("meminfo").unwrap_or_default();
    let memory = |name| kibibytes(&memory, name);
    let faults = read("vmstat").unwrap_or_default();
    let usage =
        memory("MemTotal:").zip(memory("MemFree:")).map(|(all, free)| all.saturating_sub(free));
    let inactive = memory("Inactive(file):");
    Figures {
        cpu_nanos: read("stat").and_then(|text| CpuTicks::parse(&text)).map(CpuTicks::busy_nanos),
        memory_usage: usage,
        memory_working_set: usage.zip(inactive).map(|(usage, file)| usage.saturating_sub(file)),
        memory_rss: memory("AnonPages:"),
        memory_cache: memory("Cached:"),
        page_faults: field(&faults, "pgfault"),
        major_page_faults: field(&faults, "pgmajfault"),
        pids: read("loadavg").and_then(|text| threads(&text)),
        processes: None,
    }
}

/// When the host was started, by `stat`.
pub(super) fn boot_time(stat: &str) -> Option<Timestamp> {
    Timestamp::from_second(field(stat, "btime")?.try_into().ok()?).ok()
}

/// `0.20 0.18 0.12 1/80 11206`: one of 80 threads runs.
fn threads(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  770      3    0    0    0     0          0         0      770       3    0    0    0     0       0          0
  eth0: 1869     65    1    2    0     0          0         0     4234      42    3    4    0     0       0          0
 eth1:12345678901234 1 0 0 0 0 0 0 5 6 0 0 0 0 0 0
broken: 1 2 3
";

    #[test]
    fn traffic_is_told_by_interface() {
        let found = interfaces(DEV);
        let names: Vec<&str> = found.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1"]);
        let received = Traffic { bytes: 1869, packets: 65, errors: 1, dropped: 2 };
        let transmitted = Traffic { bytes: 4234, packets: 42, errors: 3, dropped: 4 };
        assert_eq!(found[0], Interface { name: "eth0".to_owned(), received, transmitted });
        assert_eq!(found[1].received.bytes, 12_345_678_901_234);
    }

    #[test]
    fn the_hosts_ends_of_what_belongs_to_containers_are_none_of_its_interfaces() {
        let columns = ": 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        let names = ["lo", "eth0", "veth12", "docker0", "nerdctl0", "mk8s1f", "br-4a"];
        let text: String = names.map(|name| format!("{name}{columns}")).concat();
        let found = host_interfaces(&text);
        let names: Vec<&str> = found.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["eth0", "mk8s1f", "br-4a"]);
        assert_eq!(interfaces(&text).len(), 6, "a pod's");
    }

    #[test]
    fn the_default_route_names_the_hosts_interface() {
        let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        let routes = format!(
            "{header}docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0\n\
             tun0 00000000 0100000A 0003 0 0 0 00000080 0 0 0\n\
             eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        );
        assert_eq!(default_interface(&routes), Some("eth0"));
        assert_eq!(default_interface(header), None);
    }

    #[test]
    fn the_host_was_started_when_its_statistics_say() {
        let started = boot_time("cpu  1 2\nbtime 1700000000\nprocesses 3\n").unwrap();
        assert_eq!(started.to_string(), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn the_host_is_read_from_four_files() {
        let file = |name: &str| {
            let text = match name {
                "stat" => "cpu  100 50 30 800 20 0 7 3 40 0\ncpu0 1 1 1 1\n",
                "meminfo" => {
                    "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 900 kB\nCached: 200 kB\n\
                     Inactive: 500 kB\nInactive(file): 150 kB\nAnonPages:  90 kB\n"
                }
                "vmstat" => "pgfree 9\npgfault 70\npgmajfault 7\n",
                "loadavg" => "0.20 0.18 0.12 1/80 11206\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        let figures = Figures {
            cpu_nanos: Some(1_900_000_000),
            memory_usage: Some(700 << 10),
            memory_working_set: Some(550 << 10),
            memory_rss: Some(90 << 10),
            memory_cache: Some(200 << 10),
            page_faults: Some(70),
            major_page_faults: Some(7),
            pids: Some(80),
            processes: None,
        };
        assert_eq!(host(&file), figures);
        assert_eq!(host(&|_| None), Figures::default());
    }
}
