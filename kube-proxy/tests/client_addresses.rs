//! Whom endpoints see behind a Service's nginx that keeps its clients' addresses: with the real nginx, in a container whose
//! network namespace is the node. Needs root, a Docker daemon, the image `minik8s/nginx:0.1` and nft.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;
#[path = "nftables/rig.rs"]
mod rig;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Command,
    slice,
};

use kube_proxy::{
    backend::{service::spec, shared::all_specs},
    client_addresses,
    instance::InstanceSpec,
    nginx::{Epoch, Telling, listened},
    plan::ServicePlan,
};
use netlink::Netlink;
use rig::{
    Answer, CLIENT, CLIENT_V6, GATEWAY, GATEWAY_V6, NODE, NODE_V6, Node, Pod, VIP, VIP_V6, call_at,
    connect, flow_to, ip, nft, service,
};
use testkit::wait;

const IMAGE: &str = "minik8s/nginx:0.1";
/// Of each family: the Service's address, the node's for its pods, and that of a pod of another host.
const VIPS: [IpAddr; 2] = [VIP, VIP_V6];
const GATEWAYS: [IpAddr; 2] = [GATEWAY, GATEWAY_V6];
const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 244, 9, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x244, 9, 0, 0, 0, 2)),
];

/// A container that does nothing, and its nginx; both go with it.
struct Container {
    id: String,
    folder: tempfile::TempDir,
}

impl Container {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        let at = folder.path().display();
        let mounts = [format!("{at}:/etc/minik8s"), format!("{at}/run:/run/minik8s")];
        let options =
            ["run", "-d", "--rm", "--network", "none", "-v", &mounts[0], "-v", &mounts[1]];
        let sleep = ["--entrypoint", "sleep", IMAGE, "600"];
        let id = docker(&[&options[..], &sleep].concat());
        Container { id, folder }
    }

    fn namespace(&self) -> fs::File {
        let process = docker(&["inspect", "-f", "{{.State.Pid}}", &self.id]);
        fs::File::open(Path::new("/proc").join(process).join("ns/net")).unwrap()
    }

    /// Has an nginx serve it, instead of the one before.
    async fn serve(&self, spec: &InstanceSpec) {
        let text = spec.configuration.at(Epoch(0)).text(Telling(1));
        fs::write(self.folder.path().join("nginx.conf"), text).unwrap();
        // It removes its socket last.
        let end = "[ ! -e /run/nginx.pid ] || kill $(cat /run/nginx.pid)
            while [ -e /run/nginx.pid ] || [ -e /run/minik8s/status ]; do :; done";
        docker(&["exec", &self.id, "sh", "-c", end]);
        docker(&["exec", "-d", &self.id, "nginx", "-c", "/etc/minik8s/nginx.conf"]);
        wait::until("nginx listens", async || connect(80).map(drop)).await;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.id]);
    }
}

fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().unwrap();
    let refusal = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {words:?}: {refusal}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The Service at both addresses, with an endpoint of each family.
fn service_of(endpoints: [IpAddr; 2]) -> ServicePlan {
    let endpoints = endpoints.map(|address| SocketAddr::new(address, 8080));
    ServicePlan { ips: VIPS.into(), ..service(&endpoints) }
}

/// The nginx of that Service, and one for all that there are.
fn in_each_form(plan: &ServicePlan) -> [InstanceSpec; 2] {
    let alone = spec(plan);
    let listening = listened(&alone.configuration.stream);
    let (mut together, left_out) = all_specs(slice::from_ref(plan), &listening);
    assert_eq!((together.len(), left_out.len()), (1, 0));
    [alone, together.remove(0)]
}

/// Who answers by TCP and by UDP at each of the addresses, and whom it sees.
fn asked() -> [[Answer; 2]; 2] {
    VIPS.map(|vip| [call_at(vip, 80).unwrap(), flow_to(vip, 53).ask().unwrap()])
}

fn expected(by: [IpAddr; 2], to: [IpAddr; 2]) -> [[Answer; 2]; 2] {
    [0, 1].map(|family| [Answer { by: by[family], to: to[family] }; 2])
}

fn addresses(pod: &Pod) -> [IpAddr; 2] {
    [pod.address, pod.second]
}

