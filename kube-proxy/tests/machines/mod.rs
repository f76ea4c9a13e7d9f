//! Hosts in namespaces of their own, on one network segment or on two with a router between.
//!
//! The namespaces have no names and no way out: each lasts as long as somebody has it open, and all
//! that is in it ends with it, however the test ends.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
    thread,
    time::Duration,
};

use api_types::api::core::v1::Node;
use component::{Health, Metrics, Tasks, events::Recorder};
use ipnet::Ipv4Net;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use kube_proxy::{
    RouteMetrics, Wake,
    routes::{
        Host,
        kernel::Kernel,
        reconciler::{RouteReport, reconcile},
        seen::PROTOCOL,
        settings::{Mode, Settings},
        sync::{Outlets, Routes},
    },
    world::follow,
};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        address::AddressHeaderFlags,
        link::{InfoData, InfoVeth},
        route::{RouteProtocol, RouteType},
    },
};
use serde_json::json;
use testkit::{ControlPlane, wait};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime,
    task::AbortHandle,
    time::timeout,
};

pub(crate) const CLUSTER: &str = "10.244.0.0/16";
/// The link to the common segment.
pub(crate) const UPLINK: &str = "up0";
/// A connection that takes longer is not made. The kernel takes links of all namespaces in turn, so that one on a busy machine
/// may be up some seconds after it was said to be.
const PATIENCE: Duration = Duration::from_secs(20);
/// The router on its two segments.
const ROUTER: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 254), Ipv4Addr::new(203, 0, 113, 254)];

/// A network namespace.
pub(crate) struct Space {
    pub(crate) namespace: File,
    links: Handle,
    pub(crate) kernel: Kernel,
}

/// A host with pods of 10.244.N.0/24, of which 10.244.N.1 stands for all.
pub(crate) struct Machine {
    pub(crate) number: u8,
    address: Ipv4Addr,
    pub(crate) vxlan: Settings,
    space: Space,
}

impl std::ops::Deref for Machine {
    type Target = Space;

    fn deref(&self) -> &Space {
        &self.space
    }
}

impl Space {
    async fn new() -> Self {
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
        let space = Space { namespace, links, kernel };
        space.up("lo").await;
        space
    }

    pub(crate) async fn bridge(&self, name: &str) {
        self.links.link().add(LinkBridge::new(name).build()).execute().await.unwrap();
        self.up(name).await;
    }

    /// A cable.
    async fn connect(&self, link: &str, other: &Space, end: &str) {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(end)
            .setns_by_fd(other.namespace.as_raw_fd())
            .build();
        let info = InfoData::Veth(InfoVeth::Peer(peer));
        let pair = LinkVeth::new(link, end).set_info_data(info).build();
        self.links.link().add(pair).execute().await.unwrap();
        self.up(link).await;
        other.up(end).await;
    }

    async fn plug(&self, link: &str, bridge: &str) {
        let port = LinkMessageBuilder::<LinkUnspec>::new()
            .index(self.index(link).await)
            .controller(self.index(bridge).await);
        self.links.link().set(port.build()).execute().await.unwrap();
    }

    pub(crate) async fn down(&self, link: &str) {
        let down = LinkMessageBuilder::<LinkUnspec>::new().index(self.index(link).await).down();
        self.links.link().set(down.build()).execute().await.unwrap();
    }

    pub(crate) async fn remove(&self, link: &str) {
        self.links.link().del(self.index(link).await).execute().await.unwrap();
    }

    /// A number of `/proc/net/snmp`, by the names of its line and its column.
    pub(crate) fn counted(&self, protocol: &str, name: &str) -> u64 {
        let text = inside(&self.namespace, || {
            std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()
        });
        let mut lines = text.lines().filter(|line| line.starts_with(&format!("{protocol}:")));
        let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
        let column = names.split(' ').position(|column| column == name).unwrap();
        numbers.split(' ').nth(column).unwrap().parse().unwrap()
    }

