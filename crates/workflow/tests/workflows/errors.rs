//! Retry, Catch, timeouts, limits.

use std::time::Duration;

use serde_json::{Value, json};
use workflow::{Call, Event, MAX_STEPS, Outcome, RunError};

use crate::driver::{engine, run, start};

fn task(fields: &Value) -> Value {
    let mut task = json!({"Type": "Task", "Resource": "f", "End": true});
    task.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"StartAt": "T", "States": {
        "T": task,
        "Rescue": {"Type": "Pass", "End": true},
        "Other": {"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": true, "Next": "Rescue"}], "Default": "T"},
    }})
}

/// Every state is reached.
fn with_catch(catch: &Value) -> Value {
    let mut document = task(&json!({"Catch": catch}));
    document["States"].as_object_mut().unwrap().remove("Other");
    document
}

fn with_retry(retry: &Value) -> Value {
    json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "f", "Retry": retry, "End": true}}})
}

fn failing(error: &str) -> impl FnMut(&Call) -> Result<Value, RunError> {
    move |_| Err(RunError::new(error, "it is broken"))
}

#[test]
fn attempts_are_repeated_with_growing_pauses_and_the_same_step() {
    let document = with_retry(&json!([{
        "ErrorEquals": ["Busy"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4, "MaxDelaySeconds": 20,
    }]));
    let failed = run(&document, json!({}), failing("Busy"));
    assert_eq!(failed.error().error, "Busy");
    // 2 + 6 + 18 + 20 seconds.
    assert!((failed.seconds - 46.0).abs() < f64::EPSILON, "{}", failed.seconds);
    let attempts: Vec<_> = failed.calls.iter().map(|call| (call.step, call.attempt)).collect();
    assert_eq!(attempts, [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]);
    assert_eq!((failed.records.len(), failed.records[0].attempts), (1, 5));
}

#[test]
fn each_rule_counts_for_itself_and_only_for_its_errors() {
    let document = with_retry(&json!([
        {"ErrorEquals": ["A"], "MaxAttempts": 1},
        {"ErrorEquals": ["B"], "MaxAttempts": 2},
        {"ErrorEquals": ["Never"], "MaxAttempts": 0},
    ]));
    let mut errors = ["A", "B", "B", "A"].into_iter();
    let failed = run(&document, json!({}), |_| Err(RunError::new(errors.next().unwrap(), "")));
    assert_eq!((failed.error().error.as_str(), failed.calls.len()), ("A", 4));
    assert_eq!(run(&document, json!({}), failing("Never")).calls.len(), 1);
    assert_eq!(run(&document, json!({}), failing("Other")).calls.len(), 1);
}

#[test]
fn an_attempt_that_succeeds_ends_the_repetition() {
    let document = with_retry(&json!([{"ErrorEquals": ["States.ALL"]}]));
    let mut left = 2;
    let run = run(&document, json!({}), |_| {
        left -= 1;
        if left == 0 { Ok(json!("done")) } else { Err(RunError::timeout("late")) }
    });
    assert_eq!(run.output(), "done");
    let record = &run.records[0];
    assert_eq!(
        (record.attempts, record.error.as_ref().unwrap().error.as_str()),
        (2, "States.Timeout")
    );
    let failures: Vec<_> =
        record.failures.iter().map(|f| (f.attempt, f.error.cause.as_str())).collect();
    assert_eq!(failures, [(1, "late")]);
}

#[test]
fn of_the_attempts_that_failed_the_first_and_the_last_ones_are_told_in_short() {
    let document = with_retry(
        &json!([{"ErrorEquals": ["States.ALL"], "MaxAttempts": 24, "MaxDelaySeconds": 1}]),
    );
    let mut attempt = 0;
    let failed = run(&document, json!({}), |_| {
        attempt += 1;
        Err(RunError::new(&format!("E{attempt}{}", "é".repeat(1000)), "é".repeat(1000)))
    });
    let record = &failed.records[0];
    let told: Vec<_> = record.failures.iter().map(|failure| failure.attempt).collect();
    assert_eq!(told, (1..=5).chain(11..=25).collect::<Vec<_>>());
    let last = &record.failures[19];
    assert!(last.error.error.starts_with("E25é"), "{last:?}");
    assert_eq!(last.at.duration_since(record.failures[18].at).as_secs(), 1);
    assert_eq!(last.error.error.len(), 255 + "…".len());
    assert_eq!(last.error.cause.chars().count(), 512 + 1);
    assert_eq!(record.error.as_ref().unwrap().cause.chars().count(), 1000);
}

#[test]
fn jitter_spreads_the_pauses_below_their_length() {
    let document = with_retry(&json!([{
        "ErrorEquals": ["States.ALL"], "IntervalSeconds": 100, "BackoffRate": 1.0, "MaxAttempts": 20, "JitterStrategy": "FULL",
    }]));
    let failed = run(&document, json!({}), failing("Busy"));
    assert!(failed.seconds > 200.0 && failed.seconds < 1800.0, "{}", failed.seconds);
}

#[test]
fn an_error_is_caught_and_put_where_the_rule_says() {
    let document = with_catch(&json!([
        {"ErrorEquals": ["Else"], "Next": "Rescue"},
        {"ErrorEquals": ["Broken"], "ResultPath": "$.error", "Next": "Rescue"},
    ]));
    let caught = run(&document, json!({"x": 1}), failing("Broken"));
    assert_eq!(
        caught.output(),
        json!({"x": 1, "error": {"Error": "Broken", "Cause": "it is broken"}})
    );
    assert_eq!(caught.states(), ["T", "Rescue"]);
    let whole = run(&document, json!({"x": 1}), failing("Else"));
    assert_eq!(whole.output(), json!({"Error": "Else", "Cause": "it is broken"}));
    assert_eq!(run(&document, json!({}), failing("Third")).error().error, "Third");
}

#[test]
fn the_collective_names_match_what_they_stand_for() {
    let caught = |name: &str, error: &str| {
        let document = with_catch(&json!([{"ErrorEquals": [name], "Next": "Rescue"}]));
        matches!(run(&document, json!({}), failing(error)).outcome, Outcome::Succeeded(_))
    };
    assert!(caught("States.ALL", "Anything") && caught("States.ALL", "States.Timeout"));
    assert!(
        caught("States.TaskFailed", "Anything") && !caught("States.TaskFailed", "States.Timeout")
    );
    assert!(caught("States.Timeout", "States.Timeout"));
    assert!(!caught("States.ALL", "States.DataLimitExceeded"));
    assert!(caught("States.DataLimitExceeded", "States.DataLimitExceeded"));
    assert!(!caught("States.ALL", "States.Runtime") && !caught("States.Runtime", "States.Runtime"));
    assert!(!caught("States.BranchFailed", "Anything"));
}

#[test]
fn a_parallel_is_begun_anew_or_left_for_another_state() {
    let parallel = |fields: Value| {
        let mut parallel = json!({
            "Type": "Parallel", "End": true,
            "Branches": [
                {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "a", "End": true}}},
                {"StartAt": "B", "States": {"B": {"Type": "Task", "Resource": "b", "End": true}}},
            ],
        });
        parallel.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        parallel
    };
    let retried = json!({"StartAt": "P", "States": {
        "P": parallel(json!({"Retry": [{"ErrorEquals": ["States.BranchFailed"], "MaxAttempts": 1}]}))}});
    let mut first = true;
    let run1 = run(&retried, json!({}), |call| {
        if call.function == "b" && std::mem::take(&mut first) {
            return Err(RunError::new("Once", ""));
        }
        Ok(json!(call.step))
    });
    assert_eq!(run1.output(), json!([4, 5]), "the branches are visited anew");
    let caught = json!({"StartAt": "P", "States": {
        "P": parallel(json!({"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Rescue"}]})),
        "Rescue": {"Type": "Pass", "InputPath": "$.Error", "End": true}}});
    assert_eq!(run(&caught, json!({}), failing("Broken")).output(), "Broken");
}

