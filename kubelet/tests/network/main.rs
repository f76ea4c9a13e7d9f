//! The pod networks, each in a network namespace of its own, where nothing of the host can be hurt. Needs
//! root.

#![expect(clippy::unwrap_used, reason = "in tests, helpers included, a panic is a failure")]

mod cni;
mod host_ports;
mod weave;

use std::{
    net::IpAddr,
    process::{Child, Command},
};

use component::dual_stack::DualStack;
use kubelet::{
    addresses::PodAddresses,
    network::{Attachment, Expected, Held, NodeNetwork, PodNetwork, PortMapping, bridge::Bridge},
    runtime::PodIdentity,
};
use nix::sched::{CloneFlags, unshare};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Runs a test in a network namespace of its own, which ends with its thread.
fn in_own_network(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (needs root)");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn network(text: &str) -> DualStack {
    text.parse().unwrap()
}

async fn started(node: &str, cidr: &str) -> Bridge {
    let bridge = Bridge::new(node, network("10.219.0.0/16"), network("10.119.0.0/16"));
    bridge.start(network(cidr), &[]).await.unwrap();
    bridge
}

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Rules, routes, the bridge's MAC address, and its ports, with whether they get back what came from them, and whose they are.
fn state(bridge: &Bridge) -> String {
    sh(&format!(
        "iptables-save | grep -e ^-A | sort; ip route show | sed 's/ linkdown//' | sort; \
         ip -o link show {name} | grep -o 'link/ether [^ ]*' || true; \
         ip -d -o link show master {name} | grep -o -e ' veth[^:]*' -e 'hairpin o[nf]*' || true; \
         nft list ruleset bridge",
        name = bridge.name()
    ))
}

/// By which MAC address a pod knows its gateway.
fn gateway(pod: &Sandbox) -> String {
    let known = sh(&format!("nsenter -t {} -n ip neigh show 10.219.1.1", pod.pid()));
    known.split(' ').skip_while(|word| *word != "lladdr").nth(1).unwrap_or_default().to_owned()
}

/// A process with a network namespace that can be connected.
struct Sandbox(Child);

impl Sandbox {
    fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", "echo; exec sleep 1000"]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        // It writes a line once it is in its namespace.
        let mut line = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Self(child)
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    /// As the sandbox of that pod.
    fn of(&self, uid: &str) -> Attachment {
        let pod = PodIdentity { uid: uid.to_owned(), ..PodIdentity::default() };
        Attachment { pod, sandbox: format!("sandbox-{uid}"), pid: self.pid(), ports: Vec::new() }
    }

    /// As the API server has that pod.
    fn expected(&self, uid: &str, addresses: PodAddresses, ports: Vec<PortMapping>) -> Expected {
        let label = format!("default/{uid}");
        Expected { pod: uid.to_owned(), label, pid: self.pid(), addresses, ports }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn held(pod: &str, addresses: PodAddresses) -> Held {
    Held { pod: pod.to_owned(), addresses: Some(addresses), ..Held::default() }
}

fn port(protocol: &str, host_port: u16) -> PortMapping {
    PortMapping {
        protocol: protocol.to_owned(),
        host_ip: None,
        host_port,
        pod_ip: [10, 219, 1, 2].into(),
        pod_port: 80,
    }
}

#[test]
fn what_others_of_the_host_take_away_comes_back() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let sandbox = Sandbox::start();
        let address = bridge.attach(&sandbox.of("a")).await.unwrap();
        assert_eq!(bridge.addresses("a"), Some(address));
        bridge.host_ports("a", vec![port("tcp", 8080)]).await.unwrap();
        let before = state(&bridge);
        for expected in
            ["MINIK8S-HP", "dport 8080", "blackhole 10.219.0.0/16", "veth", "hairpin on"]
        {
            assert!(before.contains(expected), "{expected}: {before}");
        }
        let name = bridge.name();
        let node = NodeNetwork {
            cidr: network("10.219.1.0/24"),
            running: vec![sandbox.expected("a", address, vec![port("tcp", 8080)])],
            unsettled: Vec::new(),
            all: ["a".to_owned()].into(),
        };
        let checked = async || bridge.differences(&node).await.unwrap();
        assert_eq!(checked().await, []);
        for harm in [
            "iptables -F; iptables -t nat -F".to_owned(),
            "iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X".to_owned(),
            "ip route del blackhole 10.219.0.0/16; ip route del blackhole 10.119.0.0/16".to_owned(),
            format!("ip link del {name}"),
            format!("ip link set {name} address 02:00:00:00:00:01"),
            "for link in $(ip -o link show type veth | cut -d' ' -f2 | cut -d@ -f1); do \
             ip link set $link type bridge_slave hairpin off; done"
                .to_owned(),
            format!("ip link set {name} down; ip addr flush dev {name}"),
            format!("nft delete table bridge {}", sources()),
            format!("nft flush set bridge {} owners", sources()),
        ] {
            sh(&harm);
            assert_ne!(state(&bridge), before, "{harm}");
            assert_ne!(checked().await, [], "{harm}");
            bridge.reconcile().await.unwrap();
            assert_eq!(state(&bridge), before, "{harm}");
            assert_eq!(checked().await, [], "{harm}");
        }
        bridge.reconcile().await.unwrap();
        assert_eq!(state(&bridge), before);
    });
}

