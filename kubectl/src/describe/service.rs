//! The page of a service.

use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{joined, list, map, name, number, scalar, text};

/// How many endpoints are named before the rest is only counted.
const NAMED_ENDPOINTS: usize = 3;

pub(super) fn describe(service: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(service));
    sheet.field(0, "Namespace", text(service, "/metadata/namespace"));
    sheet.labels("Labels", &map(service, "/metadata/labels"));
    sheet.annotations("Annotations", &map(service, "/metadata/annotations"));
    sheet.field(0, "Selector", joined(&map(service, "/spec/selector")));
    sheet.field(0, "Type", text(service, "/spec/type"));
    sheet.some(0, "IP Family Policy", text(service, "/spec/ipFamilyPolicy"));
    sheet.field(0, "IP Families", or_none(list(service, "/spec/ipFamilies")));
    sheet.field(0, "IP", text(service, "/spec/clusterIP"));
    sheet.field(0, "IPs", or_none(list(service, "/spec/clusterIPs")));
    sheet.some(0, "External IPs", &joined_texts(list(service, "/spec/externalIPs"), ","));
    sheet.some(0, "Desired LoadBalancer IP", text(service, "/spec/loadBalancerIP"));
    sheet.some(0, "External Name", text(service, "/spec/externalName"));
    sheet.some(0, "LoadBalancer Ingress", &ingress(service));
    for port in list(service, "/spec/ports") {
        self::port(&mut sheet, port, &related.slices);
    }
    sheet.field(0, "Session Affinity", text(service, "/spec/sessionAffinity"));
    sheet.some(0, "External Traffic Policy", text(service, "/spec/externalTrafficPolicy"));
    sheet.some(0, "Internal Traffic Policy", text(service, "/spec/internalTrafficPolicy"));
    if let Some(port) = number(service, "/spec/healthCheckNodePort").filter(|p| *p != 0) {
        sheet.field(0, "HealthCheck NodePort", port);
    }
    let ranges = list(service, "/spec/loadBalancerSourceRanges");
    sheet.some(0, "LoadBalancer Source Ranges", &joined_texts(ranges, ","));
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn or_none(values: &[Value]) -> String {
    if values.is_empty() {
        return "<none>".to_owned();
    }
    joined_texts(values, ",")
}

fn joined_texts(values: &[Value], separator: &str) -> String {
    values.iter().map(scalar).collect::<Vec<_>>().join(separator)
}

/// Where load balancers are, and how they hand on what comes.
fn ingress(service: &Value) -> String {
    let shown = |ingress: &Value| match (text(ingress, "/ip"), text(ingress, "/ipMode")) {
        ("", _) => text(ingress, "/hostname").to_owned(),
        (ip, "") => ip.to_owned(),
        (ip, mode) => format!("{ip} ({mode})"),
    };
    let all = list(service, "/status/loadBalancer/ingress").iter().map(shown);
    all.collect::<Vec<_>>().join(", ")
}

fn port(sheet: &mut Sheet, port: &Value, slices: &[Value]) {
    let given = text(port, "/name");
    let shown = if given.is_empty() { "<unset>" } else { given };
    let protocol = text(port, "/protocol");
    sheet.field(0, "Port", format_args!("{shown}\t{}/{protocol}", scalar(&port["port"])));
    sheet.field(0, "TargetPort", format_args!("{}/{protocol}", scalar(&port["targetPort"])));
    if let Some(node_port) = number(port, "/nodePort").filter(|p| *p != 0) {
        sheet.field(0, "NodePort", format_args!("{shown}\t{node_port}/{protocol}"));
    }
    sheet.field(0, "Endpoints", endpoints(slices, given));
}

/// The addresses behind the port of this name: the first three, and how many more.
fn endpoints(slices: &[Value], port: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut found = Vec::new();
    for slice in slices {
        for named in list(slice, "/ports").iter().filter(|p| text(p, "/name") == port) {
            let ready = |e: &&Value| e["conditions"]["ready"] != false;
            let addresses =
                list(slice, "/endpoints").iter().filter(ready).flat_map(|e| list(e, "/addresses"));
            found.extend(addresses.map(|a| format!("{}:{}", scalar(a), scalar(&named["port"]))));
        }
    }
    let more = found.len().saturating_sub(NAMED_ENDPOINTS);
    found.truncate(NAMED_ENDPOINTS);
    let more = if more > 0 { format!(" + {more} more...") } else { String::new() };
    found.join(",") + &more
}
