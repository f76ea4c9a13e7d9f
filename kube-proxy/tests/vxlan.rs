//! Pods of hosts on two network segments, in namespaces of their own with a router between. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod machines;

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    process::Command,
    time::Duration,
};

use api_types::api::core::v1::Node;
use kube::{Api, api::Patch};
use kube_proxy::routes::{
    Host, guard,
    reconciler::reconcile,
    settings::Mode,
    steps::{Plan, plan},
    vxlan::mac,
};
use rtnetlink::packet_route::route::RouteProtocol;
use serde_json::json;
use testkit::{ControlPlane, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use machines::{Machine, Proxy, Space, UPLINK, create, inside, node};

const LINK: &str = "mk8svx138";

/// What somebody would have to do.
async fn planned(machine: &Machine, nodes: &[Node]) -> Plan {
    plan(&machine.host(), &machine.kernel.look().await.unwrap(), nodes.iter())
}

async fn until_complete(machine: &Machine, nodes: &[Node]) {
    let look = async || match planned(machine, nodes).await.steps {
        steps if steps.is_empty() => Ok(()),
        steps => Err(steps),
    };
    wait::until("nothing is missing or left over", look).await;
}

/// Sends more than fits into any buffer there and back, so that packets are as long as they may be.
async fn exchange(from: &Machine, to: &Machine) {
    const MUCH: usize = 4 << 20;
    let (mut here, mut there, seen_as) = from.connected(to).await.unwrap();
    assert_eq!(seen_as.ip(), from.pod());
    let (sent, mut back) = (vec![7; MUCH], vec![0; MUCH]);
    let echo = async {
        let mut received = vec![0; MUCH];
        there.read_exact(&mut received).await.unwrap();
        there.write_all(&received).await.unwrap();
    };
    let send = async {
        here.write_all(&sent).await.unwrap();
        here.read_exact(&mut back).await.unwrap();
    };
    tokio::join!(echo, send);
    assert!(sent == back);
}

fn pieces(spaces: &[&Space]) -> u64 {
    spaces.iter().map(|space| space.counted("Ip", "FragCreates")).sum()
}

#[tokio::test]
async fn pods_behind_a_router_reach_each_other_by_their_own_addresses_and_in_whole_packets() {
    let ([one, two, three], router) = Machine::three().await;
    let all = [one.node(), two.node(), three.node()];
    assert!(one.reach(&three).await.is_err());
    for machine in [&one, &two, &three] {
        let report = machine.reconcile(&all).await;
        assert!(report.refused.is_empty(), "{report:?}");
        assert_eq!(planned(machine, &all).await.steps, []);
    }
    for (from, to) in [(&one, &three), (&three, &two), (&one, &two)] {
        exchange(from, to).await;
    }
    assert_eq!(pieces(&[&one, &two, &three, &router]), 0);
    // Neighbours have no use for it.
    let over =
        planned(&one, &all).await.routes.iter().map(|route| route.by_vxlan()).collect::<Vec<_>>();
    assert_eq!(over, [false, true]);
}

/// The host of a cluster with two stacks.
fn host_of_two_stacks(machine: &Machine) -> Host {
    Host { cluster_cidr: "10.244.0.0/16,fd00:10:244::/56".parse().unwrap(), ..machine.host() }
}

/// Its node, and its pods' address of IPv6; and one of the host itself, if it is to have one.
fn of_two_stacks(machine: &Machine, has_own: bool) -> (Node, IpAddr) {
    let number = machine.number;
    let (pods, own) = (format!("fd00:10:244:{number}::"), format!("2001:db8::{number}"));
    let pod = format!("{pods}1");
    let mut node = machine.node();
    let spec = node.spec.as_mut().unwrap();
    spec.pod_cidrs.as_mut().unwrap().push(format!("{pods}/64"));
    let mut commands = vec![
        "route add blackhole fd00:10:244::/56".to_owned(),
        format!("address add {pod}/64 dev pods nodad"),
    ];
    if has_own {
        let addresses = node.status.as_mut().unwrap().addresses.as_mut().unwrap();
        let address = json!({"type": "InternalIP", "address": own});
        addresses.push(serde_json::from_value(address).unwrap());
        commands.push(format!("address add {own}/64 dev {UPLINK} nodad"));
    }
    inside(&machine.namespace, || {
        for command in commands {
            let done = Command::new("ip").arg("-6").args(command.split(' ')).status();
            assert!(done.unwrap().success(), "{command}");
        }
    });
    (node, pod.parse().unwrap())
}

/// Has the pods of two hosts connect by IPv6; whether by the VXLAN.
async fn meet_by_ipv6(ends: [&Machine; 2], has_own: bool) -> bool {
    let nodes = ends.map(|machine| of_two_stacks(machine, has_own));
    let [from, to] = [nodes[0].1, nodes[1].1];
    let nodes = nodes.map(|(node, _)| node);
    let mut by_vxlan = Vec::new();
    for machine in ends {
        let host = host_of_two_stacks(machine);
        let report = reconcile(&machine.kernel, &host, nodes.iter()).await.unwrap();
        assert!(report.refused.is_empty() && report.left.is_empty(), "{report:?}");
        let plan = plan(&host, &machine.kernel.look().await.unwrap(), nodes.iter());
        assert_eq!((plan.steps, plan.routes.len()), (Vec::new(), 2));
        by_vxlan.push(plan.routes[1].by_vxlan());
    }
    let listener = inside(&ends[1].namespace, || std::net::TcpListener::bind((to, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let socket = inside(&ends[0].namespace, tokio::net::TcpSocket::new_v6).unwrap();
    socket.bind((from, 0).into()).unwrap();
    let connect = tokio::time::timeout(Duration::from_secs(20), socket.connect(address));
    connect.await.unwrap().unwrap();
    assert_eq!(listener.accept().unwrap().1.ip(), from);
    assert_eq!(by_vxlan[0], by_vxlan[1]);
    by_vxlan[0]
}

#[tokio::test]
async fn pods_reach_each_other_by_ipv6_directly_where_hosts_do_and_by_the_vxlan_elsewhere() {
    let (one, two) = Machine::pair().await;
    assert!(!meet_by_ipv6([&one, &two], true).await);
    let (one, two) = Machine::pair().await;
    assert!(meet_by_ipv6([&one, &two], false).await);
    let ([one, _two, three], _router) = Machine::three().await;
    assert!(meet_by_ipv6([&one, &three], false).await);
}

#[tokio::test]
async fn a_host_itself_reaches_pods_behind_a_router() {
    let ([one, _two, three], _router) = Machine::three().await;
    let all = [one.node(), three.node()];
    for machine in [&one, &three] {
        machine.reconcile(&all).await;
    }
    let listener =
        inside(&three.namespace, || std::net::TcpListener::bind((three.pod(), 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let connected = inside(&one.namespace, || std::net::TcpStream::connect(address)).unwrap();
    assert_eq!(connected.local_addr().unwrap().ip(), Ipv4Addr::new(10, 244, 1, 0));
}

#[tokio::test]
async fn nodes_that_join_move_and_leave_are_followed() {
    let ([one, _two, three], _router) = Machine::three().await;
    let plane = ControlPlane::start().await;
    let _proxies = [Proxy::start(&one, &plane), Proxy::start(&three, &plane)];
    let nodes: Api<Node> = Api::all(plane.client());
    create(&nodes, &one.node()).await;
    until_complete(&one, &[one.node()]).await;
    create(&nodes, &three.node()).await;
    let all = [one.node(), three.node()];
    until_complete(&one, &all).await;
    until_complete(&three, &all).await;
    exchange(&one, &three).await;

    // It moves within its segment: both ends go by the new address.
    let moved = Ipv4Addr::new(203, 0, 113, 33);
    three.address(UPLINK, moved, 24).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": moved}]}});
    nodes.patch_status("n3", &Default::default(), &Patch::Merge(&status)).await.unwrap();
    let all = [one.node(), node("n3", "10.244.3.0/24", "203.0.113.33")];
    until_complete(&one, &all).await;
    until_complete(&three, &all).await;
    exchange(&three, &one).await;

    nodes.delete("n3", &Default::default()).await.unwrap();
    until_complete(&one, &all[..1]).await;
    let links = one.kernel.look().await.unwrap().links;
    assert!(!links.iter().any(|link| link.name == LINK), "{links:?}");
}

#[tokio::test]
async fn what_is_taken_away_or_spoilt_comes_back() {
    let ([one, _two, three], _router) = Machine::three().await;
    let all = [one.node(), three.node()];
    three.reconcile(&all).await;
    one.reconcile(&all).await;
    one.down(LINK).await;
    assert!(planned(&one, &all).await.steps.len() >= 2, "{:?}", planned(&one, &all).await);
    one.reconcile(&all).await;
    exchange(&one, &three).await;

    one.remove(LINK).await;
    one.reconcile(&all).await;
    assert_eq!(planned(&one, &all).await.steps, []);
    exchange(&one, &three).await;
}

#[tokio::test]
async fn another_port_or_number_takes_the_place_of_the_old_one() {
    let ([mut one, _two, mut three], _router) = Machine::three().await;
    let all = [one.node(), three.node()];
    for (id, port) in [(138, 4789), (138, 8472), (7, 8472)] {
        for machine in [&mut one, &mut three] {
            (machine.vxlan.id, machine.vxlan.port) = (id, port);
            machine.reconcile(&all).await;
            assert_eq!(planned(machine, &all).await.steps, []);
            let links = machine.kernel.look().await.unwrap().links;
            assert_eq!(links.iter().filter(|link| link.vxlan.is_some()).count(), 1);
        }
        exchange(&one, &three).await;
    }
    one.vxlan.mode = Mode::Never;
    let report = one.reconcile(&all).await;
    assert!(report.refused["n3"][0].to_string().contains("not on a network segment"), "{report:?}");
    assert!(one.ours().await.is_empty());
}

#[tokio::test]
async fn a_link_of_another_cluster_is_left_alone_and_the_node_is_told_of() {
    let ([one, _two, three], _router) = Machine::three().await;
    let all = [one.node(), three.node()];
    one.reconcile(&all).await;
    // Another cluster on the same hosts, with the same number.
    let host = Host { cluster_cidr: "10.99.0.0/16".parse().unwrap(), ..one.host() };
    let far =
        [node("n1", "10.99.1.0/24", "198.51.100.1"), node("n3", "10.99.3.0/24", "203.0.113.3")];
    let before = one.kernel.look().await.unwrap();
    let report = reconcile(&one.kernel, &host, far.iter()).await.unwrap();
    assert!(report.refused["n3"][0].to_string().contains("making the VXLAN"), "{report:?}");
    let after = one.kernel.look().await.unwrap();
    assert_eq!(after.neighbours, before.neighbours);
    assert_eq!(after.routes, before.routes);
}

#[tokio::test]
async fn an_administrator_s_route_between_segments_is_used_as_it_is() {
    let ([one, _two, three], router) = Machine::three().await;
    let all = [one.node(), three.node()];
    for (machine, gateway) in [(&one, [198, 51, 100, 254]), (&three, [203, 0, 113, 254])] {
        let to = if machine.number == 1 { "10.244.3.0/24" } else { "10.244.1.0/24" };
        machine.route(to, Some(gateway.into()), RouteProtocol::Static).await;
        router
            .route(
                &format!("10.244.{}.0/24", machine.number),
                Some(machine.ip()),
                RouteProtocol::Static,
            )
            .await;
        let report = machine.reconcile(&all).await;
        assert!(report.refused.is_empty(), "{report:?}");
        assert!(machine.ours().await.is_empty());
    }
    exchange(&one, &three).await;
}

/// One pass of the guard, where the machine's rules are.
async fn guard(machine: &Machine, nodes: &[Node]) {
    let (host, seen) = (machine.host(), machine.kernel.look().await.unwrap());
    let wanted = guard::wanted(&host, &seen, &plan(&host, &seen, nodes.iter()).overlay);
    inside(&machine.namespace, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(guard::settle(&host, wanted.as_ref())).unwrap();
    });
}

fn nft(machine: &Machine, words: &[&str]) -> String {
    let output = inside(&machine.namespace, || Command::new("nft").args(words).output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A datagram in a frame as the VXLAN of a host has it: from a pod of the third host to the first one's, at this port.
fn frame(to: &Machine, port: u16, says: &[u8]) -> Vec<u8> {
    let vxlan: [u8; 8] = [8, 0, 0, 0, 0, 0, 138, 0];
    let ethernet = [&mac(to.ip()).0[..], &[2, 0, 0, 0, 0, 1, 8, 0][..]].concat();
    let datagram = u8::try_from(8 + says.len()).unwrap();
    let mut ip = [69, 0, 0, 20 + datagram, 0, 0, 0, 0, 64, 17, 0, 0, 10, 244, 3, 1, 10, 244, 1, 1];
    let words = ip.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    // Without a checksum of its own.
    let ports = [9u16.to_be_bytes(), port.to_be_bytes()].concat();
    [&vxlan[..], &ethernet[..], &ip[..], &ports[..], &[0, datagram, 0, 0][..], says].concat()
}

#[tokio::test]
async fn frames_are_taken_of_other_nodes_alone() {
    let ([one, two, three], _router) = Machine::three().await;
    let all = [one.node(), three.node()];
    for machine in [&one, &three] {
        machine.reconcile(&all).await;
    }
    let server = inside(&one.namespace, || UdpSocket::bind((one.pod(), 0))).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = server.local_addr().unwrap().port();
    let send = |from: &Machine, says: &[u8]| {
        let socket = inside(&from.namespace, || UdpSocket::bind((from.ip(), 0))).unwrap();
        socket.send_to(&frame(&one, port, says), (one.ip(), one.vxlan.port)).unwrap();
    };
    let heard = || {
        let mut buffer = [0; 64];
        let length = server.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    send(&two, b"stranger");
    assert_eq!(heard(), "stranger", "why there are rules");

    for _ in 0..2 {
        guard(&one, &all).await;
        send(&two, b"stranger");
        send(&three, b"node");
        assert_eq!(heard(), "node");
        exchange(&three, &one).await;
        nft(&one, &["flush", "ruleset"]);
    }
    guard(&one, &all).await;
    assert!(nft(&one, &["list", "tables"]).contains("minik8s-vxlan"));
    one.reconcile(&all[..1]).await;
    guard(&one, &all[..1]).await;
    assert_eq!(nft(&one, &["list", "tables"]), "");
}
