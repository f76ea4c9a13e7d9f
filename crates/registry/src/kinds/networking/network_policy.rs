//! Whom the pods of a namespace may hear and speak to (Kubernetes: `pkg/apis/networking/validation`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    IntOrString,
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
};
use ipnet::IpNet;
use serde_json::json;

use crate::{
    Exists, ResourceDef, Strategy,
    addresses::{has_leading_zeros, is_mapped, sloppy_cidr, warn_of_cidr},
    cells, label_selector, resource, rules,
};

const INGRESS: &str = "Ingress";
const EGRESS: &str = "Egress";
const TYPES: [&str; 2] = [INGRESS, EGRESS];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

pub(crate) fn definition() -> ResourceDef {
    resource::<NetworkPolicy, _>(NetworkPolicyStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["netpol"])
        .column("Pod-Selector", "string", 0, |policy, _| json!(selector(policy)))
        .build()
}

fn selector(policy: &NetworkPolicy) -> String {
    let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
    selector.map_or_else(|| cells::NONE.to_owned(), cells::selector)
}

struct NetworkPolicyStrategy;

impl Strategy<NetworkPolicy> for NetworkPolicyStrategy {
    fn default(&self, policy: &mut NetworkPolicy) {
        let spec = policy.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        let ingress = spec.ingress.iter_mut().flatten().flat_map(|rule| &mut rule.ports);
        let egress = spec.egress.iter_mut().flatten().flat_map(|rule| &mut rule.ports);
        for port in ingress.chain(egress).flatten() {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
        if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
            let has_egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
            let egress = has_egress.then(|| EGRESS.to_owned());
            spec.policy_types = Some([INGRESS.to_owned()].into_iter().chain(egress).collect());
        }
    }

    fn validate(&self, policy: &NetworkPolicy, errors: &mut FieldErrors) {
        let none = NetworkPolicySpec::default();
        let spec = policy.spec.as_ref().unwrap_or(&none);
        let path = FieldPath::new("spec");
        if let Some(selector) = &spec.pod_selector {
            label_selector::validate(selector, &path.child("podSelector"), errors);
        }
        for (i, rule) in spec.ingress.iter().flatten().enumerate() {
            let path = path.child("ingress").index(i);
            ports(rule.ports.as_deref(), &path.child("ports"), errors);
            peers(rule.from.as_deref(), &path.child("from"), errors);
        }
        for (i, rule) in spec.egress.iter().flatten().enumerate() {
            let path = path.child("egress").index(i);
            ports(rule.ports.as_deref(), &path.child("ports"), errors);
            peers(rule.to.as_deref(), &path.child("to"), errors);
        }
        types(spec.policy_types.as_deref().unwrap_or_default(), &path, errors);
    }

    fn warnings(
        &self,
        policy: &NetworkPolicy,
        _: Option<&NetworkPolicy>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let (mut warnings, path) = (Vec::new(), FieldPath::new("spec"));
        let Some(spec) = &policy.spec else { return warnings };
        for (i, rule) in spec.ingress.iter().flatten().enumerate() {
            let path = path.child("ingress").index(i).child("from");
            warn_of_blocks(rule.from.as_deref().unwrap_or_default(), &path, &mut warnings);
        }
        for (i, rule) in spec.egress.iter().flatten().enumerate() {
            let path = path.child("egress").index(i).child("to");
            warn_of_blocks(rule.to.as_deref().unwrap_or_default(), &path, &mut warnings);
        }
        warnings
    }
}

fn warn_of_blocks(peers: &[NetworkPolicyPeer], path: &FieldPath, warnings: &mut Vec<String>) {
    for (i, peer) in peers.iter().enumerate() {
        let (Some(block), path) = (&peer.ip_block, path.index(i).child("ipBlock")) else {
            continue;
        };
        warn_of_cidr(&block.cidr, &path.child("cidr"), warnings);
        for (i, except) in block.except.iter().flatten().enumerate() {
            warn_of_cidr(except, &path.child("except").index(i), warnings);
        }
    }
}

