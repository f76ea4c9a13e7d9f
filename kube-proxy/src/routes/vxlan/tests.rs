//! What is to be done on a host that a router keeps apart from some of the nodes.

use expect_test::{Expect, expect};
use netlink::{Address, Forwarding, Neighbour};
use serde_json::json;

use super::*;
use crate::routes::{
    guard,
    settings::{Mode, Settings},
    steps::{Plan, plan},
};

const LINK: u32 = 9;

fn node(name: &str, cidr: &str, address: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }))
    .unwrap()
}

/// Two on the segment of this host, n1, and two behind the router.
fn nodes() -> Vec<Node> {
    vec![
        node("n1", "10.244.1.0/24", "198.51.100.1"),
        node("n2", "10.244.2.0/24", "198.51.100.2"),
        node("n3", "10.244.3.0/24", "203.0.113.3"),
        node("n4", "10.244.4.0/24", "203.0.113.4"),
    ]
}

fn host(mode: Mode) -> Host {
    let vxlan = Settings { mode, id: 138, port: 4789 };
    Host { node: "n1".into(), cluster_cidr: "10.244.0.0/16".parse().unwrap(), vxlan }
}

fn route(destination: &str, gateway: Option<&str>, link: u32, protocol: u8) -> netlink::Route {
    let gateway = gateway.map(|gateway| gateway.parse().unwrap());
    let destination = destination.parse().unwrap();
    netlink::Route { destination, gateway, link: Some(link), mtu: None, protocol, unicast: true }
}

fn address(link: u32, address: &str, prefix_len: u8) -> Address {
    Address { link, address: address.parse().unwrap(), prefix_len, temporary: false }
}

/// A host with nothing of ours.
fn bare() -> Seen {
    let uplink = Link {
        index: 2,
        name: "eth0".into(),
        bridge: None,
        hairpin: false,
        mtu: 1500,
        up: true,
        mac: None,
        vxlan: None,
    };
    Seen {
        addresses: vec![address(2, "198.51.100.1", 24)],
        routes: vec![
            route("198.51.100.0/24", None, 2, netlink::Route::KERNEL),
            route("0.0.0.0/0", Some("198.51.100.254"), 2, netlink::Route::STATIC),
        ],
        links: vec![uplink],
        ..Seen::default()
    }
}

/// One that lacks nothing.
fn complete() -> Seen {
    let mut seen = bare();
    seen.links.push(Link {
        index: LINK,
        name: "mk8svx138".into(),
        bridge: None,
        hairpin: false,
        mtu: 1450,
        up: true,
        mac: Some(mac([198, 51, 100, 1].into())),
        vxlan: Some(Vxlan { id: 138, port: 4789, learning: false }),
    });
    seen.addresses.push(address(LINK, "10.244.1.0", 32));
    seen.routes.push(route("10.244.2.0/24", Some("198.51.100.2"), 2, 138));
    for number in [3, 4] {
        let remote = Ipv4Addr::new(203, 0, 113, number);
        let gateway = format!("10.244.{number}.0");
        seen.routes.push(route(&format!("{gateway}/24"), Some(&gateway), LINK, 138));
        let (address, mac) = (gateway.parse().unwrap(), mac(remote));
        seen.neighbours.push(Neighbour { link: LINK, address, mac });
        seen.forwardings.push(Forwarding { link: LINK, mac, remote });
    }
    seen
}

fn planned(mode: Mode, seen: &Seen, nodes: &[Node]) -> Plan {
    plan(&host(mode), seen, nodes.iter())
}

fn check(seen: &Seen, nodes: &[Node], expected: &Expect) {
    let steps = planned(Mode::Auto, seen, nodes).steps;
    expected.assert_eq(&steps.iter().map(|step| format!("{step}\n")).collect::<String>());
}

