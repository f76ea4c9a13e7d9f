//! The examples of the specification, and what it leaves to those who answer.

use std::net::{Ipv4Addr, Ipv6Addr};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::dns::records::records;
use crate::world::Hosts;

fn put(zone: &mut Zone, namespace: &str, name: &str, spec: &Value, endpoints: &Value) {
    let service = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
    let is_v6 = |endpoint: &&Value| endpoint["addresses"][0].as_str().unwrap().contains(':');
    let (v6, v4): (Vec<&Value>, Vec<&Value>) =
        endpoints.as_array().unwrap().iter().partition(is_v6);
    let slices = [("IPv4", v4), ("IPv6", v6)].map(|(family, endpoints)| {
        let slice = json!({
            "metadata": {"namespace": namespace, "name": name},
            "addressType": family,
            "ports": [{"name": "https", "port": 443}],
            "endpoints": endpoints,
        });
        serde_json::from_value(slice).unwrap()
    });
    let records = records(&serde_json::from_value(service).unwrap(), &slices);
    zone.put(namespace, name, records);
}

fn zone() -> Zone {
    let ranges = ["10.3.0.0/24", "10.244.0.0/16", "fd00:10:3::/112", "fd00:10:244::/56"];
    let ranges = ranges.map(|range| range.parse::<ipnet::IpNet>().unwrap()).to_vec();
    let mut zone = Zone::new("cluster.local", Ipv4Addr::new(10, 3, 0, 10).into(), ranges).unwrap();
    zone.replace([]);
    zone.replace_hosts(Hosts::default());
    zone.replace_namespaces(["default".to_owned(), "empty".to_owned()].into());
    let https = json!([{"name": "https", "port": 443}, {"port": 80}]);
    put(
        &mut zone,
        "default",
        "kubernetes",
        &json!({"clusterIP": "10.3.0.1", "ports": https}),
        &json!([]),
    );
    let pets = json!([
        {"addresses": ["10.244.0.100"], "hostname": "my-pet"},
        {"addresses": ["10.244.0.101"], "hostname": "my-pet-2"},
        {"addresses": ["10.244.0.102"]},
    ]);
    put(&mut zone, "default", "headless", &json!({"clusterIP": "None", "ports": https}), &pets);
    let both = json!({"clusterIP": "10.3.0.7", "clusterIPs": ["10.3.0.7", "fd00:10:3::7"], "ports": https});
    put(&mut zone, "default", "both", &both, &json!([]));
    put(
        &mut zone,
        "default",
        "six",
        &json!({"clusterIP": "fd00:10:3::6", "ports": https}),
        &json!([]),
    );
    let twins = json!([
        {"addresses": ["10.244.0.110"], "hostname": "twin"},
        {"addresses": ["fd00:10:244::110"], "hostname": "twin"},
        {"addresses": ["fd00:10:244::111"]},
    ]);
    put(&mut zone, "default", "twins", &json!({"clusterIP": "None", "ports": https}), &twins);
    put(&mut zone, "default", "lonely", &json!({"clusterIP": "None"}), &json!([]));
    let external = |name: &str| json!({"type": "ExternalName", "externalName": name});
    put(&mut zone, "default", "foo", &external("www.example.com"), &json!([]));
    put(
        &mut zone,
        "default",
        "near",
        &external("kubernetes.default.svc.cluster.local"),
        &json!([]),
    );
    put(&mut zone, "default", "round", &external("round.default.svc.cluster.local."), &json!([]));
    zone
}

