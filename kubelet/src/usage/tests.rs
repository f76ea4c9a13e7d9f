//! Samples of hosts that are trees of files.

use std::{fs, path::Path, sync::Arc, time::Duration};

use api_types::jiff::Timestamp;
use listwatch::PodUsage;

use super::{
    details::{self, Details},
    disks::{self, Disks},
    figures::Figures,
    host::Host,
    io::Io,
    proc::Traffic,
    running::{RunningContainer, RunningPod},
    sample::{self, Before, Sample},
    wire,
};
use crate::runtime::{ImageStore, PodIdentity, Resources};

const V1_STAT: &str = "cache 9\nrss 9\ninactive_file 9\npgfault 9\ntotal_cache 1478656\ntotal_rss 57344\n\
     total_pgfault 1152\ntotal_pgmajfault 2\ntotal_inactive_file 1445888\n";
const V2_STAT: &str =
    "anon 57344\nfile 1478656\nkernel 9\ninactive_file 1445888\npgfault 1152\npgmajfault 2\n";

const PERIOD: Duration = Duration::from_secs(10);

/// A host.
struct Tree {
    directory: tempfile::TempDir,
    before: Before,
    disks: Disks,
}

impl Tree {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            before: Before::default(),
            disks: Disks::default(),
        }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.directory.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A container on a host with control groups of version 1.
    fn v1(&self, id: &str, pid: i32) {
        let group = format!("/docker/{id}");
        let lines =
            format!("4:memory:{group}\n3:pids:{group}\n2:cpu,cpuacct:{group}\n0::{group}\n");
        self.write(&format!("proc/{pid}/cgroup"), &lines);
        self.write(&format!("cgroup/cpuacct{group}/cpuacct.usage"), "22536817\n");
        self.write(&format!("cgroup/memory{group}/memory.usage_in_bytes"), "2121728\n");
        self.write(&format!("cgroup/memory{group}/memory.stat"), V1_STAT);
        self.write(&format!("cgroup/pids{group}/pids.current"), "3\n");
        self.write(&format!("cgroup/pids{group}/cgroup.procs"), "19700\n19701\n");
    }

    /// The same on one with version 2.
    fn v2(&self, id: &str, pid: i32) {
        let group = format!("/system.slice/docker-{id}.scope");
        self.write(&format!("proc/{pid}/cgroup"), &format!("0::{group}\n"));
        for (file, text) in [
            ("cpu.stat", "usage_usec 22536\nuser_usec 9\n"),
            ("memory.current", "2121728\n"),
            ("memory.stat", V2_STAT),
            ("pids.current", "3\n"),
            ("cgroup.procs", "19700\n19701\n"),
        ] {
            self.write(&format!("cgroup{group}/{file}"), text);
        }
    }

    fn host(&self) -> Host {
        Host {
            proc: self.path("proc"),
            cgroup: self.path("cgroup"),
            root: self.directory.path().to_owned(),
            images: Some(ImageStore { data: self.path(""), layers: self.path("layerdb") }),
        }
    }

    fn sample(&mut self, pods: &[RunningPod]) -> Sample {
        sample::take(&self.host(), pods, &self.disks, &mut self.before, PERIOD)
    }

    /// The sample of a pod in the words of the topics.
    fn usage(&mut self, pod: &RunningPod) -> PodUsage {
        let sample = self.sample(std::slice::from_ref(pod));
        wire::pods(&sample, "n1").pods.remove(0)
    }
}

fn container(id: &str, pid: i32) -> Arc<RunningContainer> {
    Arc::new(RunningContainer {
        id: id.to_owned(),
        name: format!("c{id}"),
        attempt: 0,
        image: "busybox:1".to_owned(),
        pid,
        started_at: Timestamp::UNIX_EPOCH,
        resources: Resources::default(),
    })
}

/// A pod with a sandbox and a container.
fn pod() -> RunningPod {
    RunningPod {
        pod: PodIdentity { uid: "u".into(), namespace: "default".into(), name: "web".into() },
        host_network: false,
        sandbox: Some(container("aaaa", 10)),
        containers: vec![container("bbbb", 20)],
    }
}

fn expected(cpu_nanos: u64) -> Figures {
    Figures {
        cpu_nanos: Some(cpu_nanos),
        memory_usage: Some(2_121_728),
        memory_working_set: Some(675_840),
        memory_rss: Some(57_344),
        memory_cache: Some(1_478_656),
        page_faults: Some(1152),
        major_page_faults: Some(2),
        pids: Some(3),
        processes: Some(2),
    }
}

