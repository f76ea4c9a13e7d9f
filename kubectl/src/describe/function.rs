//! The page of a function: what it is made of, its versions and instances, and the calls of it that failed lately.

use serde_json::Value;

use super::{
    Related,
    sheet::{Sheet, last_seen},
};
use crate::object::{list, map, name, number, text};

/// The reason of the gateway's events about calls that failed.
const CALLS_FAILED: &str = "CallsFailed";
/// As many of these events are shown.
const SHOWN: usize = 5;

/// Fields of the spec that are numbers, with the title that kubectl gives them.
const SETTINGS: [(&str, &str); 10] = [
    ("Min Scale", "minScale"),
    ("Max Scale", "maxScale"),
    ("Target Concurrency", "targetConcurrency"),
    ("Target Requests Per Second", "targetRequestsPerSecond"),
    ("Container Concurrency", "containerConcurrency"),
    ("Timeout Seconds", "timeoutSeconds"),
    ("Idle Seconds", "idleSeconds"),
    ("Scale Down Delay Seconds", "scaleDownDelaySeconds"),
    ("History Limit", "historyLimit"),
    ("Rollback To", "rollbackTo"),
];

pub(super) fn describe(function: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(function));
    sheet.field(0, "Namespace", text(function, "/metadata/namespace"));
    sheet.labels("Labels", &map(function, "/metadata/labels"));
    sheet.annotations("Annotations", &map(function, "/metadata/annotations"));
    sheet.some(0, "URL", text(function, "/status/url"));
    sheet.field(0, "Runtime", text(function, "/spec/runtime"));
    sheet.some(0, "Image", text(function, "/spec/image"));
    sheet.some(0, "Entry Point", text(function, "/spec/entryPoint"));
    source(&mut sheet, &function["spec"]["source"]);
    for (title, field) in SETTINGS {
        if let Some(value) = number(&function["spec"], &format!("/{field}")) {
            sheet.field(0, title, value);
        }
    }
    sheet.conditions(list(function, "/status/conditions"));
    versions(&mut sheet, function);
    instances(&mut sheet, &related.pods);
    let is_failure = |event: &&Value| text(event, "/reason") == CALLS_FAILED;
    let (failures, events): (Vec<_>, Vec<_>) = related.events.iter().partition(is_failure);
    recent_failures(&mut sheet, failures);
    let events: Vec<_> = events.into_iter().cloned().collect();
    sheet.events(&events, related.now);
    sheet.finish()
}

/// The names and sizes of the files, not what is in them.
fn source(sheet: &mut Sheet, source: &Value) {
    if let Some(archive) = source["archive"].as_str() {
        // Base64 has four characters for three bytes.
        let padding = archive.bytes().rev().take_while(|byte| *byte == b'=').count();
        let bytes = archive.len() / 4 * 3 - padding.min(2);
        sheet.field(0, "Source", format_args!("a zip archive of {bytes} bytes"));
    }
    let files = map(source, "/files");
    let sizes = files.iter().map(|(name, text)| format!("{name} ({} bytes)", text.len()));
    if !files.is_empty() {
        sheet.many("Source", sizes);
    }
}

/// The newest first, and which one serves.
fn versions(sheet: &mut Sheet, function: &Value) {
    let versions = list(function, "/status/versions");
    if versions.is_empty() {
        return sheet.field(0, "Versions", "<none>");
    }
    let serving = number(function, "/status/version");
    sheet.line(0, "Versions:");
    sheet.line(1, "Version\tPhase\tServes\tCreated\tImage\tMessage");
    sheet.line(1, "-------\t-----\t------\t-------\t-----\t-------");
    for version in versions.iter().rev() {
        let number = number(version, "/version");
        let serves = if number.is_some() && number == serving { "yes" } else { "no" };
        let number = number.unwrap_or_default();
        let created = sheet.time(version, "/createdAt");
        let [phase, image, message] =
            ["/phase", "/image", "/message"].map(|field| or_none(text(version, field)));
        sheet.line(1, format_args!("{number}\t{phase}\t{serves}\t{created}\t{image}\t{message}"));
    }
}

fn instances(sheet: &mut Sheet, pods: &[Value]) {
    if pods.is_empty() {
        return sheet.field(0, "Instances", "<none>");
    }
    sheet.line(0, "Instances:");
    sheet.line(1, "Name\tVersion\tReady\tRestarts\tNode\tIP");
    sheet.line(1, "----\t-------\t-----\t--------\t----\t--");
    for pod in pods {
        let labels = map(pod, "/metadata/labels");
        let version = labels.get("minik8s.io/function-version").map_or("", String::as_str);
        let mut conditions = list(pod, "/status/conditions").iter();
        let ready = conditions.find(|condition| text(condition, "/type") == "Ready");
        let ready = ready.map_or("Unknown", |condition| text(condition, "/status"));
        let restarts = number(pod, "/status/containerStatuses/0/restartCount").unwrap_or_default();
        let [node, ip] = ["/spec/nodeName", "/status/podIP"].map(|field| or_none(text(pod, field)));
        sheet.line(1, format_args!("{}\t{version}\t{ready}\t{restarts}\t{node}\t{ip}", name(pod)));
    }
}

/// The newest last, as events are.
fn recent_failures(sheet: &mut Sheet, mut events: Vec<&Value>) {
    if events.is_empty() {
        return sheet.field(0, "Recent Failures", "<none>");
    }
    events.sort_by_key(|event| last_seen(event));
    sheet.line(0, "Recent Failures:");
    for event in events.iter().skip(events.len().saturating_sub(SHOWN)) {
        for line in text(event, "/message").lines() {
            sheet.line(1, line);
        }
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text.replace('\n', " ") }
}
