//! The bridge network in a network namespace of its own, where nothing of the host can be hurt. Needs
//! root.

#![expect(clippy::unwrap_used, reason = "in tests, helpers included, a panic is a failure")]

use std::process::{Child, Command};

use ipnet::Ipv4Net;
use kubelet::network::{PodNetwork, PortMapping, bridge::Bridge};
use nix::sched::{CloneFlags, unshare};

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

fn network(text: &str) -> Ipv4Net {
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

/// Rules, routes, and the bridge's ports, with whether they get back what came from them.
fn state(bridge: &Bridge) -> String {
    sh(&format!(
        "iptables-save | grep -e ^-A | sort; ip route show | sed 's/ linkdown//' | sort; \
         ip -d -o link show master {} | grep -o -e ' veth[^:]*' -e 'hairpin o[nf]*' || true",
        bridge.name()
    ))
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
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
        let address = bridge.attach("a", sandbox.pid()).await.unwrap();
        assert_eq!(bridge.address("a"), Some(address));
        bridge.host_ports("a", vec![port("tcp", 8080)]).await.unwrap();
        let before = state(&bridge);
        for expected in
            ["MINIK8S-HP", "dport 8080", "blackhole 10.219.0.0/16", "veth", "hairpin on"]
        {
            assert!(before.contains(expected), "{expected}: {before}");
        }
        let name = bridge.name();
        for harm in [
            "iptables -F; iptables -t nat -F".to_owned(),
            "iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X".to_owned(),
            "ip route del blackhole 10.219.0.0/16; ip route del blackhole 10.119.0.0/16".to_owned(),
            format!("ip link del {name}"),
            "for link in $(ip -o link show type veth | cut -d' ' -f2 | cut -d@ -f1); do \
             ip link set $link type bridge_slave hairpin off; done"
                .to_owned(),
            format!("ip link set {name} down; ip addr flush dev {name}"),
        ] {
            sh(&harm);
            assert_ne!(state(&bridge), before, "{harm}");
            bridge.reconcile().await.unwrap();
            assert_eq!(state(&bridge), before, "{harm}");
        }
        bridge.reconcile().await.unwrap();
        assert_eq!(state(&bridge), before);
    });
}

#[test]
fn a_pod_has_no_ipv6_of_which_no_policy_knows() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        let sandbox = Sandbox::start();
        bridge.attach("a", sandbox.pid()).await.unwrap();
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
    });
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
        let other = PortMapping { pod_ip: [10, 219, 1, 9].into(), ..port("tcp", 8081) };
        bridge
            .host_ports("a", vec![PortMapping { pod_ip: address, ..port("tcp", 8080) }])
            .await
            .unwrap();
        bridge.host_ports("gone", vec![other]).await.unwrap();
        let again = Bridge::new("n1", network("10.219.0.0/16"), network("10.119.0.0/16"));
        let running = [("a".to_owned(), address)];
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
        bridge.attach("early", early.pid()).await.unwrap();
        assert!(!to_others(&early).contains("mtu"), "{}", to_others(&early));
        sh("ip link add vx mtu 1450 up type vxlan id 7 dstport 4789 nolearning; \
            ip route add 10.219.2.0/24 via 10.219.2.0 dev vx onlink");
        bridge.attach("late", late.pid()).await.unwrap();
        assert!(to_others(&late).contains("mtu 1450"), "{}", to_others(&late));
    });
}

#[test]
fn a_port_that_was_chosen_outlives_sandboxes_and_the_kubelet() {
    in_own_network(async || {
        let bridge = started("n1", "10.219.1.0/24").await;
        sh("ip link set lo up");
        let address = bridge.reserve("a").unwrap().unwrap();
        let any = PortMapping { pod_ip: address, ..port("tcp", 0) };
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
        again.start(network("10.219.1.0/24"), &[("a".to_owned(), address)]).await.unwrap();
        assert_eq!(settle(&again).await, chosen);
        std::net::TcpListener::bind(("0.0.0.0", chosen)).unwrap_err();
        again.detach("a").await.unwrap();
        again.release("a");
        std::net::TcpListener::bind(("0.0.0.0", chosen)).unwrap();
    });
}
