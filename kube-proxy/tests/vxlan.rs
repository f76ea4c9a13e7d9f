//! Pods of hosts on two network segments, in namespaces of their own with a router between. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod machines;

use std::net::Ipv4Addr;

use api_types::api::core::v1::Node;
use kube::{Api, api::Patch};
use kube_proxy::routes::{
    Host,
    reconciler::reconcile,
    settings::Mode,
    steps::{Plan, plan},
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
    let theirs: ipnet::Ipv4Net = "10.99.0.0/16".parse().unwrap();
    let host = Host { cluster_cidr: theirs, ..one.host() };
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
