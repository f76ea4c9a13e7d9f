//! Ports of the node on the bridge: who comes by them from where, and flows of datagrams that began before a change.

use std::{
    fs::File,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use kubelet::{
    addresses::PodAddresses,
    network::{PodNetwork, PortMapping, bridge::Bridge},
};
use nix::sched::{CloneFlags, setns, unshare};

use crate::{Sandbox, held, in_own_network, network, port, sh};

/// Longer than any packet here takes.
const PATIENCE: Duration = Duration::from_secs(5);
const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const CIDR: &str = "10.219.1.0/24,fd00:10:219:1::/64";

fn bridge() -> Bridge {
    let pods = network("10.219.0.0/16,fd00:10:219::/56");
    Bridge::new("n1", pods, network("10.119.0.0/16,fd00:10:119::/112"))
}

/// A node with two addresses of its own.
async fn node() -> Bridge {
    let bridge = bridge();
    bridge.start(network(CIDR), &[]).await.unwrap();
    let [v4, v6] = NODE;
    sh(&format!("ip link set lo up; ip addr add {v4}/32 dev lo; ip addr add {v6}/128 dev lo"));
    bridge
}

/// Whether bridges ask the rules where packets from one of their ports to another go; tells whether the kernel can.
fn bridges_ask(flag: &str) -> bool {
    let flags =
        ["iptables", "ip6tables"].map(|tool| format!("/proc/sys/net/bridge/bridge-nf-call-{tool}"));
    flags.iter().all(|path| std::fs::write(path, flag).is_ok())
}

/// What is opened in a pod's network stays there.
fn inside<T: Send>(pod: &Sandbox, open: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{}/ns/net", pod.pid())).unwrap();
    let enter = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        open()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

/// As whom the server meets a pod that connects to this.
fn met_as(client: &Sandbox, to: &str, server: &TcpListener) -> IpAddr {
    let to: SocketAddr = to.parse().unwrap();
    let connected = inside(client, || TcpStream::connect_timeout(&to, PATIENCE));
    let _connected = connected.unwrap_or_else(|error| panic!("{to}: {error}"));
    server.accept().unwrap().1.ip().to_canonical()
}

#[test]
fn pods_of_the_node_are_answered_at_its_ports_also_by_themselves() {
    in_own_network(async || {
        let (bridge, pod, neighbour) = (node().await, Sandbox::start(), Sandbox::start());
        let addresses = bridge.attach(&pod.of("a")).await.unwrap();
        let others = bridge.attach(&neighbour.of("b")).await.unwrap();
        let led = addresses.iter().map(|pod_ip| PortMapping { pod_ip, ..port("tcp", 8080) });
        bridge.host_ports("a", led.collect()).await.unwrap();
        let server = inside(&pod, || TcpListener::bind("[::]:80").unwrap());
        let gateways = ["10.219.1.1", "fd00:10:219:1::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        for flag in ["0", "1"] {
            bridges_ask(flag);
            for ((node, gateway), (own, other)) in
                NODE.into_iter().zip(gateways).zip(addresses.iter().zip(others.iter()))
            {
                let by_node = SocketAddr::new(node.parse().unwrap(), 8080).to_string();
                assert_eq!(met_as(&pod, &by_node, &server), gateway);
                assert_eq!(met_as(&neighbour, &by_node, &server), gateway);
                let directly = SocketAddr::new(own, 80).to_string();
                assert_eq!(met_as(&neighbour, &directly, &server), other);
            }
        }
    });
}

#[test]
fn who_is_led_to_a_pod_by_others_keeps_his_address() {
    in_own_network(async || {
        let (bridge, pod, neighbour) = (node().await, Sandbox::start(), Sandbox::start());
        let address = bridge.attach(&pod.of("a")).await.unwrap().v4;
        let other = bridge.attach(&neighbour.of("b")).await.unwrap().v4;
        bridge.host_ports("a", vec![port("tcp", 8080)]).await.unwrap();
        let server = inside(&pod, || TcpListener::bind("[::]:80").unwrap());
        // Without which nobody could: the answer would not come by the node.
        if bridges_ask("1") {
            sh(&format!(
                "iptables -t nat -A PREROUTING -p tcp --dport 30080 -j DNAT --to-destination {address}:80"
            ));
            assert_eq!(met_as(&neighbour, "192.0.2.1:30080", &server), other);
        }
    });
}

/// A pod that hears datagrams.
async fn listening(bridge: &Bridge, sandbox: &Sandbox, pod: &str) -> (PodAddresses, UdpSocket) {
    let addresses = bridge.attach(&sandbox.of(pod)).await.unwrap();
    let socket = inside(sandbox, || UdpSocket::bind("[::]:80").unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (addresses, socket)
}

/// A client of the node for each family, which goes on from one port.
struct Clients(Vec<(UdpSocket, SocketAddr)>);

impl Clients {
    fn new() -> Self {
        let client = |node: &str| {
            let to = SocketAddr::new(node.parse().unwrap(), 5353);
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            (UdpSocket::bind(any).unwrap(), to)
        };
        Self(NODE.map(client).into())
    }

    fn send(&self) {
        for (socket, to) in &self.0 {
            socket.send_to(b"x", to).unwrap();
        }
    }

    #[track_caller]
    fn are_heard_by(&self, pod: &UdpSocket) {
        for (socket, to) in &self.0 {
            socket.send_to(b"x", to).unwrap();
            let heard = pod.recv_from(&mut [0; 1]);
            assert!(heard.is_ok(), "{to}: {heard:?}");
        }
    }
}

fn led_to(addresses: PodAddresses) -> Vec<PortMapping> {
    addresses.iter().map(|pod_ip| PortMapping { pod_ip, ..port("udp", 5353) }).collect()
}

/// Flows that the kernel remembers to this pod.
fn flows_to(pod: PodAddresses) -> String {
    let of = |ip: IpAddr, family| {
        sh(&format!("conntrack -L -f {family} -p udp --reply-src {ip} 2>/dev/null"))
    };
    of(pod.v4.into(), "ipv4") + &of(pod.v6.unwrap().into(), "ipv6")
}

#[test]
fn who_goes_on_sending_datagrams_to_a_port_of_the_node_is_led_to_the_pod_that_has_it_now() {
    in_own_network(async || {
        let (bridge, clients) = (node().await, Clients::new());
        let (one, other) = (Sandbox::start(), Sandbox::start());
        let (at_one, one) = listening(&bridge, &one, "a").await;
        let (at_other, other) = listening(&bridge, &other, "b").await;
        // To nobody.
        clients.send();
        bridge.host_ports("a", led_to(at_one)).await.unwrap();
        clients.are_heard_by(&one);
        bridge.host_ports("a", Vec::new()).await.unwrap();
        assert_eq!(flows_to(at_one), "");
        clients.send();
        bridge.host_ports("b", led_to(at_other)).await.unwrap();
        clients.are_heard_by(&other);

        // Somebody takes the rules away.
        let late = Clients::new();
        sh("iptables -t nat -F; ip6tables -t nat -F");
        late.send();
        bridge.reconcile().await.unwrap();
        late.are_heard_by(&other);

        // While no kubelet is there, the pod goes.
        assert_ne!(flows_to(at_other), "");
        let again = self::bridge();
        again.start(network(CIDR), &[held("a", at_one)]).await.unwrap();
        assert_eq!(flows_to(at_other), "");
    });
}

#[test]
fn without_conntrack_ports_of_the_node_lead_to_pods_all_the_same() {
    in_own_network(async || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        sh("mount --make-rprivate /; mount --bind /dev/null $(command -v conntrack)");
        let (bridge, clients, sandbox) = (node().await, Clients::new(), Sandbox::start());
        let (addresses, pod) = listening(&bridge, &sandbox, "a").await;
        bridge.host_ports("a", led_to(addresses)).await.unwrap();
        clients.are_heard_by(&pod);
        bridge.detach("a").await.unwrap();
    });
}
