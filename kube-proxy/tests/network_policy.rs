//! Policies of a real API server in process, kept by the kernel of a network namespace, and packets between pods that are
//! namespaces as well: two on the bridge of one node and one elsewhere. Needs root and nft.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use api_types::api::{
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
};
use component::{Health, Metrics};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use kube_proxy::{
    Wake,
    family::Family,
    policy::{
        self, Allow, Keeper, Outlets, Peers, PortRange, Ports, Protocol, Rules,
        ranges::Range,
        rules::{At, Refused},
    },
    routes::kernel::Kernel,
    world::{self, Here, World},
};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::gettid,
};
use packet_filter::nftables;
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};
use tokio::{
    sync::oneshot,
    task::{LocalSet, spawn_local},
};

const A: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
const B: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 3);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 4);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);
const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Of `VIP`'s Service, at all nodes.
const NODE_PORT: u16 = 30007;
/// Of a packet on its way. What is late only looks denied, and is tried again where it should not be.
const PATIENCE: Duration = Duration::from_millis(300);

/// A thread with a network namespace of its own.
struct Machine {
    address: Ipv4Addr,
    thread: i32,
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Machine {
    fn new(address: Ipv4Addr) -> Self {
        let (work, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (needs root)");
            tell.send(gettid().as_raw()).unwrap();
            todo.into_iter().for_each(|work| work());
        });
        Machine { address, thread: told.recv().unwrap(), work }
    }

    /// On a link of the calling thread's namespace, which it calls `link`.
    async fn connected(address: Ipv4Addr, link: &str, gateway: Ipv4Addr) -> Self {
        let machine = Machine::new(address);
        let thread = machine.thread.to_string();
        let peer = ["peer", "name", "eth0", "netns", &thread];
        ip(&[&["link", "add", link, "type", "veth"], peer.as_slice()].concat());
        ip(&["link", "set", link, "up"]);
        machine
            .run(move || {
                ip(&["link", "set", "lo", "up"]);
                ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"]);
                ip(&["link", "set", "eth0", "up"]);
                ip(&["route", "add", "default", "via", &gateway.to_string()]);
                serve();
            })
            .await;
        machine
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = oneshot::channel();
        let work = Box::new(move || drop(tell.send(work())));
        self.work.send(work).unwrap();
        told.await.unwrap()
    }

    async fn connects(&self, to: Ipv4Addr, port: u16) -> bool {
        self.run(move || greeting(to, port).is_some()).await
    }

    async fn asks(&self, to: Ipv4Addr, port: u16) -> bool {
        let flow = self.flow().await;
        self.asks_again(&flow, to, port).await
    }

    /// Of datagrams.
    async fn flow(&self) -> Arc<UdpSocket> {
        self.run(|| Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap())).await
    }

    async fn asks_again(&self, flow: &Arc<UdpSocket>, to: Ipv4Addr, port: u16) -> bool {
        let flow = flow.clone();
        self.run(move || {
            flow.set_read_timeout(Some(PATIENCE)).unwrap();
            flow.send_to(b"?", (to, port)).is_ok() && flow.recv(&mut [0; 16]).is_ok()
        })
        .await
    }

    async fn until_connects(&self, to: Ipv4Addr, port: u16) {
        let what = format!("{} connects to {to}:{port}", self.address);
        wait::until(&what, async || self.connects(to, port).await.then_some(()).ok_or(())).await;
    }

    async fn until_asks(&self, to: Ipv4Addr, port: u16) {
        let what = format!("{} has an answer of {to}:{port}", self.address);
        wait::until(&what, async || self.asks(to, port).await.then_some(()).ok_or(())).await;
    }
}

fn greeting(to: Ipv4Addr, port: u16) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((to, port)), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok().filter(|_| text == "hello").map(|_| text)
}

/// Greets connections to 80, 81 and the node port, and answers datagrams at 53.
fn serve() {
    for port in [80, 81, NODE_PORT] {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        thread::spawn(move || {
            // Who has gone by then does not matter.
            listener.incoming().flatten().for_each(|mut it| drop(it.write_all(b"hello")));
        });
    }
    echo(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap());
}

