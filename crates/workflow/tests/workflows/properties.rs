//! What holds for every document, every order of events and every moment at which a run is stored and read again.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use workflow::{Action, Engine, Event, Execution, MAX_STEPS, Outcome, Record, RunError};

use crate::driver::{Timestamp, engine, start};

/// A machine of which every state is reached: a line of states, of which some lead back, some fork and some fail.
fn machine(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(json!({"Type": "Pass"})),
        Just(json!({"Type": "Wait", "Seconds": 3})),
        Just(json!({"Type": "Task", "Resource": "works"})),
        Just(json!({"Type": "Task", "Resource": "works", "Parameters": {"id.$": "States.UUID()"}})),
        Just(json!({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {
            "FunctionName": "works", "Payload": null}})),
        Just(json!({"Type": "Task", "Resource": "flaky", "Retry": [
            {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "JitterStrategy": "FULL"}]})),
        Just(json!({"Type": "Task", "Resource": "fails", "Catch": "next"})),
        Just(json!({"Type": "Choice"})),
    ];
    let state = if depth == 0 {
        leaf.boxed()
    } else {
        let inner = machine(depth - 1);
        prop_oneof![
            4 => leaf,
            1 => prop::collection::vec(inner.clone(), 1..4)
                .prop_map(|branches| json!({"Type": "Parallel", "Branches": branches})),
            1 => (inner, 0_u32..4).prop_map(|(machine, most)| json!({
                "Type": "Map", "InputPath": "$$.Execution.Input.items", "MaxConcurrency": most, "ItemProcessor": machine})),
        ]
        .boxed()
    };
    prop::collection::vec(state, 1..5).prop_map(line).boxed()
}

fn line(states: Vec<Value>) -> Value {
    let last = states.len();
    let mut line = serde_json::Map::new();
    for (i, mut state) in states.into_iter().enumerate() {
        let next = format!("s{}", i + 1);
        if state["Type"] == "Choice" {
            let back =
                json!({"Variable": "$$.Execution.Name", "StringEquals": "round", "Next": "s0"});
            state["Choices"] = json!([back]);
            state["Default"] = json!(next);
        } else {
            state["Next"] = json!(next);
        }
        if state["Catch"] == "next" {
            state["Catch"] =
                json!([{"ErrorEquals": ["States.ALL"], "Next": next, "ResultPath": "$.caught"}]);
        }
        line.insert(format!("s{i}"), state);
    }
    line.insert(format!("s{last}"), json!({"Type": "Succeed"}));
    json!({"StartAt": "s0", "States": line})
}

/// The names within are made unlike all others.
fn document() -> impl Strategy<Value = Value> {
    machine(2).prop_map(|mut machine| {
        rename(&mut machine, &mut 0);
        machine
    })
}

fn rename(machine: &mut Value, count: &mut u32) {
    *count += 1;
    let prefix = format!("m{count}-");
    let renamed = |name: &Value| json!(format!("{prefix}{}", name.as_str().unwrap()));
    machine["StartAt"] = renamed(&machine["StartAt"]);
    let states = std::mem::take(machine["States"].as_object_mut().unwrap());
    for (name, mut state) in states {
        for pointer in ["/Next", "/Default", "/Choices/0/Next", "/Catch/0/Next"] {
            if let Some(target) = state.pointer_mut(pointer) {
                *target = renamed(target);
            }
        }
        state["Branches"].as_array_mut().into_iter().flatten().for_each(|m| rename(m, count));
        if let Some(inner) = state.get_mut("ItemProcessor") {
            rename(inner, count);
        }
        state.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        machine["States"][format!("{prefix}{name}")] = state;
    }
}

/// What a function answers depends on nothing but the step and the attempt.
fn answer(action: &Action) -> Event {
    let Action::Call(call) = action else { return Event::Elapsed { step: action.step() } };
    let step = call.step;
    let fails = match call.function.as_str() {
        "fails" => true,
        "flaky" => u64::from(call.attempt) <= step % 4,
        _ => false,
    };
    if fails {
        return Event::Failed { step, error: RunError::new("Broken", "") };
    }
    Event::Returned { step, output: json!({"function": call.function}) }
}

/// When that has happened.
fn when(action: &Action, now: Timestamp) -> Timestamp {
    match action {
        Action::Call(_) => now,
        Action::Wait { until, .. } => now.max(*until),
    }
}

fn input() -> Value {
    json!({"items": [1, 2, 3, 4, 5]})
}

