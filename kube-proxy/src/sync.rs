//! The loop over the Services: whenever something may have changed, and now and then anyway, one pass of the
//! reconciler over what the watches have brought.

use std::{fmt::Debug, hash::Hash, sync::Arc, time::Duration};

use api_types::api::{core::v1::Service, discovery::v1::EndpointSlice};
use component::Check;
use futures::{Stream, StreamExt, future};
use kube::{
    Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher::{self, Event},
    },
};
use listwatch::{ListWatch, Scope};
use serde::de::DeserializeOwned;
use tokio::{
    sync::Notify,
    time::{self, Instant},
};
use tracing::{debug, warn};

use crate::{
    addresses::Addresses,
    containers::Containers,
    metrics::Metrics,
    plan::{Place, ServicePlan, plan},
    reconciler::{ReconcileError, Reconciler, Summary},
};

/// A pass without cause, as the net under Docker's events and changes of the kernel's routes.
const RESYNC: Duration = Duration::from_secs(10);
/// Changes that come together are worked off together.
const GATHER: Duration = Duration::from_millis(100);
/// The wait after a pass that failed, doubled each time up to [`RESYNC`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What the API server says about Services.
#[derive(Clone, Debug)]
pub struct World {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
}

impl World {
    /// The world, and what has to be polled for it to be kept up to date and `wake` to be called.
    pub fn watch(
        listwatch: &ListWatch,
        wake: &Arc<Notify>,
    ) -> (World, impl Future<Output = ()> + Send + 'static + use<>) {
        let (services, services_watch) = follow(listwatch, wake.clone());
        let (slices, slices_watch) = follow(listwatch, wake.clone());
        let watches = async {
            future::join(services_watch, slices_watch).await;
        };
        (World { services, slices }, watches)
    }

    /// Waits for the first complete lists.
    async fn ready(&self) {
        // An error means that the watches have ended: the program is stopping.
        let _ =
            future::join(self.services.wait_until_ready(), self.slices.wait_until_ready()).await;
    }

    fn plans(&self, place: &Place) -> Vec<ServicePlan> {
        let (services, slices) = (self.services.state(), self.slices.state());
        plan(place, services.iter().map(AsRef::as_ref), slices.iter().map(AsRef::as_ref))
    }
}

/// Passes until dropped. Nothing is touched before the first complete lists are there: what is not in
/// them is removed.
pub async fn run<C: Containers, A: Addresses>(
    world: &World,
    place: &Place,
    reconciler: &mut Reconciler<C, A>,
    wake: &Notify,
    check: &Check,
    metrics: &Metrics,
) {
    check.failed("waiting for the API server's lists");
    world.ready().await;
    let mut pace = Pace::default();
    loop {
        let plans = world.plans(place);
        let begin = Instant::now();
        let result = reconciler.reconcile(&plans).await;
        metrics.duration.observe(begin.elapsed().as_secs_f64());
        let well = report(result, plans.len(), check, metrics);
        pace.wait(well, wake).await;
    }
}

/// When the next pass is due.
#[derive(Debug)]
pub(crate) struct Pace {
    retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { retry: FIRST_RETRY }
    }
}

impl Pace {
    /// Waits after a pass, which went well or not, for a change or until it is time anyway.
    pub(crate) async fn wait(&mut self, well: bool, wake: &Notify) {
        let wait = if well { RESYNC } else { self.retry };
        self.retry = if well { FIRST_RETRY } else { (self.retry * 2).min(RESYNC) };
        // Nothing to do in either case but to look again.
        let _ = time::timeout(wait, wake.notified()).await;
        time::sleep(GATHER).await;
    }
}

/// Tells the outcome of a pass to all who want to know it; true if all is well.
fn report(
    result: Result<Summary, ReconcileError>,
    services: usize,
    check: &Check,
    metrics: &Metrics,
) -> bool {
    let fault = match result {
        Ok(summary) => {
            debug!(services, ?summary, "pass");
            metrics.record(services, &summary);
            faults(summary.failed)
        }
        Err(error) => Some(format!("{:#}", anyhow::Error::from(error))),
    };
    match &fault {
        None => check.ready(),
        Some(why) => {
            warn!("not all Services are as they should be: {why}");
            check.failed(why);
        }
    }
    fault.is_none()
}

fn faults(failed: Vec<(String, ReconcileError)>) -> Option<String> {
    let fault = |(service, error)| format!("{service}: {:#}", anyhow::Error::from(error));
    let faults: Vec<String> = failed.into_iter().map(fault).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// A kind as a store, and what keeps it up to date and calls `wake`.
pub fn follow<K>(
    listwatch: &ListWatch,
    wake: Arc<Notify>,
) -> (Store<K>, impl Future<Output = ()> + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + Hash,
{
    let (store, writer) = reflector::store();
    (store, wake_on_changes(listwatch.watch::<K>(Scope::All).reflect(writer), wake))
}

/// Single objects of a list that is under way do not count: the store changes when it is complete.
async fn wake_on_changes<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    wake: Arc<Notify>,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => wake.notify_one(),
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => warn!(%error, "watching"),
        }
    }
}