#[test]
fn nodes_behind_a_router_are_reached_through_the_vxlan_and_the_others_directly() {
    check(
        &bare(),
        &nodes(),
        &expect![[r"
            link mk8svx138 is missing
            neighbour 10.244.3.0 is missing or not 02:8a:cb:00:71:03
            neighbour 10.244.4.0 is missing or not 02:8a:cb:00:71:04
            forwarding of 02:8a:cb:00:71:03 to 203.0.113.3 is missing
            forwarding of 02:8a:cb:00:71:04 to 203.0.113.4 is missing
            route to 10.244.2.0/24 via 198.51.100.2 (node n2) is missing
            route to 10.244.3.0/24 via 10.244.3.0 (node n3) is missing
            route to 10.244.4.0/24 via 10.244.4.0 (node n4) is missing
        "]],
    );
    check(&complete(), &nodes(), &expect![""]);
}

#[test]
fn a_cluster_on_one_segment_has_no_vxlan_unless_it_is_always_wanted() {
    let near = &nodes()[..2];
    check(
        &bare(),
        near,
        &expect![[r"
            route to 10.244.2.0/24 via 198.51.100.2 (node n2) is missing
        "]],
    );
    let overlay = |mode| {
        let routes = planned(mode, &bare(), near).routes;
        routes.iter().map(|route| route.over).collect::<Vec<_>>()
    };
    assert_eq!(overlay(Mode::Always), [Over::Vxlan { remote: [198, 51, 100, 2].into() }]);
    assert_eq!(overlay(Mode::Auto), [Over::Segment]);
    let all = planned(Mode::Never, &bare(), &nodes());
    assert!(all.routes.iter().all(|route| route.over == Over::Segment), "{all:?}");
}

#[test]
fn nodes_that_move_or_leave_are_followed() {
    let mut moved = nodes();
    moved.remove(3);
    moved[2] = node("n3", "10.244.3.0/24", "203.0.113.77");
    check(
        &complete(),
        &moved,
        &expect![[r"
            route to 10.244.4.0/24 is left over
            neighbour 10.244.3.0 is missing or not 02:8a:cb:00:71:4d
            forwarding of 02:8a:cb:00:71:4d to 203.0.113.77 is missing
            neighbour 10.244.4.0 is left over
            forwarding of 02:8a:cb:00:71:03 to 203.0.113.3 is left over
            forwarding of 02:8a:cb:00:71:04 to 203.0.113.4 is left over
        "]],
    );
    // It comes to this segment.
    moved[2] = node("n3", "10.244.3.0/24", "198.51.100.3");
    check(
        &complete(),
        &moved,
        &expect![[r"
            route to 10.244.4.0/24 is left over
            route to 10.244.3.0/24 does not lead via 198.51.100.3 (node n3)
            link mk8svx138 is left over
        "]],
    );
}

#[test]
fn a_link_that_is_not_as_it_should_be_is_put_right_or_made_anew() {
    // What it may forget meanwhile is made once more.
    let configured = expect![[r"
        link mk8svx138 is not up with MAC 02:8a:c6:33:64:01, MTU 1450 and address 10.244.1.0
        neighbour 10.244.3.0 is missing or not 02:8a:cb:00:71:03
        neighbour 10.244.4.0 is missing or not 02:8a:cb:00:71:04
        forwarding of 02:8a:cb:00:71:03 to 203.0.113.3 is missing
        forwarding of 02:8a:cb:00:71:04 to 203.0.113.4 is missing
    "]];
    for spoil in [
        (|seen: &mut Seen| seen.links[1].mtu = 1500) as fn(&mut Seen),
        |seen| seen.links[1].up = false,
        |seen| seen.links[1].mac = Some(mac([198, 51, 100, 9].into())),
        |seen| seen.addresses.truncate(1),
        |seen| seen.addresses.push(address(LINK, "10.244.9.0", 32)),
    ] {
        let mut seen = complete();
        spoil(&mut seen);
        check(&seen, &nodes(), &configured);
    }
    // Its routes and entries go with it.
    let mut seen = complete();
    seen.links[1].vxlan = Some(Vxlan { id: 138, port: 8472, learning: false });
    let steps = planned(Mode::Auto, &seen, &nodes()).steps;
    assert!(steps[0].to_string().contains("is not the VXLAN 138 of port 4789"), "{}", steps[0]);
    assert_eq!(steps.len(), 7, "{steps:#?}");
}

#[test]
fn links_of_an_earlier_number_go_and_those_of_other_clusters_stay() {
    let mut seen = complete();
    let (mut old, mut theirs) = (seen.links[1].clone(), seen.links[1].clone());
    (old.index, old.name) = (20, "mk8svx7".into());
    (theirs.index, theirs.name) = (21, "mk8svx8".into());
    seen.links.extend([old, theirs]);
    seen.addresses.extend([address(20, "10.244.1.0", 32), address(21, "10.99.1.0", 32)]);
    check(
        &seen,
        &nodes(),
        &expect![[r"
            link mk8svx7 is left over
        "]],
    );
}

#[test]
fn without_the_own_node_routes_through_the_vxlan_wait() {
    let plan = planned(Mode::Auto, &bare(), &nodes()[1..3]);
    let waiting: Vec<_> = plan.waiting.iter().map(|route| route.node.as_str()).collect();
    assert_eq!((waiting, plan.steps.len()), (vec!["n3"], 1), "{plan:?}");
}

#[test]
fn a_node_that_says_it_is_at_a_pod_s_address_shortens_nobody_s_packets() {
    let mut nodes = nodes();
    nodes.push(node("n5", "10.244.5.0/24", "10.244.3.7"));
    check(&complete(), &nodes, &expect![""]);
}

#[test]
fn packets_have_a_length_however_short_those_of_the_link_are() {
    for (link, expected) in [(1500, 1450), (600, 576), (20, 576)] {
        let mut seen = bare();
        seen.links[0].mtu = link;
        let device = planned(Mode::Auto, &seen, &nodes()).overlay.device.unwrap();
        assert_eq!(device.mtu, expected);
    }
}

/// Rules and elements of the guard.
fn guarded(seen: &Seen, nodes: &[Node]) -> Option<String> {
    let host = host(Mode::Auto);
    let contents = guard::wanted(&host, seen, &plan(&host, seen, nodes.iter()).overlay)?;
    let rules = contents
        .chains
        .iter()
        .flat_map(|(name, chain)| chain.rules.iter().map(move |rule| format!("{name}: {rule}\n")));
    let elements = contents.elements.keys().map(|(set, key)| format!("{set}: {key}\n"));
    Some(rules.chain(elements).collect())
}

#[test]
fn frames_are_taken_of_the_hosts_that_the_vxlan_leads_to_and_none_of_pods() {
    let mut seen = complete();
    seen.links.push(Link { index: 5, name: "bridge".into(), vxlan: None, ..seen.links[1].clone() });
    seen.addresses.push(address(5, "10.244.1.1", 24));
    expect![[r#"
        forward: iifname { "bridge", "mk8svx138" } udp dport 4789 ip daddr != 10.244.0.0/16 drop
        forward: iifname { "bridge", "mk8svx138" } udp dport 4789 ip saddr != 10.244.0.0/16 drop
        input: udp dport 4789 @th,96,24 138 iifname { "bridge", "mk8svx138" } drop
        input: udp dport 4789 @th,96,24 138 ip saddr != @hosts drop
        hosts: 203.0.113.3
        hosts: 203.0.113.4
    "#]]
    .assert_eq(&guarded(&seen, &nodes()).unwrap());
    let (without, left) = (&nodes()[..2], "a link that is left over takes frames, too");
    assert!(!guarded(&seen, without).expect(left).contains("hosts:"), "{left}");
    assert_eq!(guarded(&bare(), without), None);
}
