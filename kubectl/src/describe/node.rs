//! The page of a node.

use std::collections::BTreeMap;

use api_machinery::{quantity::Quantity, table::age};
use serde_json::Value;

use super::{
    Related,
    sheet::{Sheet, time},
};
use crate::object::{list, map, name, scalar, text};

/// Labels that tell a node's role.
const ROLE: &str = "node-role.kubernetes.io/";

/// Title and field of `status.nodeInfo`.
const SYSTEM: [(&str, &str); 10] = [
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
    ("Kube-Proxy Version", "kubeProxyVersion"),
];

pub(super) fn describe(node: &Value, related: &Related) -> String {
    let mut sheet = Sheet::new(related);
    heading(&mut sheet, node);
    lease(&mut sheet, node, related.lease.as_ref());
    conditions(&mut sheet, list(node, "/status/conditions"));
    sheet.line(0, "Addresses:");
    for address in list(node, "/status/addresses") {
        sheet.field(1, text(address, "/type"), text(address, "/address"));
    }
    quantities(&mut sheet, "Capacity", &map(node, "/status/capacity"));
    quantities(&mut sheet, "Allocatable", &map(node, "/status/allocatable"));
    sheet.line(0, "System Info:");
    for (title, field) in SYSTEM {
        sheet.field(
            0,
            &format!("  {title}"),
            text(&node["status"]["nodeInfo"], &format!("/{field}")),
        );
    }
    sheet.some(0, "PodCIDR", text(node, "/spec/podCIDR"));
    let ranges: Vec<_> = list(node, "/spec/podCIDRs").iter().map(scalar).collect();
    sheet.some(0, "PodCIDRs", &ranges.join(","));
    sheet.some(0, "ProviderID", text(node, "/spec/providerID"));
    pods(&mut sheet, node, related);
    sheet.events(&related.events, related.now);
    sheet.finish()
}

