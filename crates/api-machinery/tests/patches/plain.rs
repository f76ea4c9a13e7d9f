//! JSON patches and merge patches.

use api_machinery::patch::{apply_json, apply_merge};
use serde_json::{Value, json};

#[test]
fn a_json_patch_is_all_or_nothing() {
    let object = json!({"spec": {"replicas": 1}});
    let patch = json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 2}]);
    assert_eq!(apply_json(&object, &patch).unwrap(), json!({"spec": {"replicas": 2}}));
    let failing = json!([{"op": "add", "path": "/spec/a", "value": 1}, {"op": "test", "path": "/spec/replicas", "value": 9}]);
    let error = apply_json(&object, &failing).unwrap_err();
    assert_eq!((error.code(), error.reason()), (422, "Invalid"));
    assert!(
        error
            .to_string()
            .starts_with("the server rejected our request due to an error in our request")
    );
}

#[test]
fn a_field_that_is_not_there_is_null_to_a_test() {
    let object = json!({"metadata": {}, "list": [1]});
    let test = |path: &str, value: Value| {
        let patch = json!([{"op": "test", "path": path, "value": value}]);
        apply_json(&object, &patch).map_err(|error| error.code())
    };
    assert_eq!(test("/metadata/finalizers", Value::Null), Ok(object.clone()));
    assert_eq!(test("/metadata/finalizers", json!([])), Err(422));
    assert_eq!(test("/metadata", Value::Null), Err(422));
    assert_eq!(test("/spec/a", Value::Null), Err(422));
    assert_eq!(test("/list/1", Value::Null), Err(422));
}

#[test]
fn what_is_no_patch_is_a_bad_request() {
    assert_eq!(apply_json(&json!({}), &json!({"op": "add"})).unwrap_err().code(), 400);
    assert_eq!(apply_merge(&json!({}), &json!([1])).unwrap_err().code(), 400);
}

#[test]
fn a_merge_patch_replaces_lists_and_removes_nulls() {
    let object = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
    let patched = apply_merge(&object, &json!({"a": {"b": null, "c": [3]}, "e": 2})).unwrap();
    assert_eq!(patched, json!({"a": {"c": [3]}, "d": 1, "e": 2}));
}

fn refused(object: &Value, patch: &Value, code: u16, why: &str) {
    let error = apply_json(object, patch).map(drop).unwrap_err();
    assert_eq!(error.code(), code);
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn a_json_patch_copies_moves_and_nests_within_bounds() {
    let object = json!({"l": [], "x": {}, "y": "y".repeat(1 << 20)});
    let double = json!({"op": "copy", "from": "/l", "path": "/l/-"});
    let mut bomb = vec![double; 60];
    bomb.push(json!({"op": "remove", "path": "/l"}));
    refused(&object, &bomb.into(), 422, "accumulated size exceeds the limit");
    let there = json!({"op": "move", "from": "/y", "path": "/z"});
    let back = json!({"op": "move", "from": "/z", "path": "/y"});
    let swaps = |times: usize| {
        Value::from(
            [there.clone(), back.clone()].into_iter().cycle().take(times).collect::<Vec<_>>(),
        )
    };
    assert!(apply_json(&object, &swaps(4)).unwrap() == object);
    refused(&object, &swaps(18), 422, "accumulated size");
    let nested = (0..100).fold(json!({}), |inner, _| json!({"a": inner}));
    let below = |depth: usize| {
        json!([
            {"op": "add", "path": "/x", "value": nested},
            {"op": "add", "path": format!("/x{}", "/a".repeat(depth)), "value": nested},
        ])
    };
    assert!(apply_json(&object, &below(10)).is_ok());
    refused(&object, &below(90), 422, "exceeded max depth");
    let many = vec![json!({"op": "test", "path": "/x", "value": {}}); 10_001];
    refused(&object, &many.into(), 413, "maximum operations in a JSON patch is 10000, got 10001");
    let failing = json!([{"op": "remove", "path": "/x"}, {"op": "remove", "path": "/x"}]);
    refused(&object, &failing, 422, "operation '/1' failed at path '/x'");
}
