//! CNI: what plugins are asked, by programs that write it down; and Debian's plugins, as they are.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use kubelet::network::{
    Attachment, Held, NodeNetwork, PodNetwork, PortMapping,
    cni::{Cni, Places},
};
use tempfile::TempDir;
use testkit::wait;
use tokio::net::TcpStream;

use crate::{Sandbox, in_own_network, network, port, sh};

const STAND_IN: &str = include_str!("plugin.sh");
/// Where Debian has them.
const PLUGINS: &str = "/usr/lib/cni";
/// What the stand-ins give.
const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 219, 1, 9);
const NODE: &str = "10.219.1.0/24";

/// Configurations, and what comes of them.
struct Host {
    folder: TempDir,
    plugins: PathBuf,
}

impl Host {
    fn new(plugins: Option<&str>, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("plugins");
        fs::create_dir(&own).unwrap();
        let this = Self { plugins: plugins.map_or(own, PathBuf::from), folder };
        this.configure(configuration);
        sh("ip link set lo up");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, text: &str) {
        let folder = self.path("net.d");
        fs::create_dir_all(&folder).unwrap();
        let text = text.replace("HERE", &self.folder.path().to_string_lossy());
        fs::write(folder.join("10-test.conflist"), text).unwrap();
    }

    /// Plugins that write down what they are asked.
    fn stand_in(&self, names: &[&str]) {
        for name in names {
            let path = self.plugins.join(name);
            fs::write(&path, STAND_IN).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Since the last time.
    fn asked(&self) -> Vec<String> {
        let file = self.plugins.join("calls");
        let calls = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, "").unwrap();
        calls.lines().map(str::to_owned).collect()
    }

    /// A kubelet's network, with the sandboxes that there are.
    async fn kubelet(&self, sandboxes: &[Held]) -> Cni {
        let cni = self.network();
        cni.start(network(NODE), sandboxes).await.unwrap();
        cni
    }

    fn network(&self) -> Cni {
        self.network_of("10.219.0.0/16", "10.119.0.0/16")
    }

    fn network_of(&self, pods: &str, services: &str) -> Cni {
        let places = Places {
            configurations: self.path("net.d"),
            plugins: vec![PathBuf::from("/nowhere"), self.plugins.clone()],
            attachments: self.path("attachments"),
        };
        Cni::new(places, "n1", network(pods), network(services)).unwrap()
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "lock" && !name.starts_with("last_reserved_ip")).collect()
    }
}

fn held(pod: &Attachment) -> Held {
    Held::new(&pod.pod.uid, &pod.sandbox, Some(pod.pid), None)
}

const TWO: &str =
    r#"{"cniVersion": "1.0.0", "name": "two", "plugins": [{"type": "one"}, {"type": "two"}]}"#;

#[test]
fn plugins_are_asked_in_turn_and_taken_back_in_reverse_by_what_they_were_told_then() {
    in_own_network(async || {
        let host = Host::new(None, TWO);
        host.stand_in(&["one", "two", "three"]);
        let (cni, sandbox) = (host.kubelet(&[]).await, Sandbox::start());
        let pod = sandbox.of("a");
        assert_eq!(cni.reserve("a").unwrap(), None);
        assert_eq!(cni.attach(&pod).await.unwrap(), GIVEN.into());
        let added = ["ADD one sandbox-a eth0 inside", "ADD two sandbox-a eth0 inside after one"];
        assert_eq!(host.asked(), added);
        host.configure(&TWO.replace("\"one\"", "\"three\""));
        let again = host.kubelet(&[held(&pod)]).await;
        assert_eq!(again.addresses("a"), Some(GIVEN.into()));
        again.reconcile().await.unwrap();
        again.reconcile().await.unwrap();
        let checked =
            ["CHECK one", "CHECK two"].map(|it| format!("{it} sandbox-a eth0 inside after two"));
        assert_eq!(host.asked(), checked);
        again.detach("a").await.unwrap();
        again.detach("a").await.unwrap();
        let deleted =
            ["DEL two", "DEL one"].map(|it| format!("{it} sandbox-a eth0 inside after two"));
        assert_eq!(host.asked(), deleted);
        assert_eq!((again.addresses("a"), host.files("attachments").len()), (None, 0));
    });
}

