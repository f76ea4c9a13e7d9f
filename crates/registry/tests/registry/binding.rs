//! Binding and scaling.

use api_machinery::ApiError;
use api_types::api::core::v1::{Binding, Pod};
use registry::ScalePaths;
use serde_json::{Value, json};

use crate::{context, create, def, example, now, try_create, update};

/// The pod as the binding makes it.
fn bind(pod: &Value, binding: &Binding) -> Result<Value, ApiError> {
    let mut pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    registry::bind(&mut pod, binding, now())?;
    Ok(serde_json::to_value(pod).unwrap())
}

fn to(target: &Value) -> Binding {
    let name = json!({"name": "example", "annotations": {"why": "room"}});
    serde_json::from_value(json!({"metadata": name, "target": target})).unwrap()
}

#[test]
fn a_pod_gets_its_node_once() {
    let pods = def("pods");
    let pod = create(&pods, example(&pods));
    let bound = bind(&pod, &to(&json!({"kind": "Node", "name": "n1"}))).unwrap();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["metadata"]["annotations"]["why"], "room");
    let condition = &bound["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"]),
        (&json!("PodScheduled"), &json!("True"))
    );

    let again = bind(&bound, &to(&json!({"name": "n2"}))).unwrap_err();
    assert_eq!(again.code(), 409);
    let name = pod["metadata"]["name"].as_str().unwrap();
    let expected = format!(
        "Operation cannot be fulfilled on pods/binding {name:?}: pod {name} is already assigned to node \"n1\""
    );
    assert_eq!(again.to_string(), expected);
}

#[test]
fn a_gated_pod_is_not_bound_and_says_why() {
    let pods = def("pods");
    let mut given = example(&pods);
    given["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    let pod = create(&pods, given.clone());
    assert_eq!(
        pod["status"]["conditions"],
        json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }])
    );
    let error = bind(&pod, &to(&json!({"name": "n1"}))).unwrap_err();
    assert_eq!(error.code(), 409);
    assert!(error.to_string().ends_with("has non-empty .spec.schedulingGates"), "{error}");
    let mut open = pod.clone();
    open["spec"].as_object_mut().unwrap().remove("schedulingGates");
    let open = update(&pods, &pod, open).unwrap();
    let bound = bind(&open, &to(&json!({"name": "n1"}))).unwrap();
    assert_eq!(bound["status"]["conditions"].as_array().unwrap().len(), 1);
    assert_eq!(bound["status"]["conditions"][0]["status"], "True");
    given["spec"]["nodeName"] = json!("n1");
    let error = try_create(&pods, given, &context(&pods)).unwrap_err().to_string();
    let why = "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared";
    assert!(error.ends_with(why), "{error}");
}

#[test]
fn a_binding_names_a_node() {
    let pods = def("pods");
    let pod = create(&pods, example(&pods));
    let error = bind(&pod, &to(&json!({"kind": "Pod"}))).unwrap_err();
    assert_eq!(error.code(), 422);
    let expected = "[target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", target.name: Required value]";
    assert!(error.to_string().ends_with(expected), "{error}");
}

/// The object as its Scale makes it.
fn scaled(object: &Value, scale: &Value) -> Result<Value, ApiError> {
    let decoded = registry::scale::decode(scale)?;
    registry::scale::set(&ScalePaths::default(), object, decoded.object.get().unwrap())
}

#[test]
fn a_replica_set_is_scaled_through_its_scale() {
    let sets = def("replicasets");
    let set = create(&sets, example(&sets));
    let mut scale = registry::scale::get(&ScalePaths::default(), &set).unwrap();
    assert_eq!(scale["spec"]["replicas"], set["spec"]["replicas"]);
    assert!(scale["status"]["selector"].as_str().unwrap().contains('='));
    scale["spec"]["replicas"] = json!(9);
    let updated = update(&sets, &set, scaled(&set, &scale).unwrap()).unwrap();
    assert_eq!(
        (&updated["spec"]["replicas"], &updated["metadata"]["generation"]),
        (&json!(9), &json!(2))
    );
    scale["spec"]["replicas"] = json!(-1);
    let error = scaled(&set, &scale).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        "{error}"
    );
}

#[test]
fn a_scale_never_shows_a_selector_that_can_not_be_read_as_none() {
    let sets = def("replicasets");
    let mut set = create(&sets, example(&sets));
    set["spec"]["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "Resembles"}]});
    assert_eq!(registry::scale::get(&ScalePaths::default(), &set).unwrap_err().code(), 500);
    set["spec"]["selector"] = json!("app=example");
    assert_eq!(registry::scale::get(&ScalePaths::default(), &set).unwrap_err().code(), 500);
}