fn echo(socket: UdpSocket) {
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
}

/// As an nginx does: whoever connects to the virtual IP, or the node port, is led to the server, from an address of the host.
fn lead(to: Ipv4Addr, port: u16) {
    let listener = TcpListener::bind((to, port)).unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            if let Some(text) = greeting(SERVER, 80) {
                let _ = client.write_all(text.as_bytes());
            }
        }
    });
}

fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
}

fn nft(args: &[&str]) -> String {
    let output = Command::new("nft").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A node with the pods A, B and the server, and somebody outside.
struct Rig {
    plane: ControlPlane,
    a: Machine,
    b: Machine,
    server: Machine,
    outside: Machine,
    keeper: Option<tokio::task::JoinHandle<()>>,
}

impl Rig {
    async fn new() -> Self {
        ip(&["link", "set", "lo", "up"]);
        ip(&["link", "add", "pods", "type", "bridge"]);
        ip(&["address", "add", &format!("{GATEWAY}/24"), "dev", "pods"]);
        ip(&["link", "set", "pods", "up"]);
        for address in [VIP, DNS] {
            ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let mut pods = Vec::new();
        for (address, link) in [(A, "to-a"), (B, "to-b"), (SERVER, "to-server")] {
            pods.push(Machine::connected(address, link, GATEWAY).await);
            ip(&["link", "set", link, "master", "pods"]);
        }
        let outside = Machine::connected(OUTSIDE, "to-outside", ROUTER).await;
        ip(&["address", "add", &format!("{ROUTER}/24"), "dev", "to-outside"]);
        lead(VIP, 7);
        lead(GATEWAY, NODE_PORT);
        echo(UdpSocket::bind((DNS, 53)).unwrap());
        let [a, b, server] = <[Machine; 3]>::try_from(pods).ok().unwrap();
        let plane = ControlPlane::start().await;
        let mut rig = Rig { plane, a, b, server, outside, keeper: None };
        rig.create_objects().await;
        rig.restart().await;
        rig
    }

    async fn create_objects(&self) {
        let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}});
        self.create::<Node>(None, node).await;
        self.add_other_host().await;
        let namespace = json!({"metadata": {"name": "other", "labels": {"team": "x"}}});
        self.create::<Namespace>(None, namespace).await;
        for (address, namespace, name) in
            [(A, "default", "a"), (B, "default", "b"), (SERVER, "default", "server")]
        {
            self.add_pod(address, namespace, name).await;
        }
        let port = json!({"port": 7, "targetPort": 80, "nodePort": NODE_PORT});
        let service = json!({"metadata": {"name": "web"}, "spec": {"type": "NodePort", "clusterIP": VIP, "selector": {"app": "server"}, "ports": [port]}});
        self.create::<Service>(Some("default"), service).await;
        let slice = json!({
            "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [SERVER], "conditions": {"ready": true}}],
            "ports": [{"name": "", "port": 80}],
        });
        self.create::<EndpointSlice>(Some("default"), slice).await;
    }

    /// Whose node ports are at an address from which it speaks to no pod.
    async fn add_other_host(&self) {
        self.create::<Node>(None, json!({"metadata": {"name": "n2"}})).await;
        let status = json!({"status": {"addresses": [{"type": "ExternalIP", "address": OUTSIDE}]}});
        let nodes: Api<Node> = Api::all(self.plane.client());
        let patch = Patch::Merge(status);
        nodes.patch_status("n2", &PatchParams::default(), &patch).await.unwrap();
    }

    async fn add_pod(&self, address: Ipv4Addr, namespace: &str, name: &str) {
        let container =
            json!({"name": "c", "image": "x", "ports": [{"name": "web", "containerPort": 80}]});
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": "n1", "containers": [container]},
        });
        self.create::<Pod>(Some(namespace), pod).await;
        let status =
            json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
        let pods: Api<Pod> = Api::namespaced(self.plane.client(), namespace);
        let patch = Patch::Merge(status);
        pods.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn create<K>(&self, namespace: Option<&str>, object: Value)
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug,
        K: serde::Serialize + serde::de::DeserializeOwned,
    {
        let client = self.plane.client();
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => {
                Api::namespaced_with(client, namespace, &ApiResource::erase::<K>(&()))
            }
            None => Api::all_with(client, &ApiResource::erase::<K>(&())),
        };
        let mut object = object;
        object["apiVersion"] = json!(K::api_version(&()));
        object["kind"] = json!(K::kind(&()));
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// A policy of the namespace `default`.
    async fn policy(&self, name: &str, spec: &Value) {
        let policy = json!({"metadata": {"name": name}, "spec": spec});
        self.create::<NetworkPolicy>(Some("default"), policy).await;
    }

    async fn delete_policy(&self, name: &str) {
        let policies: Api<NetworkPolicy> = Api::default_namespaced(self.plane.client());
        policies.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Ends kube-proxy wherever it is, and begins another one.
    async fn restart(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
            let _ = keeper.await;
        }
        let service_cidr = "10.96.0.0/16".parse().unwrap();
        let node = "n1".into();
        let here = Here {
            node,
            service_cidr,
            cluster_dns: Some(DNS.into()),
            node_addresses: Vec::new(),
            leads_by_rules: false,
        };
        let outlets = Outlets::new(Health::default().check("policies"), &Metrics::default());
        let (listwatch, kernel) = (self.plane.listwatch_as("kube-proxy"), Kernel::open().unwrap());
        self.keeper = Some(spawn_local(async move {
            let wake = Arc::new(Wake::default());
            let mut keeper = Keeper::new(here, kernel, outlets);
            let (nodes, nodes_watch) = world::follow(&listwatch, vec![keeper.wake()]);
            let (world, watches) = World::watch(&listwatch, nodes.clone(), &wake, None);
            tokio::join!(watches, nodes_watch, keeper.run(&world, &nodes, &listwatch));
        }));
    }
}

