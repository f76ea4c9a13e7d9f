//! The page of a DaemonSet.

use serde_json::Value;

use super::{
    Related,
    replica_set::{pods_status, template},
    sheet::Sheet,
};
use crate::object::{map, name, number, selector_text, text};

pub(super) fn describe(set: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(set));
    sheet.field(0, "Namespace", text(set, "/metadata/namespace"));
    sheet.field(0, "Selector", selector_text(set));
    let nodes = map(set, "/spec/template/spec/nodeSelector");
    let labels: Vec<_> = nodes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let nodes = if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") };
    sheet.field(0, "Node-Selector", nodes);
    sheet.labels("Labels", &map(set, "/metadata/labels"));
    sheet.annotations("Annotations", &map(set, "/metadata/annotations"));
    for (title, count) in [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        let count = number(set, &format!("/status/{count}")).unwrap_or(0);
        // In no column, as kubectl has it.
        sheet.line(0, format_args!("{title}: {count}"));
    }
    sheet.field(0, "Pods Status", pods_status(set, &related.pods));
    template(&mut sheet, &set["spec"]["template"]);
    sheet.events(&related.events, related.now);
    sheet.finish()
}
