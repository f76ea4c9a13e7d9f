use expect_test::expect;

use super::*;

fn port(host_ip: Option<[u8; 4]>) -> HostPort {
    HostPort {
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

const SAVED: &str = "# Generated
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:MINIK8S-FWD-c - [0:0]
-A FORWARD -j MINIK8S-FWD-c
-A FORWARD -j DOCKER
-A MINIK8S-FWD-c -s 10.244.0.0/16 -j ACCEPT
-A MINIK8S-FWD-c -d 10.244.0.0/16 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:MINIK8S-HP-n - [0:0]
:MINIK8S-POST-c - [0:0]
-A PREROUTING ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
-A OUTPUT ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
-A POSTROUTING -j MINIK8S-POST-c
-A MINIK8S-HP-n -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
-A MINIK8S-HP-n -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
-A MINIK8S-POST-c -s 127.0.0.0/8 -d 10.244.0.0/16 -j MASQUERADE
-A MINIK8S-POST-c -d 10.244.0.0/16 -j RETURN
-A MINIK8S-POST-c -d 10.96.0.0/16 -j RETURN
-A MINIK8S-POST-c -d 224.0.0.0/4 -j RETURN
-A MINIK8S-POST-c -s 10.244.0.0/16 -j MASQUERADE
COMMIT
";

#[test]
fn a_host_without_rules_gets_all_of_them() {
    expect![[r"
        *filter
        :MINIK8S-FWD-c - [0:0]
        -A MINIK8S-FWD-c -s 10.244.0.0/16 -j ACCEPT
        -A MINIK8S-FWD-c -d 10.244.0.0/16 -j ACCEPT
        -I FORWARD 1 -j MINIK8S-FWD-c
        COMMIT
        *nat
        :MINIK8S-POST-c - [0:0]
        :MINIK8S-HP-n - [0:0]
        -A MINIK8S-POST-c -s 127.0.0.0/8 -d 10.244.0.0/16 -j MASQUERADE
        -A MINIK8S-POST-c -d 10.244.0.0/16 -j RETURN
        -A MINIK8S-POST-c -d 10.96.0.0/16 -j RETURN
        -A MINIK8S-POST-c -d 224.0.0.0/4 -j RETURN
        -A MINIK8S-POST-c -s 10.244.0.0/16 -j MASQUERADE
        -A MINIK8S-HP-n -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
        -A MINIK8S-HP-n -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.2:80
        -I POSTROUTING 1 -j MINIK8S-POST-c
        -I PREROUTING 1 ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
        -I OUTPUT 1 ! -d 10.96.0.0/16 -m addrtype --dst-type LOCAL -j MINIK8S-HP-n
        COMMIT
    "]]
    .assert_eq(&repair(&wanted(), "").unwrap());
}

#[test]
fn what_is_there_is_left_alone() {
    assert_eq!(repair(&wanted(), SAVED), None);
}

/// The changes that are made to what was saved.
fn changes(saved: &str) -> Vec<String> {
    let text = repair(&wanted(), saved).unwrap_or_default();
    text.lines().filter(|l| l.starts_with("-I") || l.starts_with("-D")).map(str::to_owned).collect()
}

#[test]
fn a_chain_that_lost_a_rule_or_has_one_too_many_is_written_anew() {
    let lost = SAVED.replace("-A MINIK8S-FWD-c -d 10.244.0.0/16 -j ACCEPT\n", "");
    let text = repair(&wanted(), &lost).unwrap();
    assert!(text.starts_with("*filter") && !text.contains("*nat"), "{text}");
    let extra = SAVED.replace("*nat\n", "*nat\n-A MINIK8S-POST-c -j RETURN\n");
    let text = repair(&wanted(), &extra).unwrap();
    assert!(text.starts_with("*nat") && changes(&extra).is_empty(), "{text}");
}

#[test]
fn a_jump_is_there_once() {
    let jump = "-A FORWARD -j MINIK8S-FWD-c\n";
    let insert = "-I FORWARD 1 -j MINIK8S-FWD-c";
    assert_eq!(changes(&SAVED.replace(jump, "")), [insert]);
    let delete = "-D FORWARD -j MINIK8S-FWD-c";
    assert_eq!(changes(&SAVED.replace(jump, &jump.repeat(2))), [delete, delete, insert]);
}

#[test]
fn a_jump_for_another_network_is_replaced() {
    let old = SAVED.replace("OUTPUT ! -d 10.96.0.0/16", "OUTPUT ! -d 10.97.0.0/16");
    let rule = |net| format!("! -d {net} -m addrtype --dst-type LOCAL -j MINIK8S-HP-n");
    let expected = [
        format!("-D OUTPUT {}", rule("10.97.0.0/16")),
        format!("-I OUTPUT 1 {}", rule("10.96.0.0/16")),
    ];
    assert_eq!(changes(&old), expected);
}

#[test]
fn the_host_ports_of_an_earlier_kubelet_are_known() {
    let found = saved_ports(&Chains::new("c", "n"), SAVED);
    assert_eq!(found, [port(None), port(Some([127, 0, 0, 1]))]);
    assert_eq!(saved_ports(&Chains::new("c", "other"), SAVED), []);
}
