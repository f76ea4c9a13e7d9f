//! The kernel's routes on two hosts, in namespaces of their own, on one network segment, with the API server in
//! process. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod machines;

use std::net::Ipv4Addr;

use api_types::api::core::v1::{Event, Node};
use kube::{Api, api::Patch};
use kube_proxy::routes::settings::Mode;
use rtnetlink::packet_route::route::RouteProtocol;
use serde_json::json;
use testkit::{ControlPlane, wait};

use machines::{Machine, Proxy, UPLINK, create, node};

#[tokio::test]
async fn pods_of_two_hosts_reach_each_other_as_long_as_both_are_nodes() {
    let ((one, two), plane) = (Machine::pair().await, ControlPlane::start().await);
    assert!(one.reach(&two).await.is_err());
    let proxies = [Proxy::start(&one, &plane), Proxy::start(&two, &plane)];

    let nodes: Api<Node> = Api::all(plane.client());
    create(&nodes, &one.node()).await;
    create(&nodes, &two.node()).await;
    one.until_ours(&[("10.244.2.0/24", two.ip())]).await;
    two.until_ours(&[("10.244.1.0/24", one.ip())]).await;
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());
    assert_eq!(two.reach(&one).await.unwrap().ip(), two.pod());
    proxies[0].until_ready().await;

    // The node moves to another address, then goes.
    let moved = Ipv4Addr::new(198, 51, 100, 77);
    two.address(UPLINK, moved, 24).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": moved}]}});
    let (name, patch) = (two.name(), Patch::Merge(&status));
    nodes.patch_status(&name, &Default::default(), &patch).await.unwrap();
    one.until_ours(&[("10.244.2.0/24", moved)]).await;
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());

    nodes.delete(&name, &Default::default()).await.unwrap();
    one.until_ours(&[]).await;
    assert!(one.reach(&two).await.is_err());
}

#[tokio::test]
async fn routes_outlast_an_outage_of_the_api_server_and_of_kube_proxy() {
    let ((one, two), plane) = (Machine::pair().await, ControlPlane::start().await);
    let nodes: Api<Node> = Api::all(plane.client());
    create(&nodes, &two.node()).await;
    let proxy = Proxy::start(&one, &plane);
    let first = ("10.244.2.0/24", two.ip());
    one.until_ours(&[first]).await;
    two.route("10.244.1.0/24", Some(one.ip()), RouteProtocol::Static).await;

    plane.stop_server().await;
    drop(proxy);
    let proxy = Proxy::start(&one, &plane);
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());
    assert!(!proxy.health.is_ready());

    plane.start_server().await;
    create(&nodes, &node("n3", "10.244.3.0/24", "198.51.100.3")).await;
    one.until_ours(&[first, ("10.244.3.0/24", [198, 51, 100, 3].into())]).await;
    proxy.until_ready().await;
}

#[tokio::test]
async fn a_node_off_the_segment_is_reported_once_and_keeps_no_other_from_being_reached() {
    let ((mut one, two), plane) = (Machine::pair().await, ControlPlane::start().await);
    one.vxlan.mode = Mode::Never;
    // It would be reached by this, but not directly.
    one.route("0.0.0.0/0", Some(two.ip()), RouteProtocol::Static).await;
    let nodes: Api<Node> = Api::all(plane.client());
    create(&nodes, &node("n0", "10.244.0.0/24", "203.0.113.9")).await;
    create(&nodes, &two.node()).await;
    let proxy = Proxy::start(&one, &plane);
    let first = ("10.244.2.0/24", two.ip());
    one.until_ours(&[first]).await;

    let events: Api<Event> = Api::default_namespaced(plane.client());
    let reported = async || {
        let all = events.list(&Default::default()).await.unwrap().items;
        let event =
            all.into_iter().find(|event| event.involved_object.name.as_deref() == Some("n0"));
        event.ok_or("no event")
    };
    let event = wait::until("the node is reported", reported).await;
    assert_eq!(event.reason.as_deref(), Some("FailedToCreateRoute"));
    let message = event.message.unwrap();
    assert!(message.contains("203.0.113.9 is not on a network segment of this host"), "{message}");
    let metrics = proxy.metrics.encode().unwrap();
    assert!(metrics.contains("kubeproxy_routes 2\n"), "{metrics}");
    assert!(metrics.contains("kubeproxy_route_nodes_failed 1\n"), "{metrics}");
    proxy.until_ready().await;

    // Another pass has nothing new to say.
    create(&nodes, &node("n3", "10.244.3.0/24", "198.51.100.3")).await;
    one.until_ours(&[first, ("10.244.3.0/24", [198, 51, 100, 3].into())]).await;
    assert_eq!(reported().await.unwrap().count.unwrap_or(1), 1);
}

#[tokio::test]
async fn routes_of_others_stay() {
    let (one, two) = Machine::pair().await;
    let (ours, via) = (RouteProtocol::Other(kube_proxy::routes::seen::PROTOCOL), Some(two.ip()));
    one.route("10.244.9.0/24", via, RouteProtocol::Static).await;
    one.route("10.244.8.0/24", via, ours).await;
    one.route("172.31.0.0/24", via, ours).await;
    one.route("10.244.2.0/24", None, RouteProtocol::Static).await;
    let before = one.kernel.look().await.unwrap().routes;

    // A node that only an administrator's route leads to, and one that a blackhole keeps away.
    let far = node("n9", "10.244.9.0/24", "203.0.113.9");
    let report = one.reconcile(&[one.node(), two.node(), far]).await;
    assert_eq!(report.refused.keys().collect::<Vec<_>>(), ["n2"]);
    let why = report.refused["n2"][0].to_string();
    assert!(
        why.contains("10.244.2.0/24 is a network of this host or one that leads nowhere"),
        "{why}"
    );
    let mut expected = before;
    expected.retain(|route| route.destination != machines::network("10.244.8.0/24").into());
    assert_eq!(one.kernel.look().await.unwrap().routes, expected);
}

#[tokio::test]
async fn a_pass_puts_right_what_was_changed_by_hand_and_then_does_nothing() {
    let (one, two) = Machine::pair().await;
    let nodes = [one.node(), two.node()];
    one.reconcile(&nodes).await;
    // Downing a link takes its routes away.
    one.down(UPLINK).await;
    assert_eq!(one.ours().await, []);
    one.up(UPLINK).await;
    for _ in 0..2 {
        let report = one.reconcile(&nodes).await;
        assert!(report.refused.is_empty() && report.left.is_empty(), "{report:?}");
        assert_eq!(one.ours().await, [("10.244.2.0/24".to_owned(), Some(two.ip().into()))]);
    }
    two.reconcile(&nodes).await;
    assert_eq!(one.reach(&two).await.unwrap().ip(), one.pod());
}
