//! Services on a cluster with addresses of both families.

use apiserver::{ApiServer, Config};
use serde_json::{Value, json};

use crate::harness::{Api, names};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGE: &str = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes";

fn config(ranges: &str) -> Config {
    Config { service_cidr: ranges.parse().unwrap(), ..Config::default() }
}

async fn dual() -> Api {
    Api::with(config("10.9.0.0/24,fd00:9::/112")).await
}

fn service(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["ports"] = json!([{"port": 80}]);
    spec["selector"] = json!({"app": "web"});
    json!({"metadata": {"name": name}, "spec": spec})
}

/// Its families and addresses, as `IPv4 10.9.0.7`; that the first address stands alone, too.
fn held(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let (families, ips) = (&spec["ipFamilies"], spec["clusterIPs"].as_array().unwrap());
    assert_eq!(spec["clusterIP"], ips[0]);
    assert_eq!(families.as_array().unwrap().len(), ips.len(), "{spec}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pair = |(i, ip): (usize, &Value)| format!("{} {}", text(&families[i]), text(ip));
    ips.iter().enumerate().map(pair).collect()
}

async fn patch(api: &Api, name: &str, spec: Value) -> Value {
    let patch = json!({ "spec": spec });
    api.patch(&format!("{SERVICES}/{name}"), "strategic-merge-patch", &patch).await.ok()
}

#[tokio::test]
async fn a_service_gets_an_address_of_each_family_that_it_asks_for() {
    let api = dual().await;
    let families = async |spec: Value| {
        let service = json!({"metadata": {"generateName": "s-"}, "spec": spec});
        held(&api.post(SERVICES, &service).await.ok())
    };
    let ports = json!([{"port": 80}]);
    let of = |policy: &str| json!({"ipFamilyPolicy": policy, "ports": ports});
    let single = families(json!({"ports": ports})).await;
    assert!(matches!(&single[..], [ip] if ip.starts_with("IPv4 10.9.0.")), "{single:?}");
    for policy in ["PreferDualStack", "RequireDualStack"] {
        let both = families(of(policy)).await;
        let [v4, v6] = &both[..] else { panic!("{both:?}") };
        assert!(v4.starts_with("IPv4 10.9.0.") && v6.starts_with("IPv6 fd00:9::"), "{both:?}");
    }
    let six = families(json!({"ipFamilies": ["IPv6"], "ports": ports})).await;
    assert!(matches!(&six[..], [ip] if ip.starts_with("IPv6 fd00:9::")), "{six:?}");
    let named =
        json!({"clusterIP": "fd00:9::7", "ipFamilyPolicy": "PreferDualStack", "ports": ports});
    let named = families(named).await;
    assert!(named[0] == "IPv6 fd00:9::7" && named[1].starts_with("IPv4 10.9.0."), "{named:?}");
    let own = api.get(&format!("{SERVICES}/kubernetes")).await.ok();
    assert_eq!(held(&own), ["IPv4 10.9.0.1"]);
    assert_eq!(own["spec"]["ipFamilyPolicy"], "SingleStack");
}

#[tokio::test]
async fn the_policy_says_whether_there_is_a_secondary_address() {
    let api = dual().await;
    let made = api.post(SERVICES, &service("a", &json!({"clusterIP": "10.9.0.7"}))).await.ok();
    assert_eq!(held(&made), ["IPv4 10.9.0.7"]);
    let both = patch(&api, "a", json!({"ipFamilyPolicy": "PreferDualStack"})).await;
    let held_now = held(&both);
    let second = both["spec"]["clusterIPs"][1].as_str().unwrap().to_owned();
    assert_eq!(held_now[0], "IPv4 10.9.0.7");
    let address = api.get(&format!("{ADDRESSES}/{second}")).await.ok();
    assert_eq!(address["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"], "IPv6");
    assert_eq!(address["spec"]["parentRef"]["name"], "a");
    // What is said again changes nothing, and neither does a client that knows none of this.
    assert_eq!(
        held(&patch(&api, "a", json!({"ipFamilyPolicy": "PreferDualStack"})).await),
        held_now
    );
    let old_client = api.put(&format!("{SERVICES}/a"), &service("a", &json!({}))).await.ok();
    assert_eq!(held(&old_client), held_now);

    let one = patch(&api, "a", json!({"ipFamilyPolicy": "SingleStack"})).await;
    assert_eq!(held(&one), ["IPv4 10.9.0.7"]);
    api.get(&format!("{ADDRESSES}/{second}")).await.fails(404, "NotFound");
    api.post(SERVICES, &service("b", &json!({"clusterIP": second}))).await.ok();
    let third =
        json!({"ipFamilyPolicy": "RequireDualStack", "clusterIPs": ["10.9.0.7", "fd00:9::77"]});
    assert_eq!(held(&patch(&api, "a", third).await)[1], "IPv6 fd00:9::77");
    api.delete(&format!("{SERVICES}/a")).await.ok();
    for ip in ["10.9.0.7", "fd00:9::77"] {
        api.get(&format!("{ADDRESSES}/{ip}")).await.fails(404, "NotFound");
    }
}

#[tokio::test]
async fn what_is_refused_or_dry_holds_no_address_of_either_family() {
    let api = dual().await;
    api.post(SERVICES, &service("a", &json!({"clusterIP": "fd00:9::7"}))).await.ok();
    let both = json!({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "10.9.0.7",
        "clusterIPs": ["10.9.0.7", "fd00:9::7"]});
    let message = api.post(SERVICES, &service("b", &both)).await.fails(422, "Invalid");
    let why = r#"spec.clusterIPs: Invalid value: ["10.9.0.7","fd00:9::7"]: failed to allocate IP fd00:9::7: provided IP is already allocated"#;
    assert!(message.ends_with(why), "{message}");
    let free = json!({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.9.0.7"});
    api.post(&format!("{SERVICES}?dryRun=All"), &service("b", &free)).await.ok();
    assert_eq!(names(&api.get(ADDRESSES).await.ok()), ["10.9.0.1", "fd00:9::7"]);
    let message = api
        .post(SERVICES, &service("b", &json!({"clusterIP": "fd00:8::7"})))
        .await
        .fails(422, "Invalid");
    assert!(message.ends_with("The range of valid IPs is fd00:9::/112"), "{message}");
    let both = json!({"ipFamilies": ["IPv4", "IPv6"]});
    let message = api.post(SERVICES, &service("b", &both)).await.fails(422, "Invalid");
    let why = "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
    assert!(message.ends_with(why), "{message}");
}

#[tokio::test]
async fn a_cluster_of_one_family_may_get_the_other_one() {
    let api = Api::with(config("10.9.0.0/24")).await;
    let prefers = json!({"clusterIP": "10.9.0.7", "ipFamilyPolicy": "PreferDualStack"});
    api.post(SERVICES, &service("a", &prefers)).await.ok();
    let require = json!({"ipFamilyPolicy": "RequireDualStack"});
    let message = api.post(SERVICES, &service("b", &require)).await.fails(422, "Invalid");
    assert!(
        message.ends_with("this cluster is not configured for dual-stack services"),
        "{message}"
    );
    assert_eq!(api.get(RANGE).await.ok()["spec"]["cidrs"], json!(["10.9.0.0/24"]));
    api.server.stop().await;

    let both = config("10.9.0.0/24,fd00:9::/112");
    let server = ApiServer::start(both, api.store.clone(), None).await.unwrap();
    let api = api.with_server(server);
    assert_eq!(api.get(RANGE).await.ok()["spec"]["cidrs"], json!(["10.9.0.0/24", "fd00:9::/112"]));
    // Who prefers both is not given the second one behind its back.
    let same = patch(&api, "a", json!({"sessionAffinity": "ClientIP"})).await;
    assert_eq!(held(&same), ["IPv4 10.9.0.7"]);
    let both = patch(&api, "a", require).await;
    assert!(held(&both)[1].starts_with("IPv6 fd00:9::"), "{both}");
}

#[tokio::test]
async fn a_service_that_is_an_alias_by_now_has_no_addresses() {
    let api = dual().await;
    let both = json!({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.9.0.7"});
    api.post(SERVICES, &service("a", &both)).await.ok();
    let alias = json!({"type": "ExternalName", "externalName": "example.com"});
    let spec = patch(&api, "a", alias).await["spec"].clone();
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert!(spec.get(field).is_none(), "{spec}");
    }
    assert_eq!(names(&api.get(ADDRESSES).await.ok()), ["10.9.0.1"]);
    let back =
        json!({"type": "ClusterIP", "externalName": null, "ipFamilyPolicy": "PreferDualStack"});
    assert_eq!(held(&patch(&api, "a", back).await).len(), 2);
}
