//! `yaml.jsonl` was written by sigs.k8s.io/yaml v1.6.0 (`YAMLToJSON`): a YAML text, and its JSON or that it has none. `[-]` is left out,
//! which YAML 1.2 refuses.

use api_machinery::decode;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    yaml: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    json: Value,
}

#[test]
fn yaml_means_what_it_means_to_kubernetes() {
    let mut others = Vec::new();
    for line in include_str!("yaml.jsonl").lines() {
        let Case { yaml, error, json } = serde_json::from_str(line).unwrap();
        let expected = if error.is_some() { Err(()) } else { Ok(json) };
        match decode::yaml(&yaml) {
            read if read.clone().map(|decoded| decoded.value).map_err(drop) == expected => {}
            read => others.push((yaml, read, expected)),
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[track_caller]
fn duplicates(text: &str, expected: &[&str]) {
    assert_eq!(decode::yaml(text).unwrap().duplicates, expected, "{text}");
}

#[test]
fn fields_given_twice_are_told_of_with_their_paths() {
    duplicates("a: 1\nb: 2\n", &[]);
    duplicates("a: 1\na: 2\na: 3\n", &["a"]);
    duplicates(
        "spec:\n  c:\n  - x: 1\n  - x: 1\n    x: 2\n  d: {z: 1, z: 2}\n",
        &["spec.c[1].x", "spec.d.z"],
    );
    duplicates("yes: 1\ntrue: 2\n", &["true"]);
    // What is merged in is there to be given otherwise.
    duplicates("b: &b {x: 1}\nd:\n  <<: *b\n  x: 2\n", &[]);
    duplicates("b: &b {x: 1}\nd:\n  <<: *b\n  x: 2\n  x: 3\n", &["d.x"]);
}

#[test]
fn keys_given_twice_are_told_of_by_the_lines_of_their_values() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(decode::yaml(text).unwrap().faults(), expected, "{text}");
    };
    check("a: 1\nb: 2\n", &[]);
    check(
        "spec:\n  foo: a\n  foo: b\n  1: x\n  1:\n    y\n",
        &[
            "yaml: unmarshal errors:\n  line 3: key \"foo\" already set in map\n  line 6: key 1 already set in map",
        ],
    );
}

#[test]
fn errors_name_their_line() {
    let error = decode::yaml("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert!(error.to_string().starts_with(&format!("yaml: line {}: ", error.line)), "{error}");
    assert!(error.line >= 2 && error.column >= 1 && !error.what.is_empty(), "{error:?}");
}

#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        text += &format!("a{i}: &a{i} [{aliases}]\n");
    }
    let error = decode::yaml(&text).unwrap_err();
    assert_eq!(error.what, "document contains excessive aliasing");
    let fair = format!("a: &a {{x: 1}}\nb: [{}]\n", vec!["*a"; 1000].join(", "));
    assert_eq!(decode::yaml(&fair).unwrap().value["b"][999], json!({"x": 1}));
}

#[test]
fn nesting_beyond_measure_is_refused() {
    for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
        assert!(decode::yaml(&text).is_err());
    }
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[-a-z0-9:\\[\\]{},&*!|>'\"%@#? \n\t.~<_]{0,80}") {
        let _ = decode::yaml(&text);
    }

    #[test]
    fn plain_json_reads_the_same_as_yaml(numbers in prop::collection::vec(any::<i64>(), 0..6), text in "[a-zA-Z ]{0,20}") {
        let value = json!({"numbers": numbers, "nested": [{"text": text, "none": null}]});
        prop_assert_eq!(decode::yaml(&value.to_string()).unwrap().value, value);
    }
}
