//! The page of a GPU job: what it asks of Slurm, how far its tasks are, and what they were given and used.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{decoded_length, list, map, name, number, scalar, text};

/// Fields of the spec, with the title that the page gives them.
const SETTINGS: [(&str, &str); 20] = [
    ("Nodes", "numProcess"),
    ("Tasks Per Node", "numTasksPerNode"),
    ("CPUs Per Task", "cpusPerTask"),
    ("GPUs", "numGpus"),
    ("Gres", "gres"),
    ("Memory", "memory"),
    ("Time Limit", "timeLimit"),
    ("Account", "account"),
    ("QOS", "qos"),
    ("Array", "array"),
    ("Work Dir", "workDir"),
    ("Output File", "outputFile"),
    ("Error File", "errorFile"),
    ("Volume", "volume"),
    ("Completions", "completions"),
    ("Parallelism", "parallelism"),
    ("Backoff Limit", "backoffLimit"),
    ("Active Deadline Seconds", "activeDeadlineSeconds"),
    ("TTL Seconds After Finished", "ttlSecondsAfterFinished"),
    ("Suspend", "suspend"),
];

/// Lists of the spec.
const LISTS: [(&str, &str); 4] = [
    ("Directives", "/directives"),
    ("Compile Scripts", "/compileScripts"),
    ("Run Scripts", "/runScripts"),
    ("Results", "/results"),
];

pub(super) fn describe(job: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(job));
    sheet.field(0, "Namespace", text(job, "/metadata/namespace"));
    sheet.labels("Labels", &map(job, "/metadata/labels"));
    sheet.annotations("Annotations", &map(job, "/metadata/annotations"));
    status(&mut sheet, &job["spec"], &job["status"]);
    cluster(&mut sheet, &job["spec"]["cluster"]);
    sheet.field(0, "Credentials", text(job, "/spec/credentials/secretRef/name"));
    sheet.field(0, "Sources", sources(&job["spec"]));
    for (title, field) in SETTINGS {
        sheet.some(0, title, &scalar(&job["spec"][field]));
    }
    for (title, pointer) in LISTS {
        let values: Vec<_> = list(&job["spec"], pointer).iter().map(scalar).collect();
        if !values.is_empty() {
            sheet.many(title, values);
        }
    }
    environment(&mut sheet, list(job, "/spec/env"));
    tasks(&mut sheet, list(job, "/status/tasks"));
    sheet.conditions(list(job, "/status/conditions"));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn status(sheet: &mut Sheet, spec: &Value, status: &Value) {
    let partition = [text(status, "/partition"), text(spec, "/partition")];
    let partition = partition.into_iter().find(|it| !it.is_empty()).unwrap_or_default();
    sheet.field(0, "State", or_none(text(status, "/state")));
    sheet.some(0, "Job ID", text(status, "/jobId"));
    sheet.some(0, "Partition", partition);
    if let Some(position) = number(status, "/queuePosition") {
        sheet.field(0, "Queue Position", format_args!("{position} jobs in front"));
    }
    sheet.some(0, "Exit Code", &scalar(&status["exitCode"]));
    sheet.some(0, "Message", &text(status, "/message").replace('\n', " "));
    sheet.field(0, "Pod", or_none(text(status, "/podName")));
    for (title, pointer) in [("Start Time", "/startTime"), ("Completed At", "/completionTime")] {
        if !text(status, pointer).is_empty() {
            sheet.field(0, title, sheet.time(status, pointer));
        }
    }
    let [active, succeeded, failed] =
        ["/active", "/succeeded", "/failed"].map(|it| number(status, it).unwrap_or_default());
    sheet.field(
        0,
        "Tasks Statuses",
        format_args!("{active} Active / {succeeded} Succeeded / {failed} Failed"),
    );
}

fn cluster(sheet: &mut Sheet, cluster: &Value) {
    let host = text(cluster, "/host");
    if !host.is_empty() {
        let port = number(cluster, "/port").map(|port| format!(":{port}")).unwrap_or_default();
        sheet.field(0, "Cluster", format_args!("{host}{port}"));
    }
    sheet.some(0, "Cluster Config Map", text(cluster, "/configMapRef/name"));
}

fn sources(spec: &Value) -> String {
    let sources = &spec["sources"];
    if let Some(archive) = sources["archive"].as_str() {
        return format!("an archive of {} bytes", decoded_length(archive));
    }
    for (kind, pointer) in [("ConfigMap", "/configMap/name"), ("Secret", "/secret/name")] {
        let name = text(sources, pointer);
        if !name.is_empty() {
            return format!("{kind}/{name}");
        }
    }
    let folders = [text(sources, "/hostPath"), text(spec, "/volume")];
    let folder = folders.into_iter().find(|it| !it.is_empty());
    folder.map_or_else(|| "<none>".to_owned(), |it| format!("{it} of the pod's node"))
}

fn environment(sheet: &mut Sheet, variables: &[Value]) {
    if variables.is_empty() {
        return;
    }
    sheet.line(0, "Environment:");
    for variable in variables {
        sheet.field(1, text(variable, "/name"), text(variable, "/value"));
    }
}

fn tasks(sheet: &mut Sheet, tasks: &[Value]) {
    if tasks.is_empty() {
        return sheet.field(0, "Tasks", "<none>");
    }
    sheet.line(0, "Tasks:");
    sheet.line(1, "Index\tAttempt\tJob ID\tState\tReason\tExit Code\tElapsed\tNodes\tResults");
    sheet.line(1, "-----\t-------\t------\t-----\t------\t---------\t-------\t-----\t-------");
    for task in tasks {
        let cells = ["index", "attempt", "jobId", "state", "reason"].map(|it| cell(&task[it]));
        let elapsed = number(task, "/elapsedSeconds").map_or_else(
            || "<none>".to_owned(),
            |seconds| format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        );
        let (exit, nodes) = (exit(task), cell(&task["nodes"]));
        let fetched = if task["fetched"] == true { "fetched" } else { "not yet" };
        sheet.line(1, format_args!("{}\t{exit}\t{elapsed}\t{nodes}\t{fetched}", cells.join("\t")));
    }
    if tasks.iter().all(|task| map(task, "/usage").is_empty()) {
        return;
    }
    sheet.line(0, "Resources Used:");
    for task in tasks {
        for (what, amount) in map(task, "/usage") {
            sheet.line(1, format_args!("{}\t{what}\t{amount}", cell(&task["index"])));
        }
    }
}

/// The exit code, or the signal that ended it.
fn exit(task: &Value) -> String {
    match number(task, "/signal").filter(|signal| *signal != 0) {
        Some(signal) => format!("signal {signal}"),
        None => cell(&task["exitCode"]),
    }
}

fn cell(value: &Value) -> String {
    or_none(&scalar(value).replace('\n', " ")).to_owned()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}