    pub(crate) async fn index(&self, link: &str) -> u32 {
        use futures::TryStreamExt;
        let mut found = self.links.link().get().match_name(link.to_owned()).execute();
        found.try_next().await.unwrap().unwrap().header.index
    }

    pub(crate) async fn up(&self, link: &str) {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(self.index(link).await).up();
        self.links.link().set(up.build()).execute().await.unwrap();
    }

    pub(crate) async fn address(&self, link: &str, address: impl Into<IpAddr>, length: u8) {
        let index = self.index(link).await;
        let mut request = self.links.address().add(index, address.into(), length);
        // Of IPv6: nobody else has it.
        request.message_mut().header.flags = AddressHeaderFlags::Nodad;
        request.execute().await.unwrap();
    }

    /// Adds a route; one without a gateway leads nowhere.
    pub(crate) async fn route(&self, to: &str, gateway: Option<Ipv4Addr>, protocol: RouteProtocol) {
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

    /// Our routes: where to, through whom.
    pub(crate) async fn ours(&self) -> Vec<(String, Option<IpAddr>)> {
        let found = self.kernel.look().await.unwrap().routes;
        let ours = found.into_iter().filter(|route| route.protocol == PROTOCOL);
        ours.map(|route| (route.destination.to_string(), route.gateway)).collect()
    }

    pub(crate) async fn until_ours(&self, expected: &[(&str, Ipv4Addr)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(destination, gateway)| ((*destination).to_owned(), Some(IpAddr::V4(*gateway))))
            .collect();
        let look = async || match self.ours().await {
            ours if ours == expected => Ok(()),
            ours => Err(ours),
        };
        wait::until("the routes are as they should be", look).await;
    }
}

impl Machine {
    /// One that is connected to nothing.
    async fn new(number: u8, address: impl Into<Ipv4Addr>) -> Self {
        let space = Space::new().await;
        let vxlan = Settings { mode: Mode::Auto, id: 138, port: 4789 };
        let machine = Machine { number, address: address.into(), vxlan, space };
        // As the kubelet does: what is not routed goes nowhere.
        machine.route(CLUSTER, None, RouteProtocol::Static).await;
        machine.bridge("pods").await;
        machine.address("pods", machine.pod(), 24).await;
        machine
    }

    /// Two on one segment, 198.51.100.0/24.
    pub(crate) async fn pair() -> (Self, Self) {
        let (one, two) =
            (Machine::new(1, [198, 51, 100, 1]).await, Machine::new(2, [198, 51, 100, 2]).await);
        one.connect(UPLINK, &two, UPLINK).await;
        for machine in [&one, &two] {
            machine.address(UPLINK, machine.ip(), 24).await;
        }
        (one, two)
    }

