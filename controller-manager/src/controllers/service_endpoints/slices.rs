//! Writes the EndpointSlices of every Service with a selector.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Node, Service};
use api_types::api::discovery::v1::EndpointSlice;

use super::slice_writer::SliceWriter;
use super::wanted_slices::{CONTROLLER, Plan, SERVICE_NAME, plan, service_of};
use super::watch_services_and_pods;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, WorkQueue};
use crate::indexes::Selecting;
use crate::informers::Informers;

/// By which a Node says its zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

pub(crate) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch_services_and_pods(&context.informers, &queue);
    watch_zones(&context.informers, &queue);
    let wanted = queue.clone();
    context.informers.endpoint_slices.on_change(move |change: &Change<EndpointSlice>| {
        let services = change.versions().filter_map(|slice| service_of(slice, CONTROLLER));
        services.for_each(|service| wanted.add(service));
    });
    let writer = SliceWriter::new(context.client(), context.informers.clone());
    let controller = Slices { informers: context.informers.clone(), writer };
    let Informers { services, pods, endpoint_slices, nodes, .. } = &context.informers;
    let registered = Registered::new(controller, queue).reads(services).reads(pods);
    registered.reads(endpoint_slices).reads(nodes)
}

/// A zone is in the slices of all Services that have pods there.
fn watch_zones(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (queue, services) = (queue.clone(), informers.services.clone());
    informers.nodes.on_change(move |change: &Change<Node>| {
        let zone_in = |node: &Option<Arc<Node>>| node.as_deref().and_then(zone).map(str::to_owned);
        if zone_in(&change.old) != zone_in(&change.new) {
            services.list().iter().for_each(|it| queue.add(ObjectKey::of(&it.metadata)));
        }
    });
}

fn zone(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(ZONE).map(String::as_str)
}

struct Slices {
    informers: Informers,
    writer: SliceWriter,
}

#[async_trait::async_trait]
impl Controller for Slices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if !self.writer.has_seen(key) {
            return Ok(Next::After(UNSEEN));
        }
        let mut existing =
            self.informers.endpoint_slices.labelled(&key.namespace, SERVICE_NAME, &key.name);
        existing.retain(|slice| service_of(slice, CONTROLLER).as_ref() == Some(key));
        match self.informers.services.get(key) {
            Some(service) => self.write(key, &service, &existing).await?,
            None => {
                let gone = Plan { delete: existing, ..Plan::default() };
                self.writer.carry_out(key, &gone).await?;
                self.writer.forget(key);
            }
        }
        Ok(Next::Change)
    }
}

impl Slices {
    /// Without a selector, somebody else looks after them.
    async fn write(
        &self,
        key: &ObjectKey,
        service: &Service,
        existing: &[Arc<EndpointSlice>],
    ) -> Result<(), Error> {
        let Some(selector) = service.selector() else { return Ok(()) };
        let selected = self.informers.pods.selected(&key.namespace, &selector);
        let zone_of = |node: &str| {
            let node = self.informers.nodes.get(&ObjectKey::cluster(node))?;
            zone(&node).map(str::to_owned)
        };
        let plan = plan(service, &selected, existing, zone_of);
        self.writer.carry_out(key, &plan).await
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::Pod;
    use kube::Api;
    use kube::api::{ListParams, PostParams};
    use kube::runtime::watcher::Event;
    use testkit::{ControlPlane, pod, service};

    use super::*;

    #[tokio::test]
    async fn a_list_under_way_makes_no_slice_twice() {
        let plane = ControlPlane::start().await;
        let informers = Informers::default();
        let writer = SliceWriter::new(plane.client(), informers.clone());
        let controller = Slices { informers, writer };
        let how = PostParams::default();
        let web = service("web").port(80, 80).build();
        let web = Api::namespaced(plane.client(), "default").create(&how, &web).await.unwrap();
        controller.informers.services.take_in(Event::Apply(web));
        let pod: Pod = pod("a").label("app", "web").running("10.1.0.1").build();
        controller.informers.pods.take_in(Event::Apply(pod));
        let key = ObjectKey::new("default", "web");
        let slices = Api::<EndpointSlice>::namespaced(plane.client(), "default");
        let names = async || {
            let all = slices.list(&ListParams::default()).await.unwrap().items;
            let ours =
                all.iter().filter(|slice| service_of(slice, CONTROLLER).as_ref() == Some(&key));
            ours.filter_map(|slice| slice.metadata.name.clone()).collect::<Vec<_>>()
        };
        controller.reconcile(&key).await.unwrap();
        let made = names().await;
        assert_eq!(made.len(), 1);
        let mut other: EndpointSlice = slices.get(&made[0]).await.unwrap();
        other.metadata.name = Some("other".to_owned());
        other.metadata.labels = None;
        other.metadata.resource_version = Some("1000000".to_owned());
        for event in [Event::Init, Event::InitApply(other)] {
            controller.informers.endpoint_slices.take_in(event);
        }
        controller.reconcile(&key).await.unwrap();
        assert_eq!(names().await, made);
    }
}