/// The name of the table that says whose packets come by which link.
fn sources() -> String {
    let name = "nft list tables bridge | sed -n 's/.* \\(minik8s-pods-.*\\)/\\1/p'";
    sh(name).trim().to_owned()
}

#[test]
fn a_pod_s_packets_in_the_name_of_another_one_end_at_its_link() {
    in_own_network(async || {
        let pods = network("10.219.0.0/16,fd00:10:219::/56");
        let bridge = Bridge::new("n1", pods, network("10.119.0.0/16,fd00:10:119::/112"));
        bridge.start(network("10.219.1.0/24,fd00:10:219:1::/64"), &[]).await.unwrap();
        let (a, b) = (Sandbox::start(), Sandbox::start());
        bridge.attach(&a.of("a")).await.unwrap();
        let others = bridge.attach(&b.of("b")).await.unwrap();
        let name = bridge.name();
        let mac = sh(&format!("ip -o link show {name} | sed 's|.*link/ether ||; s| .*||'"));
        let mac = mac.trim();
        // How the node is reached it need not ask, as it may not in the other's name.
        sh(&format!(
            "nsenter -t {} -n sh -ec 'ip neigh replace 10.219.1.1 lladdr {mac} dev eth0; \
             ip neigh replace fd00:10:219:1::1 lladdr {mac} dev eth0; \
             ip addr add 10.219.1.3/32 dev eth0; ip addr add fd00:10:219:1::3/128 dev eth0 nodad'",
            a.pid()
        ));
        sh(
            "iptables -I INPUT -s 10.219.1.3 -p icmp; ip6tables -I INPUT -s fd00:10:219:1::3 -p icmpv6 \
            --icmpv6-type echo-request",
        );
        let heard = async |from: &Sandbox| {
            sh("iptables -Z INPUT; ip6tables -Z INPUT");
            for (own, node) in others.iter().zip(["10.219.1.1", "fd00:10:219:1::1"]) {
                let ping = format!("busybox ping -c 1 -W 1 -I {own} {node}");
                sh(&format!("nsenter -t {} -n {ping} || true", from.pid()));
            }
            let counted = sh("iptables-save -c; ip6tables-save -c");
            let counted = counted.lines().filter(|line| line.contains("-A INPUT -s "));
            counted.map(|line| !line.starts_with("[0:0]")).collect::<Vec<_>>()
        };
        assert_eq!(heard(&b).await, [true, true]);
        assert_eq!(heard(&a).await, [false, false]);
        // Which another kubelet keeps.
        sh(&format!("nft delete table bridge {}", sources()));
        assert_eq!(heard(&a).await, [true, true]);
        bridge.reconcile().await.unwrap();
        assert_eq!(heard(&a).await, [false, false]);
        assert_eq!(heard(&b).await, [true, true]);
    });
}

#[test]
fn a_link_is_nobody_s_once_its_pod_has_no_address() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let sandbox = Sandbox::start();
        bridge.attach(&sandbox.of("a")).await.unwrap();
        bridge.detach("a").await.unwrap();
        // It may get another sandbox.
        bridge.reconcile().await.unwrap();
        bridge.release("a");
        bridge.reconcile().await.unwrap();
        let owners = sh(&format!("nft list set bridge {} owners", sources()));
        assert!(!owners.contains("10.219.1."), "{owners}");
    });
}

