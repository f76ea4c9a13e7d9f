use std::{collections::BTreeSet, fmt::Write, time::Duration};

use expect_test::{Expect, expect};

use super::*;
use crate::plan::{Balancing, Outside, Protocol};

fn port(port: u16, protocol: Protocol, endpoints: &[&str]) -> PortPlan {
    let endpoints = endpoints.iter().map(|it| it.parse().unwrap()).collect();
    PortPlan { port, protocol, endpoints, node_port: None, outside_endpoints: BTreeSet::new() }
}

fn plan(ports: Vec<PortPlan>) -> ServicePlan {
    ServicePlan {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        uid: "u1".to_owned(),
        ips: ["10.96.0.7".parse().unwrap()].into(),
        affinity: None,
        balancing: Balancing::default(),
        kept: [].into(),
        outside: Outside::default(),
        ports,
    }
}

fn spared(taken: Taken) -> Spared {
    Spared { pods: "10.244.0.0/16".parse().unwrap(), taken }
}

/// On a host that has no servers of its own.
fn of(plan: &ServicePlan) -> Contents {
    super::of(Family::Ipv4, plan, &spared(Taken::default()))
}

fn shown(contents: &Contents) -> String {
    let mut text = String::new();
    for (name, set) in &contents.sets {
        writeln!(text, "{:?} {name} {{ {} }}", set.kind, set.definition).unwrap();
    }
    for (name, chain) in &contents.chains {
        writeln!(text, "chain {name} {{").unwrap();
        chain.hook.iter().for_each(|hook| writeln!(text, "    {hook}").unwrap());
        chain.rules.iter().for_each(|rule| writeln!(text, "    {rule}").unwrap());
        writeln!(text, "}}").unwrap();
    }
    for ((set, key), value) in &contents.elements {
        writeln!(text, "{set} {{ {key} : {value} }}").unwrap();
    }
    text
}

fn check(contents: &Contents, expected: &Expect) {
    expected.assert_eq(&shown(contents));
}

