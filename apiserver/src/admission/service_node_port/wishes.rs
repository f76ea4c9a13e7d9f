//! Which node ports a service wants: a function of its spec and the one before.

use std::collections::BTreeSet;

use api_machinery::FieldPath;
use api_types::api::core::v1::{ServicePort, ServiceSpec};
use registry::service::{allocates_node_ports, has_health_check, has_node_ports};

/// What a number is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// That one of its ports.
    Port(usize),
    /// What load balancers ask.
    HealthCheck,
}

/// What is to be claimed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Numbers that it names and did not have.
    pub(super) these: Vec<(Target, u16)>,
    /// Numbers that another port names.
    pub(super) shared: Vec<(Target, u16)>,
    /// A number each, whichever, for all of these together.
    pub(super) any: Vec<Vec<Target>>,
}

impl Target {
    pub(super) fn set(self, spec: &mut ServiceSpec, number: u16) {
        let number = Some(number.into());
        match self {
            Target::HealthCheck => spec.health_check_node_port = number,
            Target::Port(i) => {
                let port = spec.ports.as_mut().and_then(|ports| ports.get_mut(i));
                port.into_iter().for_each(|port| port.node_port = number);
            }
        }
    }

    pub(super) fn path(self) -> FieldPath {
        let spec = FieldPath::new("spec");
        match self {
            Target::HealthCheck => spec.child("healthCheckNodePort"),
            Target::Port(i) => spec.child("ports").index(i).child("nodePort"),
        }
    }
}

/// All numbers of a spec.
pub(super) fn numbers(spec: &ServiceSpec) -> BTreeSet<u16> {
    let ports = spec.ports.iter().flatten().filter_map(|port| number(port.node_port));
    ports.chain(number(spec.health_check_node_port)).collect()
}

/// Numbers that are none are left to validation. `old`: what is there before; `spec` goes on from it.
pub(super) fn of(spec: &ServiceSpec, old: Option<&ServiceSpec>) -> Wishes {
    let mut wishes = Wishes::default();
    let before = old.map(numbers).unwrap_or_default();
    if has_node_ports(spec) {
        ports(spec, &before, old.is_none(), &mut wishes);
    }
    // One of before there were such ports has none yet.
    let has_one =
        |old: &ServiceSpec| has_health_check(old) && number(old.health_check_node_port).is_some();
    if has_health_check(spec) && !old.is_some_and(has_one) {
        match number(spec.health_check_node_port) {
            Some(number) => wishes.these.push((Target::HealthCheck, number)),
            None => wishes.any.push(vec![Target::HealthCheck]),
        }
    }
    wishes
}

fn ports(spec: &ServiceSpec, before: &BTreeSet<u16>, is_new: bool, wishes: &mut Wishes) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut claimed = before.clone();
    for (i, port) in ports.iter().enumerate() {
        let new = number(port.node_port).filter(|number| claimed.insert(*number));
        wishes.these.extend(new.map(|number| (Target::Port(i), number)));
    }
    let without = ports.iter().enumerate().filter(|(_, port)| port.node_port.unwrap_or(0) == 0);
    for (i, port) in without.filter(|_| allocates_node_ports(spec)) {
        // A new service has one number for ports that differ in their protocol (Kubernetes: `initNodePorts`).
        let is_alike = |other: &ServicePort| is_new && other.port == port.port;
        let named = ports.iter().filter(|it| is_alike(it)).find_map(|it| number(it.node_port));
        let is_group = |targets: &&mut Vec<Target>| matches!(targets[0], Target::Port(other) if is_alike(&ports[other]));
        let target = Target::Port(i);
        match (named, wishes.any.iter_mut().find(is_group)) {
            (Some(number), _) => wishes.shared.push((target, number)),
            (None, Some(targets)) => targets.push(target),
            (None, None) => wishes.any.push(vec![target]),
        }
    }
}

fn number(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| port.try_into().ok()).filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(old: Option<Value>, new: Value, expected: &Wishes) {
        let spec = |value: Value| serde_json::from_value::<ServiceSpec>(value).unwrap();
        assert_eq!(of(&spec(new), old.map(spec).as_ref()), *expected);
    }

    fn node_port(ports: &Value) -> Value {
        json!({"type": "NodePort", "ports": ports})
    }

    fn balanced(policy: &str, more: &Value) -> Value {
        let mut spec = json!({
            "type": "LoadBalancer", "externalTrafficPolicy": policy,
            "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}],
        });
        let more = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(more);
        spec
    }

    #[test]
    fn ports_of_one_number_share_theirs_in_a_new_service_alone() {
        let both = node_port(&json!([{"port": 53}, {"port": 80}, {"port": 53, "protocol": "UDP"}]));
        let (a, b, c) = (Target::Port(0), Target::Port(1), Target::Port(2));
        let any = vec![vec![a, c], vec![b]];
        check(None, both.clone(), &Wishes { any, ..Wishes::default() });
        let any = vec![vec![a], vec![b], vec![c]];
        check(Some(node_port(&json!([]))), both, &Wishes { any, ..Wishes::default() });
        let named = node_port(&json!([{"port": 53}, {"port": 53, "nodePort": 30053}]));
        let (these, shared) = (vec![(b, 30053)], vec![(a, 30053)]);
        check(None, named, &Wishes { these, shared, any: vec![] });
    }

    #[test]
    fn what_is_held_is_not_claimed_again_nor_is_one_number_twice() {
        let old = node_port(&json!([{"port": 1, "nodePort": 30001}]));
        let new = node_port(&json!([
            {"port": 2, "nodePort": 30001}, {"port": 3, "nodePort": 30002},
            {"port": 3, "nodePort": 30002, "protocol": "UDP"},
        ]));
        let these = vec![(Target::Port(1), 30002)];
        check(Some(old), new, &Wishes { these, ..Wishes::default() });
    }

    #[test]
    fn a_balanced_service_may_do_without_and_is_asked_for_its_health_where_that_matters() {
        check(None, balanced("Cluster", &json!({})), &Wishes::default());
        let ports = json!({"ports": [{"port": 80, "nodePort": 30080}]});
        let these = vec![(Target::Port(0), 30080)];
        check(None, balanced("Cluster", &ports), &Wishes { these, ..Wishes::default() });
        let any = Wishes { any: vec![vec![Target::HealthCheck]], ..Wishes::default() };
        check(None, balanced("Local", &json!({})), &any);
        let given = json!({"healthCheckNodePort": 30500});
        let these = vec![(Target::HealthCheck, 30500)];
        let this = Wishes { these, ..Wishes::default() };
        check(Some(balanced("Cluster", &json!({}))), balanced("Local", &given), &this);
        check(Some(balanced("Local", &given)), balanced("Local", &given), &Wishes::default());
        check(Some(balanced("Local", &json!({}))), balanced("Local", &json!({})), &any);
    }

    #[test]
    fn no_other_type_has_any_and_numbers_that_are_none_are_not_claimed() {
        let ports = json!([{"port": 80, "nodePort": 30080}]);
        check(None, json!({"type": "ClusterIP", "ports": ports}), &Wishes::default());
        let ports = json!([{"port": 80, "nodePort": 70000}, {"port": 81, "nodePort": -1}]);
        check(None, node_port(&ports), &Wishes::default());
    }
}
