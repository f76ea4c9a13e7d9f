//! What a run may do at once, and how much memory it may take for it.

use api_machinery::{FieldPath, extent};
use serde_json::{Value, json};
use workflow::{Action, Definition, MAX_DEPTH, MAX_PAYLOAD};

use crate::driver::{engine, run};

fn long() -> Value {
    json!({"t": "é".repeat(MAX_PAYLOAD / 2 - 100)})
}

#[test]
fn a_circle_that_never_waits_is_stored_between_its_steps() {
    let document = json!({"StartAt": "a", "States": {
        "a": {"Type": "Pass", "Next": "b"},
        "b": {"Type": "Choice", "Default": "a",
            "Choices": [{"Variable": "$.never", "IsPresent": true, "Next": "end"}]},
        "end": {"Type": "Succeed"},
    }});
    let (execution, records) = engine(&document, long()).start(7);
    assert_eq!(records.len(), 200);
    let told: usize = records.iter().map(|record| record.input.to_string().len()).sum();
    assert!(told < 200 * 5000, "{told}");
    let input = records[0].input.as_str().unwrap();
    assert!(input.starts_with("{\"t\":\"é") && input.ends_with("é…"), "{input}");
    assert!(matches!(engine(&document, long()).pending(&execution)[..], [Action::Wait { .. }]));
    let failed = run(&document, json!({}), |_| panic!("nothing is called"));
    assert_eq!(failed.error().error, "States.StepLimitExceeded");
}

#[test]
fn elements_that_never_wait_are_stored_between_and_all_gone_through() {
    let document = json!({"StartAt": "m", "States": {"m": {
        "Type": "Map", "End": true,
        "ItemProcessor": {"StartAt": "p", "States": {
            "p": {"Type": "Pass", "Next": "q"}, "q": {"Type": "Pass", "End": true}}},
    }}});
    let elements: Vec<_> = (0..1000).collect();
    let (execution, records) = engine(&document, json!(elements)).start(7);
    assert!(records.len() < 200);
    assert_eq!(engine(&document, json!(elements)).pending(&execution).len(), 1);
    let all = run(&document, json!(elements), |_| panic!("nothing is called"));
    assert_eq!((all.output(), all.records.len()), (json!(elements), 2001));
}

#[test]
fn branches_do_not_copy_more_than_can_be_stored() {
    let branch = |n: String| json!({"StartAt": n, "States": {n: {"Type": "Pass", "End": true}}});
    let branches: Vec<_> = (0..10).map(|n| branch(format!("p{n}"))).collect();
    let document = json!({"StartAt": "f", "States": {"f": {
        "Type": "Parallel", "Branches": branches, "ResultPath": null, "End": true}}});
    let failed = run(&document, long(), |_| panic!("nothing is called"));
    assert_eq!(failed.error().error, "States.DataLimitExceeded");
}

#[test]
fn a_template_does_not_copy_without_end() {
    let length = |copies: usize| {
        let copies = vec!["$"; copies].join(", ");
        json!({"StartAt": "p", "States": {"p": {"Type": "Pass", "End": true,
            "Parameters": {"n.$": format!("States.ArrayLength(States.Array({copies}))")}}}})
    };
    let few = run(&length(5), long(), |_| panic!("nothing is called"));
    assert_eq!(few.output(), json!({"n": 5}));
    let many = run(&length(1000), long(), |_| panic!("nothing is called"));
    assert_eq!(many.error().error, "States.DataLimitExceeded");
}

