//! Variables that expressions define.

use std::{collections::BTreeMap, sync::Arc};

use expressions::{Budget, Composed, EXPRESSION_LIMIT, Environment, Type, Value};

/// The value of an expression over `self` and these variables, as it is shown.
fn evaluate(variables: &[(&str, &str)], source: &str) -> String {
    let fields = variables.iter().map(|(name, _)| ((*name).to_owned(), Type::Dyn));
    let environment =
        Environment::new().with("self", Type::Dyn).with_fields("variables", "V", fields);
    let compile = |source: &str| environment.compile(source).map_err(|error| error.to_string());
    let defined =
        variables.iter().map(|(name, source)| ((*name).to_owned(), compile(source))).collect();
    let composed = Composed::new(BTreeMap::from([("self", Value::Int(2))]), Arc::new(defined));
    let value = compile(source).unwrap().evaluate(&composed, &mut Budget::new(EXPRESSION_LIMIT));
    value.map_or_else(|error| error.to_string(), |value| format!("{value:?}"))
}

#[test]
fn a_variable_may_refer_to_others_and_fails_only_who_asks_for_it() {
    let variables = [("a", "self + 1"), ("b", "variables.a * 2"), ("bad", "1 / 0")];
    assert_eq!(evaluate(&variables, "variables.b + variables.a"), "Int(9)");
    assert_eq!(evaluate(&variables, "variables.a > 0 || variables.bad"), "Bool(true)");
    let error = "composited variable \"bad\" fails to evaluate: division by zero";
    assert_eq!(evaluate(&variables, "variables.bad"), error);
    // It has itself inside.
    assert_eq!(evaluate(&[("a", "[variables]"), ("b", "1")], "variables.a[0].b"), "Int(1)");
}

#[test]
fn a_chain_of_variables_neither_overflows_the_stack_nor_nests_without_end() {
    let names: Vec<String> = (0..5_000).map(|i| format!("v{i}")).collect();
    let nested = |i: usize| if i == 0 { "1".to_owned() } else { format!("[variables.v{}]", i - 1) };
    let sources: Vec<String> = (0..names.len()).map(nested).collect();
    let pairs = names.iter().map(String::as_str).zip(sources.iter().map(String::as_str));
    let variables: Vec<(&str, &str)> = pairs.collect();
    assert!(evaluate(&variables, "variables.v4999").contains("cost limit exceeded"));
    // One after another.
    let all: Vec<String> = (0..60).map(|i| format!("size([variables.v{}]) > 0", i * 10)).collect();
    assert!(evaluate(&variables, &all.join(" && ")).contains("nests too deeply"));
}
