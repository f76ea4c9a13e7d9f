//! A graph of functions, or a state machine that calls them.

use api_machinery::{FieldErrors, FieldPath};
use api_types::{
    Resource,
    minik8s::{Function, LastRun, Workflow, WorkflowSpec},
};
use serde_json::{Value, json};
use workflow::{Definition, MAX_DEPTH, MAX_PAYLOAD, Size};

use crate::{Exists, ResourceDef, Strategy, cells::or_none, resource, rules};

/// Each run keeps a copy, beside what it has to remember itself.
const MAX_DOCUMENT: usize = 256 * 1024;

pub(crate) fn definition() -> ResourceDef {
    resource::<Workflow, _>(WorkflowStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["wf"])
        .categories(&["all"])
        .status_alone(|workflow, from| workflow.status.clone_from(&from.status))
        .column("Ready", "string", 0, |workflow, _| json!(ready(workflow)))
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

/// Whether its definition is one, and what it names is there; `Unknown` before anybody has looked.
fn ready(workflow: &Workflow) -> &str {
    let conditions = workflow.status.as_ref().map(|status| status.conditions.as_slice());
    let conditions = conditions.unwrap_or_default();
    match conditions.iter().find(|condition| condition.status != "True") {
        Some(condition) => &condition.reason,
        None if conditions.is_empty() => "Unknown",
        None => "True",
    }
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

/// What a run may begin with.
pub(super) fn payload(value: Option<&Value>, path: &FieldPath, errors: &mut FieldErrors) {
    let size = value.map(Size::of).unwrap_or_default();
    if size.bytes > MAX_PAYLOAD {
        errors.too_long(path, MAX_PAYLOAD);
    }
    if size.depth > MAX_DEPTH {
        errors.forbidden(path, &format!("must not be nested deeper than {MAX_DEPTH} levels"));
    }
}

struct WorkflowStrategy;

impl Strategy<Workflow> for WorkflowStrategy {
    fn validate(&self, workflow: &Workflow, errors: &mut FieldErrors) {
        let (spec, path) = (&workflow.spec, FieldPath::new("spec"));
        rules::positive(spec.history_limit, &path.child("historyLimit"), errors);
        rules::positive(spec.history_seconds, &path.child("historySeconds"), errors);
        let place = place(spec);
        if spec.definition.is_some() && !(spec.nodes.is_empty() && spec.start_at.is_empty()) {
            errors.forbidden(&place, "may not be set with `startAt` and `nodes`");
        }
        let document = spec.document();
        if document.to_string().len() > MAX_DOCUMENT {
            errors.too_long(&place, MAX_DOCUMENT);
        }
        payload(spec.params.as_ref(), &path.child("params"), errors);
        if let Err(faults) = Definition::parse(&document, &place) {
            errors.extend(faults);
        }
    }

    fn warnings(
        &self,
        workflow: &Workflow,
        _: Option<&Workflow>,
        exists: &Exists<'_>,
    ) -> Vec<String> {
        let (spec, place) = (&workflow.spec, place(&workflow.spec));
        // What has faults is not taken.
        let Ok(definition) = Definition::parse(&spec.document(), &place) else { return Vec::new() };
        let resource = [Function::GROUP, Function::VERSION, Function::URL_PATH_SEGMENT];
        let missing = definition.functions().into_iter().filter(|name| !exists(resource, name));
        let missing = missing.map(|name| format!("{place}: there is no function {name:?}"));
        definition.warnings().iter().cloned().chain(missing).collect()
    }
}

/// Where its document is.
fn place(spec: &WorkflowSpec) -> FieldPath {
    let path = FieldPath::new("spec");
    if spec.definition.is_some() { path.child("definition") } else { path }
}