#[test]
fn texts_in_texts_do_not_grow_without_end() {
    let mut text = "$".to_owned();
    for _ in 0..20 {
        text = format!("States.JsonToString({text})");
    }
    let document = json!({"StartAt": "p", "States": {"p": {"Type": "Pass", "End": true,
        "Parameters": {"n.$": format!("States.ArrayLength(States.Array({text}))")}}}});
    let failed = run(&document, json!({"a": "\"".repeat(100)}), |_| panic!("nothing is called"));
    assert_eq!(failed.error().error, "States.DataLimitExceeded");
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn data_that_a_circle_nests_deeper_and_deeper_ends_the_run() {
    let around = |state: Value| {
        json!({"StartAt": "f", "States": {"f": state, "c": {"Type": "Choice", "Default": "f",
            "Choices": [{"Variable": "$.never", "IsPresent": true, "Next": "end"}]},
            "end": {"Type": "Succeed"}}})
    };
    let branch = json!({"StartAt": "p", "States": {"p": {"Type": "Pass", "End": true}}});
    for state in [
        json!({"Type": "Parallel", "Branches": [branch], "Next": "c"}),
        json!({"Type": "Pass", "Parameters": {"in.$": "$"}, "Next": "c"}),
        json!({"Type": "Pass", "Parameters": {"in.$": "States.Array(States.Array($))"}, "Next": "c"}),
    ] {
        let failed = run(&around(state), json!({}), |_| panic!("nothing is called"));
        assert_eq!(failed.error().error, "States.DataLimitExceeded");
        assert!(failed.error().cause.contains("nested deeper than 64 levels"), "{failed:?}");
        assert!(failed.records.len() < 200);
    }
}

#[test]
fn data_as_deep_as_may_be_is_passed_on() {
    let document = json!({"StartAt": "p", "States": {"p": {"Type": "Pass", "End": true}}});
    let passed = run(&document, nested(MAX_DEPTH), |_| panic!("nothing is called"));
    assert_eq!(passed.output(), nested(MAX_DEPTH));
    let failed = run(&document, nested(MAX_DEPTH + 1), |_| panic!("nothing is called"));
    assert_eq!(failed.error().error, "States.DataLimitExceeded");
    assert!(failed.records[0].input.is_string(), "{failed:?}");
}

#[test]
fn an_object_can_hold_what_a_run_is_however_deep_its_branches_are() {
    let mut machine = json!({"StartAt": "w", "States": {"w": {
        "Type": "Wait", "Seconds": 1, "End": true}}});
    let (mut waiting, mut ended) = (0, 0);
    for depth in 0..20 {
        let (execution, _) = engine(&machine, nested(MAX_DEPTH)).start(7);
        let stored = json!({"status": {"execution": execution}});
        assert!(extent::is_within(&stored, extent::MAX_DEPTH));
        if execution.outcome().is_none() {
            waiting += 1
        } else {
            ended += 1
        }
        machine = json!({"StartAt": format!("f{depth}"), "States": {format!("f{depth}"): {
            "Type": "Parallel", "Branches": [machine], "End": true}}});
    }
    assert!(waiting > 5 && ended > 0, "{waiting} go on, {ended} have ended");
}

#[test]
fn definitions_that_only_deep_recursion_could_read_have_faults() {
    let within = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000))
    };
    for (field, value, why) in [
        (
            "Parameters",
            json!({"a.$": within("States.Array(", "", ")")}),
            "has calls in more than 32 others",
        ),
        ("InputPath", json!(format!("$[?{}]", within("(", "@.a", ")"))), "brackets"),
        ("InputPath", json!(format!("$[?{}(!", "length(".repeat(14))), "is no JSONPath"),
        ("InputPath", json!(format!("$[?{}!", "in(')',".repeat(1000))), "brackets"),
        ("ResultPath", json!(format!("${}", ".a".repeat(10_000))), "is no JSONPath"),
        ("ResultPath", json!(format!("${}", ".a".repeat(65))), "deeper than 64 levels"),
    ] {
        let document = json!({"StartAt": "p", "States": {"p": {
            "Type": "Pass", "End": true, field: value}}});
        let faults = Definition::parse(&document, &FieldPath::default()).unwrap_err().to_string();
        assert!(faults.contains(why), "{field}: {faults:.300}");
    }
    let document = json!({"StartAt": "p", "States": {"p": {"Type": "Pass", "End": true,
        "InputPath": format!("${}", "['((((((((((((((((((((']".repeat(50)),
        "ResultPath": format!("${}", ".a".repeat(64))}}});
    Definition::parse(&document, &FieldPath::default()).unwrap();
}
