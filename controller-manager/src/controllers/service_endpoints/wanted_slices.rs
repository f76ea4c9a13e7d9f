//! How the EndpointSlices of a Service have to change. Pure.
//!
//! Endpoints stay in the slice they are in, new ones fill up the slices that have room, and only then
//! new slices are made: a change of one pod touches one slice.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_machinery::IpFamily;
use api_types::api::core::v1::{Pod, Service};
use api_types::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use api_types::meta::ObjectMeta;

use super::backends::{self, Backend, Port};
use super::topology::place;
use super::{families, is_headless};
use crate::frame::ObjectKey;
use crate::owners::{controller_reference, is_controlled_by};

/// Endpoints in one slice.
const CAPACITY: usize = 100;

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const CONTROLLER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The Service of a slice that is for this controller to write.
pub(super) fn service_of(slice: &EndpointSlice, controller: &str) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGED_BY).is_some_and(|by| by == controller);
    let service = labels.get(SERVICE_NAME).filter(|_| ours)?;
    Some(ObjectKey::new(slice.metadata.namespace.clone()?, service))
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) replace: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

/// Slices of each of the Service's families; those of others go. `zone_of`: the zone of a node.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: &[Arc<EndpointSlice>],
    zone_of: impl Fn(&str) -> Option<String>,
) -> Plan {
    let mut plan = Plan::default();
    let mut existing: Vec<_> = existing.iter().collect();
    for family in families(service) {
        let of_family = existing.extract_if(.., |slice| slice.address_type == family.as_str());
        let of_family: Vec<_> = of_family.collect();
        let backends = backends::of(service, pods, family);
        plan.add(self::of_family(service, family, &backends, &of_family, &zone_of));
    }
    plan.delete.extend(existing.into_iter().cloned());
    plan
}

fn of_family(
    service: &Service,
    family: IpFamily,
    backends: &[Backend],
    existing: &[&Arc<EndpointSlice>],
    zone_of: impl Fn(&str) -> Option<String>,
) -> Plan {
    let (existing, inherited): (Vec<_>, Vec<_>) =
        existing.iter().copied().partition(|slice| is_owned(slice, service));
    let mut groups = grouped(backends);
    for endpoint in groups.values_mut().flatten() {
        let zone = endpoint.node_name.as_deref().and_then(&zone_of);
        place(endpoint, service, zone);
    }
    let kept: Vec<_> =
        existing.into_iter().map(|slice| (slice, keep(slice, &mut groups))).collect();
    let mut plan = Plan::default();
    let mut in_use = 0;
    for (slice, mut endpoints) in kept {
        if endpoints.is_empty() {
            plan.delete.push(slice.clone());
            continue;
        }
        in_use += 1;
        fill(&mut endpoints, groups.get_mut(&ports_of(slice)));
        plan.update(service, slice, endpoints);
    }
    for (ports, missing) in groups {
        let chunks = missing.chunks(CAPACITY).map(<[Endpoint]>::to_vec);
        plan.create.extend(chunks.map(|endpoints| new(service, family, &ports, endpoints)));
    }
    if in_use == 0 && plan.create.is_empty() {
        plan.keep_one_empty(service, family);
    }
    plan.delete.extend(inherited.into_iter().cloned());
    plan
}

/// A slice of an earlier Service of the same name goes with that one, whatever is written into it.
fn is_owned(slice: &EndpointSlice, service: &Service) -> bool {
    is_controlled_by(&slice.metadata, service.metadata.uid.as_deref().unwrap_or_default())
}

impl Plan {
    fn add(&mut self, other: Self) {
        self.create.extend(other.create);
        self.replace.extend(other.replace);
        self.delete.extend(other.delete);
    }

    fn update(&mut self, service: &Service, slice: &Arc<EndpointSlice>, endpoints: Vec<Endpoint>) {
        let mut wanted = (**slice).clone();
        wanted.metadata.labels = Some(labels(service));
        wanted.endpoints = Some(endpoints);
        if wanted != **slice {
            self.replace.push(wanted);
        }
    }

    /// A Service without endpoints of a family has one slice that says so.
    fn keep_one_empty(&mut self, service: &Service, family: IpFamily) {
        match self.delete.pop() {
            Some(slice) => {
                let mut wanted = (*slice).clone();
                wanted.metadata.labels = Some(labels(service));
                if slice.endpoints.iter().flatten().next().is_some() {
                    wanted.endpoints = Some(Vec::new());
                }
                if wanted != *slice {
                    self.replace.push(wanted);
                }
            }
            None => self.create.push(new(service, family, &[], Vec::new())),
        }
    }
}

/// The endpoints that are to be placed, by their ports.
fn grouped(backends: &[Backend]) -> BTreeMap<Vec<Port>, Vec<Endpoint>> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for backend in backends {
        groups.entry(backend.ports.clone()).or_default().push(endpoint(backend));
    }
    groups
}

