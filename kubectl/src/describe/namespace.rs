//! The page of a namespace.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{list, map, name, text};

pub(super) fn describe(namespace: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(namespace));
    sheet.labels("Labels", &map(namespace, "/metadata/labels"));
    sheet.annotations("Annotations", &map(namespace, "/metadata/annotations"));
    sheet.field(0, "Status", text(namespace, "/status/phase"));
    let conditions = list(namespace, "/status/conditions");
    if !conditions.is_empty() {
        sheet.line(0, "Conditions:");
        sheet.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
        sheet.line(1, "----\t------\t------------------\t------\t-------");
    }
    for c in conditions {
        let cell = |pointer| text(c, pointer);
        let changed = sheet.time(c, "/lastTransitionTime");
        let (kind, status) = (cell("/type"), cell("/status"));
        let (reason, message) = (cell("/reason"), cell("/message"));
        sheet.line(1, format_args!("{kind} \t{status} \t{changed} \t{reason} \t{message}"));
    }
    sheet.finish()
}
