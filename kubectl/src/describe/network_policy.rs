//! The page of a network policy.

use api_machinery::LabelSelector;
use serde_json::Value;

use super::{Related, sheet::Sheet};
use crate::object::{list, map, name, scalar, text};

const NONE: &str = "<none>";

/// One direction of traffic, as a page names things.
struct Direction {
    type_: &'static str,
    rules: &'static str,
    peers: &'static str,
    peer: &'static str,
    end: &'static str,
}

const INGRESS: Direction = Direction {
    type_: "ingress",
    rules: "/spec/ingress",
    peers: "/from",
    peer: "From",
    end: "source",
};
const EGRESS: Direction = Direction {
    type_: "egress",
    rules: "/spec/egress",
    peers: "/to",
    peer: "To",
    end: "destination",
};

pub(super) fn describe(policy: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    sheet.field(0, "Name", name(policy));
    sheet.field(0, "Namespace", text(policy, "/metadata/namespace"));
    let created = sheet.plain_time(policy, "/metadata/creationTimestamp");
    sheet.field(0, "Created on", created);
    sheet.labels("Labels", &map(policy, "/metadata/labels"));
    sheet.annotations("Annotations", &map(policy, "/metadata/annotations"));
    sheet.line(0, "Spec:");
    let pods = selector(&policy["spec"]["podSelector"]);
    let all = format!("{NONE} (Allowing the specific traffic to all pods in this namespace)");
    // The indent within the line is kubectl's.
    sheet.line(1, format_args!("PodSelector:     {}", if pods == NONE { all } else { pods }));
    let types = list(policy, "/spec/policyTypes");
    direction(&mut sheet, policy, &INGRESS, types.contains(&Value::from("Ingress")));
    direction(&mut sheet, policy, &EGRESS, types.contains(&Value::from("Egress")));
    let types: Vec<_> = types.iter().map(scalar).collect();
    let types = types.join(", ");
    sheet.line(1, format_args!("Policy Types: {}", if types.is_empty() { NONE } else { &types }));
    sheet.finish()
}

fn direction(sheet: &mut Sheet, policy: &Value, direction: &Direction, isolates: bool) {
    let type_ = direction.type_;
    if !isolates {
        return sheet.line(1, format_args!("Not affecting {type_} traffic"));
    }
    sheet.line(1, format_args!("Allowing {type_} traffic:"));
    let rules = list(policy, direction.rules);
    if rules.is_empty() {
        let isolated = format!("{NONE} (Selected pods are isolated for {type_} connectivity)");
        sheet.line(2, isolated);
    }
    for (i, rule) in rules.iter().enumerate() {
        if i > 0 {
            sheet.line(2, "----------");
        }
        ports(sheet, list(rule, "/ports"));
        peers(sheet, list(rule, direction.peers), direction);
    }
}

fn ports(sheet: &mut Sheet, ports: &[Value]) {
    if ports.is_empty() {
        sheet.line(2, "To Port: <any> (traffic allowed to all ports)");
    }
    for port in ports {
        let first = if port["port"].is_null() { "<nil>".to_owned() } else { scalar(&port["port"]) };
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match port["endPort"].as_i64() {
            None => sheet.line(2, format_args!("To Port: {first}/{protocol}")),
            Some(end) => sheet.line(2, format_args!("To Port Range: {first}-{end}/{protocol}")),
        }
    }
}

fn peers(sheet: &mut Sheet, peers: &[Value], direction: &Direction) {
    let Direction { peer: title, end, .. } = direction;
    if peers.is_empty() {
        sheet.line(2, format_args!("{title}: <any> (traffic not restricted by {end})"));
    }
    for peer in peers {
        sheet.line(2, format_args!("{title}:"));
        for (field, title) in
            [("namespaceSelector", "NamespaceSelector"), ("podSelector", "PodSelector")]
        {
            if !peer[field].is_null() {
                sheet.line(3, format_args!("{title}: {}", selector(&peer[field])));
            }
        }
        if !peer["ipBlock"].is_null() {
            sheet.line(3, "IPBlock:");
            sheet.line(4, format_args!("CIDR: {}", text(peer, "/ipBlock/cidr")));
            let except: Vec<_> = list(peer, "/ipBlock/except").iter().map(scalar).collect();
            sheet.line(4, format_args!("Except: {}", except.join(", ")));
        }
    }
}

/// In its text form.
fn selector(value: &Value) -> String {
    let read = serde_json::from_value(value.clone()).ok();
    let selector = read.map(|selector| LabelSelector::try_from(&selector));
    match selector {
        Some(Ok(selector)) if selector.is_everything() => NONE.to_owned(),
        Some(Ok(selector)) => selector.to_string(),
        Some(Err(_)) => "<error>".to_owned(),
        None => NONE.to_owned(),
    }
}
