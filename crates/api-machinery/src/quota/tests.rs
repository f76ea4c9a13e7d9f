//! What is charged to whom.

#![allow(clippy::needless_pass_by_value, reason = "json!() is given as it is made")]

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

fn pod(spec: Value, metadata: Value, status: Value) -> Pod {
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn container(requests: Value, limits: Value) -> Value {
    json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn each_name_is_used_up_by_objects_of_one_resource() {
    for (name, expected) in [
        ("pods", Some(("", "pods"))),
        ("cpu", Some(("", "pods"))),
        ("requests.ephemeral-storage", Some(("", "pods"))),
        ("limits.memory", Some(("", "pods"))),
        ("requests.example.com/gpu", Some(("", "pods"))),
        ("requests.hugepages-2Mi", Some(("", "pods"))),
        ("example.com/gpu", None),
        ("limits.example.com/gpu", None),
        ("services.nodeports", Some(("", "services"))),
        ("secrets", Some(("", "secrets"))),
        ("count/replicasets.apps", Some(("apps", "replicasets"))),
        ("count/things.a.example.com", Some(("a.example.com", "things"))),
        ("count/pods", Some(("", "pods"))),
        ("gold.storageclass.storage.k8s.io/requests.storage", Some(CLAIMS)),
        ("deployments", None),
    ] {
        assert_eq!(charged_by(name), expected, "{name}");
    }
}

#[test]
fn a_pod_is_charged_for_what_it_requests_until_it_is_over() {
    let spec = json!({
        "containers": [container(json!({"cpu": "1", "example.com/gpu": "2"}), json!({"memory": "1Gi"}))],
        "overhead": {"cpu": "100m", "memory": "1Mi"},
    });
    let usage = |metadata, status| {
        amounts::shown(&Item::Pod(&pod(spec.clone(), metadata, status)).usage(now()))
    };
    let all = "count/pods=1,cpu=1100m,limits.memory=1025Mi,memory=1Mi,pods=1,requests.cpu=1100m,\
               requests.example.com/gpu=2,requests.memory=1Mi";
    assert_eq!(usage(json!({}), json!({"phase": "Running"})), all);
    assert_eq!(usage(json!({}), json!({"phase": "Succeeded"})), "count/pods=1");
    let deleted = |grace: i64| json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace});
    assert_eq!(usage(deleted(60), json!({})), all);
    assert_eq!(usage(deleted(59), json!({})), "count/pods=1");
}

#[test]
fn a_pod_that_wants_less_is_charged_for_what_it_has_until_it_has_less() {
    let memory = |amount: &str| json!({"memory": amount});
    let usage = |has: &str| {
        let told = json!({
            "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": memory("10Mi"),
            "resources": {"requests": memory(has), "limits": memory(has)},
        });
        let spec = json!({"containers": [container(memory("10Mi"), memory("10Mi"))]});
        let refused = pod(spec, json!({}), json!({"containerStatuses": [told]}));
        amounts::shown(&Item::Pod(&refused).usage(now()))
    };
    let all = |memory: &str| {
        format!(
            "count/pods=1,limits.memory={memory},memory={memory},pods=1,requests.memory={memory}"
        )
    };
    assert_eq!(usage("1Gi"), all("1Gi"));
    assert_eq!(usage("10Mi"), all("10Mi"));
}

