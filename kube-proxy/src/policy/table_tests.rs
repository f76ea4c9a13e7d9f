//! The text, read. What the kernel makes of it is in `tests/network_policy.rs`.

use expect_test::expect;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ports(all: &[(Protocol, u16, u16)]) -> Ports {
    let range = |(protocol, first, last): &(Protocol, u16, u16)| PortRange {
        protocol: *protocol,
        first: *first,
        last: *last,
    };
    Ports::of(all.iter().map(range).collect())
}

fn example() -> Rules {
    let set = "default/db/ingress/0".to_owned();
    let blocks = vec![
        Range { first: address("192.0.2.0"), last: address("192.0.2.127") },
        Range { first: address("198.51.100.7"), last: address("198.51.100.7") },
    ];
    let allow = Allow {
        peers: Peers::Some { set: Some(set.clone()), blocks },
        ports: ports(&[
            (Protocol::Tcp, 80, 80),
            (Protocol::Tcp, 6000, 6010),
            (Protocol::Udp, 0, u16::MAX),
        ]),
    };
    let pod = address("10.244.1.5");
    Rules {
        sets: [(set, [address("10.244.1.6"), address("10.244.2.6")].into())].into(),
        ingress: [(pod, vec![allow])].into(),
        egress: [(
            pod,
            vec![Allow { peers: Peers::All, ports: ports(&[(Protocol::Udp, 53, 53)]) }],
        )]
        .into(),
        refused: [
            (At::Address(address("10.96.0.7")), 80),
            (At::NodesHere, 30007),
            (At::NodesElsewhere, 30008),
        ]
        .map(|(at, port)| Refused { client: pod, at, protocol: Protocol::Tcp, port })
        .into(),
        known: [pod].into(),
        networks: ["10.244.1.0/24".parse().unwrap()].into(),
        links: ["cni0", "pods"].map(str::to_owned).into(),
        isolates_egress: true,
        guarded: [
            (At::Address(address("10.96.0.7")), Protocol::Tcp, 80),
            (At::NodesHere, Protocol::Udp, 30007),
            (At::NodesElsewhere, Protocol::Tcp, 30008),
        ]
        .into(),
        nodes_here: [address("192.0.2.1")].into(),
        nodes_elsewhere: [address("192.0.2.2")].into(),
        doors: [address("192.0.2.1")].into(),
        door_ports: [(Protocol::Tcp, 30007), (Protocol::Udp, 30053)].into(),
    }
}

/// Chains, and sets with their elements.
fn shown(contents: &Contents) -> String {
    let mut text = String::new();
    for (name, Chain { hook, rules }) in &contents.chains {
        let hook = hook.iter().map(String::as_str);
        let rules = rules.iter().map(String::as_str);
        let lines: Vec<_> = hook.chain(rules).collect();
        text += &format!("{name}:\n  {}\n", lines.join("\n  "));
    }
    for (name, Set { definition, .. }) in &contents.sets {
        let own = contents.elements.iter().filter(|((set, _), _)| set == name);
        let own = own.map(|((_, key), value)| format!("\n  {key} {value}").trim_end().to_owned());
        text += &format!("{name} ({definition}):{}\n", own.collect::<String>());
    }
    text
}

