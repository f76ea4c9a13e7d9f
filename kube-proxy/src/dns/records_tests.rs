use serde_json::{Value, json};

use super::*;

fn service(spec: &Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
}

fn slice(family: &str, endpoints: &Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {"name": "web-1"},
        "addressType": family,
        "ports": [{"name": "http", "port": 8080}, {"port": 9}],
        "endpoints": endpoints,
    }))
    .unwrap()
}

/// `hostname address` of each endpoint of a headless Service.
fn told(spec: &Value, slices: &[EndpointSlice]) -> Vec<String> {
    let Some(Records::Headless(endpoints)) = records(&service(spec), slices) else {
        panic!("not headless")
    };
    endpoints.iter().map(|it| format!("{} {}", it.hostname, it.address)).collect()
}

#[test]
fn a_service_is_an_address_with_the_ports_that_have_names() {
    let ports = json!([{"name": "HTTP", "port": 80, "targetPort": 8080}, {"port": 81}]);
    let spec =
        json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"], "ports": ports});
    let http = NamedPort { name: "http".into(), protocol: "tcp".into(), number: 80 };
    let addresses = ["10.96.0.7", "fd00::7"].map(|ip| ip.parse().unwrap());
    let expected = Records::Virtual { addresses: addresses.into(), ports: [http].into() };
    assert_eq!(records(&service(&spec), []), Some(expected));
}

#[test]
fn a_service_without_an_address_is_not_told_of_yet() {
    assert_eq!(records(&service(&json!({"ports": [{"port": 80}]})), []), None);
    assert_eq!(records(&Service::default(), []), None);
}

#[test]
fn a_headless_service_is_its_ready_endpoints() {
    let endpoints = json!([
        {"addresses": ["10.244.0.2"], "hostname": "Db-0", "conditions": {"ready": true}},
        {"addresses": ["10.244.0.3"]},
        {"addresses": ["10.244.0.4"], "conditions": {"ready": false, "serving": true}},
    ]);
    let slices = [slice("IPv4", &endpoints), slice("IPv6", &json!([{"addresses": ["fd00::2"]}]))];
    let mut spec = json!({"clusterIP": "None"});
    let expected = ["10-244-0-3 10.244.0.3", "db-0 10.244.0.2", "fd00--2 fd00::2"];
    assert_eq!(told(&spec, &slices), expected);
    spec["publishNotReadyAddresses"] = json!(true);
    assert!(told(&spec, &slices).contains(&"10-244-0-4 10.244.0.4".to_owned()));
}

#[test]
fn an_endpoints_ports_are_the_slices() {
    let slices = [slice("IPv4", &json!([{"addresses": ["10.244.0.2"]}]))];
    let found = records(&service(&json!({"clusterIP": "None"})), &slices).unwrap();
    let ports: Vec<_> = found.ports().map(|port| (port.name.as_str(), port.number)).collect();
    assert_eq!(ports, [("http", 8080)]);
}
