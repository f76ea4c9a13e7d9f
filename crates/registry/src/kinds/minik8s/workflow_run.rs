//! One run of a workflow.

use api_machinery::{FieldErrors, FieldPath, names, table::human_duration};
use api_types::{
    jiff::Timestamp,
    minik8s::{WorkflowRun, WorkflowRunSpec, WorkflowRunStatus},
};
use serde_json::json;

use super::workflow;
use crate::{ResourceDef, Strategy, cells::NONE, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<WorkflowRun, _>(WorkflowRunStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["wfr"])
        .categories(&["all"])
        .status_alone(|run, from| run.status.clone_from(&from.status))
        .column("Workflow", "string", 0, |run, _| json!(run.spec.workflow))
        .column("Phase", "string", 0, |run, _| json!(status(run).phase))
        .column("Steps", "integer", 0, |run, _| json!(steps(&status(run))))
        .column("Duration", "string", 0, |run, now| json!(duration(run, now)))
        .age()
        .column("Output", "string", 1, |run, _| {
            json!(status(run).output.map_or_else(|| NONE.to_owned(), |o| o.to_string()))
        })
        .column("Message", "string", 1, |run, _| json!(status(run).message.unwrap_or_default()))
        .build()
}

fn status(run: &WorkflowRun) -> WorkflowRunStatus {
    run.status.clone().unwrap_or_default()
}

fn steps(status: &WorkflowRunStatus) -> i64 {
    i64::try_from(status.steps.len()).unwrap_or_default() + i64::from(status.steps_dropped)
}

/// How long the run took, or takes.
fn duration(run: &WorkflowRun, now: Timestamp) -> String {
    let status = status(run);
    let Some(start) = status.start_time else { return NONE.to_owned() };
    let end = status.completion_time.map_or(now, |t| t.0);
    human_duration(end.duration_since(start.0).as_secs())
}

struct WorkflowRunStrategy;

impl Strategy<WorkflowRun> for WorkflowRunStrategy {
    fn prepare_create(&self, run: &mut WorkflowRun) {
        run.status = Some(WorkflowRunStatus::default());
    }

    fn validate(&self, run: &WorkflowRun, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        let workflow = path.child("workflow");
        rules::named(&run.spec.workflow, names::dns1123_subdomain, &workflow, errors);
        workflow::payload(run.spec.input.as_ref(), &path.child("input"), errors);
    }

    /// A run can be cancelled, once and for all.
    fn validate_update(&self, new: &WorkflowRun, old: &WorkflowRun, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        let WorkflowRunSpec { workflow, input, cancel } = &new.spec;
        if (workflow, input) != (&old.spec.workflow, &old.spec.input) {
            errors.forbidden(&path, "may not change fields other than `cancel`");
        }
        if old.spec.cancel && !cancel {
            errors.forbidden(&path.child("cancel"), "cannot be taken back");
        }
    }

    fn fields(&self, run: &WorkflowRun) -> Vec<(&'static str, String)> {
        vec![
            ("spec.workflow", run.spec.workflow.clone()),
            ("status.phase", format!("{:?}", status(run).phase)),
        ]
    }
}