/// What is beside the node is another node, of one pod.
fn make_far(node: &Node) {
    node.client.run(|| {
        FAR.iter().for_each(|address| drop(ip(&format!("address add {address} dev lo"))));
        ip(&format!("route add 10.244.0.0/24 via {NODE}"));
        ip(&format!("route add fd00:10:244::/64 via {NODE_V6}"));
        FAR.into_iter().for_each(rig::serve);
    });
    ip(&format!("route add 10.244.9.0/24 via {CLIENT}"));
    ip(&format!("route add fd00:10:244:9::/64 via {CLIENT_V6}"));
}

fn clients_are_kept(family: &str) -> bool {
    let routes = ip(&format!("{family} route show table all"));
    let (rule, route) =
        (ip(&format!("{family} rule list")).contains("138"), routes.contains("table 138"));
    assert_eq!(rule, route, "{routes}");
    rule
}

fn has_table(of: &str) -> bool {
    nft("list tables").lines().any(|line| line == format!("table {of}"))
}

#[test]
fn endpoints_of_this_and_of_other_hosts_see_the_pods_that_ask_and_a_pod_reaches_itself() {
    let container = Container::start();
    rig::on_the_node(container.namespace(), async move |node| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        let (pods, kernel) =
            ("10.244.0.0/16,fd00:10:244::/56".parse().unwrap(), Netlink::open().unwrap());
        make_far(&node);
        ip(&format!("address add {VIP}/32 dev lo"));
        ip(&format!("address add {VIP_V6}/128 dev lo nodad preferred_lft 0"));
        let kept = client_addresses::ensure(pods, &kernel).await.unwrap();
        let networks =
            ["10.244.0.0/24", "fd00:10:244::/64"].map(|network| network.parse().unwrap());
        assert_eq!(kept, networks.into());
        let [client, other] = [&node.pods[0], &node.pods[1]];
        let near = addresses(other);
        GATEWAYS.into_iter().for_each(rig::serve);
        for endpoints in [near, FAR, GATEWAYS] {
            let plan = ServicePlan { kept: kept.clone(), ..service_of(endpoints) };
            for spec in in_each_form(&plan) {
                container.serve(&spec).await;
                assert_eq!(client.run(asked), expected(endpoints, addresses(client)));
            }
        }
        // Whoever is an endpoint himself comes from the node, as the node does.
        let by_node = expected(near, GATEWAYS);
        for spec in in_each_form(&ServicePlan { kept: kept.clone(), ..service_of(near) }) {
            container.serve(&spec).await;
            assert_eq!(other.run(asked), by_node);
            assert_eq!(asked(), by_node);
        }

        // What is not asked for is not kept. What another cluster on this host needs stays until it does not, and then nothing is left.
        container.serve(&spec(&service_of(near))).await;
        let others = "10.245.0.0/16".parse().unwrap();
        client_addresses::ensure(others, &kernel).await.unwrap();
        assert!(clients_are_kept("-4") && clients_are_kept("-6"));
        client_addresses::remove(pods, &kernel).await.unwrap();
        assert!(has_table("ip minik8s-clients-0af50000-16"), "{}", nft("list tables"));
        assert!(!nft("list tables").contains("minik8s-clients-0af40000-16"));
        assert!(clients_are_kept("-4") && !clients_are_kept("-6"));
        client_addresses::remove(others, &kernel).await.unwrap();
        assert_eq!(client.run(asked), by_node);
        assert_eq!(nft("list tables").matches("minik8s-clients").count(), 0);
        assert!(!clients_are_kept("-4"));
    });
}

#[test]
fn a_cluster_that_goes_back_to_one_stack_leaves_nothing_of_the_other() {
    rig::on_a_node(async |_| {
        let kernel = Netlink::open().unwrap();
        let [both, one] = ["10.244.0.0/16,fd00:10:244::/56", "10.244.0.0/16"];
        client_addresses::ensure(both.parse().unwrap(), &kernel).await.unwrap();
        let table = "minik8s-clients-0af40000-16";
        assert!(has_table(&format!("ip6 {table}")) && clients_are_kept("-6"));
        let kept = client_addresses::ensure(one.parse().unwrap(), &kernel).await.unwrap();
        assert_eq!(kept, ["10.244.0.0/24".parse().unwrap()].into());
        assert!(!has_table(&format!("ip6 {table}")) && !clients_are_kept("-6"));
        assert!(has_table(&format!("ip {table}")) && clients_are_kept("-4"));
        assert!(!nft(&format!("list table bridge {table}")).contains("ip6 daddr"));
    });
}