#[test]
fn both_versions_of_control_groups_say_the_same() {
    for (version, cpu) in [(Tree::v1 as fn(&Tree, &str, i32), 22_536_817), (Tree::v2, 22_536_000)] {
        let mut tree = Tree::new();
        version(&tree, "bbbb", 20);
        let sample = tree.sample(&[pod()]);
        assert_eq!(sample.pods[0].containers[0].measured.figures, expected(cpu));
    }
}

/// What is read for `/metrics/cadvisor` alone.
#[test]
fn both_versions_of_control_groups_tell_the_same_details() {
    let first = Tree::new();
    first.v1("bbbb", 20);
    for (file, text) in [
        ("cpuacct/docker/bbbb/cpuacct.stat", "user 12\nsystem 34\n"),
        ("cpu/docker/bbbb/cpu.stat", "nr_periods 5\nnr_throttled 3\nthrottled_time 7000\n"),
        ("memory/docker/bbbb/memory.stat", "swap 9\ntotal_swap 8\ntotal_mapped_file 64\n"),
        ("memory/docker/bbbb/memory.max_usage_in_bytes", "4096\n"),
        ("memory/docker/bbbb/memory.failcnt", "6\n"),
        ("memory/docker/bbbb/memory.oom_control", "under_oom 0\noom_kill 2\n"),
        ("blkio/docker/bbbb/blkio.throttle.io_service_bytes", "8:0 Read 1\n8:0 Write 1\n"),
        (
            "blkio/docker/bbbb/blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 10\n8:0 Write 20\n",
        ),
        ("blkio/docker/bbbb/blkio.throttle.io_serviced", "8:0 Read 3\n8:0 Write 4\n"),
    ] {
        first.write(&format!("cgroup/{file}"), text);
    }
    let lines = "5:blkio:/docker/bbbb\n4:memory:/docker/bbbb\n2:cpu,cpuacct:/docker/bbbb\n";
    first.write("proc/20/cgroup", lines);
    let second = Tree::new();
    second.v2("bbbb", 20);
    for (file, text) in [
        (
            "cpu.stat",
            "user_usec 120000\nsystem_usec 340000\nnr_periods 5\nnr_throttled 3\nthrottled_usec 7\n",
        ),
        ("memory.stat", "file_mapped 64\n"),
        ("memory.swap.current", "8\n"),
        ("memory.peak", "4096\n"),
        ("memory.events", "high 0\nmax 6\noom 9\noom_kill 2\n"),
        ("io.stat", "8:0 rbytes=10 wbytes=20 rios=3 wios=4 dbytes=0 dios=0\n"),
    ] {
        second.write(&format!("cgroup/system.slice/docker-bbbb.scope/{file}"), text);
    }
    let io = Io { read_bytes: 10, written_bytes: 20, reads: 3, writes: 4 };
    let expected = Details {
        user_nanos: Some(120_000_000),
        system_nanos: Some(340_000_000),
        periods: Some(5),
        throttled_periods: Some(3),
        throttled_nanos: Some(7000),
        swap: Some(8),
        mapped_file: Some(64),
        max_usage: Some(4096),
        limit_hits: Some(6),
        oom_kills: Some(2),
        io: Some([((8, 0), io)].into()),
    };
    for mut tree in [first, second] {
        let sample = tree.sample(&[pod()]);
        let detailed = details::read(&tree.host(), &sample);
        assert_eq!(detailed.containers, [("bbbb".to_owned(), expected.clone())].into());
        tree.write("proc/20/cgroup", "4:memory:/docker/other\n0::/docker/other\n");
        assert!(details::read(&tree.host(), &sample).containers.is_empty(), "it is another by now");
    }
}

/// Controllers that version 1 does not have are in the other's hierarchy.
#[test]
fn a_host_with_both_versions_may_count_in_version_2() {
    let mut tree = Tree::new();
    tree.v2("bbbb", 20);
    fs::rename(tree.path("cgroup"), tree.path("unified")).unwrap();
    fs::create_dir(tree.path("cgroup")).unwrap();
    fs::rename(tree.path("unified"), tree.path("cgroup/unified")).unwrap();
    let sample = tree.sample(&[pod()]);
    assert_eq!(sample.pods[0].containers[0].measured.figures, expected(22_536_000));
}