fn heading(sheet: &mut Sheet, node: &Value) {
    let labels = map(node, "/metadata/labels");
    let roles: Vec<_> = labels.keys().filter_map(|l| l.strip_prefix(ROLE)).collect();
    sheet.field(0, "Name", name(node));
    sheet.field(0, "Roles", if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") });
    sheet.labels("Labels", &labels);
    sheet.annotations("Annotations", &map(node, "/metadata/annotations"));
    sheet.field(0, "CreationTimestamp", sheet.time(node, "/metadata/creationTimestamp"));
    sheet.many("Taints", list(node, "/spec/taints").iter().map(taint));
    sheet.field(0, "Unschedulable", node["spec"]["unschedulable"] == true);
}

fn quantities(sheet: &mut Sheet, title: &str, quantities: &BTreeMap<String, String>) {
    if quantities.is_empty() {
        return;
    }
    sheet.line(0, format_args!("{title}:"));
    quantities.iter().for_each(|(name, quantity)| sheet.field(1, name, quantity));
}

fn taint(taint: &Value) -> String {
    let (key, value, effect) = (text(taint, "/key"), text(taint, "/value"), text(taint, "/effect"));
    if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
}

/// Without a lease nothing renews it, and the page says so.
fn lease(sheet: &mut Sheet, node: &Value, lease: Option<&Value>) {
    let Some(lease) = lease else {
        let missing = format!("leases.coordination.k8s.io {:?} not found", name(node));
        return sheet.field(0, "Lease", format_args!("Failed to get lease: {missing}"));
    };
    let holder = text(lease, "/spec/holderIdentity");
    sheet.line(0, "Lease:");
    sheet.field(1, "HolderIdentity", if holder.is_empty() { "<unset>" } else { holder });
    sheet.field(1, "AcquireTime", sheet.time(lease, "/spec/acquireTime"));
    sheet.field(1, "RenewTime", sheet.time(lease, "/spec/renewTime"));
}

fn conditions(sheet: &mut Sheet, conditions: &[Value]) {
    if conditions.is_empty() {
        return;
    }
    sheet.line(0, "Conditions:");
    sheet.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    sheet.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for c in conditions {
        let (beat, changed) =
            (sheet.time(c, "/lastHeartbeatTime"), sheet.time(c, "/lastTransitionTime"));
        let (kind, status) = (text(c, "/type"), text(c, "/status"));
        let (reason, message) = (text(c, "/reason"), text(c, "/message"));
        sheet
            .line(1, format_args!("{kind} \t{status} \t{beat} \t{changed} \t{reason} \t{message}"));
    }
}

// === what runs on it ===

/// What is counted, and what its numbers are: cpu in thousandths, the others in bytes.
const COUNTED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Request and limit of each of [`COUNTED`].
type Amounts = [(i64, i64); 3];

fn pods(sheet: &mut Sheet, node: &Value, related: &Related) {
    let ended = |p: &Value| matches!(text(p, "/status/phase"), "Succeeded" | "Failed");
    let running: Vec<_> = related.pods.iter().filter(|p| !ended(p)).collect();
    let capacity = capacity(node);
    sheet.field(0, "Non-terminated Pods", format_args!("({} in total)", running.len()));
    sheet.line(
        1,
        "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge",
    );
    sheet.line(
        1,
        "---------\t----\t\t------------\t----------\t---------------\t-------------\t---",
    );
    let mut total = Amounts::default();
    for pod in running {
        let amounts = pod_amounts(pod);
        total = added(total, amounts);
        let (namespace, name) = (text(pod, "/metadata/namespace"), name(pod));
        let (cpu, memory) = (shown(0, amounts, capacity), shown(1, amounts, capacity));
        let age = age(time(pod, "/metadata/creationTimestamp"), related.now);
        sheet.line(1, format_args!("{namespace}\t{name}\t\t{cpu}\t{memory}\t{age}"));
    }
    allocated(sheet, total, capacity);
}

fn allocated(sheet: &mut Sheet, total: Amounts, capacity: [i64; 3]) {
    sheet.line(0, "Allocated resources:");
    sheet.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    sheet.line(1, "Resource\tRequests\tLimits");
    sheet.line(1, "--------\t--------\t------");
    for (which, name) in COUNTED.iter().enumerate() {
        sheet.line(1, format_args!("{name}\t{}", shown(which, total, capacity)));
    }
}

/// What the node has for pods, else what it has at all.
fn capacity(node: &Value) -> [i64; 3] {
    let mut has = map(node, "/status/allocatable");
    if has.is_empty() {
        has = map(node, "/status/capacity");
    }
    COUNTED.map(|name| number(&has, name))
}

/// The sum over the containers.
fn pod_amounts(pod: &Value) -> Amounts {
    let of = |container: &Value| {
        let (requests, limits) =
            (map(container, "/resources/requests"), map(container, "/resources/limits"));
        COUNTED.map(|name| (number(&requests, name), number(&limits, name)))
    };
    list(pod, "/spec/containers").iter().map(of).fold(Amounts::default(), added)
}

fn added(mut a: Amounts, b: Amounts) -> Amounts {
    for (sum, more) in a.iter_mut().zip(b) {
        *sum = (sum.0 + more.0, sum.1 + more.1);
    }
    a
}

/// Request and limit with their share of the node.
fn shown(which: usize, amounts: Amounts, capacity: [i64; 3]) -> String {
    let one = |amount: i64| {
        let quantity =
            if which == 0 { Quantity::from_milli(amount) } else { Quantity::from_bytes(amount) };
        let share = (amount * 100).checked_div(capacity[which]).unwrap_or(0);
        format!("{quantity} ({share}%)")
    };
    let (request, limit) = amounts[which];
    format!("{}\t{}", one(request), one(limit))
}

fn number(quantities: &BTreeMap<String, String>, name: &str) -> i64 {
    let quantity = quantities.get(name).and_then(|q| q.parse::<Quantity>().ok());
    let value = if name == "cpu" { Quantity::milli_value } else { Quantity::value };
    quantity.map_or(0, value)
}
