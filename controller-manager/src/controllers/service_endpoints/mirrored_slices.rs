//! The EndpointSlices that say what an Endpoints object does that somebody has made by hand. Pure.
//! (Kubernetes: `pkg/controller/endpointslicemirroring`.)

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use api_types::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use api_types::meta::ObjectMeta;

use super::wanted_slices::{MANAGED_BY, Plan, SERVICE_NAME};
use crate::owners::controller_reference;

pub(super) const MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// In it candidates agreed upon a leader once: such objects change every few seconds.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Of a subset.
const MOST: usize = 1000;

/// Whether the object is to be mirrored, if its Service has no selector.
pub(super) fn is_mirrored(endpoints: &Endpoints) -> bool {
    let metadata = &endpoints.metadata;
    let skips = metadata.labels.as_ref().and_then(|labels| labels.get(SKIP));
    let leads = metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LEADER));
    skips.is_none_or(|skips| skips != "true") && !leads
}

/// A slice for each subset and kind of address. Those there are already are changed as long as their ports stay.
pub(super) fn plan(endpoints: &Endpoints, existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan { delete: existing.to_vec(), ..Plan::default() };
    for wanted in wanted(endpoints) {
        let same = |slice: &Arc<EndpointSlice>| {
            (&slice.ports, &slice.address_type) == (&wanted.ports, &wanted.address_type)
        };
        let Some(at) = plan.delete.iter().position(same) else {
            plan.create.push(wanted);
            continue;
        };
        let slice = plan.delete.remove(at);
        let metadata = ObjectMeta {
            labels: wanted.metadata.labels,
            annotations: wanted.metadata.annotations,
            owner_references: wanted.metadata.owner_references,
            ..slice.metadata.clone()
        };
        let wanted = EndpointSlice { metadata, ..wanted };
        if wanted != *slice {
            plan.replace.push(wanted);
        }
    }
    plan
}

fn wanted(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for family in ["IPv4", "IPv6"] {
            let found: Vec<_> = of_subset(subset).filter(|(of, _)| *of == family).collect();
            if !found.is_empty() {
                slices.push(EndpointSlice {
                    metadata: metadata(endpoints),
                    address_type: family.to_owned(),
                    ports: Some(ports(subset)),
                    endpoints: Some(found.into_iter().map(|(_, endpoint)| endpoint).collect()),
                });
            }
        }
    }
    slices
}

fn of_subset(subset: &EndpointSubset) -> impl Iterator<Item = (&'static str, Endpoint)> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let others = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    let all = ready.chain(others).take(MOST);
    all.filter_map(|(address, ready)| Some((family(&address.ip)?, endpoint(address, ready))))
}

fn family(ip: &str) -> Option<&'static str> {
    Some(if ip.parse::<IpAddr>().ok()?.is_ipv4() { "IPv4" } else { "IPv6" })
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..Default::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    });
    ports.collect()
}

fn metadata(endpoints: &Endpoints) -> ObjectMeta {
    let given = &endpoints.metadata;
    let name = given.name.clone().unwrap_or_default();
    let mut labels = given.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), MIRRORING.to_owned());
    let mut annotations: BTreeMap<_, _> = given.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: given.namespace.clone(),
        owner_references: controller_reference(endpoints).map(|reference| vec![reference]),
        annotations: (!annotations.is_empty()).then_some(annotations),
        labels: Some({
            labels.insert(SERVICE_NAME.to_owned(), name);
            labels
        }),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(subsets: Value) -> Endpoints {
        let metadata = json!({
            "name": "db", "namespace": "default", "uid": "u", "labels": {"a": "b"},
            "annotations": {LAST_APPLIED: "{}", "c": "d"},
        });
        serde_json::from_value(json!({"metadata": metadata, "subsets": subsets})).unwrap()
    }

    fn made(plan: Plan) -> Vec<Arc<EndpointSlice>> {
        assert!(plan.replace.is_empty() && plan.delete.is_empty());
        plan.create.into_iter().map(Arc::new).collect()
    }

    #[test]
    fn each_subset_has_a_slice_of_each_kind_of_address() {
        let subsets = json!([
            {"addresses": [{"ip": "10.1.2.3", "hostname": "a"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.1.2.4"}],
             "ports": [{"port": 5432}]},
            {"addresses": [], "ports": [{"port": 1}]},
        ]);
        let slices = made(plan(&endpoints(subsets), &[]));
        let brief = |slice: &Arc<EndpointSlice>| {
            let port = slice.ports.as_ref().unwrap()[0].port.unwrap();
            let endpoints = slice.endpoints.iter().flatten();
            let ready = |it: &Endpoint| it.conditions.as_ref().unwrap().ready.unwrap();
            let all: Vec<_> = endpoints.map(|it| (it.addresses[0].clone(), ready(it))).collect();
            (slice.address_type.clone(), port, all)
        };
        let found: Vec<_> = slices.iter().map(brief).collect();
        let v4 = vec![("10.1.2.3".to_owned(), true), ("10.1.2.4".to_owned(), false)];
        let v6 = vec![("fd00::1".to_owned(), true)];
        assert_eq!(found, [("IPv4".to_owned(), 5432, v4), ("IPv6".to_owned(), 5432, v6)]);
        let metadata = &slices[0].metadata;
        let labels = json!({"a": "b", SERVICE_NAME: "db", MANAGED_BY: MIRRORING});
        assert_eq!(json!(metadata.labels), labels);
        assert_eq!(json!(metadata.annotations), json!({"c": "d"}));
        assert_eq!(metadata.owner_references.as_ref().unwrap()[0].kind, "Endpoints");
    }

    #[test]
    fn a_slice_changes_while_its_ports_stay_and_goes_with_them() {
        let subset =
            |ip: &str, port: i32| json!([{"addresses": [{"ip": ip}], "ports": [{"port": port}]}]);
        let slices = made(plan(&endpoints(subset("10.1.2.3", 80)), &[]));
        let same = plan(&endpoints(subset("10.1.2.3", 80)), &slices);
        assert!(made(same).is_empty(), "nothing to do");
        let moved = plan(&endpoints(subset("10.1.2.9", 80)), &slices);
        assert_eq!((moved.create.len(), moved.replace.len(), moved.delete.len()), (0, 1, 0));
        let other = plan(&endpoints(subset("10.1.2.3", 81)), &slices);
        assert_eq!((other.create.len(), other.replace.len(), other.delete.len()), (1, 0, 1));
        let none = plan(&endpoints(json!([])), &slices);
        assert_eq!((none.create.len(), none.replace.len(), none.delete.len()), (0, 0, 1));
    }

    #[test]
    fn what_is_not_meant_for_others_is_not_mirrored() {
        let mut mine = endpoints(json!([]));
        assert!(is_mirrored(&mine));
        mine.metadata.labels = Some([(SKIP.to_owned(), "true".to_owned())].into());
        assert!(!is_mirrored(&mine));
        mine.metadata.labels = None;
        mine.metadata.annotations = Some([(LEADER.to_owned(), "{}".to_owned())].into());
        assert!(!is_mirrored(&mine));
    }
}