/// Runs to the end. `pick` says which of the open actions happens next, `between` may do anything with the execution
/// that is no event.
fn drive(
    engine: &Engine,
    mut pick: impl FnMut(usize) -> usize,
    mut between: impl FnMut(Execution) -> Execution,
) -> (Outcome, Vec<Record>) {
    let (mut execution, mut records) = engine.start(3);
    let (mut events, mut now) = (0_u64, start());
    while execution.outcome().is_none() {
        let pending = engine.pending(&execution);
        assert!(!pending.is_empty(), "a run that has not ended waits for something");
        let action = &pending[pick(pending.len())];
        now = when(action, now);
        records.extend(engine.apply(&mut execution, answer(action), now));
        execution = between(execution);
        events += 1;
        assert!(events <= MAX_STEPS * 4, "the run goes on for ever");
    }
    (execution.outcome().unwrap().clone(), records)
}

/// How often each state was visited for each element, and what it passed on.
fn visits(records: &[Record]) -> BTreeMap<(String, Option<usize>), usize> {
    let mut visits = BTreeMap::new();
    for record in records {
        *visits.entry((record.state.clone(), record.iteration)).or_default() += 1;
    }
    visits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_run_that_is_stored_and_read_at_any_moment_ends_as_if_nothing_had_happened(
        document in document(), stored in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let engine = engine(&document, input());
        let plain = drive(&engine, |_| 0, |execution| execution);
        let mut at = stored.iter().cycle();
        let read = drive(&engine, |_| 0, |execution| {
            if !*at.next().unwrap() {
                return execution;
            }
            let text = serde_json::to_string(&execution).unwrap();
            let read = serde_json::from_str(&text).unwrap();
            assert_eq!(engine.pending(&read), engine.pending(&execution));
            read
        });
        prop_assert_eq!(plain, read);
    }

    #[test]
    fn the_order_of_events_loses_no_branch(
        document in document(), picks in prop::collection::vec(any::<prop::sample::Index>(), 1..50),
    ) {
        let engine = engine(&document, input());
        let first = drive(&engine, |_| 0, |execution| execution);
        let mut picks = picks.iter().cycle();
        let other = drive(&engine, |n| picks.next().unwrap().index(n), |execution| execution);
        // What takes another way because of a failure, whose steps have other numbers, is another run.
        if let (Outcome::Succeeded(_), Outcome::Succeeded(_)) = (&first.0, &other.0)
            && !document.to_string().contains("flaky")
        {
            prop_assert_eq!(visits(&first.1), visits(&other.1));
        }
    }

    #[test]
    fn events_that_nobody_waits_for_change_nothing(document in document(), step in 0_u64..30) {
        let engine = engine(&document, input());
        let (mut execution, _) = engine.start(3);
        let mut now = start();
        for _ in 0..10 {
            let pending = engine.pending(&execution);
            let waiting: Vec<_> = pending.iter().map(Action::step).collect();
            if step != 0 && !waiting.contains(&step) {
                let before = execution.clone();
                for event in [
                    Event::Returned { step, output: json!(1) },
                    Event::Failed { step, error: RunError::new("Late", "") },
                    Event::Elapsed { step },
                ] {
                    prop_assert!(engine.apply(&mut execution, event, now).is_empty());
                    prop_assert_eq!(&execution, &before);
                }
            }
            for action in &pending {
                // Too early for times, and no time for calls.
                if matches!(action, Action::Wait { until, .. } if *until <= now) {
                    continue;
                }
                let event = Event::Elapsed { step: action.step() };
                let before = execution.clone();
                prop_assert!(engine.apply(&mut execution, event, now).is_empty());
                prop_assert_eq!(&execution, &before);
            }
            let Some(action) = pending.first() else { break };
            now = when(action, now);
            engine.apply(&mut execution, answer(action), now);
        }
    }

    #[test]
    fn every_run_ends_within_the_limit_of_steps(document in document(), seed in any::<u64>()) {
        let mut round = document.to_string();
        // Those that lead back do so for ever.
        round = round.replace("\"round\"", "\"run-1\"");
        let engine = engine(&serde_json::from_str(&round).unwrap(), input());
        let mut random = seed;
        let (_, records) = drive(
            &engine,
            |n| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                usize::try_from(random >> 33).unwrap() % n
            },
            |execution| execution,
        );
        prop_assert!(records.iter().all(|record| record.step <= MAX_STEPS + 1));
    }
}
