//! The subsets of an Endpoints object: the backends that have the same ports, ready and not ready. Pure.

use std::collections::BTreeMap;

use api_types::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

use super::backends::{Backend, Port};

/// A headless Service without ports still has addresses. A Service with ports that a pod has none of
/// does not have that pod.
pub(super) fn of(backends: &[Backend], service_has_ports: bool) -> Vec<EndpointSubset> {
    let mut by_ports: BTreeMap<&[Port], EndpointSubset> = BTreeMap::new();
    for backend in backends.iter().filter(|backend| belongs(backend, service_has_ports)) {
        let subset = by_ports.entry(&backend.ports).or_insert_with(|| empty(&backend.ports));
        let list =
            if backend.ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address(backend));
    }
    by_ports.into_values().collect()
}

/// Endpoints have no way to say "on its way out, but still serving": such pods are left out, unless the
/// Service wants every address.
fn belongs(backend: &Backend, service_has_ports: bool) -> bool {
    (backend.ready || !backend.terminating) && !(service_has_ports && backend.ports.is_empty())
}

fn empty(ports: &[Port]) -> EndpointSubset {
    let ports: Vec<EndpointPort> = ports.iter().map(port).collect();
    EndpointSubset { ports: (!ports.is_empty()).then_some(ports), ..EndpointSubset::default() }
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: port.name.clone(),
        port: port.number,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

fn address(backend: &Backend) -> EndpointAddress {
    EndpointAddress {
        ip: backend.ip.clone(),
        hostname: backend.hostname.clone(),
        node_name: backend.node.clone(),
        target_ref: Some(backend.target.clone()),
    }
}

/// More than so many addresses are too many for one object.
const CAPACITY: usize = 1000;

/// Cuts the addresses to what one object may hold, as Kubernetes does: not ready ones go first, and of what
/// is cut each subset loses its share. Returns whether something was cut.
pub(super) fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let ready: usize = subsets.iter().map(|subset| len(&subset.addresses)).sum();
    let not_ready: usize = subsets.iter().map(|subset| len(&subset.not_ready_addresses)).sum();
    if ready + not_ready <= CAPACITY {
        return false;
    }
    if ready > CAPACITY {
        subsets.iter_mut().for_each(|subset| subset.not_ready_addresses = None);
        share(subsets.iter_mut().map(|subset| &mut subset.addresses), ready, CAPACITY);
    } else {
        let lists = subsets.iter_mut().map(|subset| &mut subset.not_ready_addresses);
        share(lists, not_ready, CAPACITY - ready);
    }
    true
}

type Addresses = Option<Vec<EndpointAddress>>;

fn len(addresses: &Addresses) -> usize {
    addresses.as_ref().map_or(0, Vec::len)
}

/// Leaves each list its part of the room, rounded up; the last ones get what is left.
fn share<'a>(lists: impl Iterator<Item = &'a mut Addresses>, total: usize, room: usize) {
    let mut left = room;
    for list in lists {
        let part = (len(list) * room).div_ceil(total).min(left).min(len(list));
        left -= part;
        if let Some(addresses) = list {
            addresses.truncate(part);
        }
        list.take_if(|addresses| addresses.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use api_machinery::IpFamily;
    use serde_json::{Value, json};

    use super::super::backends;
    use super::super::backends::tests::{pod, service, typed};
    use super::*;

    /// Subsets as `ready|not ready:ports`.
    fn check(ports: Value, pods: &[Value], expected: &[&str]) {
        let has_ports = ports.as_array().is_some_and(|ports| !ports.is_empty());
        let subsets =
            of(&backends::of(&service(ports, json!({})), &typed(pods), IpFamily::V4), has_ports);
        let ips = |list: &Option<Vec<EndpointAddress>>| {
            list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>().join(",")
        };
        let describe = |subset: &EndpointSubset| {
            let numbers: Vec<_> =
                subset.ports.iter().flatten().map(|port| port.port.to_string()).collect();
            format!(
                "{}|{}:{}",
                ips(&subset.addresses),
                ips(&subset.not_ready_addresses),
                numbers.join(",")
            )
        };
        assert_eq!(subsets.iter().map(describe).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn addresses_are_ready_or_not_ready() {
        let pods =
            [pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false), pod("c", "10.0.0.3", true)];
        check(json!([{"port": 80}]), &pods, &["10.0.0.1,10.0.0.3|10.0.0.2:80"]);
        check(json!([{"port": 80}]), &[], &[]);
    }

    #[test]
    fn pods_with_other_port_numbers_form_another_subset() {
        let mut other = pod("b", "10.0.0.2", true);
        other["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(9090);
        let pods = [pod("a", "10.0.0.1", true), other];
        check(
            json!([{"port": 80, "targetPort": "http"}]),
            &pods,
            &["10.0.0.1|:8080", "10.0.0.2|:9090"],
        );
        check(json!([{"port": 80, "targetPort": "nothing"}]), &pods, &[]);
        check(json!([]), &[pod("a", "10.0.0.1", true)], &["10.0.0.1|:"]);
    }

    #[test]
    fn pods_on_their_way_out_are_left_out() {
        let mut leaving = pod("a", "10.0.0.1", true);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        check(json!([{"port": 80}]), &[leaving], &[]);
    }

    /// Subsets of so many ready and not ready addresses, before and after.
    fn check_truncated(before: &[(usize, usize)], expected: &[(usize, usize)]) {
        let list = |count| Some(vec![EndpointAddress::default(); count]);
        let subset = |(ready, not_ready): &(usize, usize)| EndpointSubset {
            addresses: list(*ready),
            not_ready_addresses: list(*not_ready),
            ports: None,
        };
        let mut subsets: Vec<_> = before.iter().map(subset).collect();
        assert_eq!(truncate(&mut subsets), before != expected);
        let after = subsets.iter().map(|s| (len(&s.addresses), len(&s.not_ready_addresses)));
        assert_eq!(after.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_object_holds_a_thousand_addresses_ready_ones_first() {
        check_truncated(&[(1000, 0)], &[(1000, 0)]);
        check_truncated(&[(600, 200), (100, 100)], &[(600, 200), (100, 100)]);
        check_truncated(&[(1001, 5)], &[(1000, 0)]);
        check_truncated(&[(900, 300)], &[(900, 100)]);
        check_truncated(&[(1500, 1), (500, 1)], &[(750, 0), (250, 0)]);
        check_truncated(&[(400, 100), (400, 200)], &[(400, 67), (400, 133)]);
        check_truncated(&[(1, 0), (1, 0), (1000, 0)], &[(1, 0), (1, 0), (998, 0)]);
    }
}
