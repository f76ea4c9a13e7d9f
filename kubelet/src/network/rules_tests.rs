use expect_test::expect;

use super::*;

fn port_v6(host_ip: Option<&str>) -> PortMapping {
    let host_ip = host_ip.map(|ip| ip.parse().unwrap());
    PortMapping { host_ip, pod_ip: "fd00::2".parse().unwrap(), ..port(None) }
}

fn port(host_ip: Option<[u8; 4]>) -> PortMapping {
    PortMapping {
        protocol: "tcp".into(),
        host_ip: host_ip.map(Into::into),
        host_port: 8080,
        pod_ip: [10, 244, 1, 2].into(),
        pod_port: 80,
    }
}

fn wanted() -> [Table; 2] {
    let chains = Chains::new("c", "n");
    let [node, pods, services] =
        ["10.244.1.0/24", "10.244.0.0/16", "10.96.0.0/16"].map(|network| network.parse().unwrap());
    let networks = Networks { node, pods, services };
    tables(&chains, networks, [port(None), port(Some([127, 0, 0, 1]))].iter())
}

/// As iptables would list it.
fn listed(table: &Table) -> String {
    let rules = table.chains.iter().flat_map(|Chain { name, rules }| {
        rules.iter().map(move |rule| format!("{}: {name} {rule}\n", table.name))
    });
    let jumps = table.jumps.iter();
    let jumps = jumps
        .map(|Jump { from, matches, to }| format!("{}: {from} {matches} -j {to}\n", table.name));
    rules.chain(jumps).collect()
}

#[test]
fn pods_are_let_through_masqueraded_outside_the_cluster_and_reached_through_host_ports() {
    expect![[r"
        filter: MINIK8S-FWD-c -s 10.244.0.0/16 -j ACCEPT
        filter: MINIK8S-FWD-c -d 10.244.0.0/16 -j ACCEPT
        filter: MINIK8S-FWD-c -m mark --mark 0x4000/0x4000 -j ACCEPT
        filter: MINIK8S-FWD-c -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        filter: FORWARD  -j MINIK8S-FWD-c
        nat: MINIK8S-POST-c -s 127.0.0.0/8 -d 10.244.0.0/16 -j MASQUERADE
        nat: MINIK8S-POST-c -s 10.244.0.0/16 -d 10.244.0.0/16 -m mark --mark 0x2000/0x2000 -j MASQUERADE
        nat: MINIK8S-POST-c -d 10.244.0.0/16 -j RETURN
        nat: MINIK8S-POST-c -d 10.96.0.0/16 -j RETURN
        nat: MINIK8S-POST-c -d 224.0.0.0/4 -j RETURN
        nat: MINIK8S-POST-c -s 10.244.0.0/16 -j MASQUERADE
        nat: MINIK8S-HP-n -s 10.244.1.0/24 -j MARK --set-xmark 0x2000/0x2000
        nat: MINIK8S-HP-n -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
        nat: MINIK8S-HP-n -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
        nat: MINIK8S-HP-n -j MARK --set-xmark 0x0/0x2000
        nat: POSTROUTING  -j MINIK8S-POST-c
        nat: PREROUTING ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
        nat: OUTPUT ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
    "]]
    .assert_eq(&wanted().iter().map(listed).collect::<String>());
}

#[test]
fn pods_of_ipv6_send_from_addresses_of_their_node_alone() {
    let [node, pods, services] = ["fd00:10:244:1::/64", "fd00:10:244::/56", "fd00:10:96::/112"]
        .map(|network| network.parse().unwrap());
    let networks = Networks { node, pods, services };
    let ports = [port(None), port_v6(None), port_v6(Some("2001:db8::1"))];
    let tables = tables_v6(&Chains::new("c", "n"), "mk8s1", networks, ports.iter());
    // Of the jumps that begin a chain the last is the first there.
    expect![[r"
        filter: MINIK8S-FWD-c -s fd00:10:244::/56 -j ACCEPT
        filter: MINIK8S-FWD-c -d fd00:10:244::/56 -j ACCEPT
        filter: MINIK8S-FWD-c -m mark --mark 0x4000/0x4000 -j ACCEPT
        filter: MINIK8S-FWD-c -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        filter: MINIK8S-SRC-n -s ::/128 -p ipv6-icmp -j RETURN
        filter: MINIK8S-SRC-n ! -s fd00:10:244:1::/64 -j DROP
        filter: FORWARD  -j MINIK8S-FWD-c
        filter: FORWARD -i mk8s1 -j MINIK8S-SRC-n
        filter: INPUT -i mk8s1 -j MINIK8S-SRC-n
    "]]
    .assert_eq(&listed(&tables[0]));
    let [masquerading, ports] = &tables[1].chains[..] else { panic!("{:?}", tables[1]) };
    let from_own =
        "-s fd00:10:244::/56 -d fd00:10:244::/56 -m mark --mark 0x2000/0x2000 -j MASQUERADE";
    assert_eq!(masquerading.rules[0], from_own);
    let expected = [
        "-d ::1/128 -j RETURN",
        "-s fd00:10:244:1::/64 -j MARK --set-xmark 0x2000/0x2000",
        "-p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::2]:80",
        "-d 2001:db8::1/128 -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::2]:80",
        "-j MARK --set-xmark 0x0/0x2000",
    ];
    assert_eq!(ports.rules, expected);
    let saved: Vec<_> = ports.rules.iter().filter_map(|rule| saved_port(rule)).collect();
    assert_eq!(saved, [port_v6(None), port_v6(Some("2001:db8::1"))]);
}

#[test]
fn the_host_ports_of_an_earlier_kubelet_are_known() {
    let [_, nat] = wanted();
    let rules = nat.chains.iter().flat_map(|chain| &chain.rules);
    let found: Vec<_> = rules.filter_map(|rule| saved_port(rule)).collect();
    assert_eq!(found, [port(None), port(Some([127, 0, 0, 1]))]);
}

#[test]
fn ports_of_pods_that_come_or_go_may_be_there() {
    let (running, other) = (port(None), PortMapping { host_port: 8081, ..port(None) });
    let anywhere = |ip: &str| ip.parse::<IpAddr>().unwrap();
    let unknown = ["0.0.0.0", "::"].map(|ip| PortMapping {
        host_port: 0,
        pod_ip: anywhere(ip),
        ..port(None)
    });
    let check = |saved: &[&PortMapping], unsettled: &[PortMapping], expected: &[&PortMapping]| {
        let saved = saved.iter().copied().cloned().collect();
        let found = with_unsettled(vec![running.clone()], saved, unsettled);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    };
    check(&[&other, &running], &unknown, &[&other, &running]);
    check(&[&running], &unknown, &[&running]);
    check(&[&other, &running], &[], &[&running]);
    check(&[&other], &unknown, &[&running]);
    check(&[&running, &port_v6(None)], &unknown, &[&running, &port_v6(None)]);
    check(&[&running, &port_v6(None)], &[], &[&running]);
}