#[test]
fn a_pod_knows_its_gateway_whoever_else_comes_and_goes() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let own = format!("ip -o link show {} | sed 's|.*link/ether ||; s| .*||'", bridge.name());
        let before = sh(&own).trim().to_owned();
        let (staying, other) = (Sandbox::start(), Sandbox::start());
        bridge.attach(&staying.of("staying")).await.unwrap();
        bridge.attach(&other.of("other")).await.unwrap();
        sh(&format!("nsenter -t {} -n busybox ping -c 1 -W 5 10.219.1.1", staying.pid()));
        assert_eq!(gateway(&staying), before);
        bridge.detach("other").await.unwrap();
        assert_eq!(sh(&own).trim(), before);
        bridge.detach("staying").await.unwrap();
        assert_eq!(sh(&own).trim(), before);
    });
}

#[test]
fn a_pod_is_reached_at_once_when_it_has_another_sandbox() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let other = Sandbox::start();
        bridge.attach(&other.of("other")).await.unwrap();
        for _ in 0..2 {
            let sandbox = Sandbox::start();
            let address = bridge.attach(&sandbox.of("a")).await.unwrap().v4;
            let ping = format!("busybox ping -c 1 -W 5 {address}");
            sh(&ping);
            sh(&format!("nsenter -t {} -n {ping}", other.pid()));
            bridge.detach("a").await.unwrap();
        }
    });
}

#[test]
fn pods_are_told_of_another_address_of_their_gateway() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let pod = Sandbox::start();
        bridge.attach(&pod.of("a")).await.unwrap();
        // As a kubelet has made it that gave it none.
        sh(&format!("ip link set {} address 02:00:00:00:00:01", bridge.name()));
        sh(&format!("nsenter -t {} -n busybox ping -c 1 -W 5 10.219.1.1", pod.pid()));
        let before = gateway(&pod);
        bridge.reconcile().await.unwrap();
        // The pod sends nothing.
        testkit::wait::until("the pod to hear of it", async || match gateway(&pod) {
            now if now == before => Err(now),
            _ => Ok(()),
        })
        .await;
        sh(&format!("nsenter -t {} -n busybox ping -c 1 -W 5 10.219.1.1", pod.pid()));
    });
}

#[test]
fn what_is_not_as_it_should_be_is_told() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let (a, b) = (Sandbox::start(), Sandbox::start());
        let address = bridge.attach(&a.of("a")).await.unwrap();
        bridge.attach(&b.of("b")).await.unwrap();
        let node = NodeNetwork {
            cidr: network("10.219.1.0/24"),
            running: vec![a.expected("a", address, Vec::new())],
            unsettled: Vec::new(),
            all: ["a", "b"].map(str::to_owned).into(),
        };
        let told = async |node: &NodeNetwork| {
            let found = bridge.differences(node).await.unwrap();
            found.into_iter().map(|it| format!("{}: {}", it.part, it.message)).collect::<Vec<_>>()
        };
        // Of the other one it is not known yet, or no more, whether it is there.
        assert_eq!(told(&node).await, [""; 0]);
        let veth = |uid: &str, pid: i32| {
            let peer = format!("nsenter -t {pid} -n ip -o link show eth0");
            let index = sh(&format!("{peer} | sed 's/.*@if\\([0-9]*\\):.*/\\1/'"));
            let line = sh(&format!("ip -o link | grep '^{}:'", index.trim()));
            let name = line.split([' ', '@']).nth(1).unwrap().to_owned();
            assert!(name.starts_with("veth"), "{uid}: {name}");
            name
        };
        let (of_a, of_b) = (veth("a", a.pid()), veth("b", b.pid()));
        let gone = NodeNetwork { all: ["a".to_owned()].into(), ..node.clone() };
        let surplus = format!("link: {of_b} is a port of {} and no pod's", bridge.name());
        assert_eq!(told(&gone).await, [surplus]);
        let inside = format!("nsenter -t {} -n ip", a.pid());
        sh(&format!("{inside} addr flush dev eth0; ip link set {of_a} nomaster"));
        sh(&format!("echo 0 >/proc/sys/net/ipv4/conf/{}/route_localnet", bridge.name()));
        let expected = [
            format!("link: {of_a} of default/a is no port of {}", bridge.name()),
            format!("flag: /proc/sys/net/ipv4/conf/{}/route_localnet is off", bridge.name()),
            "address: default/a has not the address 10.219.1.2".to_owned(),
            "route: default/a has no way out by 10.219.1.1".to_owned(),
        ];
        assert_eq!(told(&node).await, expected);
    });
}