    /// Two on one segment, a third on another, 203.0.113.0/24, and the router between them.
    ///
    /// All have to be kept: when a host goes, so does its cable, and with it, perhaps, the router's MAC address.
    pub(crate) async fn three() -> ([Self; 3], Space) {
        let router = Space::new().await;
        inside(&router.namespace, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
        let addresses = [[198, 51, 100, 1], [198, 51, 100, 2], [203, 0, 113, 3]];
        for (bridge, address) in ["near", "far"].into_iter().zip(ROUTER) {
            router.bridge(bridge).await;
            router.address(bridge, address, 24).await;
        }
        let mut machines = Vec::new();
        for (number, address) in (1..).zip(addresses) {
            let machine = Machine::new(number, address).await;
            let (port, segment) = (format!("to{number}"), usize::from(number == 3));
            machine.connect(UPLINK, &router, &port).await;
            router.plug(&port, ["near", "far"][segment]).await;
            machine.address(UPLINK, machine.ip(), 24).await;
            machine.route("0.0.0.0/0", Some(ROUTER[segment]), RouteProtocol::Static).await;
            machines.push(machine);
        }
        (machines.try_into().ok().unwrap(), router)
    }

    /// Three on one segment, 198.51.100.0/24, with a client, 198.51.100.9, that is none of the cluster's; last the switch, whose
    /// ports are `to1` and so on.
    pub(crate) async fn segment() -> ([Self; 3], Space, Space) {
        let (switch, client) = (Space::new().await, Space::new().await);
        switch.bridge("switch").await;
        let mut machines = Vec::new();
        for number in 1..=3 {
            let machine = Machine::new(number, [198, 51, 100, number]).await;
            let port = format!("to{number}");
            machine.connect(UPLINK, &switch, &port).await;
            switch.plug(&port, "switch").await;
            machine.address(UPLINK, machine.ip(), 24).await;
            machines.push(machine);
        }
        client.connect(UPLINK, &switch, "client").await;
        switch.plug("client", "switch").await;
        client.address(UPLINK, [198, 51, 100, 9], 24).await;
        (machines.try_into().ok().unwrap(), client, switch)
    }

    pub(crate) fn name(&self) -> String {
        format!("n{}", self.number)
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.address
    }

    pub(crate) fn pod(&self) -> Ipv4Addr {
        [10, 244, self.number, 1].into()
    }

    pub(crate) fn host(&self) -> Host {
        Host { node: self.name(), cluster_cidr: CLUSTER.parse().unwrap(), vxlan: self.vxlan }
    }

    pub(crate) fn node(&self) -> Node {
        node(&self.name(), &format!("10.244.{}.0/24", self.number), &self.ip().to_string())
    }

    /// One pass.
    pub(crate) async fn reconcile(&self, nodes: &[Node]) -> RouteReport {
        reconcile(&self.kernel, &self.host(), nodes.iter()).await.unwrap()
    }

    /// Connects a pod here with a pod there, and answers as whom it is seen there.
    pub(crate) async fn reach(&self, other: &Machine) -> io::Result<SocketAddr> {
        Ok(self.connected(other).await?.2)
    }

    /// The two ends of a connection of a pod here with a pod there, and as whom it is seen there.
    pub(crate) async fn connected(
        &self,
        other: &Machine,
    ) -> io::Result<(TcpStream, TcpStream, SocketAddr)> {
        let listener = inside(&other.namespace, || std::net::TcpListener::bind((other.pod(), 0)))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let socket = inside(&self.namespace, TcpSocket::new_v4)?;
        socket.bind((self.pod(), 0).into())?;
        let here = timeout(PATIENCE, socket.connect(listener.local_addr()?)).await??;
        let (there, seen_as) = timeout(PATIENCE, listener.accept()).await??;
        Ok((here, there, seen_as))
    }
}

/// Acts in the namespace: on a thread of its own, as a namespace is the thread's.
pub(crate) fn inside<T: Send>(namespace: &File, act: impl FnOnce() -> T + Send) -> T {
    let runtime = runtime::Handle::current();
    let enter_and_act = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let _guard = runtime.enter();
        act()
    };
    thread::scope(|scope| scope.spawn(enter_and_act).join()).unwrap()
}

pub(crate) fn network(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(crate) fn node(name: &str, cidr: &str, ip: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
    }))
    .unwrap()
}

/// A node's kube-proxy, as far as routes go.
pub(crate) struct Proxy {
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    task: AbortHandle,
}

impl Proxy {
    pub(crate) fn start(machine: &Machine, plane: &ControlPlane) -> Self {
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

    pub(crate) async fn until_ready(&self) {
        let look = async || if self.health.is_ready() { Ok(()) } else { Err(()) };
        wait::until("the routes are ready", look).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn create(nodes: &Api<Node>, node: &Node) {
    nodes.create(&PostParams::default(), node).await.unwrap();
    let status = json!({"status": node.status});
    let name = node.metadata.name.as_deref().unwrap();
    let patch = Patch::Merge(&status);
    nodes.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}
