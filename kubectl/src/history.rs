//! What a run of a workflow did, as a text with a line for each step, or as a document.

use std::fmt::Write;

use api_types::{
    meta::MicroTime,
    minik8s::{Step, StepFailure, WorkflowRun, WorkflowRunStatus},
};
use serde_json::{Value, json};

use crate::output::tabs::align;

/// The longest text of a value in a line, in characters.
const MAX_VALUE: usize = 60;
const NONE: &str = "<none>";

/// How much of values is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Their beginnings.
    Short,
    /// All that is kept.
    Wide,
}

/// The steps that have ended, in the order of their ends, each with its attempts that failed, and how the run ended.
#[must_use]
pub fn text(run: &WorkflowRun, width: Width) -> String {
    let status = run.status.clone().unwrap_or_default();
    let mut text = dropped(&status).map(|line| line + "\n").unwrap_or_default();
    text += &align(&(rows(&status, width).join("\n") + "\n"), 0, 3);
    let _ = write!(text, "\nPhase: {:?}\n", status.phase);
    if let Some(output) = &status.output {
        let _ = writeln!(text, "Output: {output}");
    }
    if let Some(error) = &status.error {
        let _ = writeln!(text, "Error: {error}: {}", status.message.unwrap_or_default());
    }
    text
}

/// The same with all values as they are kept.
#[must_use]
pub fn document(run: &WorkflowRun) -> Value {
    let status = run.status.clone().unwrap_or_default();
    let steps = with_inputs(&status).map(|(step, input)| {
        let mut step = json!(step);
        step["input"] = json!(input);
        step
    });
    json!({
        "run": run.metadata.name,
        "workflow": run.spec.workflow,
        "phase": status.phase,
        "earlierStepsNotKept": status.steps_dropped,
        "steps": steps.collect::<Vec<_>>(),
        "output": status.output,
        "error": status.error,
        "message": status.message,
    })
}

/// Titles, and a row for each step and each attempt that failed; tabs separate the cells.
pub(crate) fn rows(status: &WorkflowRunStatus, width: Width) -> Vec<String> {
    let mut rows = vec!["STATE\tFUNCTION\tATTEMPTS\tDURATION\tINPUT\tOUTPUT\tERROR".to_owned()];
    for (step, input) in with_inputs(status) {
        rows.push(row(step, input, width));
        rows.extend(step.failures.iter().map(|failure| {
            let error = cut(&error(failure), width);
            format!(
                "  attempt {} failed\t\t\t{}\t\t\t{error}",
                failure.attempt,
                since(step, failure)
            )
        }));
    }
    rows
}

/// An input that is not stored is the output of the step before.
fn with_inputs(status: &WorkflowRunStatus) -> impl Iterator<Item = (&Step, Option<&Value>)> {
    let before = [None].into_iter().chain(status.steps.iter().map(|step| step.output.as_ref()));
    status.steps.iter().zip(before).map(|(step, before)| (step, step.input.as_ref().or(before)))
}

pub(crate) fn dropped(status: &WorkflowRunStatus) -> Option<String> {
    match status.steps_dropped {
        0 => None,
        1 => Some("1 earlier step is not kept".to_owned()),
        dropped => Some(format!("{dropped} earlier steps are not kept")),
    }
}

fn row(step: &Step, input: Option<&Value>, width: Width) -> String {
    let state = match step.iteration {
        Some(index) => format!("{}[{index}]", step.state),
        None => step.state.clone(),
    };
    let error = match (&step.error, &step.cause) {
        (Some(error), Some(cause)) => format!("{error}: {cause}"),
        (Some(error), None) => error.clone(),
        _ => NONE.to_owned(),
    };
    let cells = [
        state,
        step.function.clone().unwrap_or_else(|| NONE.to_owned()),
        step.attempts.to_string(),
        duration(step),
        value(input, width),
        value(step.output.as_ref(), width),
        cut(&error, width),
    ];
    cells.join("\t")
}

fn error(failure: &StepFailure) -> String {
    match &failure.cause {
        Some(cause) => format!("{}: {cause}", failure.error),
        None => failure.error.clone(),
    }
}

fn duration(step: &Step) -> String {
    between(step.start_time.as_ref(), step.completion_time.as_ref())
}

/// How long after the step's beginning the attempt failed.
fn since(step: &Step, failure: &StepFailure) -> String {
    between(step.start_time.as_ref(), failure.time.as_ref())
}

fn between(start: Option<&MicroTime>, end: Option<&MicroTime>) -> String {
    let (Some(start), Some(end)) = (start, end) else {
        return NONE.to_owned();
    };
    let millis = end.0.duration_since(start.0).as_millis();
    if millis < 1000 {
        format!("{millis}ms")
    } else {
        format!("{}.{}s", millis / 1000, millis / 100 % 10)
    }
}

fn value(value: Option<&Value>, width: Width) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| cut(&value.to_string(), width))
}

/// On one line, and not too long.
fn cut(text: &str, width: Width) -> String {
    let longest = if width == Width::Wide { usize::MAX } else { MAX_VALUE };
    let mut cut: String =
        text.chars().take(longest).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        cut.push('…');
    }
    cut
}
