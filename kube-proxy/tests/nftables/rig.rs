//! A node in a network namespace, with a bridge and pods in namespaces of their own: no packet leaves them. Needs root,
//! nft and conntrack.

#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use component::dual_stack::DualStack;
use kube_proxy::{
    addresses::Loopback,
    backend::{Backend, Nftables},
    configs::Configs,
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
};
use nix::sched::{CloneFlags, setns, unshare};
use tempfile::TempDir;

use crate::fake::Fake;

pub(crate) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 7));
/// The node's address for its pods.
pub(crate) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 1));
/// Its addresses where the client is that is none of the cluster's: its own, and two that lead to Services.
pub(crate) const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const EXTERNAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub(crate) const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
/// The same of IPv6.
pub(crate) const VIP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 7));
pub(crate) const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 1));
pub(crate) const NODE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
pub(crate) const CLIENT_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));
const PORT: u16 = 8080;
/// Far beyond what any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs on a thread with a network namespace of its own, which ends with it.
pub(crate) fn on_a_node(test: impl AsyncFnOnce(Node) + Send + 'static) {
    let enter = || unshare(CloneFlags::CLONE_NEWNET);
    on_a_node_of(move || enter().expect("a new network namespace (needs root)"), test);
}

/// The same with one that is somebody else's.
pub(crate) fn on_the_node(namespace: File, test: impl AsyncFnOnce(Node) + Send + 'static) {
    on_a_node_of(move || setns(namespace, CloneFlags::CLONE_NEWNET).unwrap(), test);
}

fn on_a_node_of(
    enter: impl FnOnce() + Send + 'static,
    test: impl AsyncFnOnce(Node) + Send + 'static,
) {
    let run = || {
        enter();
        // Docker turns it off in containers without a network.
        fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0").unwrap();
        // Nobody else is on these links: no address has to wait until that is found out.
        fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
        ip("link set lo up");
        ip("link add pods type bridge");
        ip(&format!("address add {GATEWAY}/24 dev pods"));
        ip(&format!("address add {GATEWAY_V6}/64 dev pods nodad"));
        ip("link set pods up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (pods, client) = ((2..5).map(Pod::new).collect(), Pod::beside());
            let (docker, state) = (Fake::default(), tempfile::tempdir().unwrap());
            test(Node { pods, client, docker, state }).await;
        });
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) struct Node {
    pub(crate) pods: Vec<Pod>,
    /// Outside of the cluster.
    pub(crate) client: Pod,
    pub(crate) docker: Fake,
    state: TempDir,
}

impl Node {
    /// A kube-proxy that begins.
    pub(crate) async fn kube_proxy(&self) -> Nftables<Fake, Loopback> {
        let (pods, loopback) = ("10.244.0.0/16".parse().unwrap(), self.loopback().await);
        Nftables::new(range(), pods, self.docker.clone(), loopback, self.configs())
    }

    /// The same of a cluster with two stacks.
    pub(crate) async fn kube_proxy_of_two_stacks(&self) -> Nftables<Fake, Loopback> {
        let ranges = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap();
        let pods = "10.244.0.0/16,fd00:10:244::/56".parse().unwrap();
        let loopback = Loopback::open(ranges, pods).await.unwrap();
        Nftables::new(ranges, pods, self.docker.clone(), loopback, self.configs())
    }

    /// As [`service`], with an address and endpoints of each family.
    pub(crate) fn service_of_two_stacks(&self, numbers: &[usize]) -> ServicePlan {
        let second = numbers.iter().map(|number| SocketAddr::new(self.pods[*number].second, PORT));
        let endpoints = self.endpoints(numbers).into_iter().chain(second);
        let plan = service(&endpoints.collect::<Vec<_>>());
        ServicePlan { ips: [VIP, VIP_V6].into(), ..plan }
    }

    pub(crate) fn configs(&self) -> Configs {
        Configs::open(self.state.path()).unwrap()
    }

    pub(crate) async fn loopback(&self) -> Loopback {
        Loopback::open(range(), "10.244.0.0/16".parse().unwrap()).await.unwrap()
    }

    /// Has all Services be these, and their addresses stay here before anybody calls them.
    pub(crate) async fn serve(&self, proxy: &mut impl Backend, plans: Vec<ServicePlan>) {
        let addresses: Vec<_> = plans.iter().flat_map(|plan| plan.ips.clone()).collect();
        proxy.want_all(plans);
        settle(proxy).await;
        for address in [VIP].into_iter().chain(addresses) {
            let route = ip(&format!("route get {address}"));
            assert!(route.starts_with("local"), "it would leave this host: {route}");
        }
    }

    pub(crate) fn endpoints(&self, numbers: &[usize]) -> Vec<SocketAddr> {
        numbers.iter().map(|number| SocketAddr::new(self.pods[*number].address, PORT)).collect()
    }
}

pub(crate) fn range() -> DualStack {
    "10.96.0.0/16".parse().unwrap()
}

pub(crate) async fn settle(proxy: &mut impl Backend) {
    let summary = proxy.pass().await.unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
}