#[test]
fn a_pod_has_no_ipv6_of_which_no_policy_knows() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let sandbox = Sandbox::start();
        bridge.attach(&sandbox.of("a")).await.unwrap();
        let addresses = sh(&format!("nsenter -t {} -n ip -o address show", sandbox.pid()));
        assert!(addresses.contains("inet 10.219.1."), "{addresses}");
        assert!(!addresses.contains("inet6"), "{addresses}");
        // Where there is IPv6 at all.
        for links in ["all", "default"] {
            let flag = format!("/proc/sys/net/ipv6/conf/{links}/disable_ipv6");
            let of_pod =
                sh(&format!("test ! -e {flag} || nsenter -t {} -n cat {flag}", sandbox.pid()));
            assert!(matches!(of_pod.trim(), "" | "1"), "{links}: {of_pod}");
        }
        // Nor does the host take routes from pods.
        for (flag, expected) in [("disable_ipv6", "1"), ("accept_ra", "0")] {
            let flag = format!("/proc/sys/net/ipv6/conf/{}/{flag}", bridge.name());
            let of_bridge = sh(&format!("test ! -e {flag} || cat {flag}"));
            assert!(["", expected].contains(&of_bridge.trim()), "{flag}: {of_bridge}");
        }
    });
}

#[test]
fn pods_of_two_stacks_have_an_address_of_each_and_are_reached_by_both() {
    in_own_network(async || {
        let pods = network("10.219.0.0/16,fd00:10:219::/56");
        let bridge = Bridge::new("n1", pods, network("10.119.0.0/16,fd00:10:119::/112"));
        let cidr = network("10.219.1.0/24,fd00:10:219:1::/64");
        bridge.start(cidr, &[]).await.unwrap();
        let (a, b) = (Sandbox::start(), Sandbox::start());
        let address = bridge.attach(&a.of("a")).await.unwrap();
        let other = bridge.attach(&b.of("b")).await.unwrap();
        let second = |of: PodAddresses| of.v6.unwrap().to_string();
        assert_eq!([second(address), second(other)], ["fd00:10:219:1::2", "fd00:10:219:1::3"]);
        for to in other.iter() {
            sh(&format!("nsenter -t {} -n busybox ping -c 1 -W 5 {to}", a.pid()));
        }
        sh("busybox ping -c 1 -W 5 fd00:10:219:1::2");
        let routers = format!("/proc/sys/net/ipv6/conf/{}/accept_ra", bridge.name());
        assert_eq!(sh(&format!("cat {routers}")).trim(), "0");
        // None that no policy knows.
        let own = sh(&format!("nsenter -t {} -n ip -6 -o address show dev eth0", a.pid()));
        assert!(own.lines().count() == 1 && own.contains("fd00:10:219:1::2/64"), "{own}");
        let led = address.iter().map(|pod_ip| PortMapping { pod_ip, ..port("tcp", 8080) });
        let led: Vec<_> = led.collect();
        bridge.host_ports("a", led.clone()).await.unwrap();
        let to_pod = "--dport 8080 -j DNAT --to-destination [fd00:10:219:1::2]:80";
        assert!(sh("ip6tables-save").contains(to_pod), "{}", sh("ip6tables-save"));

        let running = vec![a.expected("a", address, led)];
        let all = ["a", "b"].map(str::to_owned).into();
        let node = NodeNetwork { cidr, running, unsettled: Vec::new(), all };
        let checked = async || bridge.differences(&node).await.unwrap();
        assert_eq!(checked().await, []);
        for harm in [
            "ip6tables -F; ip6tables -t nat -F".to_owned(),
            "ip -6 route del blackhole fd00:10:219::/56".to_owned(),
            "ip -6 route del blackhole fd00:10:119::/112".to_owned(),
            "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding".to_owned(),
            format!("ip -6 addr del fd00:10:219:1::1/64 dev {}", bridge.name()),
        ] {
            sh(&harm);
            assert_ne!(checked().await, [], "{harm}");
            bridge.reconcile().await.unwrap();
            assert_eq!(checked().await, [], "{harm}");
        }
        sh(&format!("nsenter -t {} -n ip -6 route del default", a.pid()));
        let told: Vec<_> = checked().await.into_iter().map(|it| it.message).collect();
        assert_eq!(told, ["default/a has no way out by fd00:10:219:1::1"]);

        // The node speaks to them from the address of the link that leads there.
        let source = sh("ip -6 route get fd00:10:219:1::2");
        assert!(source.contains("src fd00:10:219:1::1 "), "{source}");

        // Who takes the address of another node's pod is not heard, even where nobody looks at its link.
        sh(&format!("nft delete table bridge {}", sources()));
        sh(&format!(
            "nsenter -t {} -n sh -c 'ip -6 addr add fd00:10:219:2::9/128 dev eth0 nodad; \
             busybox ping -c 1 -W 1 -I fd00:10:219:2::9 fd00:10:219:1::1 || true'",
            a.pid()
        ));
        let counted = sh("ip6tables-save -c | grep -e 'MINIK8S-SRC.* -j DROP'");
        assert!(!counted.starts_with("[0:0]"), "{counted}");
    });
}

