//! The Docker runtime and the bridge network for real. Needs root and a running dockerd.

#![expect(clippy::unwrap_used, reason = "in tests, helpers included, a panic is a failure")]

mod processes;
mod sidecars;
mod sizes;
mod usage;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    process::Command,
    sync::{
        Arc, Once,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use component::dual_stack::DualStack;
use futures::{StreamExt, TryStreamExt};
use kubelet::{
    network::{Attachment, Held, PodNetwork, PortMapping, bridge::Bridge},
    runtime::{
        Container, ContainerSpec, LogLimits, LogOptions, Mount, PodIdentity, Propagation, Runtime,
        SandboxNetwork, SandboxSpec, Seccomp, Security, docker::Docker,
    },
};
use parking_lot::Mutex;
use testkit::{Dockerd, remove_pod_ranges, wait};

const BUSYBOX: &str = "minik8s-kubelet-test:busybox";
const PODS: &str = "10.219.0.0/16";
const SERVICES: &str = "10.119.0.0/16";
const LOGS: LogLimits = LogLimits { max_size: 4096, max_files: 3 };

/// Makes the image once: busybox with its applets, and an entrypoint that sleeps, so that it can serve
/// as pause image too.
fn image() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = Dockerd::shared();
        let build = "set -e; d=$(mktemp -d); trap 'rm -rf $d' EXIT; \
             mkdir $d/bin $d/tmp; cp $(command -v busybox) $d/bin/busybox; \
             chroot $d /bin/busybox --install -s /bin; \
             tar -C $d -c . | docker import -c 'ENTRYPOINT [\"sleep\", \"1000000\"]' - ";
        let made = Command::new("sh").args(["-c", &format!("{build} {BUSYBOX}")]).output();
        let made = made.expect("sh runs");
        let why = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "cannot make the image (busybox-static needed): {why}");
    });
}

/// How many nodes use the host. What they share of it goes with the last of them.
static USERS: Mutex<usize> = Mutex::new(0);

struct Host;

impl Host {
    fn join() -> Self {
        *USERS.lock() += 1;
        Self
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut users = USERS.lock();
        *users -= 1;
        if *users == 0 {
            remove_pod_ranges(&[PODS, SERVICES]);
        }
    }
}

/// A node of one test. What it made goes with it.
struct Node {
    runtime: Arc<Docker>,
    bridge: Arc<Bridge>,
    name: String,
    /// The last to go.
    _host: Host,
}

impl Node {
    async fn start(cidr: &str) -> Self {
        image();
        let host = Host::join();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kubelet-test-{}-{count}", std::process::id());
        let engine = docker::Docker::new(Dockerd::HOST).unwrap();
        let runtime = Docker::new(engine, &name, BUSYBOX, LOGS);
        let bridge = Bridge::new(&name, network(PODS), network(SERVICES));
        bridge.start(network(cidr), &[]).await.expect("the bridge starts (needs root)");
        Self { runtime: Arc::new(runtime), bridge: Arc::new(bridge), name, _host: host }
    }

    fn pod(&self, name: &str) -> PodIdentity {
        PodIdentity {
            uid: format!("{}-{name}", self.name),
            namespace: "default".to_owned(),
            name: format!("kubelet-test-{name}"),
        }
    }

    /// A sandbox on the bridge; gives its id and address.
    async fn sandbox(&self, pod: &PodIdentity) -> (String, String) {
        let addresses = self.bridge.reserve(&pod.uid).unwrap();
        let spec = SandboxSpec {
            pod: pod.clone(),
            attempt: 0,
            hostname: pod.name.clone(),
            network: SandboxNetwork::Private(addresses),
            host_ipc: false,
            host_pid: false,
            sysctls: BTreeMap::new(),
        };
        let id = self.runtime.create_sandbox(&spec).await.unwrap();
        self.runtime.start(&id).await.unwrap();
        let pid = self.find(pod, &id).await.pid.unwrap();
        let (pod, sandbox) = (pod.clone(), id.clone());
        let attachment = Attachment { pod, sandbox, pid, ports: Vec::new() };
        let attached = self.bridge.attach(&attachment).await.unwrap();
        assert_eq!(Some(attached), addresses);
        (id, attached.v4.to_string())
    }

