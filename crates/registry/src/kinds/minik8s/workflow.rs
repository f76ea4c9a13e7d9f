//! A graph of functions.

use api_machinery::{FieldErrors, FieldPath};
use api_types::minik8s::{Choice, LastRun, NodeType, Workflow, WorkflowNode};
use serde_json::json;

use crate::{ResourceDef, Strategy, cells::or_none, resource, rules};

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
        let path = FieldPath::new("spec");
        if workflow.spec.definition.is_some() {
            return;
        }
        if workflow.spec.nodes.is_empty() {
            errors.required(&path.child("nodes"), "");
        }
        let graph = Graph(workflow);
        graph.leads_to(&workflow.spec.start_at, &path.child("startAt"), errors);
        for (name, node) in &workflow.spec.nodes {
            graph.validate(node, &path.child("nodes").key(name), errors);
        }
    }
}

/// The nodes, to which names lead.
struct Graph<'a>(&'a Workflow);

impl Graph<'_> {
    fn validate(&self, node: &WorkflowNode, path: &FieldPath, errors: &mut FieldErrors) {
        match node.type_ {
            NodeType::Task => self.task(node, path, errors),
            NodeType::Choice => self.choice(node, path, errors),
        }
    }

    fn task(&self, node: &WorkflowNode, path: &FieldPath, errors: &mut FieldErrors) {
        if let Some(next) = &node.next {
            self.leads_to(next, &path.child("next"), errors);
        }
        if !node.choices.is_empty() {
            errors.forbidden(&path.child("choices"), "may not be set when `type` is Task");
        }
        if let Some(retry) = &node.retry {
            let path = path.child("retry");
            rules::positive(Some(retry.max_attempts), &path.child("maxAttempts"), errors);
            rules::not_negative(
                Some(retry.interval_seconds),
                &path.child("intervalSeconds"),
                errors,
            );
        }
    }

    fn choice(&self, node: &WorkflowNode, path: &FieldPath, errors: &mut FieldErrors) {
        if node.choices.is_empty() {
            errors.required(&path.child("choices"), "");
        }
        if node.next.is_some() {
            errors.forbidden(&path.child("next"), "may not be set when `type` is Choice");
        }
        for (i, choice) in node.choices.iter().enumerate() {
            let path = path.child("choices").index(i);
            validate_choice(choice, &path, errors);
            self.leads_to(&choice.next, &path.child("next"), errors);
        }
        if let Some(default) = &node.default {
            self.leads_to(default, &path.child("default"), errors);
        }
    }

    fn leads_to(&self, name: &str, path: &FieldPath, errors: &mut FieldErrors) {
        if name.is_empty() {
            errors.required(path, "");
        } else if !self.0.spec.nodes.contains_key(name) {
            errors.not_found(path, name);
        }
    }
}

fn validate_choice(choice: &Choice, path: &FieldPath, errors: &mut FieldErrors) {
    if choice.variable.is_empty() {
        errors.required(&path.child("variable"), "");
    }
    let operators = [
        choice.numeric_equals.is_some(),
        choice.numeric_not_equals.is_some(),
        choice.numeric_less_than.is_some(),
        choice.numeric_greater_than.is_some(),
        choice.boolean_equals.is_some(),
        choice.string_equals.is_some(),
        choice.string_not_equals.is_some(),
        choice.string_less_than.is_some(),
        choice.string_greater_than.is_some(),
    ];
    match operators.iter().filter(|o| **o).count() {
        0 => errors.required(path, "must specify an operator, e.g. `numericEquals`"),
        1 => {}
        _ => errors.forbidden(path, "may not specify more than 1 operator"),
    }
}
