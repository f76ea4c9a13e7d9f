//! Weave Net, for which a program stands in that makes links in its place.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt, path::Path};

use kubelet::network::{Held, NodeNetwork, PodNetwork, weave::Weave};
use tempfile::TempDir;

use crate::{Sandbox, in_own_network, network, sh};

const STAND_IN: &str = include_str!("weave.sh");

/// The stand-in, and what it was asked.
struct Program(TempDir);

impl Program {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let path = this.path("weave");
        fs::write(&path, STAND_IN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        sh("ip link set lo up");
        this
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// A kubelet's network.
    fn network(&self) -> Weave {
        let peers = ["192.0.2.7".to_owned()];
        let (pods, services) = (network("10.219.0.0/16"), network("10.119.0.0/16"));
        Weave::new(Path::new(&self.path("weave")), &peers, "n1", pods, services)
    }

    /// A container of the sandbox's id, for the stand-in.
    fn know(&self, uid: &str, sandbox: &Sandbox) {
        fs::write(self.path(&format!("sandbox-{uid}")), sandbox.pid().to_string()).unwrap();
    }

    /// Since the last time.
    fn asked(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        fs::write(self.path("calls"), "").unwrap();
        calls.lines().map(str::to_owned).collect()
    }
}

fn reaches(from: &Sandbox, address: &str) {
    sh(&format!("nsenter -t {} -n busybox ping -c 1 -W 5 {address}", from.pid()));
}

#[test]
fn the_node_joins_weave_and_sandboxes_are_attached_until_they_end() {
    in_own_network(async || {
        let program = Program::new();
        let weave = program.network();
        weave.start(network("10.219.1.0/24"), &[]).await.unwrap();
        assert_eq!(program.asked(), ["status", "launch 192.0.2.7", "expose 10.219.1.1/16"]);
        let (a, b) = (Sandbox::start(), Sandbox::start());
        let refused = weave.attach(&a.of("a")).await.unwrap_err().to_string();
        assert!(
            refused.contains("weave attach 10.219.1.2/16 sandbox-a failed: Error: No such object"),
            "{refused}"
        );
        program.know("a", &a);
        program.know("b", &b);
        let address = weave.attach(&a.of("a")).await.unwrap();
        assert_eq!(weave.addresses("a"), Some(address));
        assert_eq!(address, Ipv4Addr::new(10, 219, 1, 2).into());
        let other = weave.attach(&b.of("b")).await.unwrap();
        reaches(&a, &other.v4.to_string());
        // What is no pod is reached by the node.
        sh("ip addr add 10.119.0.9/32 dev lo");
        reaches(&a, "10.119.0.9");
        assert_eq!(sh("ip -o route get 10.219.1.3 | grep -o 'dev weave'"), "dev weave\n");
        assert!(sh("ip route get 10.219.9.9 2>&1 || true").contains("Invalid argument"));
        let node = NodeNetwork {
            cidr: network("10.219.1.0/24"),
            running: vec![a.expected("a", address, Vec::new())],
            unsettled: Vec::new(),
            all: ["a", "b"].map(str::to_owned).into(),
        };
        assert_eq!(weave.differences(&node).await.unwrap(), []);
        // The segment's own route is in its place.
        sh("ip route del blackhole 10.219.0.0/16");
        weave.reconcile().await.unwrap();
        assert_eq!(weave.differences(&node).await.unwrap(), []);
        program.asked();

        // Another kubelet finds all as it was.
        let again = program.network();
        let running = Held::new("a", "sandbox-a", Some(a.pid()), Some(address));
        again.start(network("10.219.1.0/24"), &[running]).await.unwrap();
        again.reconcile().await.unwrap();
        assert_eq!(program.asked(), Vec::<String>::new());
        again.detach("a").await.unwrap();
        again.detach("a").await.unwrap();
        assert_eq!(program.asked(), ["detach 10.219.1.2/16 sandbox-a"]);
        // Of a sandbox that has ended there is nothing to detach.
        let expected = b.expected("b", other, Vec::new());
        drop(b);
        weave.detach("b").await.unwrap();
        assert_eq!(program.asked(), Vec::<String>::new());
        // Nor is anything missing of one that ends while it is looked at.
        let ended = NodeNetwork { running: vec![expected], ..node };
        assert_eq!(weave.differences(&ended).await.unwrap(), []);
    });
}

#[test]
fn pods_are_attached_again_where_weave_was_reset() {
    in_own_network(async || {
        let program = Program::new();
        let weave = program.network();
        weave.start(network("10.219.1.0/24"), &[]).await.unwrap();
        let (a, b, gone) = (Sandbox::start(), Sandbox::start(), Sandbox::start());
        for (uid, sandbox) in [("a", &a), ("b", &b), ("gone", &gone)] {
            program.know(uid, sandbox);
            weave.attach(&sandbox.of(uid)).await.unwrap();
        }
        drop(gone);
        let node = NodeNetwork {
            cidr: network("10.219.1.0/24"),
            running: vec![a.expected("a", Ipv4Addr::new(10, 219, 1, 2).into(), Vec::new())],
            unsettled: Vec::new(),
            all: ["a", "b", "gone"].map(str::to_owned).into(),
        };
        sh(&format!(
            "ip link del weave; ip link del vethwe{}; ip link del vethwe{}",
            a.pid(),
            b.pid()
        ));
        fs::remove_file(program.path("sandbox-b")).unwrap();
        program.asked();
        let found = weave.differences(&node).await.unwrap();
        let found: Vec<_> = found.iter().map(|found| found.message.as_str()).collect();
        let missing = ["link weave has not the address 10.219.1.1"];
        assert_eq!(found[..1], missing);
        weave.reconcile().await.unwrap();
        assert_eq!(weave.differences(&node).await.unwrap(), []);
        let expected = [
            "status",
            "launch 192.0.2.7",
            "attach 10.219.1.2/16 sandbox-a",
            "attach 10.219.1.3/16 sandbox-b",
            "expose 10.219.1.1/16",
        ];
        assert_eq!(program.asked(), expected);
        // What has failed is tried again, and no more once it has succeeded.
        program.know("b", &b);
        weave.reconcile().await.unwrap();
        weave.reconcile().await.unwrap();
        assert_eq!(program.asked(), ["attach 10.219.1.3/16 sandbox-b"]);
        reaches(&a, "10.219.1.3");
    });
}