#[test]
fn a_service_is_charged_for_the_node_ports_that_it_will_get() {
    let usage = |spec: Value| {
        let service = serde_json::from_value(json!({"spec": spec})).unwrap();
        amounts::shown(&Item::Service(&service).usage(now()))
    };
    let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30000}]);
    let expected = |balancers, node_ports| {
        format!(
            "count/services=1,services=1,services.loadbalancers={balancers},services.nodeports={node_ports}"
        )
    };
    assert_eq!(usage(json!({"ports": ports})), expected(0, 0));
    assert_eq!(usage(json!({"ports": ports, "type": "NodePort"})), expected(0, 2));
    assert_eq!(usage(json!({"ports": ports, "type": "LoadBalancer"})), expected(1, 2));
    let few =
        json!({"ports": ports, "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false});
    assert_eq!(usage(few), expected(1, 1));
}

#[test]
fn other_objects_count_by_their_resource() {
    let usage = |resource| amounts::shown(&Item::Other(resource).usage(now()));
    assert_eq!(usage(("", "secrets")), "count/secrets=1,secrets=1");
    assert_eq!(usage(("apps", "replicasets")), "count/replicasets.apps=1");
}

#[test]
fn a_pod_is_in_the_scopes_that_it_fits() {
    let is_in = |pod: &Pod, quota: Value| {
        let spec: ResourceQuotaSpec = serde_json::from_value(quota).unwrap();
        Item::Pod(pod).is_in(&spec)
    };
    let scoped = |scope: &str| json!({"hard": {"pods": "1"}, "scopes": [scope]});
    let affinity = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": {"topologyKey": "x", "namespaceSelector": {}}},
    ]}});
    let spec = json!({"containers": [], "activeDeadlineSeconds": 5, "priorityClassName": "high",
        "affinity": affinity});
    let one = pod(spec, json!({}), json!({"qosClass": "BestEffort"}));
    let other = pod(json!({"containers": []}), json!({}), json!({"qosClass": "Burstable"}));
    for scope in ["Terminating", "BestEffort", "PriorityClass", "CrossNamespacePodAffinity"] {
        assert!(is_in(&one, scoped(scope)) && !is_in(&other, scoped(scope)), "{scope}");
    }
    for scope in ["NotTerminating", "NotBestEffort"] {
        assert!(!is_in(&one, scoped(scope)) && is_in(&other, scoped(scope)), "{scope}");
    }
    let selected = |operator: &str, values: Value| {
        json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values},
        ]}})
    };
    assert!(is_in(&one, selected("In", json!(["high"]))));
    assert!(!is_in(&one, selected("NotIn", json!(["high"]))));
    assert!(is_in(&other, selected("NotIn", json!(["high"]))));
    assert!(is_in(&other, selected("DoesNotExist", Value::Null)));
    assert!(is_in(&one, json!({})) && is_in(&other, json!({})));
    assert!(Item::Pod(&one).uses("cpu") && !Item::Pod(&one).uses("secrets"));
    let quota = serde_json::from_value(scoped("NotTerminating")).unwrap();
    assert!(!Item::Other(("", "secrets")).is_in(&quota), "only pods are in scopes");
}

#[test]
fn every_container_says_what_is_limited() {
    let spec = json!({
        "containers": [container(json!({"cpu": "1"}), json!({})), {"name": "b"}],
        "initContainers": [{"name": "a"}],
    });
    let unsaid = |spec: &Value, limited: &[&str]| {
        let pod = pod(spec.clone(), json!({}), json!({}));
        Item::Pod(&pod).unsaid(limited.iter().copied())
    };
    let expected = "must specify cpu for: a,b; limits.memory for: a,b,c";
    assert_eq!(unsaid(&spec, &["limits.memory", "cpu", "pods"]).as_deref(), Some(expected));
    assert_eq!(unsaid(&spec, &["pods", "requests.ephemeral-storage"]), None);
    let mut whole = spec;
    whole["resources"] = json!({"requests": {"cpu": "1"}});
    let expected = "must specify cpu for: a,b";
    assert_eq!(unsaid(&whole, &["cpu"]).as_deref(), Some(expected), "nobody holds them to it");
}

#[test]
fn a_claim_is_charged_for_what_it_requests_and_once_more_under_its_class() {
    let usage = |class: Value| {
        let resources = json!({"requests": {"storage": "2Gi"}});
        let spec = json!({"storageClassName": class, "resources": resources});
        let claim = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        amounts::shown(&Item::Claim(&claim).usage(now()))
    };
    let all = "count/persistentvolumeclaims=1,persistentvolumeclaims=1,requests.storage=2Gi";
    assert_eq!(usage(json!("")), all);
    let gold = "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
                gold.storageclass.storage.k8s.io/requests.storage=2Gi,persistentvolumeclaims=1,requests.storage=2Gi";
    assert_eq!(usage(json!("gold")), gold);
}
