//! What a kubelet may have a certificate for: the name of its own node, and addresses of it that nobody else has. Pure.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::api::certificates::v1::CertificateSigningRequest as Csr;
use api_types::api::core::v1::{Endpoints, Node, Service};
use certificates::{Request, kubelet};

use super::usages;
use crate::network::Network;
use crate::nodes;

/// Whether a kubelet asks for a certificate to serve with, for itself.
pub(super) fn is_one(csr: &Csr, request: &Request) -> bool {
    csr.spec.signer_name == kubelet::SERVING_SIGNER
        && csr.spec.username.as_ref() == Some(&request.common_name)
        && csr.spec.groups.iter().flatten().any(|group| group == kubelet::GROUP)
        && kubelet::check_serving(request, usages(csr)).is_ok()
}

/// Addresses that are no node's, whatever it says: of pods, of Services, of the API servers, of every host alike, and those
/// that somebody has said are others'.
#[derive(Debug)]
pub(super) struct Foreign {
    pods: Network,
    taken: HashSet<IpAddr>,
}

impl Foreign {
    /// `servers` are the endpoints of the Service `kubernetes`.
    pub(super) fn new(
        pods: Network,
        services: &[Arc<Service>],
        servers: Option<&Endpoints>,
        reserved: &[IpAddr],
    ) -> Self {
        let of_services = services.iter().flat_map(|service| addresses(service));
        let subsets = servers.and_then(|servers| servers.subsets.as_ref()).into_iter().flatten();
        let of_servers = subsets.flat_map(|it| it.addresses.iter().flatten()).map(|it| &it.ip);
        let parsed =
            of_services.chain(of_servers).filter_map(|address| address.parse::<IpAddr>().ok());
        let taken = parsed.chain(reserved.iter().copied()).map(|it| it.to_canonical());
        Self { pods, taken: taken.collect() }
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.pods.contains(address) || self.taken.contains(&address)
    }
}

/// At which clients look for a Service, in the cluster and from outside.
fn addresses(service: &Service) -> impl Iterator<Item = &String> {
    let spec = service.spec.as_ref();
    let virtual_ip = spec.and_then(|spec| spec.cluster_ip.as_ref());
    let virtual_ips = spec.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
    let outside = spec.and_then(|spec| spec.external_ips.as_ref()).into_iter().flatten();
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let balancers = balancer.and_then(|it| it.ingress.as_ref()).into_iter().flatten();
    let of_balancers = balancers.filter_map(|it| it.ip.as_ref());
    virtual_ip.into_iter().chain(virtual_ips).chain(outside).chain(of_balancers)
}

/// Whether all that the request names is its node's, and no other's: a node says itself which addresses it has, so names
/// of hosts are not believed but its own.
pub(super) fn may_have(request: &Request, all: &[Arc<Node>], foreign: &Foreign) -> bool {
    let name = request.common_name.strip_prefix(kubelet::USER_PREFIX).unwrap_or_default();
    let Some(own) = all.iter().find(|node| nodes::name(node) == name) else { return false };
    if request.dns_names != [name] || is_of_servers(name) {
        return false;
    }
    let is_others =
        |wanted: &str| all.iter().any(|other| nodes::name(other) != name && names(other, wanted));
    let mut addresses = request.addresses.iter();
    let is_own = |address: &IpAddr| {
        let text = address.to_string();
        !foreign.has(*address) && names(own, &text) && !is_others(&text)
    };
    !is_others(name) && addresses.all(is_own)
}

/// Whether clients look for the API server, or for a Service, by that name.
fn is_of_servers(name: &str) -> bool {
    ["localhost", "kubernetes"].contains(&name)
        || name.starts_with("kubernetes.default")
        || name.ends_with(".svc")
        || name.ends_with(".svc.cluster.local")
}

fn names(node: &Node, wanted: &str) -> bool {
    let status = node.status.as_ref();
    let mut addresses = status.and_then(|s| s.addresses.as_ref()).into_iter().flatten();
    nodes::name(node).eq_ignore_ascii_case(wanted)
        || addresses.any(|address| address.address.eq_ignore_ascii_case(wanted))
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
    fn a_node_has_certificates_for_its_own_name_and_addresses_alone() {
        let nodes = [
            node("n1", &["10.0.0.1", "10.0.0.9", "web"]),
            node(
                "liar",
                &[
                    "10.244.0.1",
                    "fd00:10:244::1",
                    "10.96.0.1",
                    "fd00:10:96::1",
                    "127.0.0.1",
                    "192.0.2.1",
                    "192.0.2.2",
                    "10.0.0.100",
                ],
            ),
            node("n2", &["10.0.0.2", "10.0.0.9"]),
            node("kubernetes.default.svc", &[]),
            node("hook.team.svc", &[]),
            node("localhost", &[]),
            node("claimed", &[]),
            node("claiming", &["Claimed", "10.0.0.3"]),
        ];
        let check = |node: &str, wanted: &[&str], expected| {
            let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
            let user = format!("system:node:{node}");
            let text = new_request(&new_key().unwrap(), &user, &[kubelet::GROUP], &wanted).unwrap();
            let request = Request::parse(text.as_bytes()).unwrap();
            assert_eq!(may_have(&request, &nodes, &foreign()), expected, "{node} {wanted:?}");
        };
        check("n1", &["n1", "10.0.0.1"], true);
        check("n1", &["n1"], true);
        check("n1", &["10.0.0.1"], false);
        check("n1", &["n1", "10.0.0.2"], false);
        check("n1", &["n2"], false);
        check("n1", &["n1", "n2"], false);
        check("n1", &["n1", "10.0.0.9"], false);
        check("n1", &["kubernetes.default"], false);
        check("n3", &["n3"], false);
        check("n1", &["n1", "web"], false);
        // It says that these are its own.
        check("liar", &["liar"], true);
        for other in [
            "10.244.0.1",
            "fd00:10:244::1",
            "10.96.0.1",
            "fd00:10:96::1",
            "127.0.0.1",
            "192.0.2.1",
            "192.0.2.2",
            "10.0.0.100",
        ] {
            check("liar", &["liar", other], false);
        }
        check("claiming", &["claiming", "10.0.0.3"], false);
        check("claimed", &["claimed"], false);
        for name in ["kubernetes.default.svc", "hook.team.svc", "localhost"] {
            check(name, &[name], false);
        }
    }

    /// The API server is at 10.0.0.3, and at 10.0.0.100 what leads to several of them.
    fn foreign() -> Foreign {
        let pods = crate::network::tests::network("10.244.0.0/16,fd00:10:244::/56");
        let ips = ["10.96.0.1", "fd00:10:96::1"];
        let service = json!({"spec": {"clusterIP": ips[0], "clusterIPs": ips}});
        let headless = json!({"spec": {"clusterIP": "None"}});
        let outside = json!({
            "spec": {"externalIPs": ["192.0.2.1"]},
            "status": {"loadBalancer": {"ingress": [{"hostname": "x"}, {"ip": "192.0.2.2"}]}},
        });
        let services = [service, headless, outside];
        let services = services.map(|it| Arc::new(serde_json::from_value::<Service>(it).unwrap()));
        let servers = json!({"subsets": [{"addresses": [{"ip": "10.0.0.3"}]}]});
        let servers: Endpoints = serde_json::from_value(servers).unwrap();
        Foreign::new(pods, &services, Some(&servers), &["10.0.0.100".parse().unwrap()])
    }
}