#[test]
fn a_pod_is_its_containers_together_with_its_sandbox_and_its_network() {
    let mut tree = Tree::new();
    tree.v1("aaaa", 10);
    tree.v1("bbbb", 20);
    tree.write(
        "proc/10/net/dev",
        "lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\neth0: 70 2 0 0 0 0 0 0 80 3 0 0 0 0 0 0\n",
    );
    let first = tree.usage(&pod());
    let known = (first.usage.memory_rss_bytes, first.usage.pids, first.usage.cpu_core_nano_seconds);
    assert_eq!(known, (Some(2 * 57_344), Some(6), Some(2 * 22_536_817)));
    assert_eq!((first.usage.network_rx_bytes, first.usage.network_tx_bytes), (Some(70), Some(80)));
    assert_eq!(first.containers[0].usage.network_rx_bytes, None);
    assert_eq!((first.usage.cpu_nano_cores, first.usage.window_seconds), (None, None));
    tree.write("cgroup/cpuacct/docker/bbbb/cpuacct.usage", "22537817\n");
    let second = tree.usage(&pod());
    let own = &second.containers[0].usage;
    assert!(own.cpu_nano_cores.unwrap() > 0 && own.window_seconds.unwrap() > 0.0);
    assert_eq!(second.usage.cpu_nano_cores, own.cpu_nano_cores, "the sandbox did nothing");
    let host = RunningPod { host_network: true, ..pod() };
    assert_eq!(tree.usage(&host).usage.network_rx_bytes, None, "it is the node's");
}

#[test]
fn what_cannot_be_read_is_absent() {
    let mut tree = Tree::new();
    tree.v1("aaaa", 10);
    tree.v1("bbbb", 20);
    fs::remove_file(tree.path("cgroup/memory/docker/bbbb/memory.stat")).unwrap();
    let usage = tree.usage(&pod());
    let own = &usage.containers[0].usage;
    assert_eq!((own.memory_usage_bytes, own.memory_working_set_bytes), (Some(2_121_728), None));
    assert_eq!((own.memory_rss_bytes, own.page_faults, own.pids), (None, None, Some(3)));
    assert_eq!((usage.usage.memory_rss_bytes, usage.usage.pids), (None, Some(6)));
    tree.write("proc/20/cgroup", "4:memory:/docker/other\n0::/docker/other\n");
    let usage = tree.usage(&pod());
    let own = serde_json::to_value(&usage.containers[0]).unwrap();
    assert_eq!(own.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "timestamp"]);
    assert_eq!((usage.usage.cpu_core_nano_seconds, usage.usage.pids), (None, None));
}

#[test]
fn a_container_that_was_started_again_has_no_rate_yet() {
    let mut tree = Tree::new();
    tree.v1("aaaa", 10);
    tree.v1("bbbb", 20);
    tree.v1("cccc", 30);
    tree.usage(&pod());
    assert!(tree.usage(&pod()).usage.cpu_nano_cores.is_some());
    let again = RunningPod { containers: vec![container("cccc", 30)], ..pod() };
    let usage = tree.usage(&again);
    assert_eq!(
        (usage.usage.cpu_nano_cores, usage.containers[0].usage.cpu_nano_cores),
        (None, None)
    );
    assert!(usage.usage.cpu_core_nano_seconds.is_some());
    assert!(tree.usage(&again).usage.cpu_nano_cores.is_some());
}

#[test]
fn a_pods_counters_do_not_fall_when_a_container_is_started_again() {
    let mut tree = Tree::new();
    for (id, pid) in [("aaaa", 10), ("bbbb", 20), ("cccc", 30)] {
        tree.v1(id, pid);
    }
    let counters = |usage: PodUsage| {
        let usage = usage.usage;
        (usage.cpu_core_nano_seconds, usage.page_faults, usage.major_page_faults)
    };
    let of = |containers: u64| {
        (Some(containers * 22_536_817), Some(containers * 1152), Some(containers * 2))
    };
    assert_eq!(counters(tree.usage(&pod())), of(2));
    let again = RunningPod { containers: vec![container("cccc", 30)], ..pod() };
    fs::remove_file(tree.path("proc/20/cgroup")).unwrap();
    assert_eq!(counters(tree.usage(&pod())), (None, None, None), "it has ended just now");
    assert_eq!(counters(tree.usage(&again)), of(3));
    assert_eq!(counters(tree.usage(&again)), of(3));
    assert_eq!(tree.usage(&again).usage.pids, Some(6), "only of what runs");
    tree.sample(&[]);
    assert_eq!(counters(tree.usage(&again)), of(2), "nothing of it ran");
}

