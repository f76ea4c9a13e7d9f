//! Every operator of a Choice, in the form with a value and in that with a path.

use serde_json::{Value, json};
use workflow::RunError;

use crate::driver::run;

/// Whether the rule holds.
fn holds(mut rule: Value, input: Value) -> Result<bool, RunError> {
    rule["Next"] = json!("Yes");
    let document = json!({
        "StartAt": "Judge",
        "States": {
            "Judge": {"Type": "Choice", "Choices": [rule], "Default": "No"},
            "Yes": {"Type": "Pass", "Result": true, "End": true},
            "No": {"Type": "Pass", "Result": false, "End": true},
        },
    });
    let run = run(&document, input, |_| unreachable!());
    match &run.outcome {
        workflow::Outcome::Failed(error) => Err(error.clone()),
        _ => Ok(run.output().as_bool().unwrap()),
    }
}

const EARLY: &str = "2026-01-01T00:00:00Z";
/// The same moment.
const EARLY_ELSEWHERE: &str = "2026-01-01T02:00:00+02:00";
const LATE: &str = "2026-01-01T00:00:00.5Z";

#[test]
fn every_comparison_holds_for_what_it_says_and_nothing_else() {
    let orders: [(&str, [bool; 3]); 5] = [
        ("Equals", [false, true, false]),
        ("LessThan", [true, false, false]),
        ("LessThanEquals", [true, true, false]),
        ("GreaterThan", [false, false, true]),
        ("GreaterThanEquals", [false, true, true]),
    ];
    // What is compared: a smaller, an equal and a greater one than the second.
    let sorts: [(&str, [Value; 3], Value); 3] = [
        (
            "Numeric",
            [json!(9_007_199_254_740_992_i64), json!(9_007_199_254_740_993_i64), json!(1e17)],
            json!(9_007_199_254_740_993_i64),
        ),
        ("String", [json!("Z"), json!("a"), json!("aa")], json!("a")),
        (
            "Timestamp",
            [json!("2025-12-31T23:59:59Z"), json!(EARLY_ELSEWHERE), json!(LATE)],
            json!(EARLY),
        ),
    ];
    for (sort, values, other) in sorts {
        for (name, expected) in orders {
            for (value, expected) in values.iter().zip(expected) {
                let operator = format!("{sort}{name}");
                let fixed = json!({"Variable": "$.v", operator.clone(): other});
                let input = json!({"v": value, "other": other});
                assert_eq!(holds(fixed, input.clone()), Ok(expected), "{value} {operator} {other}");
                let path = json!({"Variable": "$.v", format!("{operator}Path"): "$.other"});
                assert_eq!(holds(path, input), Ok(expected), "{value} {operator}Path {other}");
            }
        }
    }
    for (value, expected) in [(true, true), (false, false)] {
        let input = json!({"v": value, "other": true});
        let fixed = json!({"Variable": "$.v", "BooleanEquals": true});
        assert_eq!(holds(fixed, input.clone()), Ok(expected));
        let path = json!({"Variable": "$.v", "BooleanEqualsPath": "$.other"});
        assert_eq!(holds(path, input), Ok(expected));
    }
}

#[test]
fn nothing_is_converted_to_be_compared() {
    for (operator, other, value) in [
        ("NumericEquals", json!(10), json!("10")),
        ("NumericLessThan", json!(10), Value::Null),
        ("NumericGreaterThanEquals", json!(0), json!(false)),
        ("StringEquals", json!("10"), json!(10)),
        ("BooleanEquals", json!(true), json!("true")),
        ("BooleanEquals", json!(true), json!(1)),
        ("TimestampEquals", json!(EARLY), json!("2026-01-01")),
        ("TimestampEquals", json!(EARLY), json!("2026-01-01 00:00:00Z")),
    ] {
        let rule = json!({"Variable": "$.v", operator: other});
        assert_eq!(holds(rule, json!({"v": value})), Ok(false), "{value} {operator} {other}");
    }
}

#[test]
fn tests_of_type_and_presence() {
    let values = [
        ("IsNull", json!(null)),
        ("IsNumeric", json!(1.5)),
        ("IsString", json!("text")),
        ("IsBoolean", json!(false)),
        ("IsTimestamp", json!(EARLY)),
    ];
    for (operator, _) in &values {
        for (of, value) in &values {
            let is = of == operator || (*operator == "IsString" && *of == "IsTimestamp");
            for wanted in [true, false] {
                let rule = json!({"Variable": "$.v", *operator: wanted});
                assert_eq!(
                    holds(rule, json!({"v": value})),
                    Ok(is == wanted),
                    "{operator} {value}"
                );
            }
        }
    }
    let present = |wanted: bool| json!({"Variable": "$.v", "IsPresent": wanted});
    assert_eq!(holds(present(true), json!({"v": null})), Ok(true));
    assert_eq!(holds(present(true), json!({})), Ok(false));
    assert_eq!(holds(present(false), json!({})), Ok(true));
}

#[test]
fn texts_are_matched_with_patterns() {
    let rule = json!({"Variable": "$.v", "StringMatches": "order-*.json"});
    assert_eq!(holds(rule.clone(), json!({"v": "order-17.json"})), Ok(true));
    assert_eq!(holds(rule, json!({"v": "order-17.xml"})), Ok(false));
}

#[test]
fn and_or_and_not_combine_and_look_no_further_than_they_must() {
    let one = json!({"Variable": "$.a", "NumericEquals": 1});
    let two = json!({"Variable": "$.b", "NumericEquals": 2});
    let both = json!({"a": 1, "b": 2});
    assert_eq!(holds(json!({"And": [one, two]}), both.clone()), Ok(true));
    assert_eq!(holds(json!({"And": [one, two]}), json!({"a": 1, "b": 3})), Ok(false));
    assert_eq!(holds(json!({"Or": [one, two]}), json!({"a": 0, "b": 2})), Ok(true));
    assert_eq!(holds(json!({"Or": [one, two]}), json!({"a": 0, "b": 0})), Ok(false));
    assert_eq!(holds(json!({"Not": {"And": [one, {"Not": two}]}}), both), Ok(true));
    let guarded = json!({"And": [{"Variable": "$.b", "IsPresent": true}, two]});
    assert_eq!(holds(guarded, json!({})), Ok(false));
    assert_eq!(holds(json!({"Or": [one, two]}), json!({"a": 1})), Ok(true));
}

#[test]
fn a_variable_that_is_not_there_is_an_error() {
    for rule in [
        json!({"Variable": "$.v", "NumericEquals": 1}),
        json!({"Variable": "$.v", "IsNull": true}),
        json!({"Variable": "$.here", "NumericEqualsPath": "$.v"}),
    ] {
        let error = holds(rule, json!({"here": 1})).unwrap_err();
        assert_eq!(error.error, "States.Runtime");
        assert!(error.cause.contains("$.v"), "{error:?}");
    }
}

#[test]
fn the_context_object_can_be_asked() {
    let rule =
        json!({"Variable": "$$.Execution.StartTime", "TimestampEquals": "2026-01-02T03:04:05Z"});
    assert_eq!(holds(rule, json!({})), Ok(true));
}
