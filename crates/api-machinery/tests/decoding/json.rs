//! JSON with fields given twice.

use api_machinery::decode;
use proptest::prelude::*;
use serde_json::{Value, json};

#[track_caller]
fn check(text: &str, value: &Value, duplicates: &[&str]) {
    let decoded = decode::json(text.as_bytes()).unwrap();
    assert_eq!(
        (&decoded.value, &decoded.duplicates[..]),
        (value, duplicates_of(duplicates).as_slice())
    );
}

fn duplicates_of(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|p| (*p).to_owned()).collect()
}

#[test]
fn the_last_of_two_fields_counts_and_both_are_told_of() {
    check(
        r#"{"a":1,"b":[1,2.5,-3,null,true,"x"]}"#,
        &json!({"a": 1, "b": [1, 2.5, -3, null, true, "x"]}),
        &[],
    );
    check(r#"{"a":1,"a":{"b":2}}"#, &json!({"a": {"b": 2}}), &["a"]);
    check(r#"{"a":1,"a":2,"a":3}"#, &json!({"a": 3}), &["a"]);
    check(
        r#"{"kind":"Pod","spec":{"containers":[{"name":"a"},{"name":"b","image":"x","image":"y"}],"x":1,"x":2},"kind":"Pod"}"#,
        &json!({"kind": "Pod", "spec": {"containers": [{"name": "a"}, {"name": "b", "image": "y"}], "x": 2}}),
        &["spec.containers[1].image", "spec.x", "kind"],
    );
    check(r#"[[{"a":1,"a":2}]]"#, &json!([[{"a": 2}]]), &["[0][0].a"]);
    check(r#"{"a":{"x":1,"x":2},"b":{"x":1}}"#, &json!({"a": {"x": 2}, "b": {"x": 1}}), &["a.x"]);
}

#[test]
fn of_many_duplicates_below_long_keys_no_more_is_told_than_anybody_reads() {
    let twice: Vec<_> = (0..1000).map(|i| format!(r#""{i}":1,"{i}":2"#)).collect();
    let long = "k".repeat(3000);
    let text = format!(r#"{{"{long}":{{"{long}":{{{}}}}}}}"#, twice.join(","));
    let decoded = decode::json(text.as_bytes()).unwrap();
    assert_eq!(decoded.value[&long][&long]["999"], 2);
    assert_eq!(decoded.duplicates.len(), 100);
    assert_eq!(decoded.duplicates[0], format!("{long}.0"));
    assert_eq!(decoded.faults()[0], format!("duplicate field \"{long}.0\""));
}

#[test]
fn what_is_no_json_is_refused() {
    for text in ["", "{", r#"{"a":1}x"#, "yes", "{'a':1}", r#"{"a":1e999}"#, &"[".repeat(200_000)] {
        assert!(decode::json(text.as_bytes()).is_err(), "{}", &text[..text.len().min(20)]);
    }
}

#[test]
fn letters_beyond_the_basic_plane_may_be_escaped() {
    check(r#"{"a":"\ud83d\ude00"}"#, &json!({"a": "😀"}), &[]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_reads(value in any_json()) {
        let text = value.to_string();
        let decoded = decode::json(text.as_bytes()).unwrap();
        prop_assert_eq!(decoded.value, serde_json::from_str::<Value>(&text).unwrap());
        prop_assert!(decoded.duplicates.is_empty());
    }
}
