//! What is wrong with documents, all of it at once.

use api_machinery::FieldPath;
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use workflow::Definition;

fn check(document: &Value, expected: &Expect) {
    let errors = Definition::parse(document, &FieldPath::new("spec")).unwrap_err();
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    expected.assert_eq(&format!("{}\n", lines.join("\n")));
}

#[test]
fn of_what_is_no_definition() {
    check(
        &json!(1),
        &expect![[r#"
        spec: Invalid value: 1: must be an object
    "#]],
    );
    check(
        &json!({}),
        &expect![[r#"
        spec.StartAt: Required value
        spec.States: Required value
    "#]],
    );
    check(
        &json!({"StartAt": 1, "States": [], "TimeoutSeconds": 0, "X": 1, "QueryLanguage": "JSONata"}),
        &expect![[r#"
            spec.TimeoutSeconds: Invalid value: 0: must be a whole number of at least 1
            spec.QueryLanguage: Unsupported value: "JSONata": supported values: "JSONPath"
            spec.StartAt: Invalid value: 1: must be a string
            spec.States: Invalid value: []: must be an object
            spec.X: Forbidden: no field of a definition
        "#]],
    );
}

#[test]
fn of_ways() {
    let document = json!({"StartAt": "Nowhere", "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": true, "Next": "C"}], "Default": "D"},
        "T": {"Type": "Task", "Resource": "f", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "E"}], "End": true},
    }});
    check(
        &document,
        &expect![[r#"
        spec.StartAt: Not found: "Nowhere"
        spec.States[B].Choices[0].Next: Not found: "C"
        spec.States[B].Default: Not found: "D"
        spec.States[T].Catch[0].Next: Not found: "E"
    "#]],
    );
    let document = json!({"StartAt": "A", "States": {
        "A": {"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": true, "Next": "B"}], "Default": "End"},
        "B": {"Type": "Pass", "Next": "C"},
        "C": {"Type": "Pass", "Next": "B"},
        "Lonely": {"Type": "Pass", "Next": "End"},
        "End": {"Type": "Succeed"},
    }});
    check(
        &document,
        &expect![[r#"
        spec.States[Lonely]: Invalid value: "Lonely": no way leads to this state
        spec.States[B]: Invalid value: "B": no way leads from this state to an end
        spec.States[C]: Invalid value: "C": no way leads from this state to an end
    "#]],
    );
}

#[test]
fn of_states() {
    let document = json!({"StartAt": "Task", "States": {
        "Task": {
            "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "InputPath": "x", "Parameters": {"a.$": 1, "b": 1, "b.$": "$.b"},
            "ResultPath": "$.a[*]", "TimeoutSeconds": 1, "TimeoutSecondsPath": "$.t", "Choices": [],
            "Retry": [
                {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 0, "MaxAttempts": -1, "BackoffRate": 0.5, "JitterStrategy": "HALF", "X": 1},
                {"ErrorEquals": []},
            ],
            "Catch": [{"ErrorEquals": [1], "Next": ""}],
        },
        "Invoke": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true, "Next": "Task"},
        "Typeless": {"End": true},
        "Odd": {"Type": "Odd"},
        "Wait": {"Type": "Wait", "Seconds": 1, "Timestamp": "today", "End": true},
        "Forever": {"Type": "Wait", "End": true},
        "Fail": {"Type": "Fail", "Error": "a", "ErrorPath": "$.a", "CausePath": "cause", "Next": "Task"},
        "Parallel": {"Type": "Parallel", "Branches": [], "End": true},
        "Map": {"Type": "Map", "End": true, "MaxConcurrency": 1.5, "ItemReader": {}, "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "Task", "States": {"Task": {"Type": "Pass", "Next": "Outer"}}}},
        "NoMap": {"Type": "Map", "End": true},
    }});
    check(
        &document,
        &expect![[r#"
        spec.States[Fail].ErrorPath: Forbidden: may not be set with `Error`
        spec.States[Fail].CausePath: Invalid value: "cause": must be a path or an intrinsic function, "cause" is neither
        spec.States[Fail].Next: Forbidden: no field of a Fail state
        spec.States[Forever]: Required value: must have one of Seconds, Timestamp, SecondsPath, TimestampPath
        spec.States[Invoke].Next: Forbidden: may not be set with `End`
        spec.States[Invoke].Parameters.FunctionName: Required value
        spec.States[Map].MaxConcurrency: Invalid value: 1.5: must be a whole number of at least 0
        spec.States[Map].ItemProcessor.ProcessorConfig.Mode: Invalid value: "DISTRIBUTED": only INLINE is supported
        spec.States[Map].ItemProcessor.States[Task].Next: Not found: "Outer"
        spec.States[Map].ItemReader: Forbidden: no field of a Map state
        spec.States[NoMap].ItemProcessor: Required value
        spec.States[Odd].Type: Unsupported value: "Odd": supported values: "Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"
        spec.States[Parallel].Branches: Required value
        spec.States[Task].Resource: Invalid value: "arn:aws:states:::sqs:sendMessage.waitForTaskToken": must be a function's name, `arn:…:function:NAME` or `arn:aws:states:::lambda:invoke`
        spec.States[Task].TimeoutSecondsPath: Forbidden: may not be set with `TimeoutSeconds`
        spec.States[Task].Next: Required value: must have `Next` or `End`
        spec.States[Task].InputPath: Invalid value: "x": must begin with `$`
        spec.States[Task].Parameters.a.$: Invalid value: 1: must be a path or an intrinsic function
        spec.States[Task].Parameters.b.$: Duplicate value: "b"
        spec.States[Task].ResultPath: Invalid value: "$.a[*]": must have names and indexes only
        spec.States[Task].Retry[0].ErrorEquals: Invalid value: ["States.ALL"]: `States.ALL` must be alone, and in the last rule
        spec.States[Task].Retry[0].IntervalSeconds: Invalid value: 0: must be a whole number of at least 1
        spec.States[Task].Retry[0].MaxAttempts: Invalid value: -1: must be a whole number of at least 0
        spec.States[Task].Retry[0].BackoffRate: Invalid value: 0.5: must be a number of at least 1
        spec.States[Task].Retry[0].JitterStrategy: Unsupported value: "HALF": supported values: "FULL", "NONE"
        spec.States[Task].Retry[0].X: Forbidden: no field of a Retry
        spec.States[Task].Retry[1].ErrorEquals: Required value
        spec.States[Task].Catch[0].ErrorEquals[0]: Invalid value: 1: must be a string
        spec.States[Task].Catch[0].Next: Required value
        spec.States[Task].Choices: Forbidden: no field of a Task state
        spec.States[Typeless].Type: Required value
        spec.States[Wait].Timestamp: Forbidden: may not be set with `Seconds`
        spec.States[Wait].Timestamp: Invalid value: "today": must be a time, e.g. 2026-01-02T03:04:05Z
        spec.States: Duplicate value: "Task"
    "#]],
    );
}

#[test]
fn of_choices() {
    let document = json!({"StartAt": "C", "States": {
        "C": {"Type": "Choice", "Choices": [
            {"Next": "D"},
            {"Variable": "$.a", "Next": "D"},
            {"Variable": "$.a", "NumericEquals": "1", "Next": "D"},
            {"Variable": "$.a", "NumericEquals": 1, "StringEquals": "a", "Next": "D"},
            {"Variable": "$.a", "TimestampLessThan": "noon", "Next": "D"},
            {"Variable": "a", "BooleanEqualsPath": "b", "Next": "D"},
            {"Variable": "$.a", "NumericIsh": 1},
            {"And": [], "Next": "D"},
            {"Or": [{"Variable": "$.a", "IsNull": 1}, {"Not": {"Variable": "$.a", "IsNull": true, "Next": "D"}}], "Next": "D"},
        ]},
        "D": {"Type": "Succeed"},
    }});
    check(
        &document,
        &expect![[r#"
        spec.States[C].Choices[0].Variable: Required value
        spec.States[C].Choices[0]: Required value: must have an operator, e.g. `NumericEquals`
        spec.States[C].Choices[1]: Required value: must have an operator, e.g. `NumericEquals`
        spec.States[C].Choices[2].NumericEquals: Invalid value: "1": must be a number
        spec.States[C].Choices[3].NumericEquals: Forbidden: no field of a Choice's rule, which has one operator
        spec.States[C].Choices[4].TimestampLessThan: Invalid value: "noon": must be a time, e.g. 2026-01-02T03:04:05Z
        spec.States[C].Choices[5].Variable: Invalid value: "a": must begin with `$`
        spec.States[C].Choices[5].BooleanEqualsPath: Invalid value: "b": must begin with `$`
        spec.States[C].Choices[6].Next: Required value
        spec.States[C].Choices[6].NumericIsh: Forbidden: no field of a Choice's rule, which has one operator
        spec.States[C].Choices[7].And: Required value
        spec.States[C].Choices[8].Or[0].IsNull: Invalid value: 1: must be true or false
        spec.States[C].Choices[8].Or[1].Not.Next: Forbidden: no field of a Choice's rule, which has one operator
    "#]],
    );
}

#[test]
fn of_a_graph() {
    let document = json!({"startAt": "nowhere", "nodes": {
        "a": {"type": "Task", "next": "b", "choices": [{}], "retry": {"maxAttempts": 0, "intervalSeconds": -1}},
        "c": {"type": "Choice", "next": "a", "default": "d"},
        "d": {"type": "Choice", "choices": [{"next": "a"}, {"variable": "x", "numericEquals": 1, "stringEquals": "a", "next": "z"}]},
        "e": {"type": "Loop"},
    }});
    check(
        &document,
        &expect![[r#"
            spec.nodes[a].retry.maxAttempts: Invalid value: 0: must be a whole number of at least 1
            spec.nodes[a].retry.intervalSeconds: Invalid value: -1: must be a whole number of at least 0
            spec.nodes[a].choices: Forbidden: no field of a node of this type
            spec.nodes[c].choices: Required value
            spec.nodes[c].next: Forbidden: no field of a node of this type
            spec.nodes[d].choices[0].variable: Required value
            spec.nodes[d].choices[0]: Required value: must specify an operator, e.g. `numericEquals`
            spec.nodes[d].choices[1]: Forbidden: may not specify more than 1 operator
            spec.nodes[e].type: Unsupported value: "Loop": supported values: "Choice", "Task"
            spec.startAt: Not found: "nowhere"
            spec.nodes[a].next: Not found: "b"
            spec.nodes[d].choices[1].next: Not found: "z"
        "#]],
    );
    let document = json!({"startAt": "a", "nodes": {
        "a": {"type": "Task", "next": "b"}, "b": {"type": "Task", "next": "a"}, "c": {"type": "Task"}}});
    check(
        &document,
        &expect![[r#"
        spec.nodes[c]: Invalid value: "c": no way leads to this state
        spec.nodes[a]: Invalid value: "a": no way leads from this state to an end
        spec.nodes[b]: Invalid value: "b": no way leads from this state to an end
    "#]],
    );
    check(
        &json!({"startAt": "a", "nodes": {}}),
        &expect![[r#"
        spec.nodes: Required value
    "#]],
    );
}

#[test]
fn what_is_odd_and_allowed_is_warned_of() {
    let document = json!({"StartAt": "C", "States": {
        "C": {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": true, "Next": "T"}]},
        "T": {"Type": "Task", "Resource": "f", "HeartbeatSeconds": 5, "End": true},
    }});
    let definition = Definition::parse(&document, &FieldPath::new("spec")).unwrap();
    expect![[r#"
        spec.States[C]: has no `Default`: data for which no rule holds ends the run with States.NoChoiceMatched
        spec.States[T].HeartbeatSeconds: has no effect: a function sends no heartbeats and has its own identity"#]].assert_eq(&definition.warnings().join("\n"));
}
