//! What each type of state does.

use serde_json::{Value, json};
use workflow::RunError;

use crate::driver::{output, run};

fn one(state: Value) -> Value {
    let mut document = json!({"StartAt": "One", "States": {}});
    document["States"]["One"] = state;
    document
}

#[test]
fn a_pass_passes_its_input_or_its_result_on() {
    let given = json!({"order": {"total": 7}});
    assert_eq!(output(&one(json!({"Type": "Pass", "End": true})), given.clone()), given);
    let fixed = one(json!({
        "Type": "Pass", "Result": {"paid": true}, "ResultPath": "$.order.payment", "End": true,
    }));
    assert_eq!(output(&fixed, given), json!({"order": {"total": 7, "payment": {"paid": true}}}));
}

#[test]
fn a_task_calls_the_function_that_its_resource_names() {
    for resource in [
        "resize",
        "arn:aws:lambda:eu-central-1:123456789012:function:resize",
        "arn:aws:lambda:eu-central-1:123456789012:function:resize:$LATEST",
    ] {
        let document = one(json!({"Type": "Task", "Resource": resource, "End": true}));
        let run = run(&document, json!({"w": 3}), |_| Ok(json!("small")));
        assert_eq!(run.output(), "small");
        let call = &run.calls[0];
        assert_eq!((call.function.as_str(), &call.input), ("resize", &json!({"w": 3})));
    }
}

#[test]
fn a_function_is_invoked_by_the_parameters_of_the_invoking_resource() {
    let document = one(json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "arn:aws:lambda:x:1:function:price:live", "Payload.$": "$.item"},
        "ResultSelector": {"price.$": "$.Payload.amount", "code.$": "$.StatusCode"},
        "End": true,
    }));
    let run = run(&document, json!({"item": {"id": 4}}), |call| {
        assert_eq!((call.function.as_str(), &call.input), ("price", &json!({"id": 4})));
        Ok(json!({"amount": 12.5}))
    });
    assert_eq!(run.output(), json!({"price": 12.5, "code": 200}));
    assert_eq!(crate::driver::definition(&document).functions(), ["price"]);
}

#[test]
fn a_choice_goes_where_the_first_rule_that_holds_leads() {
    let document = json!({
        "StartAt": "Size",
        "States": {
            "Size": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.n", "NumericLessThan": 10, "Next": "Small"},
                    {"Variable": "$.n", "NumericLessThan": 100, "Next": "Middle"},
                ],
                "Default": "Large",
            },
            "Small": {"Type": "Pass", "Result": "small", "End": true},
            "Middle": {"Type": "Pass", "Result": "middle", "End": true},
            "Large": {"Type": "Succeed"},
        },
    });
    assert_eq!(output(&document, json!({"n": 9})), "small");
    assert_eq!(output(&document, json!({"n": 10})), "middle");
    assert_eq!(output(&document, json!({"n": 100})), json!({"n": 100}));
}

#[test]
fn a_choice_without_a_way_is_an_error() {
    let document = json!({
        "StartAt": "Size",
        "States": {
            "Size": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "Done"}]},
            "Done": {"Type": "Succeed"},
        },
    });
    let failed = run(&document, json!({"n": 2}), |_| unreachable!());
    assert_eq!(failed.error().error, "States.NoChoiceMatched");
    assert_eq!(crate::driver::definition(&document).warnings().len(), 1);
}

#[test]
fn a_wait_waits_in_four_ways() {
    let wait = |field: &str, value: Value| {
        let document = one(json!({"Type": "Wait", field: value, "End": true}));
        let given = json!({"seconds": 90, "time": "2026-01-02T05:04:15+02:00"});
        let run = run(&document, given.clone(), |_| unreachable!());
        assert_eq!(run.output(), given);
        run.seconds
    };
    assert!((wait("Seconds", json!(30)) - 30.0).abs() < f64::EPSILON);
    assert!((wait("SecondsPath", json!("$.seconds")) - 90.0).abs() < f64::EPSILON);
    assert!((wait("Timestamp", json!("2026-01-02T03:05:05Z")) - 60.0).abs() < f64::EPSILON);
    assert!((wait("TimestampPath", json!("$.time")) - 10.0).abs() < f64::EPSILON);
    assert!(wait("Timestamp", json!("1999-01-02T03:05:05Z")) < f64::EPSILON);
}

#[test]
fn a_wait_for_what_is_no_time_is_an_error() {
    for (field, value) in [("SecondsPath", json!(1.5)), ("TimestampPath", json!("tomorrow"))] {
        let document = one(json!({"Type": "Wait", field: "$.when", "End": true}));
        let failed = run(&document, json!({"when": value}), |_| unreachable!());
        assert_eq!(failed.error().error, "States.Runtime");
    }
}

#[test]
fn a_fail_fails_with_what_it_says_or_finds() {
    let fixed = one(json!({"Type": "Fail", "Error": "TooLate", "Cause": "closed"}));
    let failed = run(&fixed, json!({}), |_| unreachable!());
    assert_eq!(failed.error(), RunError::new("TooLate", "closed"));
    let found = one(json!({
        "Type": "Fail", "ErrorPath": "$.name", "CausePath": "States.Format('after {} s', $.after)",
    }));
    let failed = run(&found, json!({"name": "Late", "after": 3}), |_| unreachable!());
    assert_eq!(failed.error(), RunError::new("Late", "after 3 s"));
}

