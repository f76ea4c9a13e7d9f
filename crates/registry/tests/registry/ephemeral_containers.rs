//! Containers that are added to a pod while it is there.

use api_machinery::ApiError;
use registry::Part;
use serde_json::{Value, json};

use crate::{context, create, def, example, try_create, update, update_part};

fn add(old: &Value, containers: Value) -> Result<Value, ApiError> {
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = containers;
    new["metadata"]["labels"] = json!({"not": "said"});
    update_part(&def("pods"), Part::EphemeralContainers, old, new)
}

fn fails(result: Result<Value, ApiError>, expected: &[&str]) {
    let error = result.unwrap_err().to_string();
    assert!(expected.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn they_are_added_by_their_subresource_alone() {
    let pods = def("pods");
    let old = create(&pods, example(&pods));
    let debug = json!([{"name": "debug", "image": "busybox:1"}]);
    let new = add(&old, debug.clone()).unwrap();
    assert_eq!(new["spec"]["ephemeralContainers"][0]["name"], "debug");
    assert_eq!(new["metadata"]["labels"], old["metadata"]["labels"]);
    assert_eq!(new["metadata"]["generation"], 2);
    let mut given = old.clone();
    given["spec"]["ephemeralContainers"] = debug;
    fails(update(&pods, &old, given.clone()), &["pod updates may not change fields other than"]);
    given["metadata"] = json!({"name": "a"});
    let expected = "spec.ephemeralContainers: Forbidden: cannot be set on create";
    fails(try_create(&pods, given, &context(&pods)), &[expected]);
}

#[test]
fn they_stay_as_they_are() {
    let pods = def("pods");
    let old = create(&pods, example(&pods));
    let [first, second] = ["a1", "b1"].map(|name| json!({"name": name, "image": "busybox:1"}));
    let old = add(&old, json!([first])).unwrap();
    add(&old, json!([old["spec"]["ephemeralContainers"][0], second])).unwrap();
    let removed = "existing ephemeral containers \"a1\" may not be removed";
    fails(add(&old, json!([second])), &[removed]);
    let mut other = first;
    other["image"] = json!("busybox:2");
    let changed = "existing ephemeral containers \"a1\" may not be changed";
    fails(add(&old, json!([other])), &[changed]);
}

#[test]
fn their_faults_are_told() {
    let pods = def("pods");
    let old = create(&pods, example(&pods));
    let name = old["spec"]["containers"][0]["name"].clone();
    let faulty = json!([
        {"name": name, "ports": [{"containerPort": 80}], "targetContainerName": "no", "livenessProbe": {"exec": {}}},
    ]);
    let path = "spec.ephemeralContainers[0]";
    let forbidden = "Forbidden: cannot be set for an Ephemeral Container";
    let expected = [
        format!("{path}.name: Duplicate value"),
        format!("{path}.image: Required value"),
        format!("{path}.targetContainerName: Not found: \"no\""),
        format!("{path}.ports: {forbidden}"),
        format!("{path}.livenessProbe: {forbidden}"),
    ];
    fails(add(&old, faulty), &expected.each_ref().map(String::as_str));
}

#[test]
fn they_see_whole_volumes_alone() {
    let pods = def("pods");
    let mut pod = example(&pods);
    pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    let old = create(&pods, pod);
    let mounts = json!([
        {"name": "v", "mountPath": "/a", "subPath": "x"}, {"name": "v", "mountPath": "/b", "subPathExpr": "y"},
    ]);
    let path = "spec.ephemeralContainers[0].volumeMounts";
    let forbidden = "Forbidden: cannot be set for an Ephemeral Container";
    let expected =
        [format!("{path}[0].subPath: {forbidden}"), format!("{path}[1].subPathExpr: {forbidden}")];
    let faulty = json!([{"name": "debug", "image": "busybox:1", "volumeMounts": mounts}]);
    fails(add(&old, faulty), &expected.each_ref().map(String::as_str));
}

#[test]
fn a_mirror_pod_gets_none() {
    let pods = def("pods");
    let mut pod = example(&pods);
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    pod["spec"]["nodeName"] = json!("n1");
    let old = create(&pods, pod);
    let debug = json!([{"name": "debug", "image": "busybox:1"}]);
    fails(add(&old, debug), &["Forbidden: static pods do not support ephemeral containers"]);
}
