//! Routes in the kernel, between hosts that are network namespaces of the test. Needs root.
//!
//! The namespaces have no names and no way out: each lasts as long as somebody has it open, and all
//! that is in it ends with it, however the test ends.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
    thread,
    time::Duration,
};

use api_types::api::core::v1::{Event, Node};
use component::{Health, Metrics, Tasks, events::Recorder};
use ipnet::Ipv4Net;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use kube_proxy::{
    RouteMetrics, Wake,
    routes::{
        Found, Host, Owner,
        kernel::Kernel,
        reconciler::{RouteReport, reconcile},
        sync::{Outlets, Routes},
    },
    world::follow,
};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        link::{InfoData, InfoVeth},
        route::{RouteProtocol, RouteType},
    },
};
use serde_json::json;
use testkit::{ControlPlane, wait};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    task::AbortHandle,
    time::timeout,
};

const CLUSTER: &str = "10.244.0.0/16";
/// The link to the common segment.
const UPLINK: &str = "up0";
/// A connection that takes longer is not made.
const PATIENCE: Duration = Duration::from_secs(2);

/// A host with pods of 10.244.N.0/24, of which 10.244.N.1 stands for all.
struct Machine {
    number: u8,
    namespace: File,
    links: Handle,
    kernel: Kernel,
}

impl Machine {
    async fn new(number: u8) -> Self {
        let namespace = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (needs root)");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = namespace.join().unwrap();
        let (links, kernel) = inside(&namespace, || {
            let (connection, links, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            (links, Kernel::open().unwrap())
        });
        let machine = Machine { number, namespace, links, kernel };
        machine.up("lo").await;
        // As the kubelet does: what is not routed goes nowhere.
        machine.route(CLUSTER, None, RouteProtocol::Static).await;
        machine.links.link().add(LinkBridge::new("pods").build()).execute().await.unwrap();
        machine.address("pods", machine.pod(), 24).await;
        machine.up("pods").await;
        machine
    }

    /// Two on one segment, 198.51.100.0/24.
    async fn pair() -> (Self, Self) {
        let (one, two) = (Machine::new(1).await, Machine::new(2).await);
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(UPLINK)
            .setns_by_fd(two.namespace.as_raw_fd())
            .build();
        let info = InfoData::Veth(InfoVeth::Peer(peer));
        let pair = LinkVeth::new(UPLINK, UPLINK).set_info_data(info).build();
        one.links.link().add(pair).execute().await.unwrap();
        for machine in [&one, &two] {
            machine.address(UPLINK, machine.ip(), 24).await;
            machine.up(UPLINK).await;
        }
        (one, two)
    }

    fn name(&self) -> String {
        format!("n{}", self.number)
    }

    fn ip(&self) -> Ipv4Addr {
        [198, 51, 100, self.number].into()
    }

    fn pod(&self) -> Ipv4Addr {
        [10, 244, self.number, 1].into()
    }

    fn host(&self) -> Host {
        Host { node: self.name(), cluster_cidr: network(CLUSTER) }
    }

    fn node(&self) -> Node {
        node(&self.name(), &format!("10.244.{}.0/24", self.number), &self.ip().to_string())
    }

    async fn index(&self, link: &str) -> u32 {
        use futures::TryStreamExt;
        let mut found = self.links.link().get().match_name(link.to_owned()).execute();
        found.try_next().await.unwrap().unwrap().header.index
    }

    async fn up(&self, link: &str) {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(self.index(link).await).up();
        self.links.link().set(up.build()).execute().await.unwrap();
    }

    async fn address(&self, link: &str, address: Ipv4Addr, length: u8) {
        let index = self.index(link).await;
        self.links.address().add(index, address.into(), length).execute().await.unwrap();
    }

    /// Adds a route; one without a gateway leads nowhere.
    async fn route(&self, to: &str, gateway: Option<Ipv4Addr>, protocol: RouteProtocol) {
        let to = network(to);
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .protocol(protocol);
        let route = match gateway {
            Some(gateway) => route.gateway(gateway),
            None => route.kind(RouteType::BlackHole),
        };
        self.links.route().add(route.build()).execute().await.unwrap();
    }

    /// One pass.
    async fn reconcile(&self, nodes: &[Node]) -> RouteReport {
        reconcile(&self.kernel, &self.host(), nodes.iter()).await.unwrap()
    }

    /// Our routes: where to, through whom.
    async fn ours(&self) -> Vec<(String, Option<Ipv4Addr>)> {
        let found = self.kernel.routes(network("0.0.0.0/0")).await.unwrap();
        let ours = found.into_iter().filter(|route| route.owner == Owner::Us);
        ours.map(|route| (route.destination.to_string(), route.gateway)).collect()
    }

    async fn until_ours(&self, expected: &[(&str, Ipv4Addr)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(destination, gateway)| ((*destination).to_owned(), Some(*gateway)))
            .collect();
        let look = async || match self.ours().await {
            ours if ours == expected => Ok(()),
            ours => Err(ours),
        };
        wait::until("the routes are as they should be", look).await;
    }

    /// Connects a pod here with a pod there, and answers as whom it is seen there.
    async fn reach(&self, other: &Machine) -> io::Result<SocketAddr> {
        let listener = inside(&other.namespace, || std::net::TcpListener::bind((other.pod(), 0)))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let socket = inside(&self.namespace, TcpSocket::new_v4)?;
        socket.bind((self.pod(), 0).into())?;
        let _connection = timeout(PATIENCE, socket.connect(listener.local_addr()?)).await??;
        Ok(timeout(PATIENCE, listener.accept()).await??.1)
    }
}

/// Acts in the namespace: on a thread of its own, as a namespace is the thread's.
fn inside<T: Send>(namespace: &File, act: impl FnOnce() -> T + Send) -> T {
    let runtime = runtime::Handle::current();
    let enter_and_act = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let _guard = runtime.enter();
        act()
    };
    thread::scope(|scope| scope.spawn(enter_and_act).join()).unwrap()
}