/// Through servers to the server: of the virtual IP, of the node port, and of another host's.
const WAYS: [(Ipv4Addr, u16); 3] = [(VIP, 7), (GATEWAY, NODE_PORT), (OUTSIDE, NODE_PORT)];

/// Waits until the kernel lists this. All that belongs to it is there at the same time.
async fn until_listed(rule: &str) {
    let look = async || match nft(&["list", "ruleset"]) {
        rules if rules.contains(rule) => Ok(()),
        rules => Err(rules),
    };
    wait::until(rule, look).await;
}

/// One that ends with the test.
fn in_a_namespace(test: impl AsyncFnOnce() + Send + 'static) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (needs root)");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, test());
    };
    thread::spawn(run).join().unwrap();
}

fn on_a_node(test: impl AsyncFnOnce(Rig) + Send + 'static) {
    in_a_namespace(async || test(Rig::new().await).await);
}

fn from(peers: &Value, ports: &Value) -> Value {
    json!({
        "podSelector": {"matchLabels": {"app": "server"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": ports}],
    })
}

fn app(name: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"app": name}}})
}

#[test]
fn the_kernel_lists_what_it_was_told() {
    in_a_namespace(async || {
        let [a, b, pod] = [A, B, SERVER].map(IpAddr::V4);
        let [gateway, outside, vip] = [GATEWAY, OUTSIDE, VIP].map(IpAddr::V4);
        let set = "default/p/ingress/0".to_owned();
        let range = |protocol, first, last| PortRange { protocol, first, last };
        let ports = vec![
            range(Protocol::Tcp, 80, 80),
            range(Protocol::Tcp, 90, 99),
            range(Protocol::Udp, 0, u16::MAX),
            range(Protocol::Sctp, 7, 7),
        ];
        let blocks = vec![Range { first: outside, last: [192, 0, 2, 77].into() }];
        let peers = Peers::Some { set: Some(set.clone()), blocks };
        let allow = Allow { peers, ports: Ports::of(ports) };
        let hosts = Peers::Some { set: Some("hosts".to_owned()), blocks: Vec::new() };
        let of_hosts = Allow { peers: hosts, ports: Ports::All };
        let at_nodes = |at| Refused { client: a, at, protocol: Protocol::Tcp, port: NODE_PORT };
        let rules = Rules {
            sets: [(set, [a, b].into()), ("hosts".to_owned(), [outside].into())].into(),
            ingress: [(pod, vec![allow, of_hosts])].into(),
            egress: [(pod, Vec::new())].into(),
            refused: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
                .map(|protocol| Refused { client: a, at: At::Address(vip), protocol, port: 7 })
                .into_iter()
                .chain([At::NodesHere, At::NodesElsewhere].map(at_nodes))
                .collect(),
            known: [a, b, pod].into(),
            networks: ["10.244.1.0/24", "10.244.2.0/25"].map(|it| it.parse().unwrap()).into(),
            links: ["pods".to_owned()].into(),
            isolates_egress: true,
            guarded: [At::Address(vip), At::NodesHere, At::NodesElsewhere]
                .map(|at| (at, Protocol::Tcp, 7))
                .into(),
            nodes_here: [gateway].into(),
            nodes_elsewhere: [outside].into(),
            doors: [gateway].into(),
            door_ports: [Protocol::Tcp, Protocol::Udp].map(|it| (it, NODE_PORT)).into(),
        };
        let table = nftables::Table { family: "ip", name: "ours".to_owned() };
        let contents = policy::table::contents(&rules, Family::Ipv4);
        assert!(table.ensure(&contents).await.unwrap());
        assert_eq!(table.read().await.unwrap(), Some(nftables::Found::of(&contents)));
    });
}

