//! The intrinsic functions.

use serde_json::{Value, json};
use workflow::RunError;

use crate::driver::{definition, run};

fn value(expression: &str, input: Value) -> Result<Value, RunError> {
    let document = json!({"StartAt": "P", "States": {
        "P": {"Type": "Pass", "Parameters": {"v.$": expression}, "OutputPath": "$.v", "End": true}}});
    let run = run(&document, input, |_| unreachable!());
    match &run.outcome {
        workflow::Outcome::Failed(error) => Err(error.clone()),
        _ => Ok(run.output()),
    }
}

fn check(expression: &str, expected: Value) {
    let input = json!({
        "name": "Ann", "n": 3, "big": 9_223_372_036_854_775_807_i64, "list": [1, 2, 2, 3, 1], "text": "{\"a\":[1.50]}",
        "a": {"x": 1, "y": {"p": 1}}, "b": {"y": {"q": 2}}, "csv": "1,2,,3;4",
    });
    assert_eq!(value(expression, input), Ok(expected), "{expression}");
}

#[test]
fn texts() {
    check("States.Format('Hello {}, you are {}', $.name, $.n)", json!("Hello Ann, you are 3"));
    check(r"States.Format('\{{}\} it\'s {} \\', $.n, 'a,b)')", json!(r"{3} it's a,b) \"));
    check("States.Format('{}', $.a)", json!(r#"{"x":1,"y":{"p":1}}"#));
    check("States.Format($.name)", json!("Ann"));
    check("States.StringToJson($.text)", json!({"a": [1.5]}));
    check("States.JsonToString($.a)", json!(r#"{"x":1,"y":{"p":1}}"#));
    check("States.StringSplit($.csv, ',;')", json!(["1", "2", "3", "4"]));
    check("States.Base64Encode('Grüße')", json!("R3LDvMOfZQ=="));
    check("States.Base64Decode('R3LDvMOfZQ==')", json!("Grüße"));
}

#[test]
fn lists() {
    check(
        "States.Array('a', 1, true, null, $.n, States.Array())",
        json!(["a", 1, true, null, 3, []]),
    );
    check("States.ArrayPartition($.list, 2)", json!([[1, 2], [2, 3], [1]]));
    check("States.ArrayContains($.list, $.n)", json!(true));
    check("States.ArrayContains($.list, '3')", json!(false));
    check("States.ArrayRange(1, 9, 4)", json!([1, 5, 9]));
    check("States.ArrayRange(3, 0, -1)", json!([3, 2, 1, 0]));
    check("States.ArrayGetItem($.list, 3)", json!(3));
    check("States.ArrayLength($.list[?(@ > 1)])", json!(3));
    check("States.ArrayUnique($.list)", json!([1, 2, 3]));
}

#[test]
fn hashes() {
    check("States.Hash('a', 'MD5')", json!("0cc175b9c0f1b6a831c399e269772661"));
    check("States.Hash('a', 'SHA-1')", json!("86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"));
    let sha256 = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    check("States.Hash('a', 'SHA-256')", json!(sha256));
    for (algorithm, digits) in [("SHA-384", 96), ("SHA-512", 128)] {
        let hash = value(&format!("States.Hash($, '{algorithm}')"), json!({})).unwrap();
        assert_eq!(hash.as_str().unwrap().len(), digits);
    }
}

#[test]
fn numbers_and_objects() {
    check("States.MathAdd($.n, -5)", json!(-2));
    check("States.JsonMerge($.a, $.b, false)", json!({"x": 1, "y": {"q": 2}}));
    check("States.MathRandom(5, 6)", json!(5));
    for _ in 0..100 {
        let number = value("States.MathRandom(-2, 3)", json!({})).unwrap().as_i64().unwrap();
        assert!((-2..3).contains(&number));
    }
    let seeded = || value("States.MathRandom(0, 1000000, 42)", json!({})).unwrap();
    assert_eq!(seeded(), seeded());
}

#[test]
fn each_run_has_its_own_chance_and_the_same_run_the_same() {
    let document = json!({"StartAt": "P", "States": {"P": {
        "Type": "Pass", "End": true, "Parameters": {"a.$": "States.UUID()", "b.$": "States.UUID()"}}}});
    let engine = crate::driver::engine(&document, json!({}));
    let outcome = |seed| engine.start(seed).0.outcome().cloned().unwrap();
    assert_eq!(outcome(1), outcome(1));
    assert_ne!(outcome(1), outcome(2));
    let workflow::Outcome::Succeeded(output) = outcome(1) else { panic!() };
    assert_ne!(output["a"], output["b"]);
    let uuid: Vec<_> = output["a"].as_str().unwrap().split('-').map(str::len).collect();
    assert_eq!(uuid, [8, 4, 4, 4, 12]);
    assert_eq!(output["a"].as_str().unwrap().as_bytes()[14], b'4');
}

#[test]
fn arguments_that_do_not_fit_are_errors() {
    for expression in [
        "States.Format('{} {}', 1)",
        "States.Format('{}', 1, 2)",
        "States.Format(1)",
        "States.StringToJson('{')",
        "States.ArrayPartition($.list, 0)",
        "States.ArrayLength('list')",
        "States.ArrayRange(1, 2, 0)",
        "States.ArrayRange(0, 1000, 1)",
        "States.ArrayGetItem($.list, 1)",
        "States.ArrayGetItem($.list, -1)",
        "States.Base64Decode('*')",
        "States.Hash('a', 'CRC-32')",
        "States.JsonMerge($, $, true)",
        "States.MathAdd(1.5, 1)",
        "States.MathAdd(9223372036854775807, 1)",
        "States.MathRandom(3, 3)",
        "States.StringSplit(1, ',')",
    ] {
        let error = value(expression, json!({"list": [1]})).unwrap_err();
        assert_eq!(error.error, "States.IntrinsicFailure", "{expression}");
        assert!(error.cause.starts_with("States."), "{error:?}");
    }
}

#[test]
fn what_is_no_expression_is_refused_when_it_is_read() {
    for expression in [
        "States.Nothing()",
        "States.Format()",
        "States.UUID(1)",
        "States.Format('a'",
        "States.Format('a)",
        "States.Format('a') x",
        "States.Array(word)",
        "plain text",
        "",
    ] {
        let document = json!({"StartAt": "P", "States": {
            "P": {"Type": "Pass", "Parameters": {"v.$": expression}, "End": true}}});
        let parsed = workflow::Definition::parse(&document, &api_machinery::FieldPath::default());
        let errors = parsed.unwrap_err().to_string();
        assert!(errors.starts_with("States[P].Parameters.v.$: Invalid value"), "{errors}");
    }
    definition(&json!({"StartAt": "P", "States": {
        "P": {"Type": "Pass", "Parameters": {"v.$": " States.Array( 1 , 'a' ) "}, "End": true}}}));
}