fn network(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn node(name: &str, cidr: &str, ip: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
    }))
    .unwrap()
}

/// A node's kube-proxy, as far as routes go.
struct Proxy {
    health: Health,
    metrics: Metrics,
    task: AbortHandle,
}

impl Proxy {
    fn start(machine: &Machine, plane: &ControlPlane) -> Self {
        let (health, metrics) = (Health::default(), Metrics::default());
        let outlets = Outlets {
            check: health.check("routes"),
            metrics: RouteMetrics::register(&metrics),
            recorder: Recorder::new(
                &Tasks::default(),
                plane.client(),
                "kube-proxy",
                &machine.name(),
            ),
        };
        let mut routes = Routes::new(machine.host(), machine.kernel.clone(), outlets);
        let listwatch = plane.listwatch();
        let task = tokio::spawn(async move {
            let wake = Arc::new(Wake::default());
            let (nodes, watch) = follow::<Node>(&listwatch, vec![wake.clone()]);
            tokio::join!(watch, routes.run(&nodes, &wake))
        });
        Proxy { health, metrics, task: task.abort_handle() }
    }

    async fn until_ready(&self) {
        let look = async || if self.health.is_ready() { Ok(()) } else { Err(()) };
        wait::until("the routes are ready", look).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn create(nodes: &Api<Node>, node: &Node) {
    nodes.create(&PostParams::default(), node).await.unwrap();
    let status = json!({"status": node.status});
    let name = node.metadata.name.as_deref().unwrap();
    let patch = Patch::Merge(&status);
    nodes.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn pods_of_two_hosts_reach_each_other_as_long_as_both_are_nodes() {
    let ((one, two), plane) = (Machine::pair().await, ControlPlane::start().await);
    assert!(one.reach(&two).await.is_err());
    let proxies = [Proxy::start(&one, &plane), Proxy::start(&two, &plane)];

    let nodes: Api<Node> = Api::all(plane.client());
    create(&nodes, &one.node()).await;
    create(&nodes, &two.node()).await;
    one.until_ours(&[("10.244.2.0/24", two.ip())]).await;
    two.until_ours(&[("10.244.1.0/24", one.ip())]).await;
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());
    assert_eq!(two.reach(&one).await.unwrap().ip(), two.pod());
    proxies[0].until_ready().await;

    // The node moves to another address, then goes.
    let moved = Ipv4Addr::new(198, 51, 100, 77);
    two.address(UPLINK, moved, 24).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": moved}]}});
    let (name, patch) = (two.name(), Patch::Merge(&status));
    nodes.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    one.until_ours(&[("10.244.2.0/24", moved)]).await;
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());

    nodes.delete(&name, &Default::default()).await.unwrap();
    one.until_ours(&[]).await;
    assert!(one.reach(&two).await.is_err());
}

#[tokio::test]
async fn routes_outlast_an_outage_of_the_api_server_and_of_kube_proxy() {
    let ((one, two), plane) = (Machine::pair().await, ControlPlane::start().await);
    let nodes: Api<Node> = Api::all(plane.client());
    create(&nodes, &two.node()).await;
    let proxy = Proxy::start(&one, &plane);
    let first = ("10.244.2.0/24", two.ip());
    one.until_ours(&[first]).await;
    two.route("10.244.1.0/24", Some(one.ip()), RouteProtocol::Static).await;

    plane.stop_server().await;
    drop(proxy);
    let proxy = Proxy::start(&one, &plane);
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());
    assert!(!proxy.health.is_ready());