fn text(zone: &Zone, question: &str) -> String {
    let (name, kind) = question.split_once(' ').unwrap();
    let reply = reply(zone, &Name::from_ascii(name).unwrap(), kind.parse().unwrap());
    let section = |mark: &str, records: &[Record]| -> String {
        records.iter().map(|record| format!("{mark}{record}\n")).collect()
    };
    let soa: Vec<_> = reply.soa.into_iter().collect();
    let answers = section("", &reply.answers);
    let more = section("soa: ", &soa) + &section("also: ", &reply.additionals);
    match reply.outcome {
        Outcome::Onward(name) => format!("{answers}{more}ask for {name}\n"),
        outcome => format!("{answers}{more}{outcome:?}\n"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the calls read better with expect! in place")]
fn check(question: &str, expected: Expect) {
    expected.assert_eq(&text(&zone(), question));
}

#[test]
fn the_schema_has_a_version() {
    check(
        "dns-version.cluster.local. TXT",
        expect![[r#"
        dns-version.cluster.local. 5 IN TXT 1.0.1
        Found
    "#]],
    );
}

#[test]
fn a_service_has_an_address_ports_and_a_name_for_its_address() {
    check(
        "kubernetes.default.svc.cluster.local. A",
        expect![[r#"
        kubernetes.default.svc.cluster.local. 5 IN A 10.3.0.1
        Found
    "#]],
    );
    check(
        "_https._tcp.kubernetes.default.svc.cluster.local. SRV",
        expect![[r#"
        _https._tcp.kubernetes.default.svc.cluster.local. 5 IN SRV 0 100 443 kubernetes.default.svc.cluster.local.
        also: kubernetes.default.svc.cluster.local. 5 IN A 10.3.0.1
        Found
    "#]],
    );
    check(
        "1.0.3.10.in-addr.arpa. PTR",
        expect![[r#"
        1.0.3.10.in-addr.arpa. 5 IN PTR kubernetes.default.svc.cluster.local.
        Found
    "#]],
    );
}

#[test]
fn a_headless_service_has_those_of_its_endpoints() {
    check(
        "headless.default.svc.cluster.local. A",
        expect![[r#"
        headless.default.svc.cluster.local. 5 IN A 10.244.0.100
        headless.default.svc.cluster.local. 5 IN A 10.244.0.101
        headless.default.svc.cluster.local. 5 IN A 10.244.0.102
        Found
    "#]],
    );
    check(
        "my-pet.headless.default.svc.cluster.local. A",
        expect![[r#"
        my-pet.headless.default.svc.cluster.local. 5 IN A 10.244.0.100
        Found
    "#]],
    );
    check(
        "_https._tcp.headless.default.svc.cluster.local. SRV",
        expect![[r#"
        _https._tcp.headless.default.svc.cluster.local. 5 IN SRV 0 100 443 10-244-0-102.headless.default.svc.cluster.local.
        _https._tcp.headless.default.svc.cluster.local. 5 IN SRV 0 100 443 my-pet.headless.default.svc.cluster.local.
        _https._tcp.headless.default.svc.cluster.local. 5 IN SRV 0 100 443 my-pet-2.headless.default.svc.cluster.local.
        also: 10-244-0-102.headless.default.svc.cluster.local. 5 IN A 10.244.0.102
        also: my-pet.headless.default.svc.cluster.local. 5 IN A 10.244.0.100
        also: my-pet-2.headless.default.svc.cluster.local. 5 IN A 10.244.0.101
        Found
    "#]],
    );
    check(
        "100.0.244.10.in-addr.arpa. PTR",
        expect![[r#"
        100.0.244.10.in-addr.arpa. 5 IN PTR my-pet.headless.default.svc.cluster.local.
        Found
    "#]],
    );
    check(
        "lonely.default.svc.cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        NotFound
    "#]],
    );
}

const SOA: &str = "soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5\n";

/// The rest of the answer's lines, or that there is none of the type that was asked for.
#[track_caller]
fn check_lines(question: &str, lines: &[&str]) {
    let name = question.split(' ').next().unwrap();
    let lines: String = lines.iter().map(|line| line.replace('~', name) + "\n").collect();
    let lines = if lines.is_empty() { SOA.to_owned() } else { lines };
    assert_eq!(text(&zone(), question), format!("{lines}Found\n"));
}

#[test]
fn a_service_has_an_address_of_each_of_its_families_and_no_other() {
    check_lines("both.default.svc.cluster.local. A", &["~ 5 IN A 10.3.0.7"]);
    check_lines("both.default.svc.cluster.local. AAAA", &["~ 5 IN AAAA fd00:10:3::7"]);
    check_lines("six.default.svc.cluster.local. AAAA", &["~ 5 IN AAAA fd00:10:3::6"]);
    check_lines("six.default.svc.cluster.local. A", &[]);
    check_lines("kubernetes.default.svc.cluster.local. AAAA", &[]);
    check_lines("ns.dns.cluster.local. AAAA", &[]);
    check_lines(
        "_https._tcp.both.default.svc.cluster.local. SRV",
        &[
            "~ 5 IN SRV 0 100 443 both.default.svc.cluster.local.",
            "also: both.default.svc.cluster.local. 5 IN A 10.3.0.7",
            "also: both.default.svc.cluster.local. 5 IN AAAA fd00:10:3::7",
        ],
    );
}

#[test]
fn endpoints_have_a_name_for_both_families_or_one_of_their_address() {
    let twins = "twins.default.svc.cluster.local.";
    check_lines(&format!("{twins} A"), &["~ 5 IN A 10.244.0.110"]);
    check_lines(
        &format!("{twins} AAAA"),
        &["~ 5 IN AAAA fd00:10:244::110", "~ 5 IN AAAA fd00:10:244::111"],
    );
    check_lines(&format!("twin.{twins} AAAA"), &["~ 5 IN AAAA fd00:10:244::110"]);
    check_lines(&format!("fd00-10-244--111.{twins} AAAA"), &["~ 5 IN AAAA fd00:10:244::111"]);
    check_lines(&format!("fd00-10-244--111.{twins} A"), &[]);
    check_lines("headless.default.svc.cluster.local. AAAA", &[]);
    check_lines(
        &format!("_https._tcp.{twins} SRV"),
        &[
            &format!("~ 5 IN SRV 0 100 443 fd00-10-244--111.{twins}"),
            &format!("~ 5 IN SRV 0 100 443 twin.{twins}"),
            &format!("also: fd00-10-244--111.{twins} 5 IN AAAA fd00:10:244::111"),
            &format!("also: twin.{twins} 5 IN A 10.244.0.110"),
            &format!("also: twin.{twins} 5 IN AAAA fd00:10:244::110"),
        ],
    );
}

fn backwards(address: &str) -> String {
    let digits = format!("{:032x}", address.parse::<Ipv6Addr>().unwrap().to_bits());
    let labels: String = digits.chars().rev().map(|digit| format!("{digit}.")).collect();
    labels + "ip6.arpa."
}

#[test]
fn addresses_of_ipv6_have_names_too() {
    let service = backwards("fd00:10:3::7");
    check_lines(&format!("{service} PTR"), &["~ 5 IN PTR both.default.svc.cluster.local."]);
    let pod = backwards("fd00:10:244::110");
    check_lines(&format!("{pod} PTR"), &["~ 5 IN PTR twin.twins.default.svc.cluster.local."]);
    let nobody = backwards("fd00:10:3::9");
    let soa = SOA.replace("soa: cluster.local.", "soa: d.f.ip6.arpa.");
    assert_eq!(text(&zone(), &format!("{nobody} PTR")), format!("{soa}NotFound\n"));
    let elsewhere = backwards("2001:db8::1");
    assert_eq!(text(&zone(), &format!("{elsewhere} PTR")), format!("ask for {elsewhere}\n"));
}

#[test]
fn hosts_of_dns_objects_have_the_addresses_of_their_router() {
    let mut zone = zone();
    let mut ask = |router: &[&str], kind: &str| {
        let router = router.iter().map(|ip| ip.parse().unwrap()).collect();
        zone.replace_hosts(Hosts { names: ["web.test".to_owned()].into(), router });
        text(&zone, &format!("web.test. {kind}"))
    };
    let both = ["10.3.0.8", "fd00:10:3::8"];
    assert_eq!(ask(&both, "A"), "web.test. 5 IN A 10.3.0.8\nFound\n");
    assert_eq!(ask(&both, "AAAA"), "web.test. 5 IN AAAA fd00:10:3::8\nFound\n");
    let soa = SOA.replace("soa: cluster.local.", "soa: web.test.");
    assert_eq!(ask(&both[..1], "AAAA"), format!("{soa}Found\n"));
    assert_eq!(ask(&[], "AAAA"), "NotYet\n");
}

#[test]
fn an_external_name_is_an_alias_which_others_know_or_the_cluster_itself() {
    check(
        "foo.default.svc.cluster.local. A",
        expect![[r#"
        foo.default.svc.cluster.local. 5 IN CNAME www.example.com.
        ask for www.example.com.
    "#]],
    );
    check(
        "foo.default.svc.cluster.local. CNAME",
        expect![[r#"
        foo.default.svc.cluster.local. 5 IN CNAME www.example.com.
        Found
    "#]],
    );
    check(
        "near.default.svc.cluster.local. A",
        expect![[r#"
        near.default.svc.cluster.local. 5 IN CNAME kubernetes.default.svc.cluster.local.
        kubernetes.default.svc.cluster.local. 5 IN A 10.3.0.1
        Found
    "#]],
    );
    check(
        "round.default.svc.cluster.local. A",
        expect![[r#"
        NotYet
    "#]],
    );
}

#[test]
fn pods_are_called_by_their_addresses() {
    check(
        "10-244-0-7.default.pod.cluster.local. A",
        expect![[r#"
        10-244-0-7.default.pod.cluster.local. 5 IN A 10.244.0.7
        Found
    "#]],
    );
    check_lines("10-244-0-7.default.pod.cluster.local. AAAA", &[]);
    let v6 = "fd00-10-244--7.default.pod.cluster.local.";
    check_lines(&format!("{v6} AAAA"), &["~ 5 IN AAAA fd00:10:244::7"]);
    check_lines(&format!("{v6} A"), &[]);
    check(
        "10-244-0-7.nobody.pod.cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        NotFound
    "#]],
    );
    check(
        "web.default.pod.cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        NotFound
    "#]],
    );
}

#[test]
fn case_does_not_matter_and_comes_back_as_it_was() {
    check(
        "KuberNetes.Default.SVC.cluster.LOCAL. A",
        expect![[r#"
        KuberNetes.Default.SVC.cluster.LOCAL. 5 IN A 10.3.0.1
        Found
    "#]],
    );
}

#[test]
fn no_record_is_told_from_no_name() {
    check(
        "kubernetes.default.svc.cluster.local. AAAA",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        Found
    "#]],
    );
    check(
        "_tcp.kubernetes.default.svc.cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        Found
    "#]],
    );
    check(
        "empty.svc.cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        Found
    "#]],
    );
    check(
        "cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        Found
    "#]],
    );
    check(
        "nobody.default.svc.cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        NotFound
    "#]],
    );
    check(
        "_ftp._tcp.kubernetes.default.svc.cluster.local. SRV",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        NotFound
    "#]],
    );
    check(
        "www.example.com.default.svc.cluster.local. A",
        expect![[r#"
        soa: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        NotFound
    "#]],
    );
    check(
        "9.0.244.10.in-addr.arpa. PTR",
        expect![[r#"
        soa: 10.in-addr.arpa. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        NotFound
    "#]],
    );
}

#[test]
fn what_is_not_the_clusters_is_asked_of_others() {
    check(
        "www.example.com. A",
        expect![[r#"
        ask for www.example.com.
    "#]],
    );
    check(
        "1.2.0.192.in-addr.arpa. PTR",
        expect![[r#"
        ask for 1.2.0.192.in-addr.arpa.
    "#]],
    );
    check(
        "local. A",
        expect![[r#"
        ask for local.
    "#]],
    );
}

#[test]
fn the_domain_says_who_knows_it() {
    check(
        "cluster.local. NS",
        expect![[r#"
        cluster.local. 5 IN NS ns.dns.cluster.local.
        Found
    "#]],
    );
    check(
        "cluster.local. SOA",
        expect![[r#"
        cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        Found
    "#]],
    );
    check(
        "ns.dns.cluster.local. A",
        expect![[r#"
        ns.dns.cluster.local. 5 IN A 10.3.0.10
        Found
    "#]],
    );
}

#[test]
fn before_the_first_lists_nothing_is_said_to_be_missing() {
    let zone = Zone::new("cluster.local", Ipv4Addr::new(10, 3, 0, 10).into(), vec![]).unwrap();
    assert_eq!(text(&zone, "web.default.svc.cluster.local. A"), "NotYet\n");
    // It may be a host of a DNS object.
    assert_eq!(text(&zone, "www.example.com. A"), "NotYet\n");
    assert_eq!(text(&zone, "1.2.0.192.in-addr.arpa. PTR"), "ask for 1.2.0.192.in-addr.arpa.\n");
    let mut zone = zone;
    zone.replace_hosts(Hosts::default());
    assert_eq!(text(&zone, "www.example.com. A"), "ask for www.example.com.\n");
}

#[test]
fn before_the_first_lists_hosts_of_last_time_are_failures_and_other_names_are_asked_of_others() {
    let zone = Zone::new("cluster.local", Ipv4Addr::new(10, 3, 0, 10).into(), vec![]).unwrap();
    let mut zone = zone.with_earlier_hosts(["shop.test".to_owned()].into());
    assert_eq!(text(&zone, "shop.test. A"), "NotYet\n");
    assert_eq!(text(&zone, "Shop.Test. AAAA"), "NotYet\n");
    for beside in ["www.shop.test.", "test.", "www.example.com."] {
        assert_eq!(text(&zone, &format!("{beside} A")), format!("ask for {beside}\n"));
    }
    assert_eq!(text(&zone, "web.default.svc.cluster.local. A"), "NotYet\n");
    // It has gone meanwhile.
    zone.replace_hosts(Hosts::default());
    assert_eq!(text(&zone, "shop.test. A"), "ask for shop.test.\n");
}
