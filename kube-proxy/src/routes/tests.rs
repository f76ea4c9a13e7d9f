//! Tables of nodes and the routes that follow from them.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

/// A node by name, comma-separated pod CIDRs and comma-separated internal addresses.
fn node(name: &str, cidrs: &str, addresses: &str) -> Node {
    let list = |text: &str| -> Vec<String> {
        text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let address = |address| json!({"type": "InternalIP", "address": address});
    let mut addresses: Vec<_> = list(addresses).into_iter().map(address).collect();
    addresses.insert(0, json!({"type": "Hostname", "address": "10.0.0.1"}));
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": list(cidrs).first(), "podCIDRs": list(cidrs)},
        "status": {"addresses": addresses},
    }))
    .unwrap()
}

/// The routes of the host of node `n1`, whose addresses are 10.0.0.1 and 127.0.0.1.
fn routes(nodes: &[Node]) -> Vec<Route> {
    let vxlan = Settings { mode: settings::Mode::Never, id: 138, port: 4789 };
    let host = Host { node: "n1".into(), cluster_cidr: "10.244.0.0/16".parse().unwrap(), vxlan };
    let local = [[10, 0, 0, 1].into(), [127, 0, 0, 1].into()].into();
    wanted(&host, &local, &Underlay { routes: &[], links: &[] }, nodes.iter())
}

fn check(nodes: &[(&str, &str, &str)], expected: &Expect) {
    let nodes: Vec<Node> =
        nodes.iter().map(|(name, cidrs, addresses)| node(name, cidrs, addresses)).collect();
    let line =
        |route: &Route| format!("{} via {} ({})\n", route.destination, route.gateway, route.node);
    expected.assert_eq(&routes(&nodes).iter().map(line).collect::<String>());
}