#[test]
fn data_that_does_not_fit_can_be_caught_too() {
    let document = json!({"StartAt": "T", "States": {
        "T": {"Type": "Task", "Resource": "f", "Parameters": {"x.$": "$.no"},
              "Catch": [{"ErrorEquals": ["States.ParameterPathFailure"], "Next": "Rescue"}], "End": true},
        "Rescue": {"Type": "Succeed"}}});
    let caught = run(&document, json!({}), |_| unreachable!());
    assert_eq!(caught.output()["Error"], "States.ParameterPathFailure");
}

#[test]
fn a_call_is_told_how_long_it_may_take() {
    let timeout = |fields: Value| {
        let mut state = json!({"Type": "Task", "Resource": "f", "End": true});
        state.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let document = json!({"StartAt": "T", "States": {"T": state}});
        run(&document, json!({"s": 7}), |_| Ok(json!(null))).calls[0].timeout
    };
    assert_eq!(timeout(json!({})), None);
    assert_eq!(timeout(json!({"TimeoutSeconds": 3})), Some(Duration::from_secs(3)));
    assert_eq!(timeout(json!({"TimeoutSecondsPath": "$.s"})), Some(Duration::from_secs(7)));
}

#[test]
fn a_run_that_takes_longer_than_it_may_has_failed() {
    let document = json!({"TimeoutSeconds": 20, "StartAt": "W", "States": {
        "W": {"Type": "Wait", "Seconds": 15, "Next": "V"}, "V": {"Type": "Wait", "Seconds": 15, "End": true}}});
    let failed = run(&document, json!({}), |_| unreachable!());
    assert_eq!(failed.error().error, "States.Timeout");
    assert!((failed.seconds - 20.0).abs() < f64::EPSILON);
}

