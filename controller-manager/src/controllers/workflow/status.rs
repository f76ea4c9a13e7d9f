//! What is told of a workflow: whether it can run, and how it last did.

use std::sync::Arc;

use api_machinery::FieldPath;
use api_types::jiff::Timestamp;
use api_types::meta::{Condition, Time};
use api_types::minik8s::{LastRun, Workflow, WorkflowRun, WorkflowStatus};
use component::events::EventType;
use workflow::Definition;

/// Whether the definition is one.
const READY: &str = "Ready";
/// Whether there is every function that it names. A run may go well without one that is made in time, or is never called,
/// so a workflow is ready without.
const FUNCTIONS_EXIST: &str = "FunctionsExist";
/// How much of a run's output is told with its workflow, in characters.
const MAX_OUTPUT: usize = 100;

pub(super) fn status(
    workflow: &Workflow,
    runs: &[Arc<WorkflowRun>],
    exists: impl Fn(&str) -> bool,
    now: Timestamp,
) -> WorkflowStatus {
    let has_ended =
        |run: &&Arc<WorkflowRun>| run.status.as_ref().is_some_and(|s| s.phase.has_ended());
    let active = runs.len() - runs.iter().filter(has_ended).count();
    let created = |run: &&Arc<WorkflowRun>| {
        (run.metadata.creation_timestamp.clone(), run.metadata.name.clone())
    };
    WorkflowStatus {
        last_run: runs.iter().max_by_key(created).map(|run| last_run(run)),
        active: i32::try_from(active).unwrap_or(i32::MAX),
        observed_generation: workflow.metadata.generation,
        conditions: conditions(workflow, exists, now),
    }
}

/// What people are to hear of the conditions that have changed: type, reason and message.
pub(super) fn news(before: &Workflow, after: &WorkflowStatus) -> Vec<(EventType, String, String)> {
    let told = |condition: &&Condition| match condition_before(before, &condition.type_) {
        Some(before) => before.reason != condition.reason,
        None => condition.status == "False",
    };
    let news = |condition: &Condition| {
        let type_ = if condition.status == "True" { EventType::Normal } else { EventType::Warning };
        (type_, condition.reason.clone(), condition.message.clone())
    };
    after.conditions.iter().filter(told).map(news).collect()
}

fn condition_before<'a>(workflow: &'a Workflow, type_: &str) -> Option<&'a Condition> {
    let before = workflow.status.as_ref()?;
    before.conditions.iter().find(|condition| condition.type_ == type_)
}

fn conditions(
    workflow: &Workflow,
    exists: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |type_: &str, status: &str, reason: &str, message: String| {
        let since = condition_before(workflow, type_).filter(|before| before.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: workflow.metadata.generation,
            last_transition_time: since.map_or(Time(now), |b| b.last_transition_time.clone()),
        }
    };
    let (document, spec) = (workflow.spec.document(), FieldPath::new("spec"));
    let place = if workflow.spec.definition.is_some() { spec.child("definition") } else { spec };
    let definition = match Definition::parse(&document, &place) {
        Ok(definition) => definition,
        Err(faults) => {
            return vec![condition(READY, "False", "InvalidDefinition", faults.to_string())];
        }
    };
    let warnings = definition.warnings().join("; ");
    let missing: Vec<_> = definition.functions().into_iter().filter(|name| !exists(name)).collect();
    let functions = if missing.is_empty() {
        let found = "every function exists".to_owned();
        condition(FUNCTIONS_EXIST, "True", "FunctionsFound", found)
    } else {
        let missing = format!("functions that do not exist: {}", missing.join(", "));
        condition(FUNCTIONS_EXIST, "False", "FunctionsNotFound", missing)
    };
    vec![condition(READY, "True", "ValidDefinition", warnings), functions]
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
    fn it_is_told_whether_there_are_the_functions_of_a_workflow_and_since_when() {
        let (first, later) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let told = |workflow: &Workflow, exists: bool, now: &str| {
            let exists = |name: &str| exists && name == "add-five";
            status(workflow, &[], exists, now.parse().unwrap())
        };
        let short = |status: &WorkflowStatus| {
            let short = |c: &Condition| (c.type_.clone(), c.status.clone(), c.reason.clone());
            status.conditions.iter().map(short).collect::<Vec<_>>()
        };
        let texts = |type_: &str, status: &str, reason: &str| {
            (type_.to_owned(), status.to_owned(), reason.to_owned())
        };
        let valid = texts("Ready", "True", "ValidDefinition");
        let new = workflow(json!(null));
        let missing = told(&new, false, first);
        let not_found = texts("FunctionsExist", "False", "FunctionsNotFound");
        assert_eq!(short(&missing), [valid.clone(), not_found]);
        let message = "functions that do not exist: add-five";
        assert_eq!(missing.conditions[1].message, message);
        let warning = (EventType::Warning, "FunctionsNotFound".to_owned(), message.to_owned());
        assert_eq!(news(&new, &missing), [warning]);
        let before = workflow(serde_json::to_value(&missing).unwrap());
        assert_eq!(told(&before, false, later), missing);
        assert_eq!(news(&before, &missing), []);
        let found = told(&before, true, later);
        assert_eq!(short(&found), [valid, texts("FunctionsExist", "True", "FunctionsFound")]);
        let since: Vec<_> = found.conditions.iter().map(|c| c.last_transition_time.0).collect();
        assert_eq!(since, [first, later].map(|time| time.parse().unwrap()));
        let normal =
            (EventType::Normal, "FunctionsFound".to_owned(), "every function exists".to_owned());
        assert_eq!(news(&before, &found), [normal]);
        assert_eq!(news(&new, &found), []);
        assert_eq!(found.observed_generation, Some(2));
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
