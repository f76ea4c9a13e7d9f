//! The page of a pod.

use serde_json::Value;

use super::{
    Related,
    container::{containers, volumes},
    sheet::{Sheet, controller, time},
};
use crate::object::{list, map, name, number, text};
use api_machinery::table::age;

pub(super) fn describe(pod: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    heading(&mut sheet, pod);
    status(&mut sheet, pod, related);
    if !list(pod, "/spec/initContainers").is_empty() {
        let statuses = list(pod, "/status/initContainerStatuses");
        containers(&mut sheet, "Init Containers", list(pod, "/spec/initContainers"), statuses, "");
    }
    let statuses = list(pod, "/status/containerStatuses");
    containers(&mut sheet, "Containers", list(pod, "/spec/containers"), statuses, "");
    conditions(&mut sheet, pod);
    volumes(&mut sheet, list(pod, "/spec/volumes"), "");
    sheet.field(0, "QoS Class", text(pod, "/status/qosClass"));
    sheet.labels("Node-Selectors", &map(pod, "/spec/nodeSelector"));
    sheet.many("Tolerations", tolerations(list(pod, "/spec/tolerations")));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn heading(sheet: &mut Sheet, pod: &Value) {
    sheet.field(0, "Name", name(pod));
    sheet.field(0, "Namespace", text(pod, "/metadata/namespace"));
    if let Some(priority) = number(pod, "/spec/priority") {
        sheet.field(0, "Priority", priority);
    }
    sheet.some(0, "Priority Class Name", text(pod, "/spec/priorityClassName"));
    sheet.some(0, "Runtime Class Name", text(pod, "/spec/runtimeClassName"));
    sheet.some(0, "Service Account", text(pod, "/spec/serviceAccountName"));
    match (text(pod, "/spec/nodeName"), text(pod, "/status/hostIP")) {
        ("", _) => sheet.field(0, "Node", "<none>"),
        (node, ip) => sheet.field(0, "Node", format_args!("{node}/{ip}")),
    }
    if time(pod, "/status/startTime").is_some() {
        sheet.field(0, "Start Time", sheet.time(pod, "/status/startTime"));
    }
    sheet.labels("Labels", &map(pod, "/metadata/labels"));
    sheet.annotations("Annotations", &map(pod, "/metadata/annotations"));
}

fn status(sheet: &mut Sheet, pod: &Value, related: &Related) {
    let phase = text(pod, "/status/phase");
    let deleted = time(pod, "/metadata/deletionTimestamp");
    if deleted.is_some() && !matches!(phase, "Failed" | "Succeeded") {
        sheet.field(0, "Status", format_args!("Terminating (lasts {})", age(deleted, related.now)));
        let grace = number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
        sheet.field(0, "Termination Grace Period", format_args!("{grace}s"));
    } else {
        sheet.field(0, "Status", phase);
    }
    sheet.some(0, "Reason", text(pod, "/status/reason"));
    sheet.some(0, "Message", text(pod, "/status/message"));
    sheet.field(0, "IP", text(pod, "/status/podIP"));
    addresses(sheet, list(pod, "/status/podIPs"));
    sheet.some(0, "Controlled By", &controller(pod));
    sheet.some(0, "NominatedNodeName", text(pod, "/status/nominatedNodeName"));
}

fn addresses(sheet: &mut Sheet, addresses: &[Value]) {
    if addresses.is_empty() {
        return sheet.field(0, "IPs", "<none>");
    }
    sheet.line(0, "IPs:");
    addresses.iter().for_each(|a| sheet.field(1, "IP", text(a, "/ip")));
}

fn conditions(sheet: &mut Sheet, pod: &Value) {
    let conditions = list(pod, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus");
    for condition in conditions {
        sheet.line(
            1,
            format_args!("{} \t{} ", text(condition, "/type"), text(condition, "/status")),
        );
    }
}

/// `key=value:Effect op=Exists for 300s`, by key.
pub(super) fn tolerations(tolerations: &[Value]) -> Vec<String> {
    let mut tolerations: Vec<_> = tolerations.iter().collect();
    tolerations.sort_by_key(|t| text(t, "/key"));
    tolerations.into_iter().map(toleration).collect()
}

fn toleration(toleration: &Value) -> String {
    let mut shown = text(toleration, "/key").to_owned();
    let (value, effect) = (text(toleration, "/value"), text(toleration, "/effect"));
    for (sign, part) in [("=", value), (":", effect)] {
        if !part.is_empty() {
            shown += &format!("{sign}{part}");
        }
    }
    if text(toleration, "/operator") == "Exists" && value.is_empty() {
        shown += if shown.is_empty() { "op=Exists" } else { " op=Exists" };
    }
    if let Some(seconds) = number(toleration, "/tolerationSeconds") {
        shown += &format!(" for {seconds}s");
    }
    shown
}
