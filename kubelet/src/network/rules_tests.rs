use expect_test::expect;

use super::*;

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
    let (pods, services) = ("10.244.0.0/16".parse().unwrap(), "10.96.0.0/16".parse().unwrap());
    tables(&chains, pods, services, [port(None), port(Some([127, 0, 0, 1]))].iter())
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
        filter: FORWARD  -j MINIK8S-FWD-c
        nat: MINIK8S-POST-c -s 127.0.0.0/8 -d 10.244.0.0/16 -j MASQUERADE
        nat: MINIK8S-POST-c -d 10.244.0.0/16 -j RETURN
        nat: MINIK8S-POST-c -d 10.96.0.0/16 -j RETURN
        nat: MINIK8S-POST-c -d 224.0.0.0/4 -j RETURN
        nat: MINIK8S-POST-c -s 10.244.0.0/16 -j MASQUERADE
        nat: MINIK8S-HP-n -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
        nat: MINIK8S-HP-n -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
        nat: POSTROUTING  -j MINIK8S-POST-c
        nat: PREROUTING ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
        nat: OUTPUT ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
    "]]
    .assert_eq(&wanted().iter().map(listed).collect::<String>());
}

#[test]
fn the_host_ports_of_an_earlier_kubelet_are_known() {
    let [_, nat] = wanted();
    let rules = nat.chains.iter().flat_map(|chain| &chain.rules);
    let found: Vec<_> = rules.filter_map(|rule| saved_port(rule)).collect();
    assert_eq!(found, [port(None), port(Some([127, 0, 0, 1]))]);
}
