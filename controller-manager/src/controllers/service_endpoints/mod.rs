//! Which pods stand behind a Service, written down as Endpoints and as EndpointSlices. What the two have
//! in common is worked out in [`backends`]; each has a controller of its own, so that neither waits for
//! the other.

mod backends;
mod endpoints;
mod mirror;
mod mirrored_slices;
mod slice_writer;
mod slices;
mod subsets;
mod topology;
mod wanted_slices;

use std::sync::Arc;

use api_machinery::{IpFamily, ip_family::families};
use api_types::api::core::v1::{Pod, Service};

use crate::frame::{Change, ObjectKey, WorkQueue};
use crate::informers::Informers;

pub(super) use endpoints::register as register_endpoints;
pub(super) use mirror::register as register_mirror;
pub(super) use slices::register as register_slices;

/// Has every change that can matter to a Service's endpoints put the Service's key into the queue.
fn watch_services_and_pods(informers: &Informers, queue: &Arc<WorkQueue>) {
    let services = queue.clone();
    informers.services.on_change(move |change: &Change<Service>| {
        change
            .latest()
            .into_iter()
            .for_each(|service| services.add(ObjectKey::of(&service.metadata)));
    });
    let (pods, services) = (queue.clone(), informers.services.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        for pod in change.versions() {
            let concerned = services.selecting(&pod.metadata);
            concerned.iter().for_each(|service| pods.add(ObjectKey::of(&service.metadata)));
        }
    });
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

fn primary_family(service: &Service) -> IpFamily {
    families(service).first().copied().unwrap_or(IpFamily::V4)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_service_has_the_families_that_it_says_or_that_its_address_says() {
        let check = |spec: Value, expected: &[IpFamily]| {
            let service: Service = serde_json::from_value(json!({"spec": spec})).unwrap();
            assert_eq!(families(&service), expected, "{spec}");
            assert_eq!(primary_family(&service), expected[0], "{spec}");
        };
        let (v4, v6) = (IpFamily::V4, IpFamily::V6);
        check(json!({"ipFamilies": ["IPv6"], "clusterIP": "None"}), &[v6]);
        check(json!({"ipFamilies": ["IPv6", "IPv4"]}), &[v6, v4]);
        check(json!({"clusterIP": "fd00::1"}), &[v6]);
        check(json!({"clusterIP": "10.96.0.1"}), &[v4]);
        check(json!({"clusterIP": "None"}), &[v4, v6]);
    }
}
