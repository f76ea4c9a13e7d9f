//! What a run of a workflow did, as a text: a line for each step.

use std::fmt::Write;

use api_types::minik8s::{Step, WorkflowRun};
use serde_json::Value;

use crate::output::tabs::align;

/// The longest text of a value in a line, in characters.
const MAX_VALUE: usize = 60;
const NONE: &str = "<none>";

/// The steps that have ended, in the order of their ends, and how the run ended.
#[must_use]
pub fn text(run: &WorkflowRun) -> String {
    let status = run.status.clone().unwrap_or_default();
    let mut lines = String::from("STATE\tFUNCTION\tATTEMPTS\tDURATION\tINPUT\tOUTPUT\tERROR\n");
    if status.steps_dropped > 0 {
        let _ = writeln!(lines, "... {} more\t\t\t\t\t\t", status.steps_dropped);
    }
    let mut before = None;
    for step in &status.steps {
        lines += &line(step, step.input.as_ref().or(before));
        before = step.output.as_ref();
    }
    let mut text = align(&lines, 0, 3);
    let _ = write!(text, "\nPhase: {:?}\n", status.phase);
    if let Some(output) = &status.output {
        let _ = writeln!(text, "Output: {output}");
    }
    if let Some(error) = &status.error {
        let _ = writeln!(text, "Error: {error}: {}", status.message.unwrap_or_default());
    }
    text
}

fn line(step: &Step, input: Option<&Value>) -> String {
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
        value(input),
        value(step.output.as_ref()),
        cut(&error),
    ];
    cells.join("\t") + "\n"
}

fn duration(step: &Step) -> String {
    let (Some(start), Some(end)) = (&step.start_time, &step.completion_time) else {
        return NONE.to_owned();
    };
    let millis = end.0.duration_since(start.0).as_millis();
    if millis < 1000 {
        format!("{millis}ms")
    } else {
        format!("{}.{}s", millis / 1000, millis / 100 % 10)
    }
}

fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| cut(&value.to_string()))
}

/// On one line, and not too long.
fn cut(text: &str) -> String {
    let mut cut: String =
        text.chars().take(MAX_VALUE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_VALUE).is_some() {
        cut.push('…');
    }
    cut
}