#[test]
fn other_nodes_are_reached_through_their_address() {
    check(
        &[
            ("n3", "10.244.2.0/24", "10.0.0.3"),
            ("n1", "10.244.0.0/24", "10.0.0.1"),
            ("n2", "10.244.1.0/24", "10.0.0.2,10.9.0.2"),
        ],
        &expect![[r"
            10.244.1.0/24 via 10.0.0.2 (n2)
            10.244.2.0/24 via 10.0.0.3 (n3)
        "]],
    );
}

#[test]
fn nodes_on_this_host_need_no_route() {
    let nothing = expect![""];
    check(&[("n1", "10.244.0.0/24", "10.0.0.9")], &nothing);
    check(&[("n1-2", "10.244.1.0/24", "10.0.0.1")], &nothing);
    check(&[("n1-2", "10.244.1.0/24", "10.9.0.1,10.0.0.1")], &nothing);
    check(&[("odd", "10.244.1.0/24", "127.0.0.1")], &nothing);
}

#[test]
fn nodes_that_are_not_complete_yet_have_no_route() {
    let nothing = expect![""];
    check(&[("n2", "", "10.0.0.2")], &nothing);
    check(&[("n2", "10.244.1.0/24", "")], &nothing);
    check(&[("n2", "nonsense", "10.0.0.2")], &nothing);
    assert_eq!(routes(&[Node::default()]), []);
}

#[test]
fn ipv6_is_left_out() {
    check(&[("n2", "fd00:1::/64", "10.0.0.2")], &expect![""]);
    check(&[("n2", "10.244.1.0/24", "fd00::2")], &expect![""]);
    check(
        &[("n2", "fd00:1::/64,10.244.1.0/24", "fd00::2,10.0.0.2")],
        &expect![[r"
            10.244.1.0/24 via 10.0.0.2 (n2)
        "]],
    );
}

#[test]
fn only_the_cluster_s_range_is_routed() {
    let outside = ["0.0.0.0/0", "10.0.0.0/8", "10.245.0.0/24"];
    for cidr in outside {
        check(&[("n2", cidr, "10.0.0.2")], &expect![""]);
    }
}

#[test]
fn a_network_belongs_to_this_host_or_else_to_the_first_who_claims_it() {
    check(
        &[
            ("n4", "10.244.1.7/25", "10.0.0.4"),
            ("n3", "10.244.1.0/24", "10.0.0.3"),
            ("n2", "10.244.1.0/24,10.244.1.0/24,10.244.2.0/24", "10.0.0.2"),
            ("bad", "10.244.0.128/25", "10.0.0.5"),
            ("worse", "10.244.0.0/16", "10.0.0.6"),
            ("n1", "10.244.0.0/24", "10.0.0.1"),
        ],
        &expect![[r"
            10.244.1.0/24 via 10.0.0.2 (n2)
            10.244.2.0/24 via 10.0.0.2 (n2)
        "]],
    );
}

#[test]
fn of_two_who_claim_a_network_the_older_has_it_whatever_its_name() {
    let aged = |name: &str, address: &str, created: &str| {
        let mut node = node(name, "10.244.1.0/24", address);
        node.metadata.creation_timestamp = Some(serde_json::from_value(json!(created)).unwrap());
        node
    };
    let old = aged("n9", "10.0.0.9", "2026-01-01T00:00:00Z");
    let new = aged("a-first", "10.0.0.2", "2026-01-01T00:00:01Z");
    let found = routes(&[new, old]);
    assert_eq!(found.iter().map(|route| &*route.node).collect::<Vec<_>>(), ["n9"]);
}

#[test]
fn a_host_is_not_reached_at_a_pod_s_address() {
    check(
        &[("n2", "10.244.1.0/24", "10.244.9.9,10.0.0.2"), ("n3", "10.244.2.0/24", "10.244.9.8")],
        &expect![[r"
            10.244.1.0/24 via 10.0.0.2 (n2)
        "]],
    );
}

#[test]
fn the_old_field_alone_does_too() {
    let mut old = node("n2", "10.244.1.0/24", "10.0.0.2");
    old.spec.as_mut().unwrap().pod_cidrs = None;
    assert_eq!(routes(&[old.clone()]), routes(&[node("n2", "10.244.1.0/24", "10.0.0.2")]));
    assert_eq!(routes(&[old]).len(), 1);
}

fn route(destination: &str, gateway: &str) -> Route {
    let (destination, gateway) = (destination.parse().unwrap(), gateway.parse().unwrap());
    Route { node: "n2".into(), destination, gateway, over: Over::Segment }
}

fn found(destination: &str, gateway: Option<&str>, owner: Owner) -> Found {
    let gateway = gateway.map(|gateway| gateway.parse().unwrap());
    Found { destination: destination.parse().unwrap(), gateway, by_vxlan: false, owner }
}

#[test]
fn what_is_right_stays_what_is_missing_comes_what_is_left_over_goes() {
    let (kept, new) = (route("10.244.1.0/24", "10.0.0.2"), route("10.244.2.0/24", "10.0.0.3"));
    let present = [
        found("10.244.1.0/24", Some("10.0.0.2"), Owner::Us),
        found("10.244.3.0/24", Some("10.0.0.4"), Owner::Us),
    ];
    let expected = vec![Change::Remove("10.244.3.0/24".parse().unwrap()), Change::Add(new.clone())];
    assert_eq!(changes(&[kept.clone(), new.clone()], &present), expected);
    let after = [present[0].clone(), found("10.244.2.0/24", Some("10.0.0.3"), Owner::Us)];
    assert_eq!(changes(&[kept, new], &after), []);
}

#[test]
fn a_node_that_changes_its_address_keeps_a_route_all_the_time() {
    let before = routes(&[node("n2", "10.244.1.0/24", "10.0.0.2")]);
    let after = routes(&[node("n2", "10.244.1.0/24", "10.0.0.7")]);
    let present: Vec<Found> = before
        .iter()
        .map(|route| found(&route.destination.to_string(), Some("10.0.0.2"), Owner::Us))
        .collect();
    assert_eq!(changes(&after, &present), [Change::Replace(after[0].clone())]);
}

#[test]
fn routes_of_others_are_never_replaced_or_removed() {
    let wanted = [route("10.244.1.0/24", "10.0.0.2")];
    for gateway in [Some("10.0.0.2"), Some("10.0.0.254"), None] {
        let by_hand = found("10.244.1.0/24", gateway, Owner::Administrator);
        assert_eq!(changes(&wanted, std::slice::from_ref(&by_hand)), []);
        assert_eq!(changes(&[], std::slice::from_ref(&by_hand)), []);
        // It does not excuse a wrong one of ours.
        let ours = found("10.244.1.0/24", Some("10.0.0.9"), Owner::Us);
        assert_eq!(changes(&wanted, &[ours, by_hand]), [Change::Replace(wanted[0].clone())]);
    }
    // The kernel will refuse this one, which is reported.
    let bridge = found("10.244.1.0/24", None, Owner::Nobody);
    assert_eq!(changes(&wanted, &[bridge]), [Change::Add(wanted[0].clone())]);
}

/// The same where pods have addresses of both families, by these settings.
fn dual_routes(mode: Mode, nodes: &[Node]) -> String {
    let vxlan = Settings { mode, id: 138, port: 4789 };
    let cluster_cidr = "10.244.0.0/16,fd00:10:244::/56".parse().unwrap();
    let host = Host { node: "n1".into(), cluster_cidr, vxlan };
    let local = [[10, 0, 0, 1].into()].into();
    let found = wanted(&host, &local, &Underlay { routes: &[], links: &[] }, nodes.iter());
    let line = |route: &Route| {
        let Route { destination, gateway, over, .. } = route;
        match over {
            Over::Segment => format!("{destination} via {gateway}\n"),
            Over::Vxlan { remote } => format!("{destination} by the VXLAN to {remote}\n"),
        }
    };
    found.iter().map(line).collect()
}

#[test]
fn each_family_of_pods_is_reached_by_the_nodes_addresses_of_it() {
    let own = node("n1", "10.244.0.0/24,fd00:10:244::/64", "10.0.0.1,2001:db8::1");
    let other = node("n2", "10.244.1.0/24,fd00:10:244:1::/64", "10.0.0.2,2001:db8::2");
    let expected = "10.244.1.0/24 via 10.0.0.2\nfd00:10:244:1::/64 via 2001:db8::2\n";
    assert_eq!(dual_routes(Mode::Never, &[own, other]), expected);
}

#[test]
fn where_one_of_the_nodes_has_no_such_address_a_vxlan_carries_them() {
    let pods = ["10.244.0.0/24,fd00:10:244::/64", "10.244.1.0/24,fd00:10:244:1::/64"];
    for addresses in [["10.0.0.1", "10.0.0.2,2001:db8::2"], ["10.0.0.1,2001:db8::1", "10.0.0.2"]] {
        let nodes = [node("n1", pods[0], addresses[0]), node("n2", pods[1], addresses[1])];
        let expected = "10.244.1.0/24 via 10.0.0.2\nfd00:10:244:1::/64 by the VXLAN to 10.0.0.2\n";
        assert_eq!(dual_routes(Mode::Auto, &nodes), expected);
        assert_eq!(dual_routes(Mode::Never, &nodes), "10.244.1.0/24 via 10.0.0.2\n");
    }
}