fn parallel() -> Value {
    one(json!({
        "Type": "Parallel",
        "Branches": [
            {"StartAt": "A", "States": {
                "A": {"Type": "Task", "Resource": "a", "Next": "A2"},
                "A2": {"Type": "Task", "Resource": "a2", "End": true},
            }},
            {"StartAt": "B", "States": {"B": {"Type": "Pass", "Result": 2, "End": true}}},
            {"StartAt": "C", "States": {"C": {"Type": "Wait", "Seconds": 5, "End": true}}},
        ],
        "ResultPath": "$.results",
        "End": true,
    }))
}

#[test]
fn a_parallel_gives_its_input_to_each_branch_and_lists_what_they_return() {
    let run = run(&parallel(), json!({"x": 1}), |call| {
        Ok(json!({"by": call.function, "given": call.input}))
    });
    let a = json!({"by": "a2", "given": {"by": "a", "given": {"x": 1}}});
    assert_eq!(run.output(), json!({"x": 1, "results": [a, 2, {"x": 1}]}));
    assert_eq!(run.states(), ["B", "A", "A2", "C", "One"]);
}

#[test]
fn a_parallel_fails_with_the_first_branch_that_does() {
    let failed = run(&parallel(), json!({}), |_| Err(RunError::new("Broken", "a is broken")));
    assert_eq!(failed.error(), RunError::new("Broken", "a is broken"));
    assert_eq!((failed.calls.len(), failed.states()), (1, vec!["B", "A", "One"]));
}

fn map(fields: &Value) -> Value {
    let mut map = json!({
        "Type": "Map", "ItemsPath": "$.items",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": "Each",
            "States": {"Each": {"Type": "Task", "Resource": "each", "End": true}},
        },
        "End": true,
    });
    map.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    one(map)
}

#[test]
fn a_map_does_the_same_for_each_element_in_their_order() {
    let document = map(&json!({}));
    let run = run(&document, json!({"items": [1, 2.5, 3]}), |call| {
        Ok(json!(call.input.as_f64().unwrap() * 2.0))
    });
    assert_eq!(run.output(), json!([2.0, 5.0, 6.0]));
    let iterations: Vec<_> = run.records.iter().map(|record| record.iteration).collect();
    assert_eq!(iterations, [Some(0), Some(1), Some(2), None]);
    assert_eq!(output(&document, json!({"items": []})), json!([]));
}

#[test]
fn a_map_makes_each_input_of_the_element_and_the_maps_own() {
    let document = map(&json!({"ItemSelector": {
        "index.$": "$$.Map.Item.Index", "value.$": "$$.Map.Item.Value", "rate.$": "$.rate", "run.$": "$$.Execution.Name",
    }}));
    let run =
        run(&document, json!({"items": ["a", "b"], "rate": 3}), |call| Ok(call.input.clone()));
    assert_eq!(
        run.output(),
        json!([
            {"index": 0, "value": "a", "rate": 3, "run": "run-1"},
            {"index": 1, "value": "b", "rate": 3, "run": "run-1"},
        ])
    );
}

#[test]
fn a_map_is_at_no_more_elements_than_it_may_be() {
    for (fields, most) in [
        (json!({"MaxConcurrency": 2}), 2),
        (json!({"MaxConcurrencyPath": "$.most"}), 3),
        (json!({"MaxConcurrency": 0}), 7),
        (json!({}), 7),
    ] {
        let input = json!({"items": [1, 2, 3, 4, 5, 6, 7], "most": 3});
        let engine = crate::driver::engine(&map(&fields), input);
        let (mut execution, _) = engine.start(1);
        let mut seen = 0;
        while execution.outcome().is_none() {
            let pending = engine.pending(&execution);
            seen = seen.max(pending.len());
            let event = crate::driver::returned(pending.last().unwrap().step(), Ok(json!(0)));
            engine.apply(&mut execution, event, crate::driver::start());
        }
        assert_eq!(seen, most);
    }
}

#[test]
fn the_older_words_for_a_map_mean_the_same() {
    let document = one(json!({
        "Type": "Map", "Parameters": {"v.$": "$$.Map.Item.Value"},
        "Iterator": {"StartAt": "Each", "States": {"Each": {"Type": "Pass", "End": true}}},
        "End": true,
    }));
    assert_eq!(output(&document, json!([1])), json!([{"v": 1}]));
}

#[test]
fn a_map_over_what_is_no_list_is_an_error() {
    let failed = run(&map(&json!({})), json!({"items": {"a": 1}}), |_| unreachable!());
    assert_eq!(failed.error().error, "States.Runtime");
}

#[test]
fn maps_and_parallels_nest() {
    let document = one(json!({
        "Type": "Map",
        "ItemProcessor": {"StartAt": "Both", "States": {"Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Inner", "States": {"Inner": {
                    "Type": "Map", "ItemsPath": "$.list",
                    "ItemProcessor": {"StartAt": "Call", "States": {
                        "Call": {"Type": "Task", "Resource": "f", "End": true}}},
                    "End": true}}},
                {"StartAt": "Index", "States": {"Index": {
                    "Type": "Pass", "Parameters": {"i.$": "$$.Map.Item.Index"}, "End": true}}},
            ],
            "End": true}}},
        "End": true,
    }));
    let run = run(&document, json!([{"list": [1, 2]}, {"list": [3]}]), |call| {
        Ok(json!(call.input.as_i64().unwrap() + 10))
    });
    assert_eq!(run.output(), json!([[[11, 12], {"i": 0}], [[13], {"i": 1}]]));
}
