//! The graph of nodes.

use api_machinery::names::function_name;
use serde_json::{Value, json};
use workflow::RunError;

use crate::driver::{definition, run};

fn print() -> Value {
    json!({
        "startAt": "addFive",
        "nodes": {
            "addFive": {"type": "Task", "next": "judge"},
            "judge": {"type": "Choice", "choices": [
                {"variable": "x", "numericEquals": 10, "next": "printEquals"},
                {"variable": "x", "numericNotEquals": 10, "next": "printNotEquals"}]},
            "printEquals": {"type": "Task"},
            "printNotEquals": {"type": "Task", "function": "print-not-equals"},
        },
    })
}

fn functions(call: &workflow::Call) -> Result<Value, RunError> {
    Ok(match call.function.as_str() {
        "add-five" => json!({"x": call.input["x"].as_i64().unwrap() + 5}),
        other => json!({"by": other, "given": call.input}),
    })
}

#[test]
fn a_node_is_given_what_the_one_before_returned() {
    let equal = run(&print(), json!({"x": 5}), functions);
    assert_eq!(equal.output(), json!({"by": "print-equals", "given": {"x": 10}}));
    let other = run(&print(), json!({"x": 6}), functions);
    assert_eq!(other.output(), json!({"by": "print-not-equals", "given": {"x": 11}}));
    assert_eq!(other.states(), ["addFive", "judge", "printNotEquals"]);
    assert_eq!(definition(&print()).functions(), ["add-five", "print-equals", "print-not-equals"]);
}

#[test]
fn a_function_is_called_by_the_name_that_it_is_made_with() {
    let document = json!({"startAt": "add_Five", "nodes": {"add_Five": {"type": "Task"}}});
    assert_eq!(definition(&document).functions(), [function_name("add_Five")]);
    assert_eq!(function_name("add_Five"), "add-five");
}

fn holds(variable: &str, operator: &str, other: Value, input: Value) -> Result<bool, RunError> {
    let mut document = json!({
        "startAt": "judge",
        "nodes": {
            "judge": {"type": "Choice", "choices": [{"variable": variable, "next": "yes"}], "default": "no"},
            "yes": {"type": "Task"}, "no": {"type": "Task"},
        },
    });
    document["nodes"]["judge"]["choices"][0][operator] = other;
    let run = run(&document, input, |call| Ok(json!(call.function == "yes")));
    match &run.outcome {
        workflow::Outcome::Failed(error) => Err(error.clone()),
        _ => Ok(run.output().as_bool().unwrap()),
    }
}

#[test]
fn the_nine_operators() {
    for (operator, other, [smaller, equal, greater]) in [
        ("numericEquals", json!(2), [false, true, false]),
        ("numericNotEquals", json!(2), [true, false, true]),
        ("numericLessThan", json!(2.0), [true, false, false]),
        ("numericGreaterThan", json!(2), [false, false, true]),
        ("stringEquals", json!("b"), [false, true, false]),
        ("stringNotEquals", json!("b"), [true, false, true]),
        ("stringLessThan", json!("b"), [true, false, false]),
        ("stringGreaterThan", json!("b"), [false, false, true]),
    ] {
        let values = if other.is_string() {
            [json!("B"), json!("b"), json!("ba")]
        } else {
            [json!(1.9), json!(2), json!(3)]
        };
        for (value, expected) in values.into_iter().zip([smaller, equal, greater]) {
            let found = holds("x", operator, other.clone(), json!({"x": value}));
            assert_eq!(found, Ok(expected), "{value} {operator} {other}");
        }
    }
    assert_eq!(holds("x", "booleanEquals", json!(true), json!({"x": true})), Ok(true));
    assert_eq!(holds("x", "booleanEquals", json!(true), json!({"x": false})), Ok(false));
}

#[test]
fn what_is_of_another_type_is_neither_equal_nor_different() {
    for operator in ["numericEquals", "numericNotEquals"] {
        assert_eq!(holds("x", operator, json!(10), json!({"x": "10"})), Ok(false));
    }
    let missing = holds("x", "numericEquals", json!(0), json!({})).unwrap_err();
    assert_eq!(missing.error, "States.Runtime");
}

#[test]
fn a_variable_is_a_path_with_dots_or_a_jsonpath() {
    let input = json!({"order": {"items": [{"n": 1}, {"n": 2}], "0": 5}});
    for variable in ["order.items.1.n", "$.order.items[1].n"] {
        assert_eq!(holds(variable, "numericEquals", json!(2), input.clone()), Ok(true));
    }
    assert_eq!(holds("order.0", "numericEquals", json!(5), input), Ok(true));
}

#[test]
fn a_node_asks_again_for_what_cannot_be_reached_and_not_for_what_fails() {
    let calls = |document: &Value, error: &str| {
        run(document, json!({}), |_| Err(RunError::new(error, ""))).calls.len()
    };
    let plain = json!({"startAt": "a", "nodes": {"a": {"type": "Task"}}});
    for error in ["Function.Unavailable", "Function.NotTaken"] {
        assert_eq!(calls(&plain, error), 5);
    }
    assert_eq!(calls(&plain, "ValueError"), 1);
    let given = json!({"startAt": "a", "nodes": {
        "a": {"type": "Task", "retry": {"maxAttempts": 3, "intervalSeconds": 0}}}});
    assert_eq!(calls(&given, "ValueError"), 3);
}
