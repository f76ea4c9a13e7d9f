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
        ip: "10.96.0.7".parse().unwrap(),
        affinity: None,
        balancing: Balancing::default(),
        outside: Outside::default(),
        ports,
    }
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
            ip saddr . ip daddr @hairpin masquerade
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
