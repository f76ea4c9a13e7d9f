//! Whom endpoints see behind a Service's nginx that keeps its clients' addresses: with the real nginx, in a container whose
//! network namespace is the node. Needs root, a Docker daemon, the image `minik8s/nginx:0.1` and nft.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;
#[path = "nftables/rig.rs"]
mod rig;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use kube_proxy::{
    backend::service::spec,
    client_addresses,
    nginx::{Epoch, Telling},
    plan::ServicePlan,
};
use netlink::Netlink;
use rig::{Answer, GATEWAY, NODE, Node, Pod, VIP, call, connect, flow, ip, nft, service};
use testkit::wait;

const IMAGE: &str = "minik8s/nginx:0.1";
/// A pod of another host.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 244, 9, 2);

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
    async fn serve(&self, plan: &ServicePlan) {
        let text = spec(plan).configuration.at(Epoch(0)).text(Telling(1));
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

/// Who answers the pod by TCP and by UDP, and whom it sees.
fn asked_by(pod: &Pod) -> [Answer; 2] {
    pod.run(|| [call(80).unwrap(), flow(53).ask().unwrap()])
}

/// What is beside the node is another node, of one pod.
fn make_far(node: &Node) -> SocketAddr {
    node.client.run(|| {
        ip(&format!("address add {FAR}/32 dev lo"));
        ip(&format!("route add 10.244.0.0/24 via {NODE}"));
        rig::serve(FAR.into());
    });
    ip(&format!("route add 10.244.9.0/24 via {}", rig::CLIENT));
    SocketAddr::new(FAR.into(), 8080)
}

#[test]
fn endpoints_of_this_and_of_other_hosts_see_the_pods_that_ask_and_a_pod_reaches_itself() {
    let container = Container::start();
    rig::on_the_node(container.namespace(), async move |node| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let (pods, kernel) = ("10.244.0.0/16".parse().unwrap(), Netlink::open().unwrap());
        let far = make_far(&node);
        ip(&format!("address add {VIP}/32 dev lo"));
        let kept = client_addresses::ensure(pods, &kernel).await.unwrap();
        assert_eq!(kept, ["10.244.0.0/24".parse().unwrap()].into());
        let [client, other] = [&node.pods[0], &node.pods[1]];
        let near = node.endpoints(&[1])[0];
        let own = SocketAddr::new(GATEWAY, 8080);
        rig::serve(GATEWAY);
        for endpoint in [near, far, own] {
            container.serve(&ServicePlan { kept: kept.clone(), ..service(&[endpoint]) }).await;
            let expected = Answer { by: endpoint.ip(), to: client.address };
            assert_eq!(asked_by(client), [expected; 2], "{endpoint}");
        }
        // Whoever is an endpoint himself comes from the node, as the node does.
        container.serve(&ServicePlan { kept: kept.clone(), ..service(&[near]) }).await;
        let expected = Answer { by: other.address, to: GATEWAY };
        assert_eq!(asked_by(other), [expected; 2]);
        assert_eq!(call(80), Ok(expected));

        // What is not asked for is not kept. What another cluster on this host needs stays until it does not, and then nothing is left.
        container.serve(&service(&[near])).await;
        let others = "10.245.0.0/16".parse().unwrap();
        client_addresses::ensure(others, &kernel).await.unwrap();
        client_addresses::remove(pods, &kernel).await.unwrap();
        assert!(nft("list tables").contains("minik8s-clients-0af50000-16"));
        assert!(!nft("list tables").contains("minik8s-clients-0af40000-16"));
        assert!(ip("rule list").contains("138") && !ip("route show table 138").is_empty());
        client_addresses::remove(others, &kernel).await.unwrap();
        assert_eq!(asked_by(client), [expected; 2]);
        assert_eq!(nft("list tables").matches("minik8s-clients").count(), 0);
        assert!(!ip("rule list").contains("138"), "{}", ip("rule list"));
    });
}