/// The endpoints that stay in a slice, as they are now; they are no longer to be placed.
fn keep(slice: &EndpointSlice, groups: &mut BTreeMap<Vec<Port>, Vec<Endpoint>>) -> Vec<Endpoint> {
    let Some(missing) = groups.get_mut(&ports_of(slice)) else { return Vec::new() };
    let known = slice.endpoints.iter().flatten();
    let kept = known.filter_map(|known| {
        let place = missing.iter().position(|endpoint| endpoint.addresses == known.addresses)?;
        Some(missing.remove(place))
    });
    kept.collect()
}

/// Puts as many of the missing endpoints into a slice as it has room for.
fn fill(endpoints: &mut Vec<Endpoint>, missing: Option<&mut Vec<Endpoint>>) {
    let Some(missing) = missing else { return };
    let room = CAPACITY.saturating_sub(endpoints.len()).min(missing.len());
    endpoints.extend(missing.drain(..room));
}

fn endpoint(backend: &Backend) -> Endpoint {
    Endpoint {
        addresses: vec![backend.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname.clone(),
        node_name: backend.node.clone(),
        target_ref: Some(backend.target.clone()),
        ..Endpoint::default()
    }
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().filter(|name| !name.is_empty()),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        number: port.port.unwrap_or_default(),
        app_protocol: port.app_protocol.clone(),
    };
    slice.ports.iter().flatten().map(port).collect()
}

