//! The page of a `describe`: lines at levels, cells in columns, and the parts that many kinds share.

use std::{collections::BTreeMap, fmt::Display};

use api_machinery::table::age;
use api_types::jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::Related;
use crate::{
    object::{list, number, text},
    output::tabs,
};

/// The annotation of `kubectl apply`, which says nothing that the object does not.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Longer annotations are cut.
const MAX_ANNOTATION: usize = 140;

/// Lines whose cells are aligned at the end.
#[derive(Debug)]
pub(super) struct Sheet {
    text: String,
    zone: TimeZone,
}

impl Sheet {
    /// An empty page that tells times in the reader's zone.
    pub(super) fn new(related: &Related) -> Self {
        Self { text: String::new(), zone: related.zone.clone() }
    }

    /// A time as describe writes it: `Mon, 02 Jan 2006 15:04:05 -0700`.
    pub(super) fn time(&self, object: &Value, pointer: &str) -> String {
        let Some(time) = time(object, pointer) else { return "<unset>".to_owned() };
        time.to_zoned(self.zone.clone()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
    }

    /// A time as Go prints it: `2006-01-02 15:04:05 -0700 MST`.
    pub(super) fn plain_time(&self, object: &Value, pointer: &str) -> String {
        let Some(time) = time(object, pointer) else { return "<unset>".to_owned() };
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
    }

    /// A line at this level; tabs separate its cells.
    pub(super) fn line(&mut self, level: usize, line: impl Display) {
        let indent = "  ".repeat(level);
        self.text += &format!("{indent}{line}\n");
    }

    /// `Title:  value` at this level.
    pub(super) fn field(&mut self, level: usize, title: &str, value: impl Display) {
        self.line(level, format_args!("{title}:\t{value}"));
    }

    /// The same, unless there is nothing to say.
    pub(super) fn some(&mut self, level: usize, title: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, title, value);
        }
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        tabs::align(&self.text, 0, 2)
    }

    /// `key=value`, one per line, under one title.
    pub(super) fn labels(&mut self, title: &str, labels: &BTreeMap<String, String>) {
        self.many(title, labels.iter().map(|(key, value)| format!("{key}={value}")));
    }

    /// Values below each other under one title.
    pub(super) fn many(&mut self, title: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<_> = values.into_iter().collect();
        match values.split_first() {
            None => self.field(0, title, "<none>"),
            Some((first, rest)) => {
                self.field(0, title, first);
                rest.iter().for_each(|value| self.line(0, format_args!("\t{value}")));
            }
        }
    }

    /// `key: value`, one per line; long ones are cut.
    pub(super) fn annotations(&mut self, title: &str, annotations: &BTreeMap<String, String>) {
        let shown = annotations.iter().filter(|(key, _)| *key != LAST_APPLIED);
        self.many(title, shown.map(|(key, value)| annotation(key, value.trim_end_matches('\n'))));
    }

    /// Conditions with their messages, as a table.
    pub(super) fn conditions(&mut self, conditions: &[Value]) {
        if conditions.is_empty() {
            return;
        }
        self.line(0, "Conditions:");
        self.line(1, "Type\tStatus\tReason\tMessage");
        self.line(1, "----\t------\t------\t-------");
        for condition in conditions {
            let cells = ["/type", "/status", "/reason", "/message"];
            self.line(1, cells.map(|cell| text(condition, cell).replace('\n', " ")).join("\t"));
        }
    }

    /// The events, newest last.
    pub(super) fn events(&mut self, events: &[Value], now: Timestamp) {
        if events.is_empty() {
            return self.field(0, "Events", "<none>");
        }
        let mut events: Vec<_> = events.iter().collect();
        events.sort_by_key(|e| last_seen(e));
        self.line(0, "Events:");
        self.line(1, "Type\tReason\tAge\tFrom\tMessage");
        self.line(1, "----\t------\t----\t----\t-------");
        for event in events {
            let (kind, reason) = (text(event, "/type"), text(event, "/reason"));
            let (age, message) = (event_age(event, now), text(event, "/message").trim());
            let from = [text(event, "/source/component"), text(event, "/reportingComponent")];
            let from = from.into_iter().find(|f| !f.is_empty()).unwrap_or_default();
            self.line(1, format_args!("{kind}\t{reason}\t{age}\t{from}\t{message}"));
        }
    }
}

fn annotation(key: &str, value: &str) -> String {
    if key.len() + value.len() + 2 <= MAX_ANNOTATION && !value.contains('\n') {
        return format!("{key}: {value}");
    }
    let lines =
        value.split('\n').map(|line| format!("\n\t  {}", shorten(line, MAX_ANNOTATION - 2)));
    format!("{key}:{}", lines.collect::<String>())
}

fn shorten(line: &str, most: usize) -> String {
    if line.chars().count() <= most {
        return line.to_owned();
    }
    line.chars().take(most - 3).chain("...".chars()).collect()
}

/// When an event last came.
pub(super) fn last_seen(event: &Value) -> Option<Timestamp> {
    time(event, "/series/lastObservedTime")
        .or_else(|| time(event, "/lastTimestamp"))
        .or_else(|| time(event, "/eventTime"))
}

/// `5s`, or `5s (x3 over 2m)` for one that came several times.
fn event_age(event: &Value, now: Timestamp) -> String {
    let first = age(time(event, "/eventTime").or_else(|| time(event, "/firstTimestamp")), now);
    let count = number(event, "/series/count").or_else(|| number(event, "/count")).unwrap_or(1);
    if count > 1 {
        return format!("{} (x{count} over {first})", age(last_seen(event), now));
    }
    first
}

/// The time at this JSON pointer.
pub(super) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// `Kind/name` of the owner that controls the object.
pub(super) fn controller(object: &Value) -> String {
    list(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)
        .map(|owner| format!("{}/{}", text(owner, "/kind"), text(owner, "/name")))
        .unwrap_or_default()
}