#[test]
fn who_may_not_reach_a_pod_does_not_on_its_bridge_from_outside_or_through_a_virtual_ip() {
    on_a_node(async |rig| {
        let Rig { a, b, outside, .. } = &rig;
        for client in [a, b] {
            client.until_connects(SERVER, 80).await;
            for (way, port) in WAYS {
                client.until_connects(way, port).await;
            }
        }
        outside.until_connects(SERVER, 80).await;

        rig.policy("p", &from(&json!([app("a")]), &json!([{"port": "web"}]))).await;
        until_listed("p/default/p/ingress/0").await;
        a.until_connects(SERVER, 80).await;
        assert!(!b.connects(SERVER, 80).await, "on the bridge");
        for (way, port) in WAYS {
            a.until_connects(way, port).await;
            assert!(!b.connects(way, port).await, "through {way}:{port}");
        }
        assert!(!a.connects(SERVER, 81).await, "another port");
        assert!(!a.asks(SERVER, 53).await, "another protocol");
        assert!(!outside.connects(SERVER, 80).await);
        b.until_connects(A, 80).await;
        let node = async || greeting(SERVER, 81).ok_or(());
        wait::until("the node itself connects", node).await;
        // It is isolated for ingress alone.
        rig.server.until_connects(A, 81).await;

        // What is allowed by any policy is allowed.
        let block = json!({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}});
        let ports = json!([{"port": 80, "endPort": 90}, {"port": 53, "protocol": "UDP"}]);
        rig.policy("q", &from(&json!([block]), &ports)).await;
        outside.until_connects(SERVER, 81).await;
        outside.until_asks(SERVER, 53).await;
        assert!(!b.connects(SERVER, 80).await);
        outside
            .run(|| {
                ip(&["address", "del", "192.0.2.2/24", "dev", "eth0"]);
                ip(&["address", "add", "192.0.2.200/24", "dev", "eth0"]);
                ip(&["route", "add", "default", "via", "192.0.2.1"]);
            })
            .await;
        assert!(!outside.connects(SERVER, 80).await, "an exception of the block");
    });
}

