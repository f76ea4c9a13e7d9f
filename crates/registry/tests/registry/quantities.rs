//! Quantities are read and written as Kubernetes does, where the type says that there is one and nowhere else.

use serde_json::{Value, json};

use crate::{context, create, def, example, try_create, update, update_status};

fn pod(resources: Value) -> Value {
    let mut pod = example(&def("pods"));
    pod["spec"]["containers"][0]["resources"] = resources;
    pod
}

fn stored(resources: Value) -> Value {
    create(&def("pods"), pod(resources))["spec"]["containers"][0]["resources"].take()
}

#[test]
fn amounts_are_stored_in_canonical_form() {
    let check = |given: Value, expected: &str| {
        let resources = stored(json!({"limits": {"cpu": given, "memory": given}}));
        assert_eq!(resources["limits"], json!({"cpu": expected, "memory": expected}), "{given}");
        assert_eq!(resources["requests"], resources["limits"], "{given}");
    };
    check(json!("0.1"), "100m");
    check(json!("1024Mi"), "1Gi");
    check(json!("1000m"), "1");
    check(json!("1.5Gi"), "1536Mi");
    check(json!(" 2 "), "2");
    check(json!(2), "2");
    check(json!(0.5), "500m");
    check(json!("0.1m"), "1m");
    check(json!("1e3"), "1e3");
    check(Value::Null, "0");
}

#[test]
fn quantities_elsewhere_are_canonical_too() {
    let pods = def("pods");
    let mut given = example(&pods);
    given["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {"sizeLimit": "0.5Gi"}}]);
    given["spec"]["containers"][0]["env"] = json!([
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": 1}}},
    ]);
    let pod = create(&pods, given);
    assert_eq!(pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"], "512Mi");
    let divisor = "/spec/containers/0/env/0/valueFrom/resourceFieldRef/divisor";
    assert_eq!(pod.pointer(divisor), Some(&json!("1")));
    let replica_sets = def("replicasets");
    let mut given = example(&replica_sets);
    given["spec"]["template"]["spec"]["overhead"] = json!({"memory": "2048Ki"});
    let replica_set = create(&replica_sets, given);
    assert_eq!(replica_set["spec"]["template"]["spec"]["overhead"]["memory"], "2Mi");
    let nodes = def("nodes");
    let mut given = example(&nodes);
    given["status"]["capacity"] = json!({"cpu": 4, "memory": "1048576Ki"});
    let node = create(&nodes, given);
    assert_eq!(node["status"]["capacity"], json!({"cpu": "4", "memory": "1Gi"}));
    let mut status = node.clone();
    status["status"]["capacity"]["cpu"] = json!("2000m");
    assert_eq!(update_status(&nodes, &node, status).unwrap()["status"]["capacity"]["cpu"], "2");
}

#[test]
fn what_users_keep_under_such_names_stays_as_it_is() {
    let input = json!({
        "divisor": 3, "limits": {"cpu": 1, "x": [{"requests": {"a": 2.5}}]}, "used": {"n": 7},
        "capacity": {"n": null}, "hard": {"n": "0.10"}, "sizeLimit": 1, "averageValue": 1, "overhead": {"n": 1},
    });
    let runs = def("workflowruns");
    let mut given = example(&runs);
    given["spec"]["input"] = input.clone();
    let run = create(&runs, given);
    assert_eq!(run["spec"]["input"], input);
    assert_eq!(update(&runs, &run, run.clone()).unwrap(), run);
    assert_eq!(runs.decode(run.clone(), None).unwrap().object.to_value().unwrap(), run);
}

#[test]
fn an_equal_amount_changes_nothing() {
    let pods = def("pods");
    let object = create(&pods, pod(json!({"requests": {"cpu": "1", "memory": "1Gi"}})));
    let mut new = object.clone();
    for requests in [
        json!({"cpu": 1.0, "memory": "1048576Ki"}),
        json!({"cpu": "1000m", "memory": 1_073_741_824}),
    ] {
        new["spec"]["containers"][0]["resources"]["requests"] = requests;
        assert_eq!(update(&pods, &object, new.clone()).unwrap(), object);
    }
}

#[test]
fn what_is_no_quantity_is_refused_with_its_field() {
    let pods = def("pods");
    let refused = |resources: Value| {
        let error = try_create(&pods, pod(resources), &context(&pods)).unwrap_err();
        assert_eq!((error.code(), error.reason()), (400, "BadRequest"), "{error}");
        error.to_string()
    };
    assert_eq!(
        refused(json!({"limits": {"cpu": "100x"}})),
        "Pod in version \"v1\" cannot be handled as a Pod: spec.containers[0].resources.limits.cpu: \
         quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    );
    assert!(refused(json!({"limits": {"cpu": ""}})).contains("quantities must match"));
    assert!(
        refused(json!({"limits": {"cpu": "1mi"}})).ends_with("unable to parse quantity's suffix")
    );
    assert!(refused(json!({"limits": {"cpu": true}})).contains("invalid type: boolean"));
}

#[test]
fn a_limit_below_the_request_is_told_in_kubernetes_words() {
    let pods = def("pods");
    let resources = json!({"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "0.5", "memory": "1024Mi"}});
    let error = try_create(&pods, pod(resources), &context(&pods)).unwrap_err();
    assert_eq!((error.code(), error.reason()), (422, "Invalid"));
    assert_eq!(
        error.to_string(),
        "Pod \"example\" is invalid: spec.containers[0].resources.requests: Invalid value: \"1\": \
         must be less than or equal to cpu limit of 500m"
    );
}
