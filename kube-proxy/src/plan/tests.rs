#![allow(clippy::needless_pass_by_value, reason = "the calls read better with json! in place")]

use api_types::api::discovery::v1::{Endpoint, EndpointConditions};
use serde_json::{Value, json};

use super::{
    endpoints::{is_last_resort, is_ready},
    *,
};

fn place() -> Place {
    Place {
        nodes: ["here".into(), "here-too".into()].into(),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        cluster_dns: Some(ip("10.96.0.53")),
        zone: Some("west".into()),
        addresses: [ip("127.0.0.1"), ip("192.0.2.7"), ip("203.0.113.9")].into(),
        node_addresses: [ip("192.0.2.7")].into(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service(spec: Value) -> Service {
    let object = json!({
        "metadata": {"namespace": "default", "name": "web", "uid": "u1"},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// A slice of the Service `web` for `port`, with these endpoints.
fn slice(name: &str, port: Value, endpoints: Value) -> EndpointSlice {
    let object = json!({
        "metadata": {
            "namespace": "default",
            "name": name,
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": endpoints,
    });
    serde_json::from_value(object).unwrap()
}

fn web() -> Service {
    service(json!({"clusterIP": "10.96.0.10", "ports": [{"port": 80}]}))
}

/// Checks where port 80 of `service` leads.
fn check(service: &Service, slices: &[EndpointSlice], expected: &[&str]) {
    let plans = plan(&place(), [service], slices);
    let endpoints = plans[0].ports[0].endpoints.iter().map(ToString::to_string);
    assert_eq!(endpoints.collect::<Vec<_>>(), expected);
}

#[test]
fn who_leads_on_goes_to_the_virtual_ip_but_to_endpoints_where_clients_stay_with_one() {
    let endpoints = json!([{"addresses": ["10.244.0.2"]}, {"addresses": ["10.244.0.3"]}]);
    let slices = [slice("a", json!({"port": 8080}), endpoints)];
    let led = |affinity: &str| {
        let spec = json!({"clusterIP": "10.96.0.10", "sessionAffinity": affinity, "ports": [{"port": 80}]});
        let all = backends(&place(), &service(spec), &slices, &PortRef::Number(80)).unwrap();
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(led("None"), ["10.96.0.10:80"]);
    assert_eq!(led("ClientIP"), ["10.244.0.2:8080", "10.244.0.3:8080"]);
}

#[test]
fn the_slices_of_a_service_are_merged_without_duplicates() {
    let slices = [
        slice("a", json!({"port": 8080}), json!([{"addresses": ["10.244.0.2"]}])),
        slice(
            "b",
            json!({"port": 8081}),
            json!([{"addresses": ["10.244.0.2"]}, {"addresses": ["10.244.0.3"]}]),
        ),
        slice("c", json!({"port": 8081}), json!([{"addresses": ["10.244.0.3"]}])),
    ];
    check(&web(), &slices, &["10.244.0.2:8080", "10.244.0.2:8081", "10.244.0.3:8081"]);
}

#[test]
fn an_endpoint_that_is_not_ready_gets_no_traffic() {
    let endpoints = json!([
        {"addresses": ["10.244.0.2"], "conditions": {"ready": false}},
        {"addresses": ["10.244.0.3"], "conditions": {"ready": true}},
        {"addresses": ["10.244.0.4"], "conditions": {}},
    ]);
    let slices = [slice("a", json!({"port": 80}), endpoints)];
    check(&web(), &slices, &["10.244.0.3:80", "10.244.0.4:80"]);
}

#[test]
fn on_some_host_a_port_leads_to_what_policies_and_hints_keep_from_this_one() {
    let service = service(json!({
        "clusterIP": "10.96.0.10",
        "ports": [{"port": 80}],
        "internalTrafficPolicy": "Local",
    }));
    let hints = |zone: &str| json!({"forZones": [{"name": zone}]});
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    let endpoints = json!([
        {"addresses": ["10.244.0.2"], "nodeName": "here", "hints": hints("west")},
        {"addresses": ["10.244.0.3"], "nodeName": "there", "hints": hints("east")},
        {"addresses": ["10.244.0.4"], "nodeName": "there", "conditions": leaving},
        {"addresses": ["10.244.0.5"], "nodeName": "there", "conditions": {"ready": false}},
    ]);
    let slices = [slice("a", json!({"port": 8080}), endpoints)];
    check(&service, &slices, &["10.244.0.2:8080"]);
    let found = &anywhere(&place(), &service, &slices)[&(80, Protocol::Tcp)];
    let shown = |all: &BTreeSet<SocketAddr>| {
        let last = |it: &SocketAddr| it.ip().to_string().split('.').next_back().unwrap().to_owned();
        all.iter().map(last).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((&*shown(&found.usable), &*shown(&found.all)), ("2 3 4", "2 3 4 5"));
}

#[test]
fn a_terminating_endpoint_serves_only_while_no_other_does() {
    let leaving = json!({
        "addresses": ["10.244.0.2"],
        "conditions": {"ready": false, "serving": true, "terminating": true},
    });
    let ready = json!({"addresses": ["10.244.0.3"], "conditions": {"ready": true}});
    let alone = slice("a", json!({"port": 80}), json!([leaving]));
    let both = slice("a", json!({"port": 80}), json!([leaving, ready]));
    check(&web(), &[alone], &["10.244.0.2:80"]);
    check(&web(), &[both], &["10.244.0.3:80"]);
}

#[test]
fn slices_of_other_services_namespaces_and_address_types_do_not_count() {
    let endpoints = || json!([{"addresses": ["10.244.0.2"]}]);
    let mut other_name = slice("a", json!({"port": 80}), endpoints());
    other_name.metadata.labels = Some([(SERVICE_NAME_LABEL.to_owned(), "web2".to_owned())].into());
    let mut other_namespace = slice("b", json!({"port": 80}), endpoints());
    other_namespace.metadata.namespace = Some("other".into());
    let mut other_type = slice("c", json!({"port": 80}), endpoints());
    other_type.address_type = "FQDN".into();
    check(&web(), &[other_name, other_namespace, other_type], &[]);
}

#[test]
fn a_port_takes_its_target_from_the_entry_of_its_name_and_protocol() {
    let service = service(json!({"clusterIP": "10.96.0.10", "ports": [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]}));
    let mut slice = slice("a", json!({}), json!([{"addresses": ["10.244.0.2"]}]));
    slice.ports = serde_json::from_value(json!([
        {"name": "dns-tcp", "port": 5300, "protocol": "TCP"},
        {"name": "dns", "port": 5353, "protocol": "UDP"},
    ]))
    .unwrap();
    let plans = plan(&place(), [&service], [&slice]);
    let ports: Vec<_> = plans[0]
        .ports
        .iter()
        .map(|port| format!("{}/{} {:?}", port.port, port.protocol, port.endpoints))
        .collect();
    assert_eq!(ports, ["53/tcp {10.244.0.2:5300}", "53/udp {10.244.0.2:5353}"]);
}

#[test]
fn a_number_that_is_no_ports_leads_nowhere() {
    let endpoints = || json!([{"addresses": ["10.244.0.2"]}]);
    for number in [0, -1, 65_536] {
        let impossible = slice("a", json!({"port": number}), endpoints());
        check(&web(), &[impossible], &[]);
    }
    check(&web(), &[slice("a", json!({"port": 65_535}), endpoints())], &["10.244.0.2:65535"]);
}

#[test]
fn a_service_without_a_virtual_ip_in_the_range_is_not_proxied() {
    for spec in [
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
        json!({"clusterIP": "", "ports": [{"port": 80}]}),
        json!({"ports": [{"port": 80}]}),
        json!({"clusterIP": "192.0.2.7", "ports": [{"port": 80}]}),
        json!({"clusterIP": "fd00::1", "ports": [{"port": 80}]}),
        json!({"type": "ExternalName", "clusterIP": "10.96.0.10", "ports": [{"port": 80}]}),
    ] {
        assert_eq!(plan(&place(), [&service(spec.clone())], []), [], "{spec}");
    }
}

#[test]
fn a_dual_stack_service_is_proxied_on_its_ipv4_address() {
    let spec = json!({
        "clusterIP": "fd00::1",
        "clusterIPs": ["fd00::1", "10.96.0.11"],
        "ports": [{"port": 80}],
    });
    assert_eq!(plan(&place(), [&service(spec)], [])[0].ips, [ip("10.96.0.11")].into());
}

#[test]
fn ports_that_cannot_be_proxied_are_left_out() {
    let spec = json!({"clusterIP": "10.96.0.10", "ports": [
        {"name": "a", "port": 80},
        {"name": "b", "port": 81, "protocol": "SCTP"},
        {"name": "c", "port": 80},
        {"name": "d", "port": 70000},
    ]});
    let plans = plan(&place(), [&service(spec)], []);
    assert_eq!(plans[0].ports.iter().map(|port| port.port).collect::<Vec<_>>(), [80]);
}

#[test]
fn a_client_may_be_away_for_as_long_as_the_service_says() {
    let affinity = |spec: Value| plan(&place(), [&service(spec)], [])[0].affinity;
    let config = json!({"clientIP": {"timeoutSeconds": 60}});
    let (ip, kind) = ("10.96.0.10", "ClientIP");
    assert_eq!(affinity(json!({"clusterIP": ip, "sessionAffinityConfig": config})), None);
    let given = json!({"clusterIP": ip, "sessionAffinity": kind, "sessionAffinityConfig": config});
    assert_eq!(affinity(given), Some(Duration::from_secs(60)));
    let absent = json!({"clusterIP": ip, "sessionAffinity": kind});
    assert_eq!(affinity(absent), Some(Duration::from_secs(10_800)));
}

#[test]
fn a_local_traffic_policy_keeps_to_the_endpoints_of_the_nodes_of_this_host() {
    let endpoints = json!([
        {"addresses": ["10.244.0.2"], "nodeName": "here"},
        {"addresses": ["10.244.1.2"], "nodeName": "there"},
        {"addresses": ["10.244.2.2"]},
        {"addresses": ["10.244.3.2"], "nodeName": "here-too"},
    ]);
    let slices = [slice("a", json!({"port": 80}), endpoints)];
    let mut local = web();
    local.spec.as_mut().unwrap().internal_traffic_policy = Some("Local".into());
    check(&local, &slices, &["10.244.0.2:80", "10.244.3.2:80"]);
    let all = ["10.244.0.2:80", "10.244.1.2:80", "10.244.2.2:80", "10.244.3.2:80"];
    check(&web(), &slices, &all);
}

#[test]
fn the_plan_does_not_depend_on_the_order_in_which_objects_arrive() {
    let slices = [
        slice("a", json!({"port": 80}), json!([{"addresses": ["10.244.0.9"]}])),
        slice("b", json!({"port": 80}), json!([{"addresses": ["10.244.0.2"]}])),
    ];
    let mut other = web();
    other.metadata.name = Some("api".into());
    let forward = plan(&place(), [&web(), &other], &slices);
    let backward = plan(&place(), [&other, &web()], slices.iter().rev());
    assert_eq!(forward, backward);
}

#[test]
fn an_endpoint_of_which_nothing_is_said_is_ready_and_one_that_terminates_still_serves() {
    assert!(is_ready(&Endpoint::default()));
    let with = |terminating, serving| Endpoint {
        conditions: Some(EndpointConditions { terminating, serving, ..Default::default() }),
        ..Default::default()
    };
    let unknown = with(None, None);
    assert!(is_ready(&unknown) && !is_last_resort(&unknown));
    assert!(is_last_resort(&with(Some(true), None)));
    assert!(!is_last_resort(&with(Some(true), Some(false))));
}

#[test]
fn the_service_of_the_clusters_dns_has_no_nginx() {
    let named = |name: &str, ip: &str| {
        let mut service = service(json!({"clusterIP": ip, "ports": [{"port": 53}]}));
        let metadata = &mut service.metadata;
        (metadata.namespace, metadata.name) = (Some("kube-system".into()), Some(name.into()));
        plan_service(&place(), &service, []).is_some()
    };
    assert!(!named("kube-dns", "10.96.0.53"));
    // Served by others.
    assert!(named("kube-dns", "10.96.0.54"));
    // It has had the address since before there was a DNS.
    assert!(named("web", "10.96.0.53"));
}

/// Checks where what comes from outside leads; `expected` as many words.
fn check_outside(service: &Service, slices: &[EndpointSlice], expected: &[&str]) {
    let plans = plan(&place(), [service], slices);
    let endpoints = plans[0].ports[0].outside_endpoints.iter().map(ToString::to_string);
    assert_eq!(endpoints.collect::<Vec<_>>(), expected);
}

/// A Service of that type, with that external policy.
fn exposed(type_: &str, policy: &str) -> Service {
    service(json!({
        "type": type_, "clusterIP": "10.96.0.10", "externalTrafficPolicy": policy,
        "ports": [{"port": 80, "nodePort": 30080}],
    }))
}

#[test]
fn each_policy_is_about_its_own_ways() {
    let endpoints = json!([
        {"addresses": ["10.244.0.2"], "nodeName": "here"},
        {"addresses": ["10.244.1.2"], "nodeName": "there"},
    ]);
    let slices = [slice("a", json!({"port": 80}), endpoints)];
    let all = ["10.244.0.2:80", "10.244.1.2:80"];
    let mut service = exposed("NodePort", "Local");
    check(&service, &slices, &all);
    check_outside(&service, &slices, &all[..1]);
    let spec = service.spec.as_mut().unwrap();
    spec.external_traffic_policy = Some("Cluster".into());
    spec.internal_traffic_policy = Some("Local".into());
    check(&service, &slices, &all[..1]);
    check_outside(&service, &slices, &all);
    // Nothing leads to it.
    check_outside(&web(), &slices, &[]);
}

#[test]
fn a_host_without_an_endpoint_of_its_own_does_not_answer_for_others() {
    let elsewhere = json!([{"addresses": ["10.244.1.2"], "nodeName": "there"}]);
    let slices = [slice("a", json!({"port": 80}), elsewhere)];
    check_outside(&exposed("NodePort", "Local"), &slices, &[]);
    let leaving = json!([{
        "addresses": ["10.244.0.2"], "nodeName": "here",
        "conditions": {"ready": false, "serving": true, "terminating": true},
    }]);
    let slices = [slices[0].clone(), slice("b", json!({"port": 80}), leaving)];
    check_outside(&exposed("NodePort", "Local"), &slices, &["10.244.0.2:80"]);
}

#[test]
fn node_ports_are_those_of_types_that_have_them() {
    let node_port = |service: &Service| {
        let plan = plan_service(&place(), service, []).unwrap();
        (plan.ports[0].node_port, plan.outside.node_addresses)
    };
    let there = [ip("192.0.2.7")].into();
    assert_eq!(node_port(&exposed("NodePort", "Cluster")), (Some(30080), there));
    assert_eq!(node_port(&exposed("ClusterIP", "Cluster")), (None, [].into()));
    let mut without = exposed("LoadBalancer", "Cluster");
    without.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].node_port = None;
    assert_eq!(node_port(&without), (None, [].into()));
}

#[test]
fn addresses_that_lead_here_are_neither_virtual_ones_nor_the_hosts_own_loopback() {
    let mut service = exposed("LoadBalancer", "Cluster");
    let spec = service.spec.as_mut().unwrap();
    let given = ["203.0.113.9", "203.0.113.10", "10.96.0.11", "127.0.0.1", "0.0.0.0", "fd00::1"];
    spec.external_ips = Some(given.map(str::to_owned).to_vec());
    spec.load_balancer_source_ranges = Some(vec![" 198.51.100.0/24".into(), "fd00::/8".into()]);
    service.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [
        {"ip": "203.0.113.9", "ipMode": "VIP"}, {"ip": "203.0.113.11"}, {"hostname": "lb.example"},
        {"ip": "203.0.113.12", "ipMode": "Proxy"},
    ]}}))
    .unwrap();
    let outside = plan_service(&place(), &service, []).unwrap().outside;
    assert_eq!(outside.external_ips, [ip("203.0.113.9"), ip("203.0.113.10")].into());
    assert_eq!(outside.balancer_ips, [ip("203.0.113.11")].into());
    assert_eq!(outside.held, [ip("203.0.113.9")].into());
    assert_eq!(outside.source_ranges, Some(["198.51.100.0/24".parse().unwrap()].into()));
    service.spec.as_mut().unwrap().load_balancer_source_ranges = Some(vec!["fd00::/8".into()]);
    let outside = plan_service(&place(), &service, []).unwrap().outside;
    assert_eq!(outside.source_ranges, Some([].into()));
}

#[test]
fn a_load_balancer_is_told_how_many_ready_endpoints_are_here() {
    let mut service = exposed("LoadBalancer", "Local");
    service.spec.as_mut().unwrap().health_check_node_port = Some(30500);
    let endpoints = json!([
        {"addresses": ["10.244.0.2"], "nodeName": "here"},
        {"addresses": ["10.244.0.3"], "nodeName": "here-too", "conditions": {"ready": false}},
        {"addresses": ["10.244.1.2"], "nodeName": "there"},
    ]);
    let slices = [slice("a", json!({"port": 80}), endpoints)];
    let health = |service: &Service| plan(&place(), [service], &slices)[0].outside.health_check;
    assert_eq!(health(&service), Some(HealthCheck { port: 30500, endpoints: 1 }));
    service.spec.as_mut().unwrap().external_traffic_policy = Some("Cluster".into());
    assert_eq!(health(&service), None);
}

#[test]
fn hints_count_if_every_ready_endpoint_has_them_and_one_is_for_here() {
    let to =
        |last: u8, hints: Value| json!({"addresses": [format!("10.244.0.{last}")], "hints": hints});
    let zone = |name: &str| json!({"forZones": [{"name": name}]});
    let node = |name: &str| json!({"forNodes": [{"name": name}], "forZones": [{"name": "west"}]});
    let check = |endpoints: Value, expected: &[&str]| {
        check(&web(), &[slice("a", json!({"port": 80}), endpoints)], expected);
    };
    let (a, b) = ("10.244.0.2:80", "10.244.0.3:80");
    check(json!([to(2, zone("west")), to(3, zone("east"))]), &[a]);
    check(json!([to(2, zone("east")), to(3, zone("north"))]), &[a, b]);
    check(json!([to(2, zone("west")), to(3, json!({}))]), &[a, b]);
    check(json!([to(2, node("there")), to(3, node("here"))]), &[b]);
    check(json!([to(2, node("there")), to(3, node("elsewhere"))]), &[a, b]);
    let mut leaving = to(3, json!({}));
    leaving["conditions"] = json!({"ready": false});
    check(json!([to(2, zone("west")), leaving]), &[a]);
}

#[test]
fn the_annotation_says_who_takes_a_connection_and_a_slip_changes_nothing() {
    let balancing = |word: &str| {
        let mut service = web();
        let annotation = ("minik8s.io/load-balancing".to_owned(), word.to_owned());
        service.metadata.annotations = Some([annotation].into());
        plan_service(&place(), &service, []).unwrap().balancing
    };
    assert_eq!(balancing("random"), Balancing::Random);
    assert_eq!(balancing("least-connections"), Balancing::LeastConnections);
    assert_eq!(balancing("round-robin"), Balancing::RoundRobin);
    assert_eq!(balancing("Random"), Balancing::RoundRobin);
}

/// One that knows both families.
fn dual_place() -> Place {
    Place {
        service_cidr: "10.96.0.0/16,fd00:10:96::/112".parse().unwrap(),
        addresses: [ip("192.0.2.7"), ip("2001:db8::7")].into(),
        node_addresses: [ip("192.0.2.7"), ip("2001:db8::7")].into(),
        ..place()
    }
}

fn dual_slices() -> [EndpointSlice; 2] {
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    let v4 = json!([{"addresses": ["10.244.0.2"]}, {"addresses": ["10.244.0.3"]}]);
    let v6 = json!([{"addresses": ["fd00:10:244::2"], "conditions": leaving}]);
    let mut second = slice("b", json!({"port": 8080}), v6);
    second.address_type = "IPv6".to_owned();
    [slice("a", json!({"port": 8080}), v4), second]
}

#[test]
fn a_service_of_two_stacks_leads_to_the_endpoints_of_each_by_itself() {
    let spec = json!({
        "type": "NodePort", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:10:96::a"],
        "ports": [{"port": 80, "nodePort": 30080}], "externalIPs": ["2001:db8::9", "192.0.2.7"],
    });
    let plans = plan(&dual_place(), [&service(spec)], &dual_slices());
    assert_eq!(plans[0].ips, [ip("10.96.0.10"), ip("fd00:10:96::a")].into());
    // Those of IPv6 have no other than one that is leaving.
    let all = ["10.244.0.2:8080", "10.244.0.3:8080", "[fd00:10:244::2]:8080"];
    let all: BTreeSet<SocketAddr> = all.map(|it| it.parse().unwrap()).into();
    assert_eq!(plans[0].ports[0].endpoints, all);
    assert_eq!(plans[0].ports[0].outside_endpoints, all);
    assert_eq!(plans[0].outside.node_addresses, [ip("192.0.2.7"), ip("2001:db8::7")].into());
    assert_eq!(plans[0].outside.external_ips, [ip("192.0.2.7"), ip("2001:db8::9")].into());
}

#[test]
fn nobody_is_led_to_servers_of_the_host_or_to_pods_under_other_names() {
    let spec = json!({"clusterIPs": ["fd00:10:96::a"], "clusterIP": "fd00:10:96::a", "ports": [{"port": 80}]});
    let endpoints = [
        "::ffff:10.244.1.5",
        "::ffff:127.0.0.1",
        "::10.244.1.5",
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "fd00:10:244::2",
    ];
    let endpoints: Vec<_> = endpoints.iter().map(|it| json!({"addresses": [it]})).collect();
    let mut slice = slice("a", json!({"port": 8080}), json!(endpoints));
    slice.address_type = "IPv6".to_owned();
    let plans = plan(&dual_place(), [&service(spec)], &[slice]);
    let pod: SocketAddr = "[fd00:10:244::2]:8080".parse().unwrap();
    assert_eq!(plans[0].ports[0].endpoints, [pod].into());
    let endpoints = json!([{"addresses": ["169.254.169.254"]}, {"addresses": ["10.244.0.2"]}]);
    check(&web(), &[self::slice("a", json!({"port": 80}), endpoints)], &["10.244.0.2:80"]);
}

#[test]
fn a_service_of_one_family_has_nothing_of_the_other() {
    for (cluster_ip, endpoints, node) in [
        ("10.96.0.10", vec!["10.244.0.2:8080", "10.244.0.3:8080"], "192.0.2.7"),
        ("fd00:10:96::a", vec!["[fd00:10:244::2]:8080"], "2001:db8::7"),
    ] {
        let spec = json!({
            "type": "NodePort", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip],
            "ports": [{"port": 80, "nodePort": 30080}],
        });
        let plans = plan(&dual_place(), [&service(spec)], &dual_slices());
        let endpoints = endpoints.into_iter().map(|it| it.parse().unwrap()).collect();
        assert_eq!(plans[0].ports[0].endpoints, endpoints);
        assert_eq!(plans[0].outside.node_addresses, [ip(node)].into());
    }
}

#[test]
fn a_cluster_of_one_stack_knows_no_other() {
    let place = Place { service_cidr: place().service_cidr, ..dual_place() };
    let spec = json!({"clusterIP": "fd00:10:96::a", "clusterIPs": ["fd00:10:96::a"], "ports": [{"port": 80}]});
    assert_eq!(plan(&place, [&service(spec)], &dual_slices()), []);
    let spec = json!({
        "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:10:96::a"], "ports": [{"port": 80}],
    });
    let plans = plan(&place, [&service(spec)], &dual_slices());
    assert_eq!(plans[0].ips, [ip("10.96.0.10")].into());
    assert!(plans[0].ports[0].endpoints.iter().all(SocketAddr::is_ipv4));
}
