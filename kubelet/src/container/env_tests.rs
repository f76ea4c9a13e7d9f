use api_types::ByteString;
use api_types::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use super::*;

fn check(container: &Value, expected: Result<&[(&str, &str)], &str>) {
    check_beside(&[], container, expected);
}

fn check_beside(
    links: &[(&str, &str)],
    container: &Value,
    expected: Result<&[(&str, &str)], &str>,
) {
    let container: Container = serde_json::from_value(container.clone()).unwrap();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "x"}},
        "spec": {"nodeName": "n1", "containers": []},
    }))
    .unwrap();
    let facts = Facts {
        pod: &pod,
        pod_ip: "10.244.0.2",
        second_pod_ip: Some("fd00:10:244::2"),
        host_ip: "192.0.2.1",
        second_host_ip: None,
        allocatable: &BTreeMap::from([("cpu".to_owned(), Quantity("4".to_owned()))]),
    };
    let settings = ConfigMap {
        data: Some(BTreeMap::from([("COLOUR".to_owned(), "red".to_owned())])),
        ..ConfigMap::default()
    };
    let password = Secret {
        data: Some(BTreeMap::from([("key".to_owned(), ByteString(b"s3cret".to_vec()))])),
        ..Secret::default()
    };
    let sources =
        Sources::default().with_config_map("settings", settings).with_secret("password", password);
    let links = links.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let found = environment(&container, &facts, &sources, links.collect());
    let found = found.map_err(|error| error.to_string());
    let expected = expected.map_err(str::to_owned).map(|pairs| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    });
    assert_eq!(found, expected);
}

fn env(variables: &Value) -> Value {
    json!({"name": "c", "env": variables})
}

#[test]
fn values_may_refer_to_earlier_ones() {
    let variables = json!([
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)-$(Z)-$$(A)-$"},
        {"name": "A", "value": "2"},
    ]);
    check(&env(&variables), Ok(&[("A", "2"), ("B", "1-$(Z)-$(A)-$")]));
}

#[test]
fn what_services_give_may_be_referred_to_and_replaced() {
    let links = [("WEB_SERVICE_HOST", "10.96.0.7"), ("WEB_SERVICE_PORT", "80")];
    let variables = json!([
        {"name": "URL", "value": "http://$(WEB_SERVICE_HOST)"},
        {"name": "WEB_SERVICE_PORT", "value": "81"},
    ]);
    let expected = [
        ("WEB_SERVICE_HOST", "10.96.0.7"),
        ("WEB_SERVICE_PORT", "81"),
        ("URL", "http://10.96.0.7"),
    ];
    check_beside(&links, &env(&variables), Ok(&expected));
}

#[test]
fn fields_of_the_pod_can_be_given() {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let variables = json!([
        field("NAME", "metadata.name"),
        field("APP", "metadata.labels['app']"),
        field("NONE", "metadata.annotations['x']"),
        field("NODE", "spec.nodeName"),
        field("IP", "status.podIP"),
        field("IPS", "status.podIPs"),
        field("HOST", "status.hostIP"),
    ]);
    check(
        &env(&variables),
        Ok(&[
            ("NAME", "web"),
            ("APP", "x"),
            ("NONE", ""),
            ("NODE", "n1"),
            ("IP", "10.244.0.2"),
            ("IPS", "10.244.0.2,fd00:10:244::2"),
            ("HOST", "192.0.2.1"),
        ]),
    );
    check(
        &env(&json!([field("X", "spec.tolerations")])),
        Err("unsupported fieldPath: spec.tolerations"),
    );
}

#[test]
fn config_maps_and_secrets_give_whole_objects_and_single_keys() {
    let container = json!({
        "name": "c",
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "password", "key": "key"}}}],
    });
    check(&container, Ok(&[("P_COLOUR", "red"), ("KEY", "s3cret")]));
}

#[test]
fn what_is_missing_is_named_unless_it_is_optional() {
    let from = |source: &Value| env(&json!([{"name": "X", "valueFrom": source}]));
    let no_map = json!({"configMapKeyRef": {"name": "none", "key": "k"}});
    check(&from(&no_map), Err("configmap \"none\" not found"));
    let no_secret = json!({"secretKeyRef": {"name": "none", "key": "k"}});
    check(&from(&no_secret), Err("secret \"none\" not found"));
    let no_key = json!({"secretKeyRef": {"name": "password", "key": "k"}});
    check(&from(&no_key), Err("couldn't find key k in Secret shop/password"));
    let file = json!({"fileKeyRef": {"volumeName": "v", "path": "a.env", "key": "k"}});
    check(&from(&file), Err("keys of files are not read on this node: k of a.env"));
    let optional = json!({"secretKeyRef": {"name": "password", "key": "k", "optional": true}});
    check(&from(&optional), Ok(&[]));
}