#[test]
fn the_whole_table() {
    expect![[r#"
        egress-af6bd60eacf5fc79:
          udp dport { 53 } return
          drop
        forward:
          type filter hook forward priority filter - 5; policy accept
          meta l4proto != udp ct state established,related accept
          ct state established ct direction reply accept
          ct state related accept
          ip saddr @networks ip daddr { 224.0.0.0/4, 255.255.255.255 } drop
          ip saddr . ip daddr @itself accept
          ip daddr @networks ip daddr != @known drop
          ip saddr @networks ip saddr != @known drop
          ip saddr . ip daddr . meta l4proto . th dport @refused drop
          ip saddr @networks ip saddr != @known ip daddr . meta l4proto . th dport @guarded drop
          ip daddr @nodes-elsewhere ip saddr . meta l4proto . th dport @refused-elsewhere drop
          ip saddr @networks ip saddr != @known ip daddr @nodes-elsewhere meta l4proto . th dport @guarded-elsewhere drop
          ip saddr vmap @egress
          ip daddr vmap @ingress
        ingress-94754322c3e566b3:
          ip saddr @p/default/db/ingress/0 tcp dport { 80, 6000-6010 } return
          ip saddr @p/default/db/ingress/0 meta l4proto udp return
          ip saddr { 192.0.2.0-192.0.2.127, 198.51.100.7 } tcp dport { 80, 6000-6010 } return
          ip saddr { 192.0.2.0-192.0.2.127, 198.51.100.7 } meta l4proto udp return
          drop
        input:
          type filter hook input priority filter - 5; policy accept
          meta l4proto != udp ct state established,related accept
          ct state established ct direction reply accept
          ct state related accept
          ip saddr . ip daddr . meta l4proto . th dport @refused drop
          ip saddr @networks ip saddr != @known ip daddr . meta l4proto . th dport @guarded drop
          ip daddr @nodes-here ip saddr . meta l4proto . th dport @refused-here drop
          ip saddr @networks ip saddr != @known ip daddr @nodes-here meta l4proto . th dport @guarded-here drop
        doors (type ipv4_addr):
          192.0.2.1
        doors-tcp (type inet_service):
          30007
        doors-udp (type inet_service):
          30053
        egress (type ipv4_addr : verdict):
          10.244.1.5 jump egress-af6bd60eacf5fc79
        guarded (type ipv4_addr . inet_proto . inet_service):
          10.96.0.7 . tcp . 80
        guarded-elsewhere (type inet_proto . inet_service):
          tcp . 30008
        guarded-here (type inet_proto . inet_service):
          udp . 30007
        ingress (type ipv4_addr : verdict):
          10.244.1.5 jump ingress-94754322c3e566b3
        itself (type ipv4_addr . ipv4_addr):
          10.244.1.5 . 10.244.1.5
        known (type ipv4_addr):
          10.244.1.5
        networks (type ipv4_addr; flags interval):
          10.244.1.0/24
        nodes-elsewhere (type ipv4_addr):
          192.0.2.2
        nodes-here (type ipv4_addr):
          192.0.2.1
        p/default/db/ingress/0 (type ipv4_addr):
          10.244.1.6
          10.244.2.6
        refused (type ipv4_addr . ipv4_addr . inet_proto . inet_service):
          10.244.1.5 . 10.96.0.7 . tcp . 80
        refused-elsewhere (type ipv4_addr . inet_proto . inet_service):
          10.244.1.5 . tcp . 30008
        refused-here (type ipv4_addr . inet_proto . inet_service):
          10.244.1.5 . tcp . 30007
    "#]]
    .assert_eq(&shown(&contents(&example(), Family::Ipv4)));
}

#[test]
fn a_pod_for_which_the_same_holds_shares_the_chain() {
    let mut rules = example();
    let allows = rules.ingress.values().next().unwrap().clone();
    rules.ingress.insert(address("10.244.1.8"), allows);
    let (before, after) = (contents(&example(), Family::Ipv4), contents(&rules, Family::Ipv4));
    assert_eq!(before.chains, after.chains);
    let map = |of: &Contents, pod: &str| {
        of.elements.get(&("ingress".to_owned(), pod.to_owned())).cloned().unwrap()
    };
    assert_eq!(map(&after, "10.244.1.8"), map(&before, "10.244.1.5"));
}

#[test]
fn a_peer_that_comes_changes_no_chain() {
    let mut rules = example();
    rules.sets.values_mut().next().unwrap().insert(address("10.244.1.7"));
    assert_eq!(contents(&rules, Family::Ipv4).chains, contents(&example(), Family::Ipv4).chains);
}

#[test]
fn unless_somebody_is_isolated_for_egress_nobody_is_waited_for() {
    let mut rules = example();
    rules.isolates_egress = false;
    let of = |rules: &Rules| contents(rules, Family::Ipv4).chains["forward"].rules.len();
    assert_eq!(of(&rules) + 1, of(&example()));
}

#[test]
fn servers_of_other_hosts_ask_pods_themselves_or_come_by_node_ports_that_rules_lead_on() {
    let mut rules = example();
    let peers = Peers::Some { set: Some(HOSTS.to_owned()), blocks: Vec::new() };
    let served = ports(&[(Protocol::Tcp, 80, 80), (Protocol::Udp, 53, 53)]);
    let allow = Allow { peers, ports: served };
    rules.ingress = [(address("10.244.1.5"), vec![allow])].into();
    let Contents { chains, .. } = contents(&rules, Family::Ipv4);
    let (_, chain) = chains.iter().find(|(name, _)| name.starts_with("ingress-")).unwrap();
    assert_eq!(
        chain.rules,
        [
            "ct status & dnat == 0 ip saddr @p/hosts tcp dport { 80 } return",
            "ct status & dnat == 0 ip saddr @p/hosts udp dport { 53 } return",
            "ct original ip daddr @doors meta l4proto tcp ct original proto-dst @doors-tcp \
             ip saddr @p/hosts tcp dport { 80 } return",
            "ct original ip daddr @doors meta l4proto udp ct original proto-dst @doors-udp \
             ip saddr @p/hosts udp dport { 53 } return",
            "drop",
        ]
    );
}

#[test]
fn long_names_are_short_and_differ() {
    let long = |end: &str| set_name(&format!("{}{end}", "n".repeat(300)));
    assert!(long("a").len() < 40 && long("a") != long("b"));
}

#[test]
fn what_is_of_ipv6_is_in_a_table_of_its_own() {
    let mut rules = example();
    let pod = address("fd00:10:244:1::5");
    rules.known.insert(pod);
    rules.networks.insert("fd00:10:244:1::/64".parse().unwrap());
    let blocks = vec![Range::all(Family::Ipv4)];
    let allow = Allow { peers: Peers::Some { set: None, blocks }, ports: Ports::All };
    rules.ingress.insert(pod, vec![allow]);
    assert_eq!(contents(&rules, Family::Ipv4), contents(&example(), Family::Ipv4));
    let Contents { chains, elements, .. } = contents(&rules, Family::Ipv6);
    let of = |set: &str| {
        let own = elements.iter().filter(|((of, _), _)| of == set);
        own.map(|((_, key), value)| (key.as_str(), value.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(of("known"), [("fd00:10:244:1::5", "")]);
    assert_eq!(of("networks"), [("fd00:10:244:1::/64", "")]);
    assert_eq!(of("itself"), [("fd00:10:244:1::5 . fd00:10:244:1::5", "")]);
    let verdict = of("ingress")[0].1.strip_prefix("jump ").unwrap();
    // All of IPv4 is nobody of IPv6.
    assert_eq!(chains[verdict].rules, ["drop"]);
    let forward = chains["forward"].rules.join("\n");
    assert!(forward.contains("ip6 daddr vmap @ingress") && !forward.contains("ip daddr"));
    // Of links that lead to pods, not of others of the host.
    let of_links = "iifname { \"cni0\", \"pods\" } ip6 saddr fe80::/10 drop";
    assert!(forward.contains(of_links), "{forward}");
    assert!(forward.contains("ip6 saddr @networks ip6 daddr ff00::/8 drop"), "{forward}");
    rules.links.clear();
    let without = contents(&rules, Family::Ipv6).chains["forward"].rules.join("\n");
    assert!(!without.contains("fe80"), "{without}");
}
