//! A node in a network namespace, with a bridge and pods in namespaces of their own: no packet leaves them. Needs root,
//! nft and conntrack.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use kube_proxy::{
    addresses::Loopback,
    backend::{Backend, Nftables},
    configs::Configs,
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::fake::Fake;

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);
const GATEWAY: &str = "10.244.0.1";
const PORT: u16 = 8080;
/// Far beyond what any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs on a thread with a network namespace of its own, which ends with it.
pub(crate) fn on_a_node(test: impl AsyncFnOnce(Node) + Send + 'static) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace (needs root)");
        ip("link set lo up");
        ip("link add pods type bridge");
        ip(&format!("address add {GATEWAY}/24 dev pods"));
        ip("link set pods up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pods = (2..5).map(Pod::new).collect();
            test(Node { pods, docker: Fake::default(), state: tempfile::tempdir().unwrap() }).await;
        });
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) struct Node {
    pub(crate) pods: Vec<Pod>,
    pub(crate) docker: Fake,
    state: TempDir,
}

impl Node {
    /// A kube-proxy that begins.
    pub(crate) async fn kube_proxy(&self) -> Nftables<Fake, Loopback> {
        let (pods, loopback) = ("10.244.0.0/16".parse().unwrap(), self.loopback().await);
        Nftables::new(range(), pods, self.docker.clone(), loopback, self.configs())
    }

    pub(crate) fn configs(&self) -> Configs {
        Configs::open(self.state.path()).unwrap()
    }

    pub(crate) async fn loopback(&self) -> Loopback {
        Loopback::open(range(), "10.244.0.0/16".parse().unwrap()).await.unwrap()
    }

    /// Has all Services be these, and their addresses stay here before anybody calls them.
    pub(crate) async fn serve(&self, proxy: &mut impl Backend, plans: Vec<ServicePlan>) {
        proxy.want_all(plans);
        settle(proxy).await;
        assert!(ip(&format!("route get {VIP}")).starts_with("local"), "it would leave this host");
    }

    pub(crate) fn endpoints(&self, numbers: &[usize]) -> Vec<SocketAddrV4> {
        numbers.iter().map(|number| SocketAddrV4::new(self.pods[*number].address, PORT)).collect()
    }
}

pub(crate) fn range() -> ipnet::Ipv4Net {
    "10.96.0.0/16".parse().unwrap()
}

pub(crate) async fn settle(proxy: &mut impl Backend) {
    let summary = proxy.pass().await.unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
}

/// A Service of two ports: 80 for TCP and 53 for UDP.
pub(crate) fn service(endpoints: &[SocketAddrV4]) -> ServicePlan {
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
        ip: VIP,
        affinity: None,
        balancing: Balancing::default(),
        outside: Outside::default(),
        ports: vec![port(53, Protocol::Udp), port(80, Protocol::Tcp)],
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A pod, whose servers say who they are and whom they see.
pub(crate) struct Pod {
    pub(crate) address: Ipv4Addr,
    work: Sender<Work>,
}

impl Pod {
    fn new(last: u8) -> Self {
        let (work, all) = channel::<Work>();
        let (tell, thread) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            tell.send(nix::unistd::gettid()).unwrap();
            all.into_iter().for_each(|work| work());
        });
        let (link, address) = (format!("pod{last}"), Ipv4Addr::new(10, 244, 0, last));
        let thread = thread.recv().unwrap();
        ip(&format!("link add {link} type veth peer name eth0 netns {thread}"));
        ip(&format!("link set {link} master pods up"));
        // As the kubelet has its bridge do.
        ip(&format!("link set {link} type bridge_slave hairpin on"));
        let pod = Pod { address, work };
        pod.run(move || {
            ip("link set lo up");
            ip(&format!("address add {address}/24 dev eth0"));
            ip("link set eth0 up");
            ip(&format!("route add default via {GATEWAY}"));
            serve_tcp(address);
            serve_udp(address);
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

/// Answers each line with its own address and the client's.
fn serve_tcp(address: Ipv4Addr) {
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

fn serve_udp(address: Ipv4Addr) {
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
    pub(crate) by: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
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
    let stream = TcpStream::connect_timeout(&SocketAddr::from((VIP, port)), PATIENCE)?;
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
    connect(port).and_then(|mut connection| connection.ask()).map_err(|error| error.kind())
}

/// Datagrams from one port.
pub(crate) struct Flow(UdpSocket);

pub(crate) fn flow(port: u16) -> Flow {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((VIP, port)).unwrap();
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
