//! What of a run is stored: where it is, and what it has done, within limits.

use api_types::{
    jiff::Timestamp,
    meta::{MicroTime, Time},
    minik8s::{RunPhase, Step, StepFailure, WorkflowRunStatus},
};
use workflow::{Execution, Failure, Outcome, Record, RunError};

/// The most steps that history tells, and how long their JSON texts may be together.
const MAX_STEPS: usize = 500;
const MAX_HISTORY: usize = 256 * 1024;

/// Takes in how far the run is.
pub(super) fn take(
    status: &mut WorkflowRunStatus,
    execution: &Execution,
    records: Vec<Record>,
    now: Timestamp,
) -> serde_json::Result<()> {
    add_steps(status, records);
    let Some(outcome) = execution.outcome() else {
        status.phase = RunPhase::Running;
        status.execution = Some(serde_json::to_value(execution)?);
        return Ok(());
    };
    match outcome {
        Outcome::Succeeded(output) => {
            status.output = Some(output.clone());
            end(status, RunPhase::Succeeded, now);
        }
        Outcome::Failed(error) => fail(status, error, now),
        Outcome::Cancelled => {
            status.message = Some("cancelled".to_owned());
            end(status, RunPhase::Cancelled, now);
        }
    }
    Ok(())
}

/// Ends a run that failed.
pub(super) fn fail(status: &mut WorkflowRunStatus, error: &RunError, now: Timestamp) {
    status.error = Some(error.error.clone());
    status.message = Some(error.cause.clone()).filter(|cause| !cause.is_empty());
    end(status, RunPhase::Failed, now);
}

/// What is stored of a run in place of a status that the API server does not take.
pub(super) fn refused(status: &WorkflowRunStatus, why: &str, now: Timestamp) -> WorkflowRunStatus {
    let steps = i32::try_from(status.steps.len()).unwrap_or(i32::MAX);
    let mut short = WorkflowRunStatus {
        start_time: status.start_time.clone(),
        steps_dropped: status.steps_dropped.saturating_add(steps),
        ..WorkflowRunStatus::default()
    };
    fail(&mut short, &RunError::data_limit(format!("the run cannot be stored: {why:.500}")), now);
    short
}

fn end(status: &mut WorkflowRunStatus, phase: RunPhase, now: Timestamp) {
    status.phase = phase;
    status.execution = None;
    status.completion_time = Some(Time(now));
    super::lease::release(status);
}

fn add_steps(status: &mut WorkflowRunStatus, records: Vec<Record>) {
    for record in records {
        let mut step = step(record);
        let before = status.steps.last();
        if before.is_some_and(|before| before.output.is_some() && before.output == step.input) {
            step.input = None;
        }
        status.steps.push(step);
    }
    let lengths: Vec<_> = status.steps.iter().map(length).collect();
    let (mut total, mut kept) = (0, 0);
    for length in lengths.iter().rev() {
        total += length;
        if total > MAX_HISTORY || kept == MAX_STEPS {
            break;
        }
        kept += 1;
    }
    let dropped = status.steps.len() - kept;
    status.steps.drain(..dropped);
    status.steps_dropped += i32::try_from(dropped).unwrap_or(i32::MAX);
}

fn step(record: Record) -> Step {
    let error = record.error.unwrap_or_else(|| RunError::new("", ""));
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let failures = if record.attempts > 1 { record.failures } else { Vec::new() };
    let failure = |failure: Failure| StepFailure {
        attempt: i32::try_from(failure.attempt).unwrap_or(i32::MAX),
        time: Some(MicroTime(failure.at)),
        error: failure.error.error,
        cause: given(failure.error.cause),
    };
    Step {
        failures: failures.into_iter().map(failure).collect(),
        state: record.state,
        iteration: record.iteration.and_then(|index| i32::try_from(index).ok()),
        function: record.function,
        attempts: i32::try_from(record.attempts).unwrap_or(i32::MAX),
        start_time: Some(MicroTime(record.started)),
        completion_time: Some(MicroTime(record.ended)),
        input: Some(record.input),
        output: record.output,
        error: given(error.error),
        cause: given(error.cause),
    }
}

fn length(step: &Step) -> usize {
    serde_json::to_string(step).map_or(MAX_HISTORY, |text| text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(step: u64, input: Value, output: Value) -> Record {
        let time: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        Record {
            step,
            state: format!("s{step}"),
            iteration: None,
            function: None,
            attempts: 1,
            started: time,
            ended: time,
            input,
            output: Some(output),
            error: None,
            failures: Vec::new(),
        }
    }

    #[test]
    fn an_input_is_told_only_if_it_is_not_what_the_step_before_passed_on() {
        let mut status = WorkflowRunStatus::default();
        add_steps(&mut status, vec![record(1, json!(1), json!(2)), record(2, json!(2), json!(3))]);
        add_steps(&mut status, vec![record(3, json!(7), json!(3))]);
        let inputs: Vec<_> = status.steps.iter().map(|step| step.input.clone()).collect();
        assert_eq!(inputs, [Some(json!(1)), None, Some(json!(7))]);
    }

    #[test]
    fn history_is_limited_in_steps_and_in_length() {
        let mut status = WorkflowRunStatus::default();
        add_steps(&mut status, (0..600).map(|n| record(n, json!(n), json!("a"))).collect());
        assert_eq!((status.steps.len(), status.steps_dropped), (500, 100));
        assert_eq!(status.steps[0].state, "s100");
        let long = json!("é".repeat(2000));
        add_steps(&mut status, (0..300).map(|n| record(n, json!(n), long.clone())).collect());
        let all: usize = status.steps.iter().map(length).sum();
        assert!(all <= MAX_HISTORY && all > MAX_HISTORY - 5000, "{all}");
        assert_eq!(status.steps.len() + usize::try_from(status.steps_dropped).unwrap(), 900);
    }
}
