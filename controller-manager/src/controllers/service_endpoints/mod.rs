//! Which pods stand behind a Service, written down as Endpoints and as EndpointSlices. What the two have
//! in common is worked out in [`backends`]; each has a controller of its own, so that neither waits for
//! the other.

mod backends;
mod endpoints;
mod slices;
mod subsets;
mod topology;
mod wanted_slices;

use std::sync::Arc;

use api_types::api::core::v1::{Pod, Service};

use crate::frame::{Change, ObjectKey, WorkQueue};
use crate::informers::Informers;

pub(super) use endpoints::register as register_endpoints;
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
