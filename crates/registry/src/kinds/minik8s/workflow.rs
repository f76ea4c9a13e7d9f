//! A graph of functions, or a state machine that calls them.

use api_machinery::{FieldErrors, FieldPath};
use api_types::minik8s::{LastRun, Workflow};
use serde_json::json;
use workflow::{Definition, MAX_PAYLOAD};

use crate::{ResourceDef, Strategy, cells::or_none, resource, rules};

/// Each run keeps a copy, beside what it has to remember itself.
const MAX_DOCUMENT: usize = 256 * 1024;

pub(crate) fn definition() -> ResourceDef {
    resource::<Workflow, _>(WorkflowStrategy)
        .short_names(&["wf"])
        .categories(&["all"])
        .status_alone(|workflow, from| workflow.status.clone_from(&from.status))
        .column("Status", "string", 0, |workflow, _| json!(last(workflow, phase)))
        .column("Output", "string", 0, |workflow, _| json!(last(workflow, |r| text(&r.output))))
        .column("Finished", "string", 0, |workflow, _| json!(last(workflow, finished)))
        .column("Last Run", "string", 0, |workflow, _| json!(last(workflow, |r| r.name.clone())))
        .column("Active", "integer", 0, |workflow, _| {
            json!(workflow.status.as_ref().map_or(0, |s| s.active))
        })
        .age()
        .column("Message", "string", 1, |workflow, _| json!(last(workflow, |r| text(&r.message))))
        .build()
}

/// Something of the run that was created last.
fn last(workflow: &Workflow, tell: impl Fn(&LastRun) -> String) -> String {
    let run = workflow.status.as_ref().and_then(|s| s.last_run.as_ref());
    or_none(&run.map(tell).unwrap_or_default()).to_owned()
}

fn phase(run: &LastRun) -> String {
    format!("{:?}", run.phase)
}

fn finished(run: &LastRun) -> String {
    if run.phase.has_ended() { "yes" } else { "no" }.to_owned()
}

fn text(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

struct WorkflowStrategy;

impl Strategy<Workflow> for WorkflowStrategy {
    fn validate(&self, workflow: &Workflow, errors: &mut FieldErrors) {
        let (spec, path) = (&workflow.spec, FieldPath::new("spec"));
        rules::positive(spec.history_limit, &path.child("historyLimit"), errors);
        rules::positive(spec.history_seconds, &path.child("historySeconds"), errors);
        let place = match &spec.definition {
            Some(_) => path.child("definition"),
            None => path.clone(),
        };
        if spec.definition.is_some() && !(spec.nodes.is_empty() && spec.start_at.is_empty()) {
            errors.forbidden(&place, "may not be set with `startAt` and `nodes`");
        }
        let document = spec.document();
        if document.to_string().len() > MAX_DOCUMENT {
            errors.too_long(&place, MAX_DOCUMENT);
        }
        if spec.params.as_ref().is_some_and(|params| params.to_string().len() > MAX_PAYLOAD) {
            errors.too_long(&path.child("params"), MAX_PAYLOAD);
        }
        if let Err(faults) = Definition::parse(&document, &place) {
            errors.extend(faults);
        }
    }
}
