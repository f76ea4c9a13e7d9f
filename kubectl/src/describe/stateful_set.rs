//! The page of a StatefulSet.

use serde_json::Value;

use super::{
    Related,
    replica_set::{pods_status, template},
    sheet::Sheet,
};
use crate::object::{list, map, name, number, scalar, selector_text, text};

pub(super) fn describe(set: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(set));
    sheet.field(0, "Namespace", text(set, "/metadata/namespace"));
    sheet.field(0, "CreationTimestamp", sheet.time(set, "/metadata/creationTimestamp"));
    sheet.field(0, "Selector", selector_text(set));
    sheet.labels("Labels", &map(set, "/metadata/labels"));
    sheet.annotations("Annotations", &map(set, "/metadata/annotations"));
    let (wanted, there) = (number(set, "/spec/replicas"), number(set, "/status/replicas"));
    let (wanted, there) = (wanted.unwrap_or(1), there.unwrap_or(0));
    sheet.field(0, "Replicas", format_args!("{wanted} desired | {there} total"));
    sheet.field(0, "Update Strategy", text(set, "/spec/updateStrategy/type"));
    if let Some(partition) = number(set, "/spec/updateStrategy/rollingUpdate/partition") {
        sheet.field(1, "Partition", partition);
    }
    sheet.field(0, "Pods Status", pods_status(set, &related.pods));
    template(&mut sheet, &set["spec"]["template"]);
    claims(&mut sheet, list(set, "/spec/volumeClaimTemplates"));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn claims(sheet: &mut Sheet, templates: &[Value]) {
    if templates.is_empty() {
        return sheet.field(0, "Volume Claims", "<none>");
    }
    sheet.line(0, "Volume Claims:");
    for template in templates {
        sheet.field(1, "Name", name(template));
        sheet.field(1, "StorageClass", text(template, "/spec/storageClassName"));
        sheet.labels("  Labels", &map(template, "/metadata/labels"));
        sheet.annotations("  Annotations", &map(template, "/metadata/annotations"));
        let capacity = &template["spec"]["resources"]["requests"]["storage"];
        let shown = scalar(capacity);
        sheet.field(1, "Capacity", if shown.is_empty() { "<default>" } else { &shown });
        let modes = list(template, "/spec/accessModes").iter().map(scalar);
        sheet.field(1, "Access Modes", format_args!("[{}]", modes.collect::<Vec<_>>().join(" ")));
    }
}
