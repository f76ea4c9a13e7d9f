//! Which addresses a kubelet may have a certificate for: those of its own node that no other node has. Pure.

use std::sync::Arc;

use api_types::api::certificates::v1::CertificateSigningRequest as Csr;
use api_types::api::core::v1::Node;
use certificates::{Request, kubelet};

use super::usages;
use crate::nodes;

/// Whether a kubelet asks for a certificate to serve with, for itself.
pub(super) fn is_one(csr: &Csr, request: &Request) -> bool {
    csr.spec.signer_name == kubelet::SERVING_SIGNER
        && csr.spec.username.as_ref() == Some(&request.common_name)
        && csr.spec.groups.iter().flatten().any(|group| group == kubelet::GROUP)
        && kubelet::check_serving(request, usages(csr)).is_ok()
}

/// Whether all that the request names is its node's, and no other's: a node says itself which addresses it has.
pub(super) fn may_have(request: &Request, all: &[Arc<Node>]) -> bool {
    let name = request.common_name.strip_prefix(kubelet::USER_PREFIX).unwrap_or_default();
    let Some(own) = all.iter().find(|node| nodes::name(node) == name) else { return false };
    let others = || all.iter().filter(|node| nodes::name(node) != name);
    let wanted = request.addresses.iter().map(ToString::to_string);
    let mut wanted = wanted.chain(request.dns_names.iter().cloned());
    wanted.all(|wanted| names(own, &wanted) && !others().any(|other| names(other, &wanted)))
}

fn names(node: &Node, wanted: &str) -> bool {
    let status = node.status.as_ref();
    let mut addresses = status.and_then(|s| s.addresses.as_ref()).into_iter().flatten();
    nodes::name(node) == wanted || addresses.any(|address| address.address == wanted)
}

#[cfg(test)]
mod tests {
    use certificates::{new_key, new_request};
    use serde_json::json;

    use super::*;

    fn node(name: &str, addresses: &[&str]) -> Arc<Node> {
        let addresses: Vec<_> =
            addresses.iter().map(|it| json!({"type": "InternalIP", "address": it})).collect();
        let node = json!({"metadata": {"name": name}, "status": {"addresses": addresses}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    #[test]
    fn a_node_has_certificates_for_its_own_addresses_alone() {
        let nodes = [node("n1", &["10.0.0.1", "10.0.0.9"]), node("n2", &["10.0.0.2", "10.0.0.9"])];
        let check = |node: &str, wanted: &[&str], expected| {
            let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
            let user = format!("system:node:{node}");
            let text = new_request(&new_key().unwrap(), &user, &[kubelet::GROUP], &wanted).unwrap();
            let request = Request::parse(text.as_bytes()).unwrap();
            assert_eq!(may_have(&request, &nodes), expected, "{node} {wanted:?}");
        };
        check("n1", &["n1", "10.0.0.1"], true);
        check("n1", &["10.0.0.2"], false);
        check("n1", &["n2"], false);
        check("n1", &["10.0.0.9"], false);
        check("n1", &["kubernetes.default"], false);
        check("n3", &["n3"], false);
    }
}