#[test]
fn what_a_plugin_refuses_is_said_and_taken_back() {
    in_own_network(async || {
        let host = Host::new(None, TWO);
        host.stand_in(&["one", "two"]);
        fs::write(host.plugins.join("two.refuses"), "ADD").unwrap();
        let (cni, sandbox) = (host.kubelet(&[]).await, Sandbox::start());
        let refused = cni.attach(&sandbox.of("a")).await.unwrap_err().to_string();
        let expected = "plugin type=\"two\" failed (ADD): try again later; as the test wants it";
        assert_eq!(refused, expected);
        let (one, two) = ("one sandbox-a eth0 inside", "two sandbox-a eth0 inside");
        let asked = [
            format!("ADD {one}"),
            format!("ADD {two} after one"),
            format!("DEL {two}"),
            format!("DEL {one}"),
        ];
        assert_eq!(host.asked(), asked);
        assert_eq!(host.files("attachments").len(), 0);
        // What can't be taken back is so before the next try, and after the next start.
        fs::write(host.plugins.join("one.refuses"), "DEL").unwrap();
        cni.attach(&sandbox.of("a")).await.unwrap_err();
        host.asked();
        cni.attach(&sandbox.of("a")).await.unwrap_err();
        assert_eq!(host.asked(), [format!("DEL {two}"), format!("DEL {one}")]);
        fs::remove_file(host.plugins.join("one.refuses")).unwrap();
        let again = host.kubelet(&[]).await;
        again.reconcile().await.unwrap();
        assert_eq!(host.asked(), [format!("DEL {two}"), format!("DEL {one}")]);
        assert_eq!(host.files("attachments").len(), 0);
    });
}

#[test]
fn a_pod_that_is_connected_again_before_the_network_is_looked_after_stays_so() {
    in_own_network(async || {
        let host = Host::new(None, TWO);
        host.stand_in(&["one", "two"]);
        let (cni, sandbox) = (host.kubelet(&[]).await, Sandbox::start());
        cni.attach(&sandbox.of("a")).await.unwrap();
        host.asked();
        // Its sandbox has gone while no kubelet was there.
        let again = host.kubelet(&[]).await;
        let next = Attachment { sandbox: "next".to_owned(), ..sandbox.of("a") };
        again.attach(&next).await.unwrap();
        again.reconcile().await.unwrap();
        let asked = [
            "DEL two sandbox-a eth0 inside after two",
            "DEL one sandbox-a eth0 inside after two",
            "ADD one next eth0 inside",
            "ADD two next eth0 inside after one",
        ];
        assert_eq!(host.asked(), asked);
        assert_eq!(again.addresses("a"), Some(GIVEN.into()));
    });
}

#[test]
fn a_node_is_ready_as_long_as_there_is_a_configuration() {
    in_own_network(async || {
        let host = Host::new(None, TWO);
        host.stand_in(&["one"]);
        let cni = host.network();
        cni.start(network(NODE), &[]).await.unwrap_err();
        assert!(!cni.is_ready());
        host.stand_in(&["two"]);
        cni.start(network(NODE), &[]).await.unwrap();
        assert!(cni.is_ready());
        host.configure("{");
        cni.reconcile().await.unwrap_err();
        assert!(!cni.is_ready());
    });
}

// === Debian's ===