#[test]
fn a_cluster_that_goes_back_to_ipv4_leaves_nothing_of_ipv6() {
    in_own_network(async || {
        let left = || {
            sh("ip6tables-save | grep -e MINIK8S || true; ip -6 route | grep blackhole || true; \
                ip -6 -o addr show scope global")
        };
        let two = ("10.219.0.0/16,fd00:10:219::/56", "10.119.0.0/16,fd00:10:119::/112");
        let bridge = Bridge::new("n1", network(two.0), network(two.1));
        let cidr = network("10.219.1.0/24,fd00:10:219:1::/64");
        bridge.start(cidr, &[]).await.unwrap();
        let sandbox = Sandbox::start();
        let addresses = bridge.attach(&sandbox.of("a")).await.unwrap();
        let led = addresses.iter().map(|pod_ip| PortMapping { pod_ip, ..port("tcp", 8080) });
        bridge.host_ports("a", led.collect()).await.unwrap();
        // Of IPv4 nothing changes.
        let before = state(&bridge);
        // Somebody else's.
        sh("ip -6 route add blackhole fd00:99::/64; ip6tables -A FORWARD -s fd00:99::/64 -j DROP");
        assert!(left().contains("DNAT") && left().contains("fd00:10:119::/112"), "{}", left());

        let alone = Bridge::new("n1", network("10.219.0.0/16"), network("10.119.0.0/16"));
        let held = Held::new("a", "sandbox-a", Some(sandbox.pid()), Some(addresses));
        alone.start(cidr, &[held]).await.unwrap();
        assert!(left().lines().count() == 1 && left().contains("fd00:99::/64"), "{}", left());
        assert!(sh("ip6tables-save").contains("-A FORWARD -s fd00:99::/64 -j DROP"));
        let own = sh(&format!("nsenter -t {} -n ip -6 -o addr show dev eth0", sandbox.pid()));
        assert_eq!(own, "");
        let of_v4 = PodAddresses { v6: None, ..addresses };
        assert_eq!((alone.addresses("a"), alone.valid(addresses)), (Some(of_v4), of_v4));
        let is_of_v4 = |line: &&str| !line.contains("fd00:");
        let lines =
            |text: &str| text.lines().filter(is_of_v4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&state(&alone)), lines(&before));

        // And there again.
        let again = Bridge::new("n1", network(two.0), network(two.1));
        again.start(cidr, &[held_alone(&sandbox, addresses)]).await.unwrap();
        assert!(left().contains("fd00:10:119::/112"), "{}", left());
    });
}

#[test]
fn of_a_pod_s_sandboxes_the_one_that_runs_says_which_addresses_it_has() {
    in_own_network(async || {
        let pods = network("10.219.0.0/16,fd00:10:219::/56");
        let bridge = Bridge::new("n1", pods, network("10.119.0.0/16,fd00:10:119::/112"));
        let sandbox = Sandbox::start();
        let v6 = Some("fd00:10:219:1::2".parse().unwrap());
        let both = PodAddresses { v4: [10, 219, 1, 2].into(), v6 };
        let running = Held::new("a", "sandbox-a", Some(sandbox.pid()), Some(both));
        let before = held("a", PodAddresses { v6: None, ..both });
        let cidr = network("10.219.1.0/24,fd00:10:219:1::/64");
        bridge.start(cidr, &[running, before]).await.unwrap();
        assert_eq!(bridge.addresses("a"), Some(both));
        let owners = sh(&format!("nft list set bridge {} owners-v6", sources()));
        assert!(owners.contains("fd00:10:219:1::2"), "{owners}");
    });
}

