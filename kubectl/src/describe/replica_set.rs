//! The page of a replica set.

use serde_json::Value;

use super::{
    Related,
    container::{containers, volumes},
    pod::tolerations,
    sheet::{Sheet, controller},
};
use crate::object::{list, map, name, number, selector_text, text};

pub(super) fn describe(set: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(set));
    sheet.field(0, "Namespace", text(set, "/metadata/namespace"));
    sheet.field(0, "Selector", selector_text(set));
    sheet.labels("Labels", &map(set, "/metadata/labels"));
    sheet.annotations("Annotations", &map(set, "/metadata/annotations"));
    sheet.some(0, "Controlled By", &controller(set));
    let (current, desired) = (number(set, "/status/replicas"), number(set, "/spec/replicas"));
    let (current, desired) = (current.unwrap_or(0), desired.unwrap_or(1));
    sheet.field(0, "Replicas", format_args!("{current} current / {desired} desired"));
    sheet.field(0, "Pods Status", pods_status(set, &related.pods));
    template(&mut sheet, &set["spec"]["template"]);
    conditions(&mut sheet, list(set, "/status/conditions"));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

/// Counts the set's own pods: others may wear the same labels.
pub(super) fn pods_status(set: &Value, pods: &[Value]) -> String {
    let uid = text(set, "/metadata/uid");
    let own = |pod: &&Value| {
        list(pod, "/metadata/ownerReferences")
            .iter()
            .any(|o| o["controller"] == true && text(o, "/uid") == uid)
    };
    let phases: Vec<_> = pods.iter().filter(own).map(|p| text(p, "/status/phase")).collect();
    let count = |phase| phases.iter().filter(|p| **p == phase).count();
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    )
}

pub(super) fn template(sheet: &mut Sheet, template: &Value) {
    sheet.line(0, "Pod Template:");
    sheet.labels("  Labels", &map(template, "/metadata/labels"));
    let annotations = map(template, "/metadata/annotations");
    if !annotations.is_empty() {
        sheet.annotations("  Annotations", &annotations);
    }
    sheet.some(0, "  Service Account", text(template, "/spec/serviceAccountName"));
    let init = list(template, "/spec/initContainers");
    if !init.is_empty() {
        containers(sheet, "Init Containers", init, &[], "  ");
    }
    containers(sheet, "Containers", list(template, "/spec/containers"), &[], "  ");
    volumes(sheet, list(template, "/spec/volumes"), "  ");
    sheet.labels("  Node-Selectors", &map(template, "/spec/nodeSelector"));
    sheet.many("  Tolerations", tolerations(list(template, "/spec/tolerations")));
}

pub(super) fn conditions(sheet: &mut Sheet, conditions: &[Value]) {
    if conditions.is_empty() {
        return;
    }
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus\tReason");
    sheet.line(1, "----\t------\t------");
    for c in conditions {
        let (kind, status, reason) = (text(c, "/type"), text(c, "/status"), text(c, "/reason"));
        sheet.line(1, format_args!("{kind} \t{status}\t{reason}"));
    }
}
