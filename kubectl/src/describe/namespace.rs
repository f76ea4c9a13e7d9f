//! The page of a namespace.

use std::collections::{BTreeMap, BTreeSet};

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
    quotas(&mut sheet, &related.quotas);
    limits(&mut sheet, &related.limit_ranges);
    sheet.finish()
}

fn quotas(sheet: &mut Sheet, quotas: &[Value]) {
    if quotas.is_empty() {
        return sheet.line(0, "\nNo resource quota.");
    }
    sheet.line(0, "\nResource Quotas");
    for quota in quotas {
        sheet.field(1, "Name", name(quota));
        let mut scopes: Vec<_> =
            list(quota, "/spec/scopes").iter().filter_map(Value::as_str).collect();
        scopes.sort_unstable();
        if !scopes.is_empty() {
            sheet.field(1, "Scopes", scopes.join(", "));
        }
        for help in scopes.into_iter().filter_map(help) {
            sheet.line(1, format_args!("* {help}"));
        }
        sheet.line(1, "Resource\tUsed\tHard");
        sheet.line(1, "--------\t---\t---");
        let used = map(quota, "/status/used");
        for (resource, hard) in map(quota, "/status/hard") {
            let used = used.get(&resource).map_or("0", String::as_str);
            sheet.line(1, format_args!("{resource}\t{used}\t{hard}"));
        }
    }
}

/// Upstream's words for a scope of quotas.
fn help(scope: &str) -> Option<&'static str> {
    Some(match scope {
        "Terminating" => {
            "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system."
        }
        "NotTerminating" => {
            "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate."
        }
        "BestEffort" => {
            "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service."
        }
        "NotBestEffort" => {
            "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service."
        }
        _ => return None,
    })
}

fn limits(sheet: &mut Sheet, ranges: &[Value]) {
    if ranges.is_empty() {
        return sheet.line(0, "\nNo LimitRange resource.");
    }
    sheet.line(
        0,
        "\nResource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio",
    );
    sheet.line(
        0,
        " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------",
    );
    for item in ranges.iter().flat_map(|range| list(range, "/spec/limits")) {
        let fields = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
        let amounts = fields.map(|field| map(item, &format!("/{field}")));
        let resources: BTreeSet<_> = amounts.iter().flat_map(BTreeMap::keys).collect();
        for resource in resources {
            let cells = amounts.iter().map(|of| of.get(resource).map_or("-", String::as_str));
            let cells: Vec<_> = cells.collect();
            let (kind, cells) = (text(item, "/type"), cells.join("\t"));
            sheet.line(0, format_args!(" {kind}\t{resource}\t{cells}"));
        }
    }
}