fn types(types: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("policyTypes");
    if types.len() > TYPES.len() {
        let why = "may not specify more than two policyTypes";
        return errors.invalid(&path, format_args!("{}", json!(types)), why);
    }
    for (i, type_) in types.iter().enumerate() {
        if !TYPES.contains(&type_.as_str()) {
            errors.not_supported(&path.index(i), type_, &TYPES);
        }
    }
}

fn ports(ports: Option<&[NetworkPolicyPort]>, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, port) in ports.into_iter().flatten().enumerate() {
        self::port(port, &path.index(i), errors);
    }
}

fn port(port: &NetworkPolicyPort, path: &FieldPath, errors: &mut FieldErrors) {
    let end_path = path.child("endPort");
    if let Some(protocol) = port.protocol.as_ref().filter(|p| !PROTOCOLS.contains(&p.as_str())) {
        errors.not_supported(&path.child("protocol"), protocol, &PROTOCOLS);
    }
    match (&port.port, port.end_port) {
        (Some(IntOrString::Int(number)), end) => {
            rules::port(*number, &path.child("port"), errors);
            let Some(end) = end else { return };
            if end < *number {
                // The value that Kubernetes shows.
                errors.invalid(&end_path, number, "must be greater than or equal to `port`");
            }
            rules::port(end, &end_path, errors);
        }
        (Some(IntOrString::String(name)), end) => {
            if let Some(end) = end {
                errors.invalid(&end_path, end, "may not be specified when `port` is non-numeric");
            }
            rules::follows(name, names::port_name, &path.child("port"), errors);
        }
        (None, Some(end)) => {
            errors.invalid(&end_path, end, "may not be specified when `port` is not specified");
        }
        (None, None) => {}
    }
}

fn peers(peers: Option<&[NetworkPolicyPeer]>, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, peer) in peers.into_iter().flatten().enumerate() {
        self::peer(peer, &path.index(i), errors);
    }
}

fn peer(peer: &NetworkPolicyPeer, path: &FieldPath, errors: &mut FieldErrors) {
    let NetworkPolicyPeer { pod_selector, namespace_selector, ip_block } = peer;
    if let Some(selector) = pod_selector {
        label_selector::validate(selector, &path.child("podSelector"), errors);
    }
    if let Some(selector) = namespace_selector {
        label_selector::validate(selector, &path.child("namespaceSelector"), errors);
    }
    if let Some(block) = ip_block {
        self::block(block, &path.child("ipBlock"), errors);
    }
    let selects = pod_selector.is_some() || namespace_selector.is_some();
    match (ip_block.is_some(), selects) {
        (false, false) => errors.required(path, "must specify a peer"),
        (true, true) => {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
        _ => {}
    }
}

fn block(block: &IPBlock, path: &FieldPath, errors: &mut FieldErrors) {
    if block.cidr.is_empty() {
        return errors.required(&path.child("cidr"), "");
    }
    let Some(cidr) = cidr(&block.cidr, &path.child("cidr"), errors) else { return };
    for (i, text) in block.except.iter().flatten().enumerate() {
        let path = path.child("except").index(i);
        let Some(except) = self::cidr(text, &path, errors) else { continue };
        if !cidr.contains(&except.network()) || cidr.prefix_len() >= except.prefix_len() {
            errors.invalid(&path, text, "must be a strict subset of `cidr`");
        }
    }
}

/// The network, if the text is one (Kubernetes: `IsValidCIDRForLegacyField`, strict).
fn cidr(text: &str, path: &FieldPath, errors: &mut FieldErrors) -> Option<IpNet> {
    let Some(network) = sloppy_cidr(text) else {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid(path, text, why);
        return None;
    };
    if has_leading_zeros(text) {
        errors.invalid(path, text, "must not have leading 0s in IP or prefix length");
    } else if is_mapped(network.addr()) {
        errors.invalid(path, text, "must not have an IPv4-mapped IPv6 address");
    } else if network.addr() != network.network() {
        errors.invalid(path, text, "must not have bits set beyond the prefix length");
    }
    Some(network)
}