/// A sandbox that was made without IPv6.
fn held_alone(sandbox: &Sandbox, addresses: PodAddresses) -> Held {
    let addresses = PodAddresses { v6: None, ..addresses };
    Held::new("a", "sandbox-a", Some(sandbox.pid()), Some(addresses))
}

#[test]
fn ports_of_the_node_by_ipv6_lead_to_the_pod_at_the_address_that_they_are_for() {
    in_own_network(async || {
        let pods = network("10.219.0.0/16,fd00:10:219::/56");
        let bridge = Bridge::new("n1", pods, network("10.119.0.0/16,fd00:10:119::/112"));
        bridge.start(network("10.219.1.0/24,fd00:10:219:1::/64"), &[]).await.unwrap();
        sh(
            "ip link set lo up; ip addr add 2001:db8::1/128 dev lo; ip addr add 2001:db8::2/128 dev lo",
        );
        let sandbox = Sandbox::start();
        let addresses = bridge.attach(&sandbox.of("a")).await.unwrap();
        let _server = cni::Server::start(&sandbox);
        let led = |host_ip: Option<&str>, host_port| PortMapping {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            pod_ip: addresses.v6.unwrap().into(),
            ..port("tcp", host_port)
        };
        let everywhere = PortMapping { pod_ip: addresses.v4.into(), ..port("tcp", 8080) };
        let ports = vec![
            everywhere,
            led(None, 8080),
            led(Some("::1"), 8081),
            led(Some("2001:db8::1"), 8082),
        ];
        bridge.host_ports("a", ports).await.unwrap();
        for there in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "[2001:db8::2]:8080",
            "[::1]:8081",
            "[2001:db8::1]:8082",
        ] {
            testkit::wait::until(&format!("{there} leads to the pod"), async || {
                speaks(there).await
            })
            .await;
        }
        for elsewhere in
            ["127.0.0.1:8081", "[2001:db8::1]:8081", "[::1]:8082", "[2001:db8::2]:8082"]
        {
            speaks(elsewhere).await.unwrap_err();
        }
        bridge.host_ports("a", Vec::new()).await.unwrap();
        let refused = async || match speaks("[::1]:8081").await {
            Ok(()) => Err("it still does"),
            Err(_) => Ok(()),
        };
        testkit::wait::until("nothing leads to the pod", refused).await;
    });
}

#[test]
fn a_pod_that_listens_by_ipv4_alone_is_reached_at_both_loopback_addresses() {
    in_own_network(async || {
        let pods = network("10.219.0.0/16,fd00:10:219::/56");
        let bridge = Bridge::new("n1", pods, network("10.119.0.0/16,fd00:10:119::/112"));
        bridge.start(network("10.219.1.0/24,fd00:10:219:1::/64"), &[]).await.unwrap();
        sh("ip link set lo up");
        let sandbox = Sandbox::start();
        let addresses = bridge.attach(&sandbox.of("a")).await.unwrap();
        let _server = cni::Server::at(&sandbox, &format!("{}:80", addresses.v4));
        let led = addresses.iter().map(|pod_ip| PortMapping { pod_ip, ..port("tcp", 8080) });
        bridge.host_ports("a", led.collect()).await.unwrap();
        for there in ["127.0.0.1:8080", "[::1]:8080"] {
            testkit::wait::until(&format!("{there} leads to the pod"), async || {
                speaks(there).await
            })
            .await;
        }
    });
}

/// Whether a server of HTTP answers there.
async fn speaks(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.map(drop)
}

#[test]
fn kubelets_that_start_at_once_make_each_rule_once() {
    in_own_network(async || {
        for round in 0..3 {
            sh("iptables -F; iptables -t nat -F");
            let node = |i| format!("n{round}{i}");
            let (a, b, c) = (node(1), node(2), node(3));
            tokio::join!(
                started(&a, "10.219.1.0/24"),
                started(&b, "10.219.2.0/24"),
                started(&c, "10.219.3.0/24"),
            );
            let rules = sh("iptables-save | grep -e ^-A");
            let jumps = rules.lines().filter(|rule| rule.contains("-j MINIK8S"));
            let mut jumps: Vec<&str> = jumps.collect();
            let all = jumps.len();
            jumps.sort_unstable();
            jumps.dedup();
            // Two for all, and two for each node.
            assert_eq!((jumps.len(), all), (8, 8), "{rules}");
        }
    });
}