const BRIDGE: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "capabilities": {"ipRanges": true},
     "ipam": {"type": "host-local", "dataDir": "HERE/addresses", "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}"#;

/// A server in a pod, at port 80.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        Self::at(sandbox, "80")
    }

    pub(crate) fn at(sandbox: &Sandbox, address: &str) -> Self {
        let pid = sandbox.pid().to_string();
        let arguments = ["-t", &pid, "-n", "busybox", "httpd", "-f", "-p", address];
        Self(Command::new("nsenter").args(arguments).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn answers(address: &str) {
    let connect = async || TcpStream::connect(address).await.map(drop);
    wait::until(&format!("{address} answers"), connect).await;
}

fn rules() -> String {
    sh("iptables-save -t nat | grep -e dport || true")
}

#[test]
fn debians_plugins_connect_pods_and_lead_ports_of_the_node_to_them() {
    in_own_network(async || {
        assert!(Path::new(PLUGINS).exists(), "apt-get install containernetworking-plugins");
        let host = Host::new(Some(PLUGINS), BRIDGE);
        let (cni, a, b) = (host.kubelet(&[]).await, Sandbox::start(), Sandbox::start());
        let pod = Attachment { ports: vec![port("tcp", 8080), port("tcp", 0)], ..a.of("a") };
        let address = cni.attach(&pod).await.unwrap().v4;
        assert!(network(NODE).contains(address.into()), "{address}");
        let published = cni.host_ports("a", pod.ports.clone()).await.unwrap();
        let chosen = published[1].host_port;
        assert!(published[0].host_port == 8080 && chosen > 0, "{published:?}");
        let _server = Server::start(&a);
        answers(&format!("{address}:80")).await;
        answers("127.0.0.1:8080").await;
        answers(&format!("127.0.0.1:{chosen}")).await;
        let other = cni.attach(&b.of("b")).await.unwrap().v4;
        sh(&format!("nsenter -t {} -n busybox ping -c 1 -W 5 {address}", b.pid()));
        assert_eq!(host.files("addresses/pods").len(), 2);

        // By another kubelet: of a pod that it finds, and one whose sandbox has gone meanwhile.
        drop(b);
        let again = host.kubelet(&[held(&pod)]).await;
        again.reconcile().await.unwrap();
        assert_eq!(host.files("addresses/pods"), [address.to_string()], "not {other}");
        assert_eq!(again.host_ports("a", pod.ports.clone()).await.unwrap(), published);
        answers("127.0.0.1:8080").await;
        again.detach("a").await.unwrap();
        assert_eq!(rules(), "");
        assert_eq!((host.files("addresses/pods").len(), host.files("attachments").len()), (0, 0));
        TcpStream::connect("127.0.0.1:8080").await.unwrap_err();
    });
}

#[test]
fn debians_plugins_give_pods_addresses_of_both_families_and_lead_ports_to_each() {
    in_own_network(async || {
        // Debian's portmap finds its rules of IPv6 not where it looks for them.
        let both = BRIDGE.replace("\"plugins\"", "\"disableCheck\": true, \"plugins\"");
        let both = both.replace("}]}},", "}, {\"dst\": \"::/0\"}]}},");
        let host = Host::new(Some(PLUGINS), &both);
        sh("ip addr add 2001:db8::1/128 dev lo");
        let cni =
            host.network_of("10.219.0.0/16,fd00:10:219::/56", "10.119.0.0/16,fd00:10:119::/112");
        let cidr = network("10.219.1.0/24,fd00:10:219:1::/64");
        cni.start(cidr, &[]).await.unwrap();
        let (a, b) = (Sandbox::start(), Sandbox::start());
        let at = |host_ip: &str, host_port| PortMapping {
            host_ip: Some(host_ip.parse().unwrap()),
            ..port("tcp", host_port)
        };
        let anywhere = [port("tcp", 8080), of_ipv6(port("tcp", 8080))];
        let of_one = [at("0.0.0.0", 8081), of_ipv6(at("2001:db8::1", 8082))];
        let pod = Attachment { ports: [anywhere, of_one].concat(), ..a.of("a") };
        let addresses = cni.attach(&pod).await.unwrap();
        let v6 = addresses.v6.unwrap();
        assert!(addresses.iter().all(|address| cidr.contains(address)), "{addresses:?}");
        assert_eq!(cni.addresses("a"), Some(addresses));
        let _server = Server::start(&a);
        answers(&format!("[{v6}]:80")).await;
        for led in ["127.0.0.1:8080", "[2001:db8::1]:8080", "127.0.0.1:8081", "[2001:db8::1]:8082"]
        {
            answers(led).await;
        }
        for other in ["[2001:db8::1]:8081", "127.0.0.1:8082"] {
            TcpStream::connect(other).await.unwrap_err();
        }
        cni.attach(&b.of("b")).await.unwrap();
        sh(&format!("nsenter -t {} -n busybox ping -c 1 -W 5 {v6}", b.pid()));

        let running = vec![a.expected("a", addresses, Vec::new())];
        let all = ["a", "b"].map(str::to_owned).into();
        let node = NodeNetwork { cidr, running, unsettled: Vec::new(), all };
        let checked = async || cni.differences(&node).await.unwrap();
        assert_eq!(checked().await, []);
        for harm in [
            "ip6tables -F FORWARD",
            "ip -6 route del blackhole fd00:10:219::/56",
            "ip -6 route del blackhole fd00:10:119::/112",
        ] {
            sh(harm);
            assert_ne!(checked().await, [], "{harm}");
            cni.reconcile().await.unwrap();
            assert_eq!(checked().await, [], "{harm}");
        }
        cni.detach("a").await.unwrap();
        TcpStream::connect("[2001:db8::1]:8080").await.unwrap_err();
        assert!(!sh("ip6tables-save -t nat").contains("dport"), "{}", sh("ip6tables-save -t nat"));
    });
}

fn of_ipv6(port: PortMapping) -> PortMapping {
    PortMapping { pod_ip: Ipv6Addr::UNSPECIFIED.into(), ..port }
}

#[test]
fn debians_plugins_forget_a_pod_whose_sandbox_has_died() {
    in_own_network(async || {
        let host = Host::new(Some(PLUGINS), BRIDGE);
        let (cni, sandbox) = (host.kubelet(&[]).await, Sandbox::start());
        let pod = Attachment { ports: vec![port("udp", 5353)], ..sandbox.of("a") };
        cni.attach(&pod).await.unwrap();
        assert!(rules().contains("5353"), "{}", rules());
        drop(sandbox);
        cni.detach("a").await.unwrap();
        assert_eq!((rules(), host.files("addresses/pods").len()), (String::new(), 0));
    });
}
