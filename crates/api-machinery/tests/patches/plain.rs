//! JSON patches and merge patches.

use api_machinery::patch::{apply_json, apply_merge};
use serde_json::json;

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
