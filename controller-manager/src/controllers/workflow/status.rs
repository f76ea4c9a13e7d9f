//! What is told of a workflow: whether it can run, and how it last did.

use std::sync::Arc;

use api_machinery::FieldPath;
use api_types::jiff::Timestamp;
use api_types::meta::{Condition, Time};
use api_types::minik8s::{LastRun, Workflow, WorkflowRun, WorkflowStatus};
use workflow::Definition;

const READY: &str = "Ready";
/// How much of a run's output is told with its workflow, in characters.
const MAX_OUTPUT: usize = 100;

pub(super) fn status(
    workflow: &Workflow,
    runs: &[Arc<WorkflowRun>],
    exists: impl Fn(&str) -> bool,
    now: Timestamp,
) -> WorkflowStatus {
    let generation = workflow.metadata.generation;
    let (ready, reason, message) = readiness(workflow, exists);
    let before = workflow.status.as_ref().map(|status| status.conditions.as_slice());
    let before = before.unwrap_or_default().iter().find(|condition| condition.type_ == READY);
    let since =
        before.filter(|before| before.status == ready).map(|b| b.last_transition_time.clone());
    let condition = Condition {
        type_: READY.to_owned(),
        status: ready.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    let has_ended =
        |run: &&Arc<WorkflowRun>| run.status.as_ref().is_some_and(|s| s.phase.has_ended());
    let active = runs.len() - runs.iter().filter(has_ended).count();
    let created = |run: &&Arc<WorkflowRun>| {
        (run.metadata.creation_timestamp.clone(), run.metadata.name.clone())
    };
    WorkflowStatus {
        last_run: runs.iter().max_by_key(created).map(|run| last_run(run)),
        active: i32::try_from(active).unwrap_or(i32::MAX),
        observed_generation: generation,
        conditions: vec![condition],
    }
}

/// Status, reason and message of the condition.
fn readiness(
    workflow: &Workflow,
    exists: impl Fn(&str) -> bool,
) -> (&'static str, &'static str, String) {
    let definition = match Definition::parse(&workflow.spec.document(), &FieldPath::new("spec")) {
        Ok(definition) => definition,
        Err(faults) => return ("False", "InvalidDefinition", faults.to_string()),
    };
    let missing: Vec<_> = definition.functions().into_iter().filter(|name| !exists(name)).collect();
    if missing.is_empty() {
        return ("True", "FunctionsExist", definition.warnings().join("; "));
    }
    let missing = format!("functions that do not exist: {}", missing.join(", "));
    let message: Vec<_> = [missing].into_iter().chain(definition.warnings().to_vec()).collect();
    ("False", "FunctionsNotFound", message.join("; "))
}

fn last_run(run: &WorkflowRun) -> LastRun {
    let status = run.status.clone().unwrap_or_default();
    LastRun {
        name: run.metadata.name.clone().unwrap_or_default(),
        phase: status.phase,
        time: status.completion_time.or(status.start_time),
        output: status.output.map(|output| cut(&output.to_string())),
        message: status.message.or(status.error),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_OUTPUT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workflow(status: Value) -> Workflow {
        serde_json::from_value(json!({
            "metadata": {"name": "w", "generation": 2},
            "spec": {"startAt": "addFive", "nodes": {"addFive": {"type": "Task"}}},
            "status": status,
        }))
        .unwrap()
    }

    fn run(name: &str, created: &str, status: Value) -> Arc<WorkflowRun> {
        let metadata = json!({"name": name, "creationTimestamp": created});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap())
    }

    #[test]
    fn a_workflow_is_ready_when_its_functions_exist_and_since_then() {
        let (first, later) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let told = |workflow: &Workflow, exists: bool, now: &str| {
            let exists = |name: &str| exists && name == "add-five";
            status(workflow, &[], exists, now.parse().unwrap())
        };
        let missing = told(&workflow(json!(null)), false, first);
        let condition = &missing.conditions[0];
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ("False", "FunctionsNotFound")
        );
        assert_eq!(condition.message, "functions that do not exist: add-five");
        let before = workflow(serde_json::to_value(&missing).unwrap());
        assert_eq!(told(&before, false, later), missing);
        let ready = told(&before, true, later);
        assert_eq!(ready.conditions[0].status, "True");
        assert_eq!(ready.conditions[0].last_transition_time.0, later.parse().unwrap());
        assert_eq!(ready.observed_generation, Some(2));
    }

    #[test]
    fn the_run_that_was_created_last_is_told_in_short() {
        let runs = [
            run(
                "b",
                "2026-01-01T00:00:02Z",
                json!({
                "phase": "Succeeded", "output": "x".repeat(200), "completionTime": "2026-01-01T00:00:03Z"}),
            ),
            run("a", "2026-01-01T00:00:01Z", json!({"phase": "Running"})),
        ];
        let told = status(&workflow(json!(null)), &runs, |_| true, Timestamp::UNIX_EPOCH);
        let last = told.last_run.unwrap();
        assert_eq!((told.active, last.name.as_str()), (1, "b"));
        assert_eq!(last.output.unwrap().chars().count(), MAX_OUTPUT + 1);
    }
}
