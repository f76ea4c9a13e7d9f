//! Says in EndpointSlices, which is what is gone by, what Endpoints say that somebody has made for a Service without a selector.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Endpoints, Service};
use api_types::api::discovery::v1::EndpointSlice;

use super::mirrored_slices::{MIRRORING, is_mirrored, plan};
use super::slice_writer::SliceWriter;
use super::wanted_slices::{Plan, SERVICE_NAME, service_of};
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, WorkQueue};
use crate::indexes::Selecting;
use crate::informers::Informers;

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

pub(crate) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let (services, endpoints, slices) = (queue.clone(), queue.clone(), queue.clone());
    let informers = &context.informers;
    informers.services.on_change(move |change: &Change<Service>| {
        change.latest().into_iter().for_each(|it| services.add(ObjectKey::of(&it.metadata)));
    });
    informers.endpoints.on_change(move |change: &Change<Endpoints>| {
        change.latest().into_iter().for_each(|it| endpoints.add(ObjectKey::of(&it.metadata)));
    });
    informers.endpoint_slices.on_change(move |change: &Change<EndpointSlice>| {
        let ours = change.versions().filter_map(|slice| service_of(slice, MIRRORING));
        ours.for_each(|service| slices.add(service));
    });
    let writer = SliceWriter::new(context.client(), informers.clone());
    let controller = Mirror { informers: informers.clone(), writer };
    let registered = Registered::new(controller, queue).reads(&informers.services);
    registered.reads(&informers.endpoints).reads(&informers.endpoint_slices)
}

struct Mirror {
    informers: Informers,
    writer: SliceWriter,
}

#[async_trait::async_trait]
impl Controller for Mirror {
    fn name(&self) -> &'static str {
        "endpointslice-mirroring-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if !self.writer.has_seen(key) {
            return Ok(Next::After(UNSEEN));
        }
        let mut existing =
            self.informers.endpoint_slices.labelled(&key.namespace, SERVICE_NAME, &key.name);
        existing.retain(|slice| service_of(slice, MIRRORING).as_ref() == Some(key));
        let plan = match self.mirrored(key) {
            Some(endpoints) => plan(&endpoints, &existing),
            None => Plan { delete: existing, ..Plan::default() },
        };
        self.writer.carry_out(key, &plan).await?;
        if self.informers.endpoints.get(key).is_none() {
            self.writer.forget(key);
        }
        Ok(Next::Change)
    }
}

impl Mirror {
    /// The object to be mirrored, if there is one.
    fn mirrored(&self, key: &ObjectKey) -> Option<Arc<Endpoints>> {
        let service = self.informers.services.get(key)?;
        let endpoints = self.informers.endpoints.get(key)?;
        (service.selector().is_none() && is_mirrored(&endpoints)).then_some(endpoints)
    }
}