#[test]
fn a_circle_ends_at_the_limit_of_steps() {
    let document = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Variable": "$.stop", "BooleanEquals": true, "Next": "C"}], "Default": "A"},
        "C": {"Type": "Succeed"}}});
    let failed = run(&document, json!({"stop": false}), |_| unreachable!());
    assert_eq!(failed.error().error, "States.StepLimitExceeded");
    assert_eq!(failed.records.len() as u64, MAX_STEPS + 1);
    assert_eq!(run(&document, json!({"stop": true}), |_| unreachable!()).states(), ["A", "B", "C"]);
}

#[test]
fn data_that_is_too_long_is_not_passed_on() {
    let document =
        json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "f", "End": true}}});
    let long = "x".repeat(workflow::MAX_PAYLOAD);
    let failed = run(&document, json!({}), |_| Ok(json!(long)));
    assert_eq!(failed.error().error, "States.DataLimitExceeded");
    let fits = "x".repeat(workflow::MAX_PAYLOAD - 2);
    assert_eq!(run(&document, json!({}), |_| Ok(json!(fits))).output(), json!(fits));
    let many = json!({"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": {
        "StartAt": "E", "States": {"E": {"Type": "Task", "Resource": "f", "End": true}}}}}});
    let failed = run(&many, json!([1, 2, 3, 4, 5]), |_| Ok(json!(fits)));
    assert_eq!(failed.error().error, "States.DataLimitExceeded");
    assert_eq!(failed.calls.len(), 3, "the state would be longer than can be stored");
}

#[test]
fn what_failed_before_does_not_make_a_run_too_long() {
    let element = with_retry(&json!([{"ErrorEquals": ["States.ALL"], "MaxAttempts": 3}]));
    let document = json!({"StartAt": "M", "States": {"M": {
        "Type": "Map", "ItemProcessor": element, "End": true}}});
    let elements = vec!["x".repeat(1500); 100];
    let down = |call: &Call| match call.attempt {
        4 => Ok(json!(call.step)),
        n => Err(RunError::new(&format!("E{n}{}", "x".repeat(1000)), "no instance ".repeat(100))),
    };
    let run = run(&document, json!(elements), down);
    assert_eq!(run.output(), json!((2..102).collect::<Vec<_>>()));
    for record in &run.records[..100] {
        assert!(record.attempts == 4 && record.error.as_ref().unwrap().error.starts_with("E3x"));
    }
}

#[test]
fn a_run_that_is_cancelled_waits_for_nothing() {
    let document = with_retry(&json!([{"ErrorEquals": ["States.ALL"]}]));
    let engine = engine(&document, json!({}));
    let (mut execution, _) = engine.start(1);
    engine.apply(&mut execution, Event::Cancelled, start());
    assert_eq!(execution.outcome(), Some(&Outcome::Cancelled));
    assert_eq!(engine.pending(&execution), []);
    let late = Event::Returned { step: 1, output: json!(1) };
    engine.apply(&mut execution, late, start());
    assert_eq!(execution.outcome(), Some(&Outcome::Cancelled));
}
