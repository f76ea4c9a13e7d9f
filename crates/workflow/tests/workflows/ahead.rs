//! Which functions a run is about to call.

use serde_json::{Value, json};
use workflow::{Ahead, Engine, Execution};

use crate::driver::{engine, returned, start};

/// What is ahead at the start, and after each of the calls has returned its input.
fn check(document: &Value, input: &Value, expected: &[&[&str]]) {
    check_by(
        document,
        input,
        |engine, execution| names(engine.ahead(execution, start())),
        expected,
    );
}

/// What is next then, with a `?` at what is not certain.
fn check_next(document: &Value, input: &Value, expected: &[&[&str]]) {
    let next = |engine: &Engine, execution: &Execution| {
        let next = engine.next(execution, start()).into_iter();
        next.map(|ahead| ahead.function + if ahead.is_certain { "" } else { "?" }).collect()
    };
    check_by(document, input, next, expected);
}

fn names(ahead: Vec<Ahead>) -> Vec<String> {
    ahead.into_iter().map(|ahead| ahead.function).collect()
}

fn check_by(
    document: &Value,
    input: &Value,
    found: impl Fn(&Engine, &Execution) -> Vec<String>,
    expected: &[&[&str]],
) {
    let engine = engine(document, input.clone());
    let (mut execution, _) = engine.start(7);
    for (place, expected) in expected.iter().enumerate() {
        if place > 0 {
            let step = engine.pending(&execution)[0].step();
            engine.apply(&mut execution, returned(step, Ok(input.clone())), start());
        }
        assert_eq!(found(&engine, &execution), *expected, "after {place} calls");
    }
}

fn task(function: &str, next: &str) -> Value {
    let mut state = json!({"Type": "Task", "Resource": function});
    let (field, value) = if next.is_empty() { ("End", json!(true)) } else { ("Next", json!(next)) };
    state[field] = value;
    state
}

fn machine(states: &[(&str, Value)]) -> Value {
    let mut machine = json!({"StartAt": states[0].0, "States": {}});
    for (name, state) in states {
        machine["States"][name] = state.clone();
    }
    machine
}

#[test]
fn all_that_comes_for_certain_is_ahead_and_what_was_called_is_not() {
    let document = machine(&[
        ("A", task("a", "P")),
        ("P", json!({"Type": "Pass", "Next": "B"})),
        ("B", task("b", "C")),
        ("C", task("c", "")),
    ]);
    check(&document, &json!({}), &[&["b", "c"], &["c"], &[], &[]]);
    check_next(&document, &json!({}), &[&["b"], &["c"], &[], &[]]);
}

#[test]
fn every_branch_of_a_choice_is_ahead() {
    let document = machine(&[
        ("A", task("a", "S")),
        (
            "S",
            json!({
                "Type": "Choice", "Default": "C",
                "Choices": [
                    {"Variable": "$.x", "IsPresent": true, "Next": "B"},
                    {"Variable": "$.y", "IsPresent": true, "Next": "Bad"},
                ],
            }),
        ),
        ("B", task("b", "C")),
        ("C", task("c", "")),
        ("Bad", json!({"Type": "Fail", "Error": "Bad"})),
    ]);
    check(&document, &json!({}), &[&["b", "c"], &[]]);
    check_next(&document, &json!({}), &[&["b?", "c?"], &[]]);
}

#[test]
fn what_follows_a_wait_is_ahead_once_that_ends_soon() {
    let document = |seconds: u64| {
        machine(&[
            ("A", task("a", "W")),
            ("W", json!({"Type": "Wait", "Seconds": seconds, "Next": "B"})),
            ("B", task("b", "")),
        ])
    };
    check(&document(30), &json!({}), &[&["b"], &["b"]]);
    check(&document(31), &json!({}), &[&[], &[]]);
    let engine = engine(&document(31), json!({}));
    let (mut execution, _) = engine.start(7);
    let step = engine.pending(&execution)[0].step();
    engine.apply(&mut execution, returned(step, Ok(json!({}))), start());
    let later = start() + std::time::Duration::from_secs(1);
    assert_eq!(engine.next(&execution, start()), []);
    assert_eq!(names(engine.next(&execution, later)), ["b"]);
    assert_eq!(names(engine.ahead(&execution, later)), ["b"]);
}

#[test]
fn a_circle_ends() {
    let document = machine(&[
        ("A", task("a", "B")),
        (
            "B",
            json!({
                "Type": "Task", "Resource": "b", "Next": "A",
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "C"}],
            }),
        ),
        ("C", task("c", "")),
    ]);
    check(&document, &json!({}), &[&["a", "b"], &["a", "b"]]);
}

#[test]
fn branches_are_ahead_each_on_its_own_way_and_what_follows_them() {
    let branches = json!([
        machine(&[("X", task("x", "Y")), ("Y", task("y", ""))]),
        machine(&[("Z", task("z", ""))]),
    ]);
    let document = machine(&[
        ("A", task("a", "Fork")),
        ("Fork", json!({"Type": "Parallel", "Branches": branches, "Next": "Each"})),
        (
            "Each",
            json!({
                "Type": "Map", "ItemProcessor": machine(&[("E", task("e", ""))]), "Next": "Last",
            }),
        ),
        ("Last", task("last", "")),
    ]);
    check(
        &document,
        &json!([1]),
        &[&["e", "last", "x", "y", "z"], &["e", "last", "y"], &["e", "last"]],
    );
    check_next(&document, &json!([1]), &[&["x", "z"], &["y"], &["e"], &["e"], &["last"]]);
}

#[test]
fn what_follows_a_branch_that_may_take_long_is_not_ahead() {
    let branch = machine(&[
        ("X", task("x", "W")),
        ("W", json!({"Type": "Wait", "Seconds": 1000, "End": true})),
    ]);
    let document = machine(&[
        ("Fork", json!({"Type": "Parallel", "Branches": [branch], "Next": "Last"})),
        ("Last", task("last", "")),
    ]);
    check(&document, &json!({}), &[&[], &[]]);
}