#[test]
fn there_is_a_frame_without_services() {
    check(
        &frame("10.244.0.0/16".parse().unwrap()),
        &expect![[r#"
        Map endpoints-tcp { typeof ip daddr . tcp dport . numgen random mod 2 : ip daddr . tcp dport }
        Map endpoints-udp { typeof ip daddr . udp dport . numgen random mod 2 : ip daddr . udp dport }
        Set hairpin { type ipv4_addr . ipv4_addr }
        Map services { type ipv4_addr . inet_proto . inet_service : verdict }
        chain output {
            type nat hook output priority -101
            meta mark set meta mark or 0x4000
            jump serve
            meta mark set meta mark and 0xffffbfff
        }
        chain postrouting {
            type nat hook postrouting priority 99
            meta mark and 0x4000 == 0x4000 oifname != "lo" masquerade
            oifname != "lo" ct status dnat ip saddr . ip daddr @hairpin masquerade
        }
        chain prerouting {
            type nat hook prerouting priority -101
            ip saddr != 10.244.0.0/16 meta mark set meta mark or 0x4000
            jump serve
            meta mark set meta mark and 0xffffbfff
        }
        chain serve {
            ip daddr . meta l4proto . th dport vmap @services
        }
    "#]],
    );
}

#[test]
fn a_service_is_elements_of_maps() {
    let tcp = port(80, Protocol::Tcp, &["10.244.0.2:8080", "10.244.1.2:8080"]);
    let udp = port(53, Protocol::Udp, &["10.244.0.2:5353"]);
    check(
        &of(&plan(vec![tcp, udp])),
        &expect![[r#"
        chain pick-tcp-2 {
            dnat ip to ip daddr . tcp dport . numgen random mod 2 map @endpoints-tcp
            dnat ip to ip daddr . tcp dport . numgen random mod 1 map @endpoints-tcp
        }
        chain pick-udp-1 {
            dnat ip to ip daddr . udp dport . numgen random mod 1 map @endpoints-udp
        }
        endpoints-tcp { 10.96.0.7 . 80 . 0 : 10.244.0.2 . 8080 }
        endpoints-tcp { 10.96.0.7 . 80 . 1 : 10.244.1.2 . 8080 }
        endpoints-udp { 10.96.0.7 . 53 . 0 : 10.244.0.2 . 5353 }
        hairpin { 10.244.0.2 . 10.244.0.2 :  }
        hairpin { 10.244.1.2 . 10.244.1.2 :  }
        services { 10.96.0.7 . tcp . 80 : goto pick-tcp-2 }
        services { 10.96.0.7 . udp . 53 : goto pick-udp-1 }
    "#]],
    );
}

#[test]
fn a_port_without_endpoints_is_led_nowhere() {
    check(&of(&plan(vec![port(80, Protocol::Tcp, &[])])), &expect![[""]]);
}

#[test]
fn clients_stay_with_their_endpoint_by_sets_of_them() {
    let tcp = port(80, Protocol::Tcp, &["10.244.0.2:8080", "10.244.1.2:8080"]);
    let affinity = Some(Duration::from_secs(10_800));
    check(
        &of(&ServicePlan { affinity, ..plan(vec![tcp]) }),
        &expect![[r#"
        Set clients-tcp-80-bb82030dbc2bcaba-10.244.0.2-8080 { type ipv4_addr; flags dynamic,timeout; size 65536 }
        Set clients-tcp-80-bb82030dbc2bcaba-10.244.1.2-8080 { type ipv4_addr; flags dynamic,timeout; size 65536 }
        chain pick-tcp-2 {
            dnat ip to ip daddr . tcp dport . numgen random mod 2 map @endpoints-tcp
            dnat ip to ip daddr . tcp dport . numgen random mod 1 map @endpoints-tcp
        }
        chain stay-tcp-80-bb82030dbc2bcaba {
            ip saddr @clients-tcp-80-bb82030dbc2bcaba-10.244.0.2-8080 update @clients-tcp-80-bb82030dbc2bcaba-10.244.0.2-8080 { ip saddr timeout 10800s } meta l4proto tcp dnat to 10.244.0.2:8080
            ip saddr @clients-tcp-80-bb82030dbc2bcaba-10.244.1.2-8080 update @clients-tcp-80-bb82030dbc2bcaba-10.244.1.2-8080 { ip saddr timeout 10800s } meta l4proto tcp dnat to 10.244.1.2:8080
            numgen random mod 2 0 update @clients-tcp-80-bb82030dbc2bcaba-10.244.0.2-8080 { ip saddr timeout 10800s } meta l4proto tcp dnat to 10.244.0.2:8080
            numgen random mod 1 0 update @clients-tcp-80-bb82030dbc2bcaba-10.244.1.2-8080 { ip saddr timeout 10800s } meta l4proto tcp dnat to 10.244.1.2:8080
            goto pick-tcp-2
        }
        endpoints-tcp { 10.96.0.7 . 80 . 0 : 10.244.0.2 . 8080 }
        endpoints-tcp { 10.96.0.7 . 80 . 1 : 10.244.1.2 . 8080 }
        hairpin { 10.244.0.2 . 10.244.0.2 :  }
        hairpin { 10.244.1.2 . 10.244.1.2 :  }
        services { 10.96.0.7 . tcp . 80 : goto stay-tcp-80-bb82030dbc2bcaba }
    "#]],
    );
}

#[test]
fn who_comes_from_outside_is_led_on_by_further_elements() {
    let mut tcp = port(80, Protocol::Tcp, &["10.244.0.2:8080"]);
    tcp.node_port = Some(30080);
    tcp.outside_endpoints = ["10.244.0.3:8080".parse().unwrap()].into();
    let ip = |ip: &str| ip.parse().unwrap();
    let outside = Outside {
        local_only: true,
        node_addresses: [ip("127.0.0.1"), ip("192.0.2.1"), ip("10.244.0.1")].into(),
        balancer_ips: [ip("203.0.113.3")].into(),
        held: [ip("203.0.113.3")].into(),
        source_ranges: Some(["198.51.100.0/24".parse().unwrap()].into()),
        ..Outside::default()
    };
    check(
        &of(&ServicePlan { outside, ..plan(vec![tcp]) }),
        &expect![[r#"
        chain admit-tcp-80-bb82030dbc2bcaba {
            ip saddr 198.51.100.0/24 goto seen-pick-tcp-1
        }
        chain pick-tcp-1 {
            dnat ip to ip daddr . tcp dport . numgen random mod 1 map @endpoints-tcp
        }
        chain seen-pick-tcp-1 {
            meta mark set meta mark and 0xffffbfff
            goto pick-tcp-1
        }
        endpoints-tcp { 10.96.0.7 . 80 . 0 : 10.244.0.2 . 8080 }
        endpoints-tcp { 192.0.2.1 . 30080 . 0 : 10.244.0.3 . 8080 }
        endpoints-tcp { 203.0.113.3 . 80 . 0 : 10.244.0.3 . 8080 }
        hairpin { 10.244.0.2 . 10.244.0.2 :  }
        hairpin { 10.244.0.3 . 10.244.0.3 :  }
        services { 10.96.0.7 . tcp . 80 : goto pick-tcp-1 }
        services { 192.0.2.1 . tcp . 30080 : goto seen-pick-tcp-1 }
        services { 203.0.113.3 . tcp . 80 : goto admit-tcp-80-bb82030dbc2bcaba }
    "#]],
    );
}

#[test]
fn servers_of_the_host_keep_their_ports() {
    let ip = |ip: &str| ip.parse().unwrap();
    let port = |number, node_port| PortPlan {
        node_port: Some(node_port),
        outside_endpoints: ["10.244.0.3:8080".parse().unwrap()].into(),
        ..port(number, Protocol::Tcp, &["10.244.0.2:8080"])
    };
    let outside = Outside {
        node_addresses: [ip("192.0.2.1"), ip("127.0.0.1")].into(),
        external_ips: [ip("192.0.2.1")].into(),
        held: [ip("192.0.2.1")].into(),
        ..Outside::default()
    };
    let plan = ServicePlan { outside, ..plan(vec![port(6443, 30443), port(80, 30080)]) };
    let sockets = ["0.0.0.0:6443", "192.0.2.1:30080", "10.96.0.7:80", "192.0.2.2:80"];
    let taken = sockets.map(|socket| (Protocol::Tcp, socket.parse().unwrap()));
    let spared = spared(Taken::from_iter(taken));
    let shown = shown(&super::of(Family::Ipv4, &plan, &spared));
    let led: Vec<_> = shown.lines().filter(|line| line.starts_with("services ")).collect();
    assert_eq!(
        led,
        [
            "services { 10.96.0.7 . tcp . 6443 : goto pick-tcp-1 }",
            "services { 10.96.0.7 . tcp . 80 : goto pick-tcp-1 }",
            "services { 192.0.2.1 . tcp . 30443 : goto pick-tcp-1 }",
            "services { 192.0.2.1 . tcp . 80 : goto pick-tcp-1 }",
        ]
    );
    let clashing = spared.clashing(&plan).into_iter().map(|(_, socket)| socket.to_string());
    assert_eq!(clashing.collect::<Vec<_>>(), ["192.0.2.1:6443", "192.0.2.1:30080"]);
}

#[test]
fn a_service_of_two_stacks_is_in_the_table_of_each() {
    let tcp = port(80, Protocol::Tcp, &["10.244.0.2:8080", "[fd00:10:244::2]:8080"]);
    let ips = ["10.96.0.7", "fd00:10:96::7"].map(|ip| ip.parse().unwrap()).into();
    let affinity = Some(Duration::from_secs(60));
    let plan = ServicePlan { ips, affinity, ..plan(vec![tcp]) };
    let v4 =
        ServicePlan { affinity, ..self::plan(vec![port(80, Protocol::Tcp, &["10.244.0.2:8080"])]) };
    assert_eq!(of(&plan), of(&v4));
    check(
        &super::of(Family::Ipv6, &plan, &spared(Taken::default())),
        &expect![[r#"
        Set clients-tcp-80-bb82030dbc2bcaba-fd00-10-244--2-8080 { type ipv6_addr; flags dynamic,timeout; size 65536 }
        chain pick-tcp-1 {
            dnat ip6 to ip6 daddr . tcp dport . numgen random mod 1 map @endpoints-tcp
        }
        chain stay-tcp-80-bb82030dbc2bcaba {
            ip6 saddr @clients-tcp-80-bb82030dbc2bcaba-fd00-10-244--2-8080 update @clients-tcp-80-bb82030dbc2bcaba-fd00-10-244--2-8080 { ip6 saddr timeout 60s } meta l4proto tcp dnat to [fd00:10:244::2]:8080
            numgen random mod 1 0 update @clients-tcp-80-bb82030dbc2bcaba-fd00-10-244--2-8080 { ip6 saddr timeout 60s } meta l4proto tcp dnat to [fd00:10:244::2]:8080
            goto pick-tcp-1
        }
        endpoints-tcp { fd00:10:96::7 . 80 . 0 : fd00:10:244::2 . 8080 }
        hairpin { fd00:10:244::2 . fd00:10:244::2 :  }
        services { fd00:10:96::7 . tcp . 80 : goto stay-tcp-80-bb82030dbc2bcaba }
    "#]],
    );
}

#[test]
fn the_frame_of_ipv6_speaks_of_it_alone() {
    let text = shown(&frame("fd00:10:244::/56".parse().unwrap()));
    assert!(text.contains("ip6 saddr != fd00:10:244::/56 meta mark set"), "{text}");
    assert!(text.contains("typeof ip6 daddr . tcp dport . numgen random mod 2 : ip6 daddr"));
    assert!(!text.contains("ip daddr") && !text.contains("ipv4_addr"), "{text}");
}

#[test]
fn node_ports_of_a_family_without_endpoints_lead_nowhere() {
    let mut tcp = port(80, Protocol::Tcp, &[]);
    tcp.node_port = Some(30080);
    tcp.outside_endpoints = ["[fd00:10:244::2]:8080".parse().unwrap()].into();
    let addresses = ["192.0.2.1", "2001:db8::1", "::1"].map(|ip| ip.parse().unwrap());
    let outside = Outside { node_addresses: addresses.into(), ..Outside::default() };
    let plan = ServicePlan { outside, ..plan(vec![tcp]) };
    assert_eq!(of(&plan), Contents::default());
    let v6 = shown(&super::of(Family::Ipv6, &plan, &spared(Taken::default())));
    assert!(v6.contains("services { 2001:db8::1 . tcp . 30080 : goto pick-tcp-1 }"), "{v6}");
    assert_eq!(v6.matches("services {").count(), 1, "{v6}");
}
