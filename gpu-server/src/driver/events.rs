//! What is told of as an Event, made of what changes in the status, so that a change that is written once is told of
//! once.

use api_types::minik8s::{GpuJob, GpuJobStatus, GpuJobTask};

use super::{
    conditions::{CLUSTER_READY, COMPILED, RESULTS_INCOMPLETE, condition, is_true},
    tasks::{Attempt, DELETED, has_completed, is_final},
};

/// An Event about the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) warning: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What has happened between two statuses.
pub(crate) fn happenings(before: &GpuJobStatus, after: &GpuJobStatus) -> Vec<Happening> {
    let mut all = Vec::new();
    let mut add = |warning, reason: &str, message| {
        all.push(Happening { warning, reason: reason.to_owned(), message });
    };
    if let Some((false, message)) = turned(before, after, CLUSTER_READY) {
        add(true, reason(after, CLUSTER_READY), message);
    }
    for (type_, reason) in [(GpuJob::UPLOADED, "Uploaded"), (COMPILED, "Compiled")] {
        if let Some((true, message)) = turned(before, after, type_) {
            add(false, reason, message);
        }
    }
    for task in &after.tasks {
        for (warning, reason, message) in of_task(Attempt::of(task).of_status(before), task) {
            add(warning, reason, message);
        }
    }
    if let Some((holds, message)) = turned(before, after, GpuJob::SUSPENDED) {
        let reason = if holds { "Suspended" } else { "Resumed" };
        add(false, reason, message);
    }
    if let Some((true, message)) = turned(before, after, RESULTS_INCOMPLETE) {
        add(true, RESULTS_INCOMPLETE, message);
    }
    if let Some((true, _)) = turned(before, after, GpuJob::COMPLETE) {
        add(false, "Completed", "Job completed".to_owned());
    }
    if let Some((true, message)) = turned(before, after, GpuJob::FAILED) {
        add(true, "Failed", format!("{}: {message}", reason(after, GpuJob::FAILED)));
    }
    all
}

fn reason<'a>(status: &'a GpuJobStatus, type_: &str) -> &'a str {
    condition(status, type_).map_or("", |condition| &condition.reason)
}

/// What a condition says now, if it did not say so before.
fn turned(before: &GpuJobStatus, after: &GpuJobStatus, type_: &str) -> Option<(bool, String)> {
    let new = condition(after, type_)?;
    let old = condition(before, type_);
    let same = old.is_some_and(|old| old.status == new.status && old.reason == new.reason);
    (!same).then(|| (is_true(after, type_), new.message.clone()))
}

fn of_task(before: Option<&GpuJobTask>, task: &GpuJobTask) -> Vec<(bool, &'static str, String)> {
    let mut all = Vec::new();
    let id = task.job_id.as_deref().unwrap_or("none");
    let mut add = |warning, reason, message| all.push((warning, reason, message));
    if task.job_id.is_some() && before.is_none_or(|before| before.job_id.is_none()) {
        let message = format!("Task {} is job {id} of Slurm", task.index);
        add(false, "Submitted", message);
    }
    if task.start_time.is_some() && before.is_none_or(|before| before.start_time.is_none()) {
        let nodes = task.nodes.as_deref().unwrap_or("its nodes");
        add(false, "Started", format!("Job {id} of Slurm runs on {nodes}"));
    }
    if is_final(task) && !before.is_some_and(is_final) && !has_completed(task) {
        add(!is_wanted(task), ended(task), why(id, task));
    }
    all
}

fn is_wanted(task: &GpuJobTask) -> bool {
    [Some(GpuJob::SUSPENDED), Some(DELETED)].contains(&task.reason.as_deref())
}

fn ended(task: &GpuJobTask) -> &'static str {
    if task.state.as_deref() == Some("CANCELLED") { "Cancelled" } else { "TaskFailed" }
}

fn why(id: &str, task: &GpuJobTask) -> String {
    let mut text = format!("Job {id} of Slurm: {}", task.state.as_deref().unwrap_or_default());
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    };
    add("exit code", task.exit_code.map(|code| code.to_string()));
    add("signal", task.signal.filter(|&signal| signal > 0).map(|signal| signal.to_string()));
    add("reason", task.reason.clone().filter(|reason| !reason.is_empty() && reason != "None"));
    text
}