#[test]
fn the_host_has_its_own_network_and_file_system() {
    let mut tree = Tree::new();
    tree.write("proc/stat", "cpu 10 0 0 5\nbtime 1700000000\n");
    tree.write(
        "proc/net/dev",
        "docker0: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\neth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n",
    );
    tree.write(
        "proc/net/route",
        "ens5 000011AC 0 0 0 0 0 0000FFFF\neth0 00000000 0 0 0 0 0 00000000\n",
    );
    tree.write("proc/sys/kernel/pid_max", "32768\n");
    let sample = tree.sample(&[]);
    let node = &sample.node;
    let received = Traffic { bytes: 1, packets: 2, errors: 3, dropped: 4 };
    assert_eq!(node.interfaces.as_ref().unwrap()[0].received, received);
    assert_eq!(node.max_pids, Some(32768));
    let usage = wire::node(&sample);
    assert_eq!((usage.network_rx_bytes, usage.network_tx_bytes), (Some(1), Some(5)));
    assert_eq!(usage.cpu_core_nano_seconds, Some(100_000_000));
    assert!(usage.fs_used_bytes.unwrap() < usage.fs_capacity_bytes.unwrap());
    assert_eq!((usage.memory_rss_bytes, usage.cpu_nano_cores), (None, None));
}

#[test]
fn what_was_written_counts_in_layers_and_volumes() {
    let mut tree = Tree::new();
    for (id, pid) in [("aaaa", 10), ("bbbb", 20)] {
        tree.v1(id, pid);
        tree.write(&format!("layers/{id}/file"), &"x".repeat(100_000));
        let upper = tree.path(&format!("layers/{id}"));
        let mounts = format!(
            "86 54 0:39 / / rw - overlay overlay rw,upperdir={},workdir=/w\n",
            upper.display()
        );
        tree.write(&format!("proc/{pid}/mountinfo"), &mounts);
    }
    tree.write("pods/u/volumes/kubernetes.io~empty-dir/data/file", &"x".repeat(300_000));
    let found = disks::look(&tree.host(), &[pod()]);
    let used = |id: &str| found.disks[id].used;
    assert!((100_000..150_000).contains(&used("bbbb")), "{found:?}");
    assert!((300_000..350_000).contains(&used("u")), "{found:?}");
    let volumes = &found.volumes["u"];
    assert!(
        matches!(&volumes[..], [(name, disk)] if name == "data" && (300_000..350_000).contains(&disk.used)),
        "{found:?}"
    );
    let all = used("aaaa") + used("bbbb") + used("u");
    let volumes = volumes.clone();
    tree.disks = Disks::found(found);
    assert_eq!(tree.sample(&[pod()]).pods[0].volumes, volumes);
    let usage = tree.usage(&pod());
    assert_eq!(usage.usage.fs_used_bytes, Some(all));
    assert!(usage.containers[0].usage.fs_capacity_bytes.unwrap() > all);
    tree.write("proc/20/cgroup", "0::/docker/other\n");
    let found = disks::look(&tree.host(), &[pod()]);
    assert!(!found.disks.contains_key("bbbb"), "its process is another one by now: {found:?}");
    tree.disks = Disks::found(found);
    assert_eq!(tree.usage(&pod()).usage.fs_used_bytes, None);
}

#[test]
fn what_images_take_is_what_their_layers_do_and_unknown_where_these_are_not_found() {
    let mut tree = Tree::new();
    tree.disks = Disks::found(disks::look(&tree.host(), &[]));
    assert_eq!(tree.sample(&[]).node.image_fs, None);
    for (layer, size) in [("aaaa", "60000000"), ("bbbb", "0"), ("cccc", "2000")] {
        tree.write(&format!("layerdb/{layer}/size"), size);
    }
    tree.write("layerdb/dddd/diff", "it is being made");
    tree.disks = Disks::found(disks::look(&tree.host(), &[]));
    let node = tree.sample(&[]).node;
    let (images, node) = (node.image_fs.unwrap(), node.fs.unwrap());
    assert_eq!((images.used, images.capacity), (60_002_000, node.capacity));
}

/// Whoever asks within a moment gets the same.
#[tokio::test]
async fn a_sample_is_shared_until_it_is_old() {
    let sampler = super::sampler::Sampler::new(
        Host::new(Path::new("/")),
        super::running::RunningPods::default(),
        Disks::default(),
    );
    assert!(sampler.latest().is_none());
    let asked = Duration::from_secs(3600);
    let (one, other) = tokio::join!(sampler.sample(asked), sampler.sample(asked));
    assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    let first = sampler.latest().unwrap();
    let second = sampler.sample(Duration::ZERO).await.unwrap();
    assert!(first.taken < second.taken && second.node.measured.rate.is_some());
}
