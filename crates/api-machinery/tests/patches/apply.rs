//! The three-way patches of `kubectl apply`.

use api_machinery::patch::{apply_merge, apply_strategic, strategic_three_way, three_way};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The patch, and the object that it leads to.
fn strategic(original: &Value, modified: &Value, current: &Value) -> (Value, Value) {
    let patch = strategic_three_way(original, modified, current);
    let result = apply_strategic(current, &patch).unwrap();
    (patch, result)
}

#[test]
fn what_others_set_stays_and_what_was_ours_goes() {
    let original = json!({"spec": {"replicas": 1, "paused": true}});
    let modified = json!({"spec": {"replicas": 2}});
    let current =
        json!({"metadata": {"uid": "u"}, "spec": {"replicas": 1, "paused": true, "nodeName": "n"}});
    let patch = three_way(&original, &modified, &current);
    assert_eq!(patch, json!({"spec": {"paused": null, "replicas": 2}}));
    let result = apply_merge(&current, &patch).unwrap();
    assert_eq!(result, json!({"metadata": {"uid": "u"}, "spec": {"replicas": 2, "nodeName": "n"}}));
}

#[test]
fn nothing_to_do_is_an_empty_patch() {
    let modified = json!({"spec": {"containers": [{"name": "a", "image": "x"}], "volumes": [{"name": "v", "emptyDir": {}}]}});
    let current = json!({"spec": {"containers": [{"name": "a", "image": "x", "tty": false}], "volumes": [{"name": "v", "emptyDir": {}}], "nodeName": "n"}});
    assert_eq!(strategic_three_way(&modified, &modified, &current), json!({}));
    assert_eq!(strategic_three_way(&Value::Null, &modified, &current), json!({}));
}

#[test]
fn a_container_is_changed_by_its_name() {
    let original = json!({"spec": {"containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}, {"name": "old", "image": "o"}]}});
    let modified = json!({"spec": {"containers": [{"name": "a", "image": "y"}, {"name": "new", "image": "n"}]}});
    let mut current = original.clone();
    current["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    current["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "injected", "image": "i"}));
    let (patch, result) = strategic(&original, &modified, &current);
    assert_eq!(
        patch,
        json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "new"}],
            "containers": [{"env": null, "image": "y", "name": "a"}, {"image": "n", "name": "new"}, {"$patch": "delete", "name": "old"}],
        }})
    );
    let mut containers = result["spec"]["containers"].as_array().unwrap().clone();
    containers.sort_by_key(|c| c["name"].to_string());
    assert_eq!(
        containers,
        [
            json!({"name": "a", "image": "y", "imagePullPolicy": "Always"}),
            json!({"name": "injected", "image": "i"}),
            json!({"name": "new", "image": "n"}),
        ]
    );
}

#[test]
fn a_volume_that_becomes_another_keeps_nothing_of_the_first() {
    let volume = |source: Value| {
        let mut volume = source;
        volume["name"] = json!("v");
        json!({"spec": {"volumes": [volume]}})
    };
    let (original, modified) =
        (volume(json!({"emptyDir": {}})), volume(json!({"hostPath": {"path": "/x"}})));
    let (patch, result) = strategic(&original, &modified, &original);
    assert_eq!(patch["spec"]["volumes"][0]["$retainKeys"], json!(["hostPath", "name"]));
    assert_eq!(result, modified);
}

#[test]
fn a_strategy_that_becomes_another_keeps_nothing_of_the_first() {
    let deployment =
        |strategy: Value| json!({"kind": "Deployment", "spec": {"strategy": strategy}});
    let original = deployment(json!({"type": "RollingUpdate"}));
    let modified = deployment(json!({"type": "Recreate"}));
    let current = deployment(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}));
    let (patch, result) = strategic(&original, &modified, &current);
    assert_eq!(patch["spec"]["strategy"], json!({"type": "Recreate", "$retainKeys": ["type"]}));
    assert_eq!(result, modified);
}

#[test]
fn the_selector_of_a_disruption_budget_is_replaced() {
    let budget =
        |selector: Value| json!({"kind": "PodDisruptionBudget", "spec": {"selector": selector}});
    let by = |label: &str| budget(json!({"matchLabels": {label: "x"}}));
    let (patch, result) = strategic(&by("a"), &by("b"), &by("c"));
    assert_eq!(patch, json!({"spec": {"selector": {"matchLabels": {"b": "x"}}}}));
    assert_eq!(result, by("b"));
    assert_eq!(strategic_three_way(&by("b"), &by("b"), &by("b")), json!({}));
}

#[test]
fn finalizers_of_others_stay() {
    let metadata = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let (_, result) = strategic(
        &metadata(json!(["ours", "gone"])),
        &metadata(json!(["ours", "new"])),
        &metadata(json!(["theirs", "ours", "gone"])),
    );
    let mut finalizers: Vec<_> = result["metadata"]["finalizers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    finalizers.sort_unstable();
    assert_eq!(finalizers, ["new", "ours", "theirs"]);
}

#[test]
fn a_new_order_is_a_change() {
    let pod =
        |names: [&str; 2]| json!({"spec": {"containers": names.map(|name| json!({"name": name}))}});
    let (_, result) = strategic(&pod(["a", "b"]), &pod(["b", "a"]), &pod(["a", "b"]));
    assert_eq!(result, pod(["b", "a"]));
}

/// A pod of containers with images, and labels.
fn object() -> impl Strategy<Value = Value> {
    let containers = prop::collection::btree_map("[a-d]", prop::option::of("[xyz]"), 0..4);
    let labels = prop::collection::btree_map("[a-d]", "[xyz]", 0..4);
    (containers, labels).prop_map(|(containers, labels)| {
        let container = |(name, image): (String, Option<String>)| {
            let mut container = Map::from_iter([("name".to_owned(), json!(name))]);
            container.extend(image.map(|image| ("image".to_owned(), json!(image))));
            Value::Object(container)
        };
        let containers: Vec<_> = containers.into_iter().map(container).collect();
        json!({"metadata": {"labels": labels}, "spec": {"containers": containers}})
    })
}

proptest! {
    #[test]
    fn if_nobody_else_wrote_the_result_is_what_was_wanted(original in object(), modified in object()) {
        let (_, result) = strategic(&original, &modified, &original);
        prop_assert_eq!(&result, &modified);
        let patch = three_way(&original, &modified, &original);
        prop_assert_eq!(apply_merge(&original, &patch).unwrap(), modified);
    }

    #[test]
    fn applying_again_changes_nothing(original in object(), modified in object(), current in object()) {
        let (_, result) = strategic(&original, &modified, &current);
        let again = strategic_three_way(&modified, &modified, &result);
        prop_assert_eq!(apply_strategic(&result, &again).unwrap(), result);
    }
}
