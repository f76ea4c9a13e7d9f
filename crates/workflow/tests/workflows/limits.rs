//! What a run may do at once, and how much memory it may take for it.

use serde_json::{Value, json};
use workflow::{Action, MAX_PAYLOAD};

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
