//! What an update means that says nothing, or no longer the right thing, about fields that hang together
//! (Kubernetes: `patchAllocatedValues`, `NormalizeClusterIPs` and `dropTypeDependentFields`).

use std::collections::BTreeSet;

use api_types::api::core::v1::{ServicePort, ServiceSpec};

use super::types::{
    has_cluster_ip, has_health_check, has_node_ports, ips, is_balanced, is_reached_from_outside,
};
use crate::rules::text;

/// `clusterIPs` of a new service says what `clusterIP` does; a client that knows the former says both.
pub fn create(spec: &mut ServiceSpec) {
    let (ip, ips) = (text(spec.cluster_ip.as_ref()), &spec.cluster_ips);
    if !ip.is_empty() && ips.as_ref().is_none_or(Vec::is_empty) {
        spec.cluster_ips = Some(vec![ip.to_owned()]);
    }
}

/// Completes the spec that replaces another. Once more changes nothing more.
pub fn update(new: &mut ServiceSpec, old: &ServiceSpec) {
    drop_fields_of_old_type(new, old);
    keep_cluster_ip(new, old);
    keep_node_ports(new, old);
    if has_health_check(new)
        && has_health_check(old)
        && new.health_check_node_port.unwrap_or(0) == 0
    {
        new.health_check_node_port = old.health_check_node_port;
    }
    follow_cluster_ip(new, old);
}

/// Fields that the new type doesn't have go, if the client left them as they were: it has read them and sends them
/// back. A value that it changed is its own, and refused.
fn drop_fields_of_old_type(new: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(old) && !has_cluster_ip(new) {
        if (&new.cluster_ip, ips(new)) == (&old.cluster_ip, ips(old)) {
            (new.cluster_ip, new.cluster_ips) = (None, None);
        }
        drop_unchanged(&mut new.ip_families, &old.ip_families);
        drop_unchanged(&mut new.ip_family_policy, &old.ip_family_policy);
    }
    let has_no_others = node_ports(new).is_subset(&node_ports(old));
    if has_node_ports(old) && !has_node_ports(new) && has_no_others {
        new.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
    }
    if is_reached_from_outside(old) && !is_reached_from_outside(new) {
        drop_unchanged(&mut new.external_traffic_policy, &old.external_traffic_policy);
    }
    if has_health_check(old) && !has_health_check(new) {
        drop_unchanged(&mut new.health_check_node_port, &old.health_check_node_port);
    }
    if is_balanced(old) && !is_balanced(new) {
        let allocate = &old.allocate_load_balancer_node_ports;
        drop_unchanged(&mut new.allocate_load_balancer_node_ports, allocate);
        drop_unchanged(&mut new.load_balancer_class, &old.load_balancer_class);
    }
}

fn drop_unchanged<T: PartialEq>(new: &mut Option<T>, old: &Option<T>) {
    if new == old {
        *new = None;
    }
}

fn keep_cluster_ip(new: &mut ServiceSpec, old: &ServiceSpec) {
    if !has_cluster_ip(new) || !has_cluster_ip(old) {
        return;
    }
    if text(new.cluster_ip.as_ref()).is_empty() {
        new.cluster_ip.clone_from(&old.cluster_ip);
    }
    if ips(new).is_empty() {
        new.cluster_ips.clone_from(&old.cluster_ips);
    }
}

/// By the ports' names. A node port that another port has taken over is not given back to its former one.
fn keep_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    if !has_node_ports(new) || !has_node_ports(old) {
        return;
    }
    let mut used = node_ports(new);
    for port in new.ports.iter_mut().flatten().filter(|p| p.node_port.unwrap_or(0) == 0) {
        let namesake = |old: &&ServicePort| text(old.name.as_ref()) == text(port.name.as_ref());
        let before = old.ports.iter().flatten().find(namesake).and_then(|old| old.node_port);
        if let Some(number) = before.filter(|number| used.insert(*number)) {
            port.node_port = Some(number);
        }
    }
}

/// A client that knows only `clusterIP` and changes it means both.
fn follow_cluster_ip(new: &mut ServiceSpec, old: &ServiceSpec) {
    if text(new.cluster_ip.as_ref()) == text(old.cluster_ip.as_ref()) {
        return;
    }
    if ips(new) == ips(old) {
        let changed = new.cluster_ip.clone().filter(|ip| !ip.is_empty());
        new.cluster_ips = changed.map(|ip| vec![ip]);
    }
}

/// The numbers that its ports have at nodes.
fn node_ports(spec: &ServiceSpec) -> BTreeSet<i32> {
    spec.ports.iter().flatten().filter_map(|p| p.node_port).filter(|n| *n != 0).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(old: Value, new: Value, expected: &Value) {
        let spec = |value| serde_json::from_value::<ServiceSpec>(value).unwrap();
        let mut changed = spec(new);
        update(&mut changed, &spec(old));
        assert_eq!(serde_json::to_value(&changed).unwrap(), *expected);
    }

    fn node_port(type_: &str, port: &Value) -> Value {
        json!({
            "type": type_, "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "externalTrafficPolicy": "Cluster", "ports": [port],
        })
    }

    #[test]
    fn a_change_of_type_takes_along_what_was_not_changed() {
        let port = json!({"port": 80, "nodePort": 30001});
        let inside = json!({
            "type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"port": 80}],
        });
        check(node_port("NodePort", &port), node_port("ClusterIP", &port), &inside);
        let outside = json!({"type": "ExternalName", "ports": [{"port": 80}]});
        check(node_port("NodePort", &port), node_port("ExternalName", &port), &outside);
    }

    #[test]
    fn what_was_changed_with_the_type_stays_to_be_refused() {
        let (old, new) =
            (json!({"port": 80, "nodePort": 30001}), json!({"port": 80, "nodePort": 30002}));
        let mut kept = node_port("ClusterIP", &new);
        kept.as_object_mut().unwrap().remove("externalTrafficPolicy");
        check(node_port("NodePort", &old), node_port("ClusterIP", &new), &kept);
    }

    #[test]
    fn node_ports_are_kept_by_the_names_of_their_ports() {
        let before = |ports: Value| json!({"type": "NodePort", "ports": ports});
        check(
            before(json!([{"name": "a", "port": 1, "nodePort": 30001}])),
            before(json!([{"name": "a", "port": 2}])),
            &before(json!([{"name": "a", "port": 2, "nodePort": 30001}])),
        );
        check(
            before(json!([{"name": "a", "port": 1, "nodePort": 30001}])),
            before(json!([{"name": "b", "port": 1, "nodePort": 30001}, {"name": "a", "port": 2}])),
            &before(json!([{"name": "b", "port": 1, "nodePort": 30001}, {"name": "a", "port": 2}])),
        );
    }

    #[test]
    fn one_field_of_the_address_speaks_for_both() {
        let spec = |ip: &str, ips: &[&str]| json!({"clusterIP": ip, "clusterIPs": ips});
        let one = || spec("10.0.0.1", &["10.0.0.1"]);
        check(one(), json!({}), &one());
        check(one(), json!({"clusterIPs": ["10.0.0.1"]}), &one());
        check(one(), json!({"clusterIP": "10.0.0.1"}), &one());
        check(one(), spec("10.0.0.2", &["10.0.0.1"]), &spec("10.0.0.2", &["10.0.0.2"]));
        check(one(), json!({"clusterIP": "10.0.0.2"}), &spec("10.0.0.2", &["10.0.0.2"]));
        let two = || spec("10.0.0.1", &["10.0.0.1", "fd00::1"]);
        check(two(), json!({}), &two());
        check(two(), one(), &one());
    }
}
