//! The page of a Job.

use api_machinery::table::human_duration;
use serde_json::Value;

use super::{
    Related,
    replica_set::template,
    sheet::{Sheet, controller, time},
};
use crate::object::{map, name, number, selector_text, text};

pub(super) fn describe(job: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(job));
    sheet.field(0, "Namespace", text(job, "/metadata/namespace"));
    sheet.field(0, "Selector", selector_text(job));
    sheet.labels("Labels", &map(job, "/metadata/labels"));
    sheet.annotations("Annotations", &map(job, "/metadata/annotations"));
    sheet.some(0, "Controlled By", &controller(job));
    spec(&mut sheet, job);
    times(&mut sheet, job);
    statuses(&mut sheet, job);
    template(&mut sheet, &job["spec"]["template"]);
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn spec(sheet: &mut Sheet, job: &Value) {
    if let Some(parallelism) = number(job, "/spec/parallelism") {
        sheet.field(0, "Parallelism", parallelism);
    }
    match number(job, "/spec/completions") {
        Some(completions) => sheet.field(0, "Completions", completions),
        None => sheet.field(0, "Completions", "<unset>"),
    }
    sheet.some(0, "Completion Mode", text(job, "/spec/completionMode"));
    if let Some(suspend) = job.pointer("/spec/suspend").and_then(Value::as_bool) {
        sheet.field(0, "Suspend", suspend);
    }
    if let Some(limit) = number(job, "/spec/backoffLimit") {
        sheet.field(0, "Backoff Limit", limit);
    }
    if let Some(seconds) = number(job, "/spec/ttlSecondsAfterFinished") {
        sheet.field(0, "TTL Seconds After Finished", seconds);
    }
}

fn times(sheet: &mut Sheet, job: &Value) {
    let (start, end) = (time(job, "/status/startTime"), time(job, "/status/completionTime"));
    for (title, pointer, is_there) in [
        ("Start Time", "/status/startTime", start.is_some()),
        ("Completed At", "/status/completionTime", end.is_some()),
    ] {
        if is_there {
            sheet.field(0, title, sheet.time(job, pointer));
        }
    }
    if let (Some(start), Some(end)) = (start, end) {
        sheet.field(0, "Duration", human_duration(end.duration_since(start).as_secs()));
    }
    if let Some(seconds) = number(job, "/spec/activeDeadlineSeconds") {
        sheet.field(0, "Active Deadline Seconds", format_args!("{seconds}s"));
    }
}

fn statuses(sheet: &mut Sheet, job: &Value) {
    let count = |pointer| number(job, pointer).unwrap_or(0);
    let (succeeded, failed) = (count("/status/succeeded"), count("/status/failed"));
    let ready = number(job, "/status/ready").map(|ready| format!(" ({ready} Ready)"));
    sheet.field(
        0,
        "Pods Statuses",
        format_args!(
            "{} Active{} / {succeeded} Succeeded / {failed} Failed",
            count("/status/active"),
            ready.unwrap_or_default()
        ),
    );
    if text(job, "/spec/completionMode") == "Indexed" {
        let completed = text(job, "/status/completedIndexes");
        let completed = if completed.is_empty() { "<none>" } else { completed };
        sheet.field(0, "Completed Indexes", completed);
    }
}
