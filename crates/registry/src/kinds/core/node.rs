//! A machine that runs pods.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{Node, NodeSpec, NodeSystemInfo, Taint};
use ipnet::IpNet;
use serde_json::json;

use crate::{
    Exists, ResourceDef, Strategy, Subresource,
    addresses::warn_of_cidr,
    cells::{NONE, or_none},
    resource,
    rules::{self, text},
    warnings::tell,
};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(crate) fn definition() -> ResourceDef {
    resource::<Node, _>(NodeStrategy)
        .short_names(&["no"])
        .status_from_creation(|node, from| node.status.clone_from(&from.status))
        .subresource(Subresource::Proxy)
        .column("Status", "string", 0, |node, _| json!(status(node)))
        .column("Roles", "string", 0, |node, _| json!(roles(node)))
        .age()
        .column("Version", "string", 0, |node, _| json!(info(node, |i| &i.kubelet_version)))
        .column("Internal-IP", "string", 1, |node, _| json!(address(node, "InternalIP")))
        .column("External-IP", "string", 1, |node, _| json!(address(node, "ExternalIP")))
        .column("OS-Image", "string", 1, |node, _| json!(known(info(node, |i| &i.os_image))))
        .column("Kernel-Version", "string", 1, |node, _| {
            json!(known(info(node, |i| &i.kernel_version)))
        })
        .column("Container-Runtime", "string", 1, |node, _| {
            json!(known(info(node, |i| &i.container_runtime_version)))
        })
        .build()
}

/// `Ready`, `NotReady,SchedulingDisabled`; `Unknown` if nobody told.
fn status(node: &Node) -> String {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|c| c.type_ == "Ready");
    let mut words = vec![match ready {
        Some(condition) if condition.status == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if is_unschedulable(node) {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Node) -> String {
    let role = |(key, value): (&String, &String)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role.to_owned()),
        None if key == ROLE_LABEL => Some(value.clone()),
        None => None,
    };
    let labels = node.metadata.labels.iter().flatten();
    let roles: BTreeSet<String> = labels.filter_map(role).filter(|r| !r.is_empty()).collect();
    or_none(&roles.into_iter().collect::<Vec<_>>().join(",")).to_owned()
}

fn info(node: &Node, get: impl Fn(&NodeSystemInfo) -> &String) -> &str {
    let info = node.status.as_ref().and_then(|s| s.node_info.as_ref());
    info.map(|i| get(i).as_str()).unwrap_or_default()
}

fn known(text: &str) -> &str {
    if text.is_empty() { "<unknown>" } else { text }
}

fn address<'a>(node: &'a Node, type_: &str) -> &'a str {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_ref());
    let found = addresses.into_iter().flatten().find(|a| a.type_ == type_);
    found.map_or(NONE, |a| a.address.as_str())
}

fn is_unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false)
}

struct NodeStrategy;

impl Strategy<Node> for NodeStrategy {
    fn default(&self, node: &mut Node) {
        node.spec.get_or_insert_default();
        let Some(status) = &mut node.status else { return };
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
    }

    fn validate(&self, node: &Node, errors: &mut FieldErrors) {
        let Some(spec) = &node.spec else { return };
        let path = FieldPath::new("spec");
        pod_cidrs(spec, &path.child("podCIDRs"), errors);
        let mut seen = BTreeSet::new();
        for (i, taint) in spec.taints.iter().flatten().enumerate() {
            let path = path.child("taints").index(i);
            validate_taint(taint, &path, errors);
            rules::unique(&mut seen, &(taint.key.clone(), taint.effect.clone()), &path, errors);
        }
    }

    fn validate_update(&self, new: &Node, old: &Node, errors: &mut FieldErrors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let path = FieldPath::new("spec");
        let why = "node updates may not change podCIDR except from \"\" to valid";
        let cidr = |spec: &NodeSpec| text(spec.pod_cidr.as_ref()).to_owned();
        if !cidr(old).is_empty() && cidr(new) != cidr(old) {
            errors.forbidden(&path.child("podCIDR"), why);
        }
        let cidrs = |spec: &NodeSpec| spec.pod_cidrs.clone().unwrap_or_default();
        if !cidrs(old).is_empty() && cidrs(new) != cidrs(old) {
            errors.forbidden(&path.child("podCIDRs"), why);
        }
        if !text(old.provider_id.as_ref()).is_empty() && new.provider_id != old.provider_id {
            let why = "node updates may not change providerID except from \"\" to valid";
            errors.forbidden(&path.child("providerID"), why);
        }
    }

    fn warnings(&self, node: &Node, _: Option<&Node>, _: &Exists<'_>) -> Vec<String> {
        node.spec.as_ref().map(spec_warnings).unwrap_or_default()
    }

    fn fields(&self, node: &Node) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", is_unschedulable(node).to_string())]
    }
}

fn spec_warnings(spec: &NodeSpec) -> Vec<String> {
    let (mut warnings, path) = (Vec::new(), FieldPath::new("spec"));
    if spec.config_source.is_some() {
        tell(&path.child("configSource"), "the feature is removed", &mut warnings);
    }
    if !text(spec.external_id.as_ref()).is_empty() {
        let what = "this field is deprecated, and is unused by Kubernetes";
        tell(&path.child("externalID"), what, &mut warnings);
    }
    for (index, cidr) in spec.pod_cidrs.iter().flatten().enumerate() {
        warn_of_cidr(cidr, &path.child("podCIDRs").index(index), &mut warnings);
    }
    warnings
}

/// One, or one of each family.
fn pod_cidrs(spec: &NodeSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let cidrs = spec.pod_cidrs.as_deref().unwrap_or_default();
    for (i, cidr) in cidrs.iter().enumerate() {
        rules::cidr(cidr, &path.index(i), errors);
    }
    let is_v4 = |cidr: &String| cidr.parse::<IpNet>().ok().map(|net| net.addr().is_ipv4());
    let families: Vec<_> = cidrs.iter().filter_map(is_v4).collect();
    if families.len() > 2 || matches!(families[..], [one, other] if one == other) {
        let why = "may specify no more than one CIDR for each IP family";
        errors.invalid(path, rules::json(cidrs), why);
    }
}

fn validate_taint(taint: &Taint, path: &FieldPath, errors: &mut FieldErrors) {
    rules::named(&taint.key, names::qualified_name, &path.child("key"), errors);
    rules::maybe_follows(taint.value.as_ref(), names::label_value, &path.child("value"), errors);
    let path = path.child("effect");
    if taint.effect.is_empty() {
        errors.required(&path, "");
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    rules::one_of(Some(&taint.effect), &effects, &path, errors);
}
