//! What a sample of two pods is told as.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use api_types::jiff::Timestamp;
use expect_test::expect_file;

use super::{cadvisor, families, resource, summary};
use crate::{
    machine::Memory,
    runtime::{PodIdentity, Resources},
    usage::{
        details::{Detailed, Details, Machine},
        disks::Disk,
        figures::{Figures, Measured},
        host::FileSystem,
        io::Io,
        proc::{Interface, Traffic},
        rates::Rate,
        running::RunningContainer,
        sample::{ContainerSample, NodeSample, PodSample, Sample},
    },
};

const GIB: u64 = 1 << 30;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn measured(size: u64) -> Measured {
    Measured {
        figures: Figures {
            cpu_nanos: Some(size * 1_500_000_000),
            memory_usage: Some(size * 4000),
            memory_working_set: Some(size * 3000),
            memory_rss: Some(size * 2000),
            memory_cache: Some(size * 1000),
            page_faults: Some(size * 70),
            major_page_faults: Some(size * 7),
            pids: Some(size * 3),
            processes: Some(size * 2),
        },
        rate: Some(Rate { nano_cores: size * 1_000_000, window: Duration::from_secs(10) }),
    }
}

fn container(name: &str, size: u64, resources: Resources) -> ContainerSample {
    ContainerSample {
        container: Arc::new(RunningContainer {
            id: format!("{size}"),
            name: name.to_owned(),
            attempt: 1,
            image: format!("{name}:1"),
            pid: 1,
            started_at: time(10),
            resources,
        }),
        group: Some(format!("/docker/{size}")),
        measured: measured(size),
        disk: Some(Disk { used: size * 5000, capacity: 100 * GIB, device: (8, 1) }),
    }
}

fn interface(name: &str, size: u64) -> Interface {
    let traffic = |bytes| Traffic { bytes, packets: bytes / 10, errors: size, dropped: size + 1 };
    Interface {
        name: name.to_owned(),
        received: traffic(size * 100),
        transmitted: traffic(size * 200),
    }
}

fn pod(name: &str, containers: Vec<ContainerSample>, size: u64) -> PodSample {
    PodSample {
        pod: PodIdentity {
            uid: format!("uid-{name}"),
            namespace: "default".to_owned(),
            name: name.to_owned(),
        },
        measured: measured(size),
        interfaces: Some(vec![interface("eth0", size)]),
        sandbox: Some(container("POD", size + 1, Resources::default())),
        containers,
        disk: Some(Disk { used: size * 6000, capacity: 200 * GIB, device: (8, 1) }),
        volumes: vec![(
            "data".to_owned(),
            Disk { used: size * 700, capacity: 200 * GIB, device: (0, 9) },
        )],
    }
}

/// A pod of which everything is known, and one on the node's network whose container cannot be measured.
fn sample() -> Sample {
    let limits =
        Resources { cpu_shares: Some(512), cpu_quota: Some(50_000), memory: Some(64 << 20) };
    let unknown = ContainerSample {
        group: None,
        measured: Measured::default(),
        disk: None,
        ..container("lost", 30, Resources::default())
    };
    let host = PodSample {
        measured: Measured::default(),
        interfaces: None,
        disk: None,
        volumes: Vec::new(),
        ..pod("agent", vec![unknown], 32)
    };
    Sample {
        taken: Instant::now(),
        timestamp: time(100),
        node: NodeSample {
            measured: measured(1000),
            started_at: Some(time(0)),
            memory: Memory { total: 8 * GIB, available: 6 * GIB },
            interfaces: Some(vec![interface("mk8s1f", 900), interface("eth0", 1000)]),
            default_interface: Some("eth0".to_owned()),
            fs: Some(FileSystem {
                device: (8, 1),
                capacity: 200 * GIB,
                available: 90 * GIB,
                used: 100 * GIB,
                inodes: 1000,
                inodes_free: 400,
            }),
            image_fs: Some(FileSystem {
                device: (8, 2),
                capacity: 50 * GIB,
                available: 20 * GIB,
                used: 3 * GIB,
                inodes: 100,
                inodes_free: 40,
            }),
            max_pids: Some(32_768),
        },
        pods: vec![pod("web", vec![container("main", 10, limits)], 21), host],
    }
}

fn details(size: u64) -> Details {
    let io =
        Io { read_bytes: size * 4096, written_bytes: size * 8192, reads: size, writes: size * 2 };
    Details {
        user_nanos: Some(size * 1_000_000_000),
        system_nanos: Some(size * 500_000_000),
        periods: Some(size * 10),
        throttled_periods: Some(size * 5),
        throttled_nanos: Some(size * 250_000_000),
        swap: Some(size * 100),
        mapped_file: Some(size * 200),
        max_usage: Some(size * 5000),
        limit_hits: Some(size * 4),
        oom_kills: Some(size),
        io: Some([((8, 0), io)].into()),
    }
}

fn detailed() -> Detailed {
    Detailed {
        node: details(1000),
        containers: [("10".to_owned(), details(10)), ("22".to_owned(), details(22))].into(),
        devices: [((8, 0), "/dev/sda".to_owned()), ((8, 1), "/dev/sda1".to_owned())].into(),
        machine: Machine { swap: Some(GIB), sockets: Some(1), cores: Some(2) },
    }
}

#[test]
fn resource_metrics() {
    let text = families::metrics(resource::families(Some(&sample()))).encode().unwrap();
    expect_file!["golden/resource.txt"].assert_eq(&text);
}

#[test]
fn of_pods_of_one_name_the_newest_is_told_of() {
    let mut sample = sample();
    let newer = container("main", 40, Resources::default());
    let mut newer = pod("web", vec![newer], 50);
    newer.sandbox = None;
    let mut first = RunningContainer::clone(&newer.containers[0].container);
    first.started_at = time(50);
    newer.containers[0].container = Arc::new(first);
    for place in [0, sample.pods.len()] {
        sample.pods.insert(place, newer.clone());
        let text = families::metrics(resource::families(Some(&sample))).encode().unwrap();
        let of_web = |metric: &str| -> Vec<&str> {
            let named = |line: &&str| line.starts_with(metric) && line.contains("pod=\"web\"");
            text.lines().filter(named).filter_map(|line| line.split(' ').next_back()).collect()
        };
        assert_eq!(of_web("pod_memory_working_set_bytes"), ["150000.0"]);
        assert_eq!(of_web("container_memory_working_set_bytes"), ["120000.0"]);
        sample.pods.remove(place);
    }
}

#[test]
fn without_a_sample_there_is_an_error() {
    let text = families::metrics(resource::families(None)).encode().unwrap();
    assert!(text.contains("\nresource_scrape_error 1.0\n"), "{text}");
    assert!(!text.contains("cpu"), "{text}");
}

#[test]
fn cadvisors_metrics() {
    let families = cadvisor::families(&sample(), &detailed(), 4);
    let text = families::metrics(families).encode().unwrap();
    expect_file!["golden/cadvisor.txt"].assert_eq(&text);
}

/// A series that came twice would fail the whole scrape.
#[test]
fn no_series_comes_twice() {
    let families = cadvisor::families(&sample(), &detailed(), 4);
    let text = families::metrics(families).encode().unwrap();
    let series = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series);
    let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
    series.filter(|series| !seen.insert(*series)).for_each(|series| twice.push(series));
    assert_eq!(twice, Vec::<&str>::new());
}

#[test]
fn the_summary() {
    let summary = serde_json::to_string_pretty(&summary::of(&sample(), "n1")).unwrap();
    expect_file!["golden/summary.json"].assert_eq(&(summary + "\n"));
}