    plane.start_server().await;
    create(&nodes, &node("n3", "10.244.3.0/24", "198.51.100.3")).await;
    one.until_ours(&[first, ("10.244.3.0/24", [198, 51, 100, 3].into())]).await;
    proxy.until_ready().await;
}

#[tokio::test]
async fn a_node_off_the_segment_is_reported_once_and_keeps_no_other_from_being_reached() {
    let ((one, two), plane) = (Machine::pair().await, ControlPlane::start().await);
    // It would be reached by this, but not directly.
    one.route("0.0.0.0/0", Some(two.ip()), RouteProtocol::Static).await;
    let nodes: Api<Node> = Api::all(plane.client());
    create(&nodes, &node("n0", "10.244.0.0/24", "203.0.113.9")).await;
    create(&nodes, &two.node()).await;
    let proxy = Proxy::start(&one, &plane);
    let first = ("10.244.2.0/24", two.ip());
    one.until_ours(&[first]).await;

    let events: Api<Event> = Api::default_namespaced(plane.client());
    let reported = async || {
        let all = events.list(&Default::default()).await.unwrap().items;
        let event =
            all.into_iter().find(|event| event.involved_object.name.as_deref() == Some("n0"));
        event.ok_or("no event")
    };
    let event = wait::until("the node is reported", reported).await;
    assert_eq!(event.reason.as_deref(), Some("FailedToCreateRoute"));
    let message = event.message.unwrap();
    assert!(message.contains("203.0.113.9 is not on a network segment of this host"), "{message}");
    let metrics = proxy.metrics.encode().unwrap();
    assert!(metrics.contains("kubeproxy_routes 2\n"), "{metrics}");
    assert!(metrics.contains("kubeproxy_route_nodes_failed 1\n"), "{metrics}");
    proxy.until_ready().await;

    // Another pass has nothing new to say.
    create(&nodes, &node("n3", "10.244.3.0/24", "198.51.100.3")).await;
    one.until_ours(&[first, ("10.244.3.0/24", [198, 51, 100, 3].into())]).await;
    assert_eq!(reported().await.unwrap().count.unwrap_or(1), 1);
}

#[tokio::test]
async fn routes_of_others_stay() {
    let (one, two) = Machine::pair().await;
    let (ours, via) = (RouteProtocol::Other(kube_proxy::routes::kernel::PROTOCOL), Some(two.ip()));
    one.route("10.244.9.0/24", via, RouteProtocol::Static).await;
    one.route("10.244.8.0/24", via, ours).await;
    one.route("172.31.0.0/24", via, ours).await;
    one.route("10.244.2.0/24", None, RouteProtocol::Static).await;
    let everything = network("0.0.0.0/0");
    let before: Vec<Found> = one.kernel.routes(everything).await.unwrap();

    // A node that only an administrator's route leads to, and one that a blackhole keeps away.
    let far = node("n9", "10.244.9.0/24", "203.0.113.9");
    let report = one.reconcile(&[one.node(), two.node(), far]).await;
    assert_eq!(report.refused.keys().collect::<Vec<_>>(), ["n2"]);
    let why = report.refused["n2"][0].to_string();
    assert!(
        why.contains("10.244.2.0/24 is a network of this host or one that leads nowhere"),
        "{why}"
    );
    let mut expected = before;
    expected.retain(|route| route.destination != network("10.244.8.0/24"));
    assert_eq!(one.kernel.routes(everything).await.unwrap(), expected);
}

#[tokio::test]
async fn a_pass_puts_right_what_was_changed_by_hand_and_then_does_nothing() {
    let (one, two) = Machine::pair().await;
    let nodes = [one.node(), two.node()];
    one.reconcile(&nodes).await;
    // Downing a link takes its routes away.
    let down = LinkMessageBuilder::<LinkUnspec>::new().index(one.index(UPLINK).await).down();
    one.links.link().set(down.build()).execute().await.unwrap();
    assert_eq!(one.ours().await, []);
    one.up(UPLINK).await;
    for _ in 0..2 {
        let report = one.reconcile(&nodes).await;
        assert!(report.refused.is_empty() && report.left.is_empty(), "{report:?}");
        assert_eq!(one.ours().await, [("10.244.2.0/24".to_owned(), Some(two.ip()))]);
    }
    two.reconcile(&nodes).await;
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());
}
