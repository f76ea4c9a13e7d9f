//! Strategic merge patches, after Kubernetes' own examples (`strategicpatch` tests and the task "Update API Objects in Place").

use api_machinery::patch::apply_strategic;
use proptest::prelude::*;
use serde_json::{Value, json};

fn check(object: &Value, patch: &Value, expected: &Value) {
    assert_eq!(&apply_strategic(object, patch).unwrap(), expected, "{patch}");
}

/// A pod with these containers.
fn pod(containers: &Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn containers_are_merged_by_name_and_new_ones_come_first() {
    check(
        &pod(&json!([{"name": "a", "image": "nginx"}])),
        &pod(&json!([{"name": "b", "image": "redis"}])),
        &pod(&json!([{"name": "b", "image": "redis"}, {"name": "a", "image": "nginx"}])),
    );
    check(
        &pod(&json!([{"name": "a", "image": "nginx", "tty": true}, {"name": "b"}])),
        &pod(&json!([{"name": "a", "image": "nginx:2", "tty": null}])),
        &pod(&json!([{"name": "a", "image": "nginx:2"}, {"name": "b"}])),
    );
}

#[test]
fn lists_without_a_key_are_replaced() {
    let object = json!({"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1", "2"]}]}});
    let patch = json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}});
    check(&object, &patch, &patch);
}

#[test]
fn directives_delete_replace_and_merge() {
    let object = pod(&json!([{"name": "a"}, {"name": "b"}]));
    check(
        &object,
        &pod(&json!([{"name": "a", "$patch": "delete"}])),
        &pod(&json!([{"name": "b"}])),
    );
    check(
        &object,
        &pod(&json!([{"name": "c"}, {"$patch": "replace"}])),
        &pod(&json!([{"name": "c"}])),
    );
    let volume = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    let patch = json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}});
    check(
        &volume,
        &patch,
        &json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
    );
    let map = json!({"data": {"a": "1", "b": "2"}});
    check(&map, &json!({"data": {"$patch": "replace", "c": "3"}}), &json!({"data": {"c": "3"}}));
    check(&map, &json!({"data": {"$patch": "delete"}}), &json!({"data": {}}));
    check(&map, &json!({"data": {"$patch": "merge", "a": null}}), &json!({"data": {"b": "2"}}));
}

#[test]
fn sets_of_values_grow_and_shrink() {
    let object = json!({"metadata": {"finalizers": ["a", "b"]}});
    check(
        &object,
        &json!({"metadata": {"finalizers": ["c", "a"]}}),
        &json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
    );
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    check(&object, &patch, &json!({"metadata": {"finalizers": ["b"]}}));
}

#[test]
fn the_element_order_is_kept_as_asked() {
    let object = pod(&json!([{"name": "a"}, {"name": "b"}, {"name": "x"}]));
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "a", "image": "i"}],
    }});
    check(
        &object,
        &patch,
        &pod(&json!([{"name": "b"}, {"name": "a", "image": "i"}, {"name": "x"}])),
    );
}

#[test]
fn directives_vanish_where_there_is_nothing_yet() {
    let patch = json!({"metadata": {"labels": {"a": "1", "b": null}, "$setElementOrder/finalizers": ["f"], "finalizers": ["f"]}});
    check(&json!({}), &patch, &json!({"metadata": {"labels": {"a": "1"}, "finalizers": ["f"]}}));
    check(&json!({}), &pod(&json!([{"name": "a", "$patch": "delete"}])), &pod(&json!([])));
}

#[test]
fn lists_and_objects_are_merged_as_their_kind_says() {
    let webhooks =
        |hooks: Value| json!({"kind": "MutatingWebhookConfiguration", "webhooks": hooks});
    check(
        &webhooks(json!([{"name": "a", "matchConditions": [{"name": "x"}]}, {"name": "b"}])),
        &webhooks(json!([{"name": "a", "matchConditions": [{"name": "y"}]}])),
        &webhooks(
            json!([{"name": "a", "matchConditions": [{"name": "y"}, {"name": "x"}]}, {"name": "b"}]),
        ),
    );
    let object =
        |kind: &str, name: &str| json!({"kind": kind, "spec": {"variables": [{"name": name}]}});
    let policy = "ValidatingAdmissionPolicy";
    let both = json!({"kind": policy, "spec": {"variables": [{"name": "b"}, {"name": "a"}]}});
    check(&object(policy, "a"), &object(policy, "b"), &both);
    let policy = "MutatingAdmissionPolicy";
    check(&object(policy, "a"), &object(policy, "b"), &object(policy, "b"));
    let selecting = |kind: &str, labels: Value| json!({"kind": kind, "spec": {"selector": {"matchLabels": labels}}});
    let (a, b) = (json!({"a": "1"}), json!({"b": "1"}));
    let budget = |labels: &Value| selecting("PodDisruptionBudget", labels.clone());
    check(&budget(&a), &budget(&b), &budget(&b));
    let deployment = |labels: &Value| selecting("Deployment", labels.clone());
    check(&deployment(&a), &deployment(&b), &deployment(&json!({"a": "1", "b": "1"})));
}

#[test]
fn faulty_patches_are_bad_requests() {
    let object = pod(&json!([{"name": "a"}]));
    let refused = |patch: Value, message: &str| {
        let error = apply_strategic(&object, &patch).unwrap_err();
        assert_eq!(error.code(), 400);
        assert!(error.to_string().contains(message), "{error}");
    };
    refused(pod(&json!([{"image": "x"}])), "does not contain declared merge key: name");
    refused(pod(&json!(["a"])), "expected an object");
    refused(json!({"spec": {"$patch": "explode"}}), "unknown patch type found: \"explode\"");
    refused(json!({"spec": {"$retainKeys": ["a"], "b": 1}}), "missing in $retainKeys");
    refused(json!([]), "must be an object");
}

proptest! {
    #[test]
    fn a_patch_applied_twice_changes_nothing_more(
        names in prop::collection::vec("[a-e]", 0..5),
        patched in prop::collection::vec(("[a-e]", "[xyz]"), 0..5),
    ) {
        let unique = |names: Vec<String>| -> Vec<String> {
            let mut seen = std::collections::BTreeSet::new();
            names.into_iter().filter(|n| seen.insert(n.clone())).collect()
        };
        let object = pod(&unique(names).into_iter().map(|name| json!({"name": name})).collect());
        let patch = pod(&patched.into_iter().map(|(name, image)| json!({"name": name, "image": image})).collect());
        let once = apply_strategic(&object, &patch).unwrap();
        prop_assert_eq!(apply_strategic(&once, &patch).unwrap(), once);
    }
}