fn new(
    service: &Service,
    family: IpFamily,
    ports: &[Port],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let port = |port: &Port| EndpointPort {
        // Kubernetes writes the empty name, and consumers join by it.
        name: Some(port.name.clone().unwrap_or_default()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.number),
        app_protocol: port.app_protocol.clone(),
    };
    let name = service.metadata.name.as_deref().unwrap_or_default();
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: controller_reference(service).map(|reference| vec![reference]),
            ..ObjectMeta::default()
        },
        address_type: family.to_string(),
        ports: Some(ports.iter().map(port).collect()),
        endpoints: Some(endpoints),
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::backends::tests::{pod, service, typed};
    use super::*;

    fn plan(service: &Service, pods: &[Arc<Pod>], existing: &[Arc<EndpointSlice>]) -> Plan {
        super::plan(service, pods, existing, |_| Some("west".to_owned()))
    }

    fn web() -> Service {
        service(json!([{"port": 80}]), json!({}))
    }

    fn pods_of(range: std::ops::Range<usize>) -> Vec<Arc<Pod>> {
        let pods: Vec<_> = range
            .map(|n| pod(&format!("p{n}"), &format!("10.0.{}.{}", n / 256, n % 256), true))
            .collect();
        typed(&pods)
    }

    /// The slices after a plan has been carried out.
    fn carried_out(existing: &[Arc<EndpointSlice>], plan: Plan) -> Vec<Arc<EndpointSlice>> {
        let gone = |slice: &EndpointSlice| {
            plan.delete.iter().any(|gone| gone.metadata.name == slice.metadata.name)
        };
        let replaced = |slice: &Arc<EndpointSlice>| {
            let new = plan.replace.iter().find(|new| new.metadata.name == slice.metadata.name);
            new.map_or_else(|| slice.clone(), |new| Arc::new(new.clone()))
        };
        let mut slices: Vec<_> =
            existing.iter().filter(|slice| !gone(slice)).map(replaced).collect();
        for (index, mut slice) in plan.create.into_iter().enumerate() {
            slice.metadata.name = Some(format!("web-{}", slices.len() + index));
            slices.push(Arc::new(slice));
        }
        slices
    }

    fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
        slices.iter().map(|slice| slice.endpoints.iter().flatten().count()).collect()
    }

    fn writes(plan: &Plan) -> (usize, usize, usize) {
        (plan.create.len(), plan.replace.len(), plan.delete.len())
    }

    #[test]
    fn a_slice_holds_a_hundred_endpoints() {
        let slices = carried_out(&[], plan(&web(), &pods_of(0..250), &[]));
        assert_eq!(sizes(&slices), [100, 100, 50]);
        assert_eq!(writes(&plan(&web(), &pods_of(0..250), &slices)), (0, 0, 0), "nothing to do");
    }

    #[test]
    fn one_pod_less_touches_one_slice_and_its_room_is_used() {
        let slices = carried_out(&[], plan(&web(), &pods_of(0..200), &[]));
        let change = plan(&web(), &pods_of(1..200), &slices);
        assert_eq!(writes(&change), (0, 1, 0));
        let slices = carried_out(&slices, change);
        let change = plan(&web(), &pods_of(1..201), &slices);
        assert_eq!(writes(&change), (0, 1, 0));
        assert_eq!(sizes(&carried_out(&slices, change)), [100, 100]);
    }

    #[test]
    fn without_pods_one_empty_slice_remains() {
        let slices = carried_out(&[], plan(&web(), &[], &[]));
        assert_eq!(sizes(&slices), [0]);
        assert_eq!(writes(&plan(&web(), &[], &slices)), (0, 0, 0));
        let full = carried_out(&[], plan(&web(), &pods_of(0..150), &[]));
        let emptied = carried_out(&full, plan(&web(), &[], &full));
        assert_eq!(sizes(&emptied), [0]);
        let filled = carried_out(&slices, plan(&web(), &pods_of(0..1), &slices));
        assert_eq!(sizes(&filled), [1], "the placeholder gives way");
    }

    #[test]
    fn slices_of_an_earlier_service_of_the_same_name_give_way_to_new_ones() {
        let slices = carried_out(&[], plan(&web(), &pods_of(0..150), &[]));
        let mut recreated = web();
        recreated.metadata.uid = Some("later".to_owned());
        let change = plan(&recreated, &pods_of(0..150), &slices);
        assert_eq!(writes(&change), (2, 0, 2));
        let owner =
            |slice: &EndpointSlice| slice.metadata.owner_references.as_ref().unwrap()[0].clone();
        assert!(change.create.iter().all(|slice| owner(slice).uid == "later"));
        let change = plan(&recreated, &[], &carried_out(&[], plan(&web(), &[], &[])));
        assert_eq!(writes(&change), (1, 0, 1), "the empty one too");
    }

    #[test]
    fn readiness_is_updated_in_place() {
        let slices = carried_out(&[], plan(&web(), &pods_of(0..2), &[]));
        let pods = [pod("p0", "10.0.0.0", false), pod("p1", "10.0.0.1", true)];
        let change = plan(&web(), &typed(&pods), &slices);
        assert_eq!(writes(&change), (0, 1, 0));
        let ready = |n: usize| {
            change.replace[0].endpoints.as_ref().unwrap()[n].conditions.as_ref().unwrap().ready
        };
        assert_eq!((ready(0), ready(1)), (Some(false), Some(true)));
    }

    #[test]
    fn a_slice_is_labelled_and_owned() {
        let made = plan(&web(), &pods_of(0..1), &[]).create.remove(0);
        assert_eq!(made.metadata.generate_name.as_deref(), Some("web-"));
        let labels = made.metadata.labels.unwrap();
        assert_eq!(labels.get(SERVICE_NAME).map(String::as_str), Some("web"));
        assert_eq!(labels.get(MANAGED_BY).map(String::as_str), Some(CONTROLLER));
        assert_eq!(made.metadata.owner_references.unwrap()[0].uid, "s");
        assert_eq!(
            serde_json::to_value(made.ports).unwrap(),
            json!([{"name": "", "port": 80, "protocol": "TCP"}])
        );
    }

    /// A pod of both families.
    fn both(n: usize) -> Arc<Pod> {
        let mut pod = pod(&format!("p{n}"), &format!("10.0.0.{n}"), true);
        pod["status"]["podIPs"] =
            json!([{"ip": format!("10.0.0.{n}")}, {"ip": format!("fd00::{n}")}]);
        typed(&[pod]).remove(0)
    }

    fn shown(slices: &[Arc<EndpointSlice>]) -> Vec<String> {
        let addresses = |slice: &EndpointSlice| -> Vec<String> {
            slice.endpoints.iter().flatten().flat_map(|it| it.addresses.clone()).collect()
        };
        let show = |slice: &Arc<EndpointSlice>| {
            format!("{} {}", slice.address_type, addresses(slice).join(","))
        };
        slices.iter().map(show).collect()
    }

    #[test]
    fn a_service_of_two_families_has_slices_of_each() {
        let of =
            |families: &[&str]| service(json!([{"port": 80}]), json!({"ipFamilies": families}));
        let dual = of(&["IPv4", "IPv6"]);
        let mut pods = pods_of(3..4);
        pods.push(both(1));
        let slices = carried_out(&[], plan(&dual, &pods, &[]));
        assert_eq!(shown(&slices), ["IPv4 10.0.0.1,10.0.0.3", "IPv6 fd00::1"]);
        assert_eq!(writes(&plan(&dual, &pods, &slices)), (0, 0, 0), "nothing to do");
        // Without an address of a family there is a slice of it all the same.
        let change = plan(&dual, &pods_of(3..4), &slices);
        assert_eq!(writes(&change), (0, 2, 0));
        assert_eq!(shown(&carried_out(&slices, change)), ["IPv4 10.0.0.3", "IPv6 "]);
        for (family, kept) in [("IPv4", 0), ("IPv6", 1)] {
            let change = plan(&of(&[family]), &pods, &slices);
            assert_eq!(writes(&change), (0, 0, 1));
            let left = carried_out(&slices, change);
            assert_eq!(shown(&left), [shown(&slices)[kept].clone()]);
        }
    }
}