#[test]
fn a_flow_of_datagrams_goes_on_no_longer_than_it_may() {
    on_a_node(async |rig| {
        let flow = rig.b.flow().await;
        let asks = async || rig.b.asks_again(&flow, SERVER, 53).await;
        wait::until("the flow is answered", async || asks().await.then_some(()).ok_or(())).await;
        rig.policy("p", &from(&json!([app("a")]), &json!([]))).await;
        until_listed("p/default/p/ingress/0").await;
        // What was late before is heard now.
        wait::until("the flow has ended", async || (!asks().await).then_some(()).ok_or(())).await;
        // Whoever it is who begins, he is answered.
        rig.server.until_asks(rig.b.address, 53).await;
    });
}

#[test]
fn who_may_not_send_reaches_what_is_allowed_alone() {
    on_a_node(async |rig| {
        let (server, selector) = (&rig.server, json!({"matchLabels": {"app": "server"}}));
        rig.policy("closed", &json!({"podSelector": selector, "policyTypes": ["Egress"]})).await;
        until_listed("10.244.1.4 : jump egress-").await;
        assert!(!server.connects(A, 80).await && !server.connects(OUTSIDE, 80).await);
        assert!(!server.asks(DNS, 53).await, "the cluster's DNS");
        // Replies pass.
        rig.a.until_connects(SERVER, 80).await;
        rig.outside.until_connects(SERVER, 80).await;
        // Itself.
        server.until_connects(SERVER, 80).await;
        server.until_connects(VIP, 7).await;

        let dns = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}});
        let egress = json!([
            {"to": [app("a")], "ports": [{"port": "web"}]},
            {"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}]},
        ]);
        let spec = json!({"podSelector": selector, "policyTypes": ["Egress"], "egress": egress});
        rig.policy("open", &spec).await;
        server.until_connects(A, 80).await;
        server.until_asks(DNS, 53).await;
        assert!(!server.connects(A, 81).await, "another port");
        assert!(!server.connects(B, 80).await, "another pod");
    });
}

#[test]
fn a_pod_that_nobody_knows_of_yet_has_no_traffic() {
    on_a_node(async |rig| {
        let newcomer = Machine::connected([10, 244, 1, 9].into(), "to-new", GATEWAY).await;
        ip(&["link", "set", "to-new", "master", "pods"]);
        newcomer.until_connects(OUTSIDE, 80).await;
        rig.policy("p", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})).await;
        until_listed("10.244.1.4 : jump egress-").await;
        assert!(!newcomer.connects(OUTSIDE, 80).await);
        assert!(!rig.outside.connects(newcomer.address, 80).await);
        assert!(!newcomer.asks(DNS, 53).await);
        for (way, port) in WAYS {
            assert!(!newcomer.connects(way, port).await, "through {way}:{port}");
        }
        // Another namespace's, which no policy is for.
        rig.add_pod(newcomer.address, "other", "new").await;
        newcomer.until_connects(OUTSIDE, 80).await;
        newcomer.until_asks(DNS, 53).await;
        rig.outside.until_connects(newcomer.address, 80).await;
        assert!(!newcomer.connects(SERVER, 80).await && !newcomer.connects(VIP, 7).await);
    });
}

#[test]
fn the_rules_come_back_outlive_the_program_and_go_with_the_last_policy() {
    on_a_node(async |mut rig| {
        let rules = "p/default/p/ingress/0";
        rig.policy("p", &from(&json!([app("a")]), &json!([]))).await;
        until_listed(rules).await;
        assert!(!rig.b.connects(SERVER, 80).await);

        nft(&["flush", "ruleset"]);
        until_listed(rules).await;
        assert!(!rig.b.connects(SERVER, 80).await);

        rig.restart().await;
        assert!(!rig.b.connects(SERVER, 80).await);
        // Its first table is as the one before, so only this tells that it works.
        rig.policy("q", &from(&json!([app("b")]), &json!([]))).await;
        rig.b.until_connects(SERVER, 80).await;
        rig.delete_policy("p").await;
        rig.delete_policy("q").await;
        let gone = async || match nft(&["list", "tables"]) {
            tables if tables.is_empty() => Ok(()),
            tables => Err(tables),
        };
        wait::until("there is no table", gone).await;
        rig.outside.until_connects(SERVER, 80).await;
    });
}
