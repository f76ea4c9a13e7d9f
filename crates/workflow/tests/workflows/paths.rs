//! How data goes through a state.

use serde_json::{Value, json};

use crate::driver::{output, run};

fn pass(fields: &Value) -> Value {
    let mut pass = json!({"Type": "Pass", "End": true});
    pass.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"StartAt": "P", "States": {"P": pass}})
}

#[test]
fn each_path_has_its_place() {
    let document = json!({"StartAt": "T", "States": {"T": {
        "Type": "Task", "Resource": "f",
        "InputPath": "$.order",
        "Parameters": {"id.$": "$.id", "fixed": [1, {"state.$": "$$.State.Name"}]},
        "ResultSelector": {"sum.$": "$.total"},
        "ResultPath": "$.priced",
        "OutputPath": "$.priced",
        "End": true,
    }}});
    let run = run(&document, json!({"order": {"id": 17}, "other": 1}), |call| {
        assert_eq!(call.input, json!({"id": 17, "fixed": [1, {"state": "T"}]}));
        Ok(json!({"total": 3, "more": 4}))
    });
    assert_eq!(run.output(), json!({"sum": 3}));
    assert_eq!(run.records[0].input, json!({"order": {"id": 17}, "other": 1}));
}

#[test]
fn nothing_and_everything_can_be_selected() {
    let given = json!({"a": 1});
    assert_eq!(output(&pass(&json!({"InputPath": null})), given.clone()), json!({}));
    assert_eq!(output(&pass(&json!({"OutputPath": null})), given.clone()), json!({}));
    let dropped = json!({"Result": 5, "ResultPath": null});
    assert_eq!(output(&pass(&dropped), given.clone()), given);
    assert_eq!(output(&pass(&json!({"InputPath": "$$.Execution.Input"})), given.clone()), given);
}

#[test]
fn a_result_is_put_where_there_is_a_place_for_it() {
    let put = |path: &str, given: Value| {
        run(&pass(&json!({"Result": 5, "ResultPath": path})), given, |_| unreachable!())
    };
    assert_eq!(put("$.a.b", json!({})).output(), json!({"a": {"b": 5}}));
    assert_eq!(put("$['a b'].c-d", json!({"x": 0})).output(), json!({"x": 0, "a b": {"c-d": 5}}));
    assert_eq!(put("$.list[1]", json!({"list": [1, 2, 3]})).output(), json!({"list": [1, 5, 3]}));
    for (path, given) in
        [("$.list[3]", json!({"list": [1]})), ("$.a.b", json!({"a": 1})), ("$.a", json!(1))]
    {
        assert_eq!(put(path, given).error().error, "States.ResultPathMatchFailure", "{path}");
    }
}

#[test]
fn paths_that_may_lead_to_several_values_make_lists() {
    let given = json!({"books": [{"t": "A", "p": 8}, {"t": "B", "p": 12.5}, {"t": "C"}], "one-two": {"x": 1}});
    for (path, expected) in [
        ("$.books[0].t", json!("A")),
        ("$.books[*].t", json!(["A", "B", "C"])),
        ("$.books[?(@.p < 10)].t", json!(["A"])),
        ("$.books[1:].t", json!(["B", "C"])),
        ("$.books[?(@.p > 99)]", json!([])),
        ("$..p", json!([8, 12.5])),
        ("$.one-two.x", json!(1)),
        ("$['one-two']['x']", json!(1)),
        ("$", given.clone()),
    ] {
        assert_eq!(output(&pass(&json!({"InputPath": path})), given.clone()), expected, "{path}");
    }
    let failed =
        run(&pass(&json!({"Parameters": {"x.$": "$.no.such"}})), given, |_| unreachable!());
    assert_eq!(failed.error().error, "States.ParameterPathFailure");
}

#[test]
fn numbers_keep_their_type_all_the_way() {
    let given: Value = serde_json::from_str(
        r#"{"i": 9223372036854775807, "u": 18446744073709551615, "f": 1.0, "n": -0.5}"#,
    )
    .unwrap();
    let document =
        pass(&json!({"Parameters": {"i.$": "$.i", "u.$": "$.u", "f.$": "$.f", "n.$": "$.n"}}));
    assert_eq!(output(&document, given.clone()).to_string(), given.to_string());
}

#[test]
fn the_context_object_tells_of_the_run_and_the_state() {
    let document = pass(&json!({"Parameters": {"all.$": "$$"}}));
    assert_eq!(
        output(&document, json!({"x": 1}))["all"],
        json!({
            "Execution": {"Id": "uid-1", "Name": "run-1", "Input": {"x": 1}, "StartTime": "2026-01-02T03:04:05Z"},
            "State": {"Name": "P", "EnteredTime": "2026-01-02T03:04:05Z", "RetryCount": 0},
            "StateMachine": {"Id": "flow", "Name": "flow"},
        })
    );
}
