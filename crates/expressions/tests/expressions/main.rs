//! Expressions, their values, and what is said of wrong ones.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain fails, as it should")]

mod budget;
mod compile;
mod composed;
mod functions;
mod language;
mod properties;

use std::collections::BTreeMap;

use expressions::{Budget, EXPRESSION_LIMIT, Environment, Type, Value};
use serde_json::{Value as Json, json};

/// An object to speak about.
fn object() -> Json {
    json!({
        "metadata": {"name": "web", "labels": {"app": "web", "a-b": "dashed"}, "namespace": "default"},
        "spec": {"replicas": 3, "ports": [80, 443], "ratio": 0.5, "names": ["b", "a", "b"], "paused": false},
    })
}

fn evaluate(source: &str) -> Result<Value, String> {
    evaluate_for(source, &mut Budget::new(EXPRESSION_LIMIT))
}

fn evaluate_for(source: &str, budget: &mut Budget) -> Result<Value, String> {
    let environment = Environment::new().with("self", Type::Dyn).with("nothing", Type::Dyn);
    let environment = environment.with_struct("Object").with_struct("JSONPatch").with_bindings();
    let program = environment.compile(source).map_err(|error| error.to_string())?;
    let variables = BTreeMap::from([("self", Value::from(&object())), ("nothing", Value::Null)]);
    program.evaluate(&variables, budget).map_err(|error| error.to_string())
}

/// Whether an expression comes to this.
#[track_caller]
fn check(source: &str, expected: &Json) {
    let value = evaluate(source).and_then(|value| {
        value.to_json(&mut Budget::new(EXPRESSION_LIMIT)).map_err(|error| error.to_string())
    });
    assert_eq!(value.as_ref(), Ok(expected), "{source}");
}

/// Whether it is true.
#[track_caller]
fn holds(source: &str) {
    check(source, &json!(true));
}

/// Whether it fails, when it is compiled or when it is evaluated, and says so.
#[track_caller]
fn fails(source: &str, why: &str) {
    let error = evaluate(source).map(|value| format!("{value:?}")).expect_err(source);
    assert!(error.contains(why), "{source}: {error}");
}
