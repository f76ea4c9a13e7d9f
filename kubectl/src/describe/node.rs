//! The page of a node.

use std::collections::BTreeMap;

use api_machinery::{quantity::Quantity, table::age};
use serde_json::Value;

use super::{
    Related,
    sheet::{Sheet, full_time, time},
};
use crate::object::{list, map, name, scalar, text};

/// Labels that tell a node's role.
const ROLE: &str = "node-role.kubernetes.io/";

/// Title and field of `status.nodeInfo`.
const SYSTEM: [(&str, &str); 9] = [
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
];

pub(super) fn describe(node: &Value, related: &Related) -> String {
    let mut sheet = Sheet::default();
    heading(&mut sheet, node);
    lease(&mut sheet, related.lease.as_ref().unwrap_or(&Value::Null));
    conditions(&mut sheet, list(node, "/status/conditions"));
    sheet.line(0, "Addresses:");
    for address in list(node, "/status/addresses") {
        sheet.field(1, text(address, "/type"), text(address, "/address"));
    }
    for (title, pointer) in
        [("Capacity", "/status/capacity"), ("Allocatable", "/status/allocatable")]
    {
        sheet.line(0, format_args!("{title}:"));
        map(node, pointer).iter().for_each(|(name, quantity)| sheet.field(1, name, quantity));
    }
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
    sheet.field(0, "CreationTimestamp", full_time(node, "/metadata/creationTimestamp"));
    sheet.many("Taints", list(node, "/spec/taints").iter().map(taint));
    sheet.field(0, "Unschedulable", node["spec"]["unschedulable"] == true);
}

fn taint(taint: &Value) -> String {
    let (key, value, effect) = (text(taint, "/key"), text(taint, "/value"), text(taint, "/effect"));
    if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
}

fn lease(sheet: &mut Sheet, lease: &Value) {
    let holder = text(lease, "/spec/holderIdentity");
    sheet.line(0, "Lease:");
    sheet.field(1, "HolderIdentity", if holder.is_empty() { "<unset>" } else { holder });
    sheet.field(1, "AcquireTime", full_time(lease, "/spec/acquireTime"));
    sheet.field(1, "RenewTime", full_time(lease, "/spec/renewTime"));
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
            (full_time(c, "/lastHeartbeatTime"), full_time(c, "/lastTransitionTime"));
        let (kind, status) = (text(c, "/type"), text(c, "/status"));
        let (reason, message) = (text(c, "/reason"), text(c, "/message"));
        sheet
            .line(1, format_args!("{kind} \t{status} \t{beat} \t{changed} \t{reason} \t{message}"));
    }
}

// === what runs on it ===

/// Requests and limits of cpu (milli) and memory (bytes), in this order.
type Amounts = [i64; 4];

fn pods(sheet: &mut Sheet, node: &Value, related: &Related) {
    let running: Vec<_> = related
        .pods
        .iter()
        .filter(|p| !matches!(text(p, "/status/phase"), "Succeeded" | "Failed"))
        .collect();
    let of = capacity(node);
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
        total.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
        let [cpu, cpu_limit, memory, memory_limit] = shown(amounts, of);
        let (namespace, name) = (text(pod, "/metadata/namespace"), name(pod));
        let age = age(time(pod, "/metadata/creationTimestamp"), related.now);
        sheet.line(
            1,
            format_args!(
                "{namespace}\t{name}\t\t{cpu}\t{cpu_limit}\t{memory}\t{memory_limit}\t{age}"
            ),
        );
    }
    let [cpu, cpu_limit, memory, memory_limit] = shown(total, of);
    sheet.line(0, "Allocated resources:");
    sheet.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    sheet.line(1, "Resource\tRequests\tLimits");
    sheet.line(1, "--------\t--------\t------");
    sheet.line(1, format_args!("cpu\t{cpu}\t{cpu_limit}"));
    sheet.line(1, format_args!("memory\t{memory}\t{memory_limit}"));
}

/// Cpu in milli and memory in bytes of what the node has for pods, else of what it has.
fn capacity(node: &Value) -> (i64, i64) {
    let mut has = map(node, "/status/allocatable");
    if has.is_empty() {
        has = map(node, "/status/capacity");
    }
    (milli(&has, "cpu"), bytes(&has, "memory"))
}

/// The sum over the containers.
fn pod_amounts(pod: &Value) -> Amounts {
    let mut total = Amounts::default();
    for container in list(pod, "/spec/containers") {
        let (requests, limits) =
            (map(container, "/resources/requests"), map(container, "/resources/limits"));
        let one = [
            milli(&requests, "cpu"),
            milli(&limits, "cpu"),
            bytes(&requests, "memory"),
            bytes(&limits, "memory"),
        ];
        total.iter_mut().zip(one).for_each(|(sum, amount)| *sum += amount);
    }
    total
}

fn shown(
    [cpu, cpu_limit, memory, memory_limit]: Amounts,
    (all_cpu, all_memory): (i64, i64),
) -> [String; 4] {
    let percent = |part: i64, all: i64| if all == 0 { 0 } else { part * 100 / all };
    let cpu_text =
        |amount| format!("{} ({}%)", Quantity::from_milli(amount), percent(amount, all_cpu));
    let memory_text =
        |amount| format!("{} ({}%)", Quantity::from_bytes(amount), percent(amount, all_memory));
    [cpu_text(cpu), cpu_text(cpu_limit), memory_text(memory), memory_text(memory_limit)]
}

fn milli(quantities: &BTreeMap<String, String>, name: &str) -> i64 {
    quantity(quantities, name).map_or(0, Quantity::milli_value)
}

fn bytes(quantities: &BTreeMap<String, String>, name: &str) -> i64 {
    quantity(quantities, name).map_or(0, Quantity::value)
}

fn quantity(quantities: &BTreeMap<String, String>, name: &str) -> Option<Quantity> {
    quantities.get(name)?.parse().ok()
}
