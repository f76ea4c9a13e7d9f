//! The pages of a workflow, and of a run of one.

use api_types::minik8s::{WorkflowRun, WorkflowRunStatus};
use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::{
    history::{self, Width},
    object::{list, map, name, number, text},
};

pub(super) fn describe(workflow: &Value, related: &Related) -> String {
    let mut sheet = begin(workflow, related);
    let spec = &workflow["spec"];
    let (start, states) = match spec.get("definition") {
        Some(definition) => (text(definition, "/StartAt"), map_len(&definition["States"])),
        None => (text(spec, "/startAt"), map_len(&spec["nodes"])),
    };
    sheet.field(0, "Start At", start);
    sheet.field(0, "States", states);
    value(&mut sheet, 0, "Params", &spec["params"]);
    sheet.field(0, "Active Runs", number(workflow, "/status/active").unwrap_or(0));
    last_run(&mut sheet, &workflow["status"]["lastRun"]);
    sheet.conditions(list(workflow, "/status/conditions"));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

pub(super) fn describe_run(run: &Value, related: &Related) -> String {
    let mut sheet = begin(run, related);
    sheet.field(0, "Workflow", text(run, "/spec/workflow"));
    let status = &run["status"];
    sheet.field(0, "Phase", text(status, "/phase"));
    sheet.some(0, "Gateway", text(status, "/holder"));
    sheet.field(0, "Start Time", sheet.time(status, "/startTime"));
    if !text(status, "/completionTime").is_empty() {
        sheet.field(0, "Completion Time", sheet.time(status, "/completionTime"));
    }
    value(&mut sheet, 0, "Input", &status["input"]);
    value(&mut sheet, 0, "Output", &status["output"]);
    sheet.some(0, "Error", text(status, "/error"));
    sheet.some(0, "Message", text(status, "/message"));
    let whole: Option<WorkflowRun> = serde_json::from_value(run.clone()).ok();
    steps(&mut sheet, &whole.and_then(|run| run.status).unwrap_or_default());
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn begin(object: &Value, related: &Related) -> Sheet {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(object));
    sheet.field(0, "Namespace", text(object, "/metadata/namespace"));
    sheet.labels("Labels", &map(object, "/metadata/labels"));
    sheet.annotations("Annotations", &map(object, "/metadata/annotations"));
    sheet
}

fn map_len(states: &Value) -> usize {
    states.as_object().map_or(0, serde_json::Map::len)
}

fn value(sheet: &mut Sheet, level: usize, title: &str, value: &Value) {
    if !value.is_null() {
        sheet.field(level, title, value);
    }
}

fn last_run(sheet: &mut Sheet, run: &Value) {
    if run.is_null() {
        return sheet.field(0, "Last Run", "<none>");
    }
    sheet.line(0, "Last Run:");
    sheet.field(1, "Name", text(run, "/name"));
    sheet.field(1, "Phase", text(run, "/phase"));
    sheet.field(1, "Time", sheet.time(run, "/time"));
    sheet.some(1, "Output", text(run, "/output"));
    sheet.some(1, "Message", text(run, "/message"));
}

fn steps(sheet: &mut Sheet, status: &WorkflowRunStatus) {
    if status.steps.is_empty() {
        return sheet.field(0, "Steps", "<none>");
    }
    sheet.line(0, "Steps:");
    if let Some(dropped) = history::dropped(status) {
        sheet.line(1, dropped);
    }
    for row in history::rows(status, Width::Short) {
        sheet.line(1, row);
    }
}
