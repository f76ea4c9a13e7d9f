use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::decode;

#[derive(Deserialize)]
struct Golden {
    json: Value,
    yaml: String,
}

#[test]
fn documents_are_written_as_kubernetes_writes_them_to_the_byte() {
    let all: Vec<Golden> =
        serde_json::from_str(include_str!("golden/documents.json")).expect("a list");
    assert!(all.len() > 400);
    for Golden { json, yaml } in all {
        assert_eq!(super::yaml(&json), yaml, "{json}");
    }
}

#[test]
fn maps_lists_and_empty_collections_stand_where_kubernetes_has_them() {
    let value =
        json!({"a": {"b": [1, {"c": "x", "d": []}, ["y", "z"]], "e": {}}, "n": null, "f": 1.5});
    let expected = "a:\n  b:\n  - 1\n  - c: x\n    d: []\n  - - \"y\"\n    - z\n  e: {}\nf: 1.5\n\"n\": null\n";
    assert_eq!(yaml(&value), expected);
}

#[test]
fn what_later_readers_take_for_something_else_is_quoted_too() {
    assert_eq!(yaml(&json!({"<<": "a\u{2028}b \u{2029}"})), "\"<<\": \"a\\Lb \\P\"\n");
}

#[test]
fn keys_that_are_in_no_order_are_written_in_some() {
    let keys: Value = (0..3000).map(|i| (format!("{:x}", i * 7919), json!(i))).collect();
    let written = yaml(&keys);
    assert_eq!(decode::yaml(&written).unwrap().value, keys);
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~\u{a0}-\u{ff}\n\t\u{1f600}]{0,12}",
        "[a-z '\":#-]{70,200}",
        "[0-9_.:eETZ+ -]{1,20}",
    ];
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(Value::from),
    ];
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        text.clone().prop_map(Value::from)
    ];
    scalar.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(value in value()) {
        let written = yaml(&value);
        let read = decode::yaml(&written).map(|decoded| decoded.value);
        prop_assert_eq!(read.as_ref().ok(), Some(&value), "{}", written);
    }
}