    async fn run(&self, pod: &PodIdentity, sandbox: &str, script: &str) -> String {
        let id = self.runtime.create(&container(pod, sandbox, script)).await.unwrap();
        self.runtime.start(&id).await.unwrap();
        id
    }

    async fn find(&self, pod: &PodIdentity, id: &str) -> Container {
        let found = self.runtime.list(Some(&pod.uid)).await.unwrap();
        found.into_iter().find(|container| container.id == id).expect("it exists")
    }

    /// The exit code and output of a container that ends by itself.
    async fn outcome(&self, pod: &PodIdentity, id: &str) -> (i32, String) {
        let ended = wait::until("the container ends", async || {
            let found = self.find(pod, id).await;
            found.exit().cloned().ok_or(found.state)
        });
        let code = ended.await.code;
        let output = self.runtime.logs(id, &LogOptions::default());
        let output: Vec<_> = output.try_collect().await.unwrap();
        (code, String::from_utf8(output.concat()).unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let label = format!("label=io.minik8s.node={}", self.name);
        let script = format!(
            "docker ps -aq --filter {label} | xargs -r docker rm -f; ip link del {}",
            self.bridge.name()
        );
        // Whatever is left has a name of its own and is in nobody's way.
        let _ = Command::new("sh").args(["-c", &script]).output();
    }
}

fn network(text: &str) -> DualStack {
    text.parse().unwrap()
}

fn container(pod: &PodIdentity, sandbox: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        pod: pod.clone(),
        name: "main".to_owned(),
        hash: "h".to_owned(),
        sandbox_id: sandbox.to_owned(),
        image: BUSYBOX.to_owned(),
        command: Some(["sh", "-c", script].map(str::to_owned).into()),
        env: vec!["COLOUR=red".to_owned()],
        ..ContainerSpec::default()
    }
}

#[tokio::test]
async fn a_container_runs_ends_and_is_found_by_its_labels() {
    let node = Node::start("10.219.1.0/24").await;
    let pod = node.pod("a");
    let (sandbox, address) = node.sandbox(&pod).await;
    let id = node.run(&pod, &sandbox, "echo $COLOUR; hostname; exit 3").await;
    let (code, output) = node.outcome(&pod, &id).await;
    assert_eq!((code, output.as_str()), (3, "red\nkubelet-test-a\n"));
    let found = node.find(&pod, &id).await;
    assert_eq!((found.pod, found.name.as_str(), found.attempt), (pod.clone(), "main", 0));
    assert_eq!((found.hash.as_str(), found.sandbox_id.as_str()), ("h", sandbox.as_str()));
    let pause = node.find(&pod, &sandbox).await;
    assert!(pause.is_sandbox() && pause.is_running());
    assert_eq!(pause.addresses.map(|it| it.v4.to_string()), Some(address));
    assert_eq!(node.runtime.summary().await.unwrap().len(), 2);
}