#[test]
fn host_ports_that_could_not_be_written_are_tried_again() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let refused = vec![port("nonsense", 8080)];
        for _ in 0..2 {
            assert!(bridge.host_ports("a", refused.clone()).await.is_err());
        }
        assert!(bridge.host_ports("b", vec![port("udp", 53)]).await.is_err());
        assert!(bridge.reconcile().await.is_err());
        // The pod that stands in the way goes: now the other's are there too.
        bridge.detach("a").await.unwrap();
        assert!(state(&bridge).contains("-p udp -m udp --dport 53"), "{}", state(&bridge));
    });
}

#[test]
fn host_ports_of_running_pods_outlive_the_kubelet() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let address = bridge.reserve("a").unwrap().unwrap();
        let pod_ip = IpAddr::V4(address.v4);
        let other = PortMapping { pod_ip: [10, 219, 1, 9].into(), ..port("tcp", 8081) };
        bridge.host_ports("a", vec![PortMapping { pod_ip, ..port("tcp", 8080) }]).await.unwrap();
        bridge.host_ports("gone", vec![other]).await.unwrap();
        let again = Bridge::new("n1", network("10.219.0.0/16"), network("10.119.0.0/16"));
        let running = [held("a", address)];
        again.start(network("10.219.1.0/24"), &running).await.unwrap();
        let found = state(&again);
        assert!(found.contains("--dport 8080") && !found.contains("--dport 8081"), "{found}");
        again.detach("a").await.unwrap();
        assert!(!state(&again).contains("--dport"), "{}", state(&again));
    });
}

#[test]
fn packets_of_pods_are_no_longer_than_the_way_to_other_hosts_pods_takes() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let to_others = |sandbox: &Sandbox| {
            sh(&format!("nsenter -t {} -n ip route show default", sandbox.pid()))
        };
        let (early, late) = (Sandbox::start(), Sandbox::start());
        bridge.attach(&early.of("early")).await.unwrap();
        assert!(!to_others(&early).contains("mtu"), "{}", to_others(&early));
        sh("ip link add vx mtu 1450 up type vxlan id 7 dstport 4789 nolearning; \
            ip route add 10.219.2.0/24 via 10.219.2.0 dev vx onlink");
        bridge.attach(&late.of("late")).await.unwrap();
        assert!(to_others(&late).contains("mtu 1450"), "{}", to_others(&late));
    });
}

#[test]
fn a_port_that_was_chosen_outlives_sandboxes_and_the_kubelet() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        sh("ip link set lo up");
        let address = bridge.reserve("a").unwrap().unwrap();
        let any = PortMapping { pod_ip: IpAddr::V4(address.v4), ..port("tcp", 0) };
        let settle = async |bridge: &Bridge| {
            let settled = bridge.host_ports("a", vec![any.clone()]).await.unwrap();
            let rule = format!("--dport {} ", settled[0].host_port);
            assert!(state(bridge).contains(&rule), "{rule}: {}", state(bridge));
            settled[0].host_port
        };
        let chosen = settle(&bridge).await;
        bridge.detach("a").await.unwrap();
        assert!(!state(&bridge).contains("--dport"), "{}", state(&bridge));
        assert_eq!(settle(&bridge).await, chosen);
        drop(bridge);
        let again = Bridge::new("n1", network("10.219.0.0/16"), network("10.119.0.0/16"));
        // Its worker may come before the network.
        again.host_ports("a", vec![any.clone()]).await.unwrap_err();
        again.start(network("10.219.1.0/24"), &[held("a", address)]).await.unwrap();
        assert_eq!(settle(&again).await, chosen);
        std::net::TcpListener::bind(("0.0.0.0", chosen)).unwrap_err();
        again.detach("a").await.unwrap();
        again.release("a");
        // A program that another test is starting may have the socket until it runs.
        testkit::wait::until("the port is free", async || {
            std::net::TcpListener::bind(("0.0.0.0", chosen)).map(drop)
        })
        .await;
    });
}