/// A Service of two ports: 80 for TCP and 53 for UDP.
pub(crate) fn service(endpoints: &[SocketAddr]) -> ServicePlan {
    let port = |port, protocol| PortPlan {
        port,
        protocol,
        endpoints: endpoints.iter().copied().collect(),
        node_port: None,
        outside_endpoints: [].into(),
    };
    ServicePlan {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        uid: "u1".to_owned(),
        ips: [VIP].into(),
        affinity: None,
        balancing: Balancing::default(),
        kept: [].into(),
        outside: Outside::default(),
        ports: vec![port(53, Protocol::Udp), port(80, Protocol::Tcp)],
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A pod, whose servers say who they are and whom they see.
pub(crate) struct Pod {
    pub(crate) address: IpAddr,
    pub(crate) second: IpAddr,
    work: Sender<Work>,
}

impl Pod {
    fn new(last: u8) -> Self {
        let (link, address) = (format!("pod{last}"), IpAddr::V4(Ipv4Addr::new(10, 244, 0, last)));
        let second = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, last.into()).into();
        let pod = Pod::connected(&link, [address, second], [GATEWAY, GATEWAY_V6]);
        ip(&format!("link set {link} master pods up"));
        // As the kubelet has its bridge do.
        ip(&format!("link set {link} type bridge_slave hairpin on"));
        pod.run(move || [address, second].into_iter().for_each(serve));
        pod
    }

    /// What is no pod, on another link of the node.
    fn beside() -> Self {
        let client = Pod::connected("beside", [CLIENT, CLIENT_V6], [NODE, NODE_V6]);
        ip("link set beside up");
        ip(&format!("address add {NODE_V6}/64 dev beside nodad"));
        [NODE, EXTERNAL, BALANCER].iter().for_each(|address| {
            ip(&format!("address add {address}/24 dev beside"));
        });
        client
    }

    fn connected(link: &str, [address, second]: [IpAddr; 2], gateways: [IpAddr; 2]) -> Self {
        let (work, all) = channel::<Work>();
        let (tell, thread) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
            tell.send(nix::unistd::gettid()).unwrap();
            all.into_iter().for_each(|work| work());
        });
        let thread = thread.recv().unwrap();
        ip(&format!("link add {link} type veth peer name eth0 netns {thread}"));
        let pod = Pod { address, second, work };
        pod.run(move || {
            ip("link set lo up");
            ip(&format!("address add {address}/24 dev eth0"));
            ip(&format!("address add {second}/64 dev eth0 nodad"));
            ip("link set eth0 up");
            gateways.iter().for_each(|gateway| {
                ip(&format!("route add default via {gateway}"));
            });
        });
        pod
    }

    /// Does something in the pod.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, result) = channel();
        self.work.send(Box::new(move || drop(tell.send(work())))).unwrap();
        result.recv().expect("work in a pod failed")
    }
}

/// Has servers say who they are and whom they see.
pub(crate) fn serve(address: IpAddr) {
    serve_tcp(address);
    serve_udp(address);
}

/// Answers each line with its own address and the client's.
fn serve_tcp(address: IpAddr) {
    let listener = TcpListener::bind((address, PORT)).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(move || {
                let client = connection.peer_addr().unwrap().ip();
                while connection.read(&mut [0; 16]).is_ok_and(|length| length > 0) {
                    connection.write_all(format!("{address} {client}\n").as_bytes()).unwrap();
                }
            });
        }
    });
}

fn serve_udp(address: IpAddr) {
    let socket = UdpSocket::bind((address, PORT)).unwrap();
    thread::spawn(move || {
        while let Ok((_, client)) = socket.recv_from(&mut [0; 16]) {
            socket.send_to(format!("{address} {}\n", client.ip()).as_bytes(), client).unwrap();
        }
    });
}

/// Who answered, and whom it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    pub(crate) by: IpAddr,
    pub(crate) to: IpAddr,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (by, to) = text.trim().split_once(' ').unwrap();
        Answer { by: by.parse().unwrap(), to: to.parse().unwrap() }
    }
}

/// A connection to a port of the Service.
pub(crate) struct Connection(TcpStream);

pub(crate) fn connect(port: u16) -> io::Result<Connection> {
    connect_to(VIP, port)
}

fn connect_to(address: IpAddr, port: u16) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Connection(stream))
}

impl Connection {
    pub(crate) fn ask(&mut self) -> io::Result<Answer> {
        self.0.write_all(b"?")?;
        let mut buffer = [0; 64];
        let length = self.0.read(&mut buffer)?;
        Ok(Answer::read(std::str::from_utf8(&buffer[..length]).unwrap()))
    }
}

/// With a connection of its own.
pub(crate) fn call(port: u16) -> Result<Answer, io::ErrorKind> {
    call_at(VIP, port)
}

/// The same at another address.
pub(crate) fn call_at(address: IpAddr, port: u16) -> Result<Answer, io::ErrorKind> {
    let answer = connect_to(address, port).and_then(|mut connection| connection.ask());
    answer.map_err(|error| error.kind())
}

/// Datagrams from one port.
pub(crate) struct Flow(UdpSocket);

pub(crate) fn flow(port: u16) -> Flow {
    flow_to(VIP, port)
}

/// The same to another address.
pub(crate) fn flow_to(address: IpAddr, port: u16) -> Flow {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((address, port)).unwrap();
    Flow(socket)
}

impl Flow {
    pub(crate) fn ask(&self) -> Result<Answer, io::ErrorKind> {
        self.0.send(b"?").map_err(|error| error.kind())?;
        let mut buffer = [0; 64];
        let length = self.0.recv(&mut buffer).map_err(|error| error.kind())?;
        Ok(Answer::read(std::str::from_utf8(&buffer[..length]).unwrap()))
    }
}

pub(crate) fn ip(command: &str) -> String {
    tool("ip", command)
}

pub(crate) fn nft(command: &str) -> String {
    tool("nft", command)
}

fn tool(tool: &str, command: &str) -> String {
    let output = Command::new(tool).args(command.split(' ')).output().unwrap();
    let refusal = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {command}: {refusal}");
    String::from_utf8(output.stdout).unwrap()
}