#[tokio::test]
async fn other_nodes_of_the_same_dockerd_are_not_seen() {
    let (node, other) = (Node::start("10.219.2.0/24").await, Node::start("10.219.3.0/24").await);
    node.sandbox(&node.pod("a")).await;
    assert_eq!(node.runtime.list(None).await.unwrap().len(), 1);
    assert_eq!(other.runtime.list(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_stale_container_of_the_same_name_is_replaced() {
    let node = Node::start("10.219.4.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let stale = node.runtime.create(&container(&pod, &sandbox, "true")).await.unwrap();
    let fresh = node.run(&pod, &sandbox, "exit 0").await;
    assert_ne!(stale, fresh);
    assert_eq!(node.outcome(&pod, &fresh).await.0, 0);
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_an_exit_with_an_error() {
    let node = Node::start("10.219.5.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let spec = ContainerSpec {
        command: Some(vec!["/no/such".to_owned()]),
        ..container(&pod, &sandbox, "")
    };
    let id = node.runtime.create(&spec).await.unwrap();
    assert!(node.runtime.start(&id).await.is_err());
    let exit = node.find(&pod, &id).await.exit().cloned().expect("it has ended");
    assert!(exit.error.contains("/no/such"), "{exit:?}");
}

#[tokio::test]
async fn a_signal_ends_a_container_and_the_event_stream_tells() {
    let node = Node::start("10.219.6.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let id = node.run(&pod, &sandbox, "trap 'exit 7' TERM; echo up; sleep 1000 & wait").await;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let first = node.runtime.logs(&id, &follow).next().await.unwrap().unwrap();
    assert_eq!(&first[..], b"up\n");
    let mut events = node.runtime.events();
    let died = async {
        loop {
            let event = events.next().await.unwrap().unwrap();
            if event.action == "die" {
                return event.pod;
            }
        }
    };
    let signalled = async {
        // The stream begins when it is polled first, so the signal is repeated until it is heard.
        loop {
            node.runtime.signal(&id, "SIGTERM").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let uid = tokio::select! {
        uid = died => uid,
        () = signalled => unreachable!("it repeats for ever"),
        () = tokio::time::sleep(wait::DEADLINE) => panic!("no event of the death"),
    };
    assert_eq!(uid, pod.uid);
    node.runtime.remove(&id).await.unwrap();
    node.runtime.remove(&id).await.unwrap();
    node.runtime.signal(&id, "SIGTERM").await.unwrap();
}

#[tokio::test]
async fn old_output_makes_room_and_what_is_left_can_be_read() {
    let node = Node::start("10.219.15.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let id = node.run(&pod, &sandbox, "for i in $(seq 1 1000); do echo line $i; done").await;
    let (_, output) = node.outcome(&pod, &id).await;
    let lines: Vec<&str> = output.lines().collect();
    // The engine's form of a line is longer than the line: three files hold about 150 of them.
    assert!(lines.len() > 60 && lines.len() < 300, "{} lines", lines.len());
    let first: usize = lines[0].trim_start_matches("line ").parse().unwrap();
    let expected: Vec<String> = (first..=1000).map(|i| format!("line {i}")).collect();
    assert_eq!(lines, expected, "no gap where one file ends and the next begins");
}

#[tokio::test]
async fn what_the_node_mounts_later_appears_in_a_container_that_asks_for_it() {
    let node = Node::start("10.219.17.0/24").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let sh = |script: &str| {
        assert!(Command::new("sh").args(["-ec", script]).status().unwrap().success())
    };
    sh(&format!(
        "mkdir {path}/m {path}/m/later; mount --bind {path}/m {path}/m; mount --make-shared {path}/m"
    ));
    let run = async |name: &str, propagation| {
        let pod = node.pod(name);
        let (sandbox, _) = node.sandbox(&pod).await;
        let source = format!("{path}/m");
        let mounts = vec![Mount { source, target: "/m".into(), read_only: false, propagation }];
        let script = "until [ -e /m/go ]; do sleep 0.05; done; ls /m/later";
        let spec = ContainerSpec { mounts, ..container(&pod, &sandbox, script) };
        let id = node.runtime.create(&spec).await.unwrap();
        node.runtime.start(&id).await.unwrap();
        (pod, id)
    };
    let asks = run("asks", Propagation::HostToContainer).await;
    let alone = run("alone", Propagation::None).await;
    sh(&format!("mount -t tmpfs none {path}/m/later; touch {path}/m/later/file {path}/m/go"));
    let asked = node.outcome(&asks.0, &asks.1).await;
    let not_asked = node.outcome(&alone.0, &alone.1).await;
    sh(&format!("umount {path}/m/later; umount {path}/m"));
    assert_eq!((asked, not_asked), ((0, "file\n".to_owned()), (0, String::new())));
}

#[tokio::test]
async fn system_calls_are_filtered_as_asked() {
    let node = Node::start("10.219.16.0/24").await;
    let denied = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let cases = [
        (Seccomp::RuntimeDefault, "2", true),
        (Seccomp::Unconfined, "0", true),
        (Seccomp::Localhost(denied.to_owned()), "2", false),
    ];
    for (number, (seccomp, filter, makes)) in cases.into_iter().enumerate() {
        let pod = node.pod(&format!("a{number}"));
        let (sandbox, _) = node.sandbox(&pod).await;
        let script = "grep Seccomp: /proc/self/status; mkdir /x && echo made";
        let security = Security { seccomp, ..Security::default() };
        let spec = ContainerSpec { security, ..container(&pod, &sandbox, script) };
        let id = node.runtime.create(&spec).await.unwrap();
        node.runtime.start(&id).await.unwrap();
        let (_, output) = node.outcome(&pod, &id).await;
        assert!(output.contains(&format!("Seccomp:\t{filter}\n")), "{output}");
        assert_eq!(output.contains("made"), makes, "{output}");
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_cannot_be_pulled_from_nowhere() {
    let node = Node::start("10.219.8.0/24").await;
    assert!(node.runtime.image(BUSYBOX).await.unwrap().is_some());
    let missing = "127.0.0.1:1/none:1";
    assert_eq!(node.runtime.image(missing).await.unwrap(), None);
    assert!(node.runtime.pull(missing, None).await.is_err());
}

/// A script that fetches `/` from a server.
fn fetch(address: &str) -> String {
    format!("timeout 5 wget -q -O - http://{address}/")
}

const SERVE: &str =
    "mkdir /w; echo $HOSTNAME > /w/index.html; hostname > /w/index.html; httpd -f -h /w";

#[tokio::test]
async fn pods_of_two_nodes_on_one_host_reach_each_other() {
    let (one, two) = (Node::start("10.219.9.0/24").await, Node::start("10.219.10.0/24").await);
    let (server, near, far) = (one.pod("server"), one.pod("near"), two.pod("far"));
    let (sandbox, address) = one.sandbox(&server).await;
    one.run(&server, &sandbox, SERVE).await;
    for (node, pod) in [(&one, &near), (&two, &far)] {
        let (sandbox, _) = node.sandbox(pod).await;
        let script = format!(
            "for i in 1 2 3 4 5; do {} && exit 0; sleep 0.2; done; exit 1",
            fetch(&address)
        );
        let id = node.run(pod, &sandbox, &script).await;
        let (code, output) = node.outcome(pod, &id).await;
        assert_eq!((code, output.trim()), (0, "kubelet-test-server"), "from {}", pod.name);
    }
}

#[tokio::test]
async fn a_pod_reaches_no_address_that_nobody_has() {
    let node = Node::start("10.219.11.0/24").await;
    let pod = node.pod("a");
    let (sandbox, _) = node.sandbox(&pod).await;
    let id = node.run(&pod, &sandbox, &format!("{}; echo $?", fetch("10.219.200.1"))).await;
    let (_, output) = node.outcome(&pod, &id).await;
    assert_ne!(output.trim(), "0", "an unused pod address answered");
    let route = Command::new("ip").args(["route", "get", "10.219.200.1"]).output().unwrap();
    assert!(!route.status.success(), "{}", String::from_utf8_lossy(&route.stdout));
}

#[tokio::test]
async fn host_ports_lead_to_the_pod_until_it_is_detached() {
    let node = Node::start("10.219.12.0/24").await;
    let pod = node.pod("server");
    let (sandbox, address) = node.sandbox(&pod).await;
    node.run(&pod, &sandbox, SERVE).await;
    let port = PortMapping {
        protocol: "tcp".to_owned(),
        host_ip: None,
        host_port: 21_912,
        pod_ip: address.parse().unwrap(),
        pod_port: 80,
    };
    node.bridge.host_ports(&pod.uid, vec![port]).await.unwrap();
    let connect = async || tokio::net::TcpStream::connect("127.0.0.1:21912").await.map(drop);
    wait::until("the host port answers", connect).await;
    node.bridge.detach(&pod.uid).await.unwrap();
    node.bridge.detach(&pod.uid).await.unwrap();
    assert!(connect().await.is_err());
}

#[tokio::test]
async fn a_bridge_that_starts_again_leaves_its_pods_connected() {
    let node = Node::start("10.219.13.0/24").await;
    let pod = node.pod("server");
    let (sandbox, address) = node.sandbox(&pod).await;
    node.run(&pod, &sandbox, SERVE).await;
    let again = Bridge::new(&node.name, network(PODS), network(SERVICES));
    let v4: Ipv4Addr = address.parse().unwrap();
    let addresses = Some(v4.into());
    let held = [Held { pod: pod.uid.clone(), addresses, ..Held::default() }];
    again.start(network("10.219.13.0/24"), &held).await.unwrap();
    assert_ne!(again.reserve("another").unwrap().unwrap().v4, v4);
    let target = format!("{address}:80");
    let connect = async || tokio::net::TcpStream::connect(&target).await.map(drop);
    wait::until("the pod answers", connect).await;
}
