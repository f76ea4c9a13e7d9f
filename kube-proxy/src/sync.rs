//! The loop over the Services: whenever something may have changed, and now and then anyway, one pass of the
//! reconciler over what the watches have brought.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    hash::Hash,
    net::Ipv4Addr,
    sync::Arc,
};

use api_types::api::{
    core::v1::{Node, ObjectReference, Service},
    discovery::v1::EndpointSlice,
};
use component::{
    Check,
    events::{EventType, Recorder},
};
use futures::{Stream, StreamExt, future};
use ipnet::Ipv4Net;
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
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    addresses::Addresses,
    containers::Containers,
    metrics::Metrics,
    pace::{Outcome, Pace},
    plan::{Place, ServicePlan, plan},
    reconciler::{Failure, ReconcileError, Reconciler, Summary},
    routes,
    told::news,
    wake::Wake,
};

/// The reason of the event about a Service that can't be served as it should.
const REASON: &str = "FailedToSyncProxy";

/// What the API server says about Services.
#[derive(Clone, Debug)]
pub struct World {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    nodes: Store<Node>,
}

/// Where kube-proxy works.
#[derive(Clone, Debug)]
pub struct Here {
    /// The name of this node.
    pub node: String,
    /// The range of virtual IPs.
    pub service_cidr: Ipv4Net,
}

/// Where it is told how things are.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// Whether all Services are as they should be.
    pub check: Check,
    /// Numbers.
    pub metrics: Metrics,
    /// Warnings about Services.
    pub recorder: Recorder,
}

impl World {
    /// The world, and what has to be polled for it to be kept up to date and `wake` to be called. The
    /// watch of `nodes` has to call it too.
    pub fn watch(
        listwatch: &ListWatch,
        nodes: Store<Node>,
        wake: &Arc<Wake>,
    ) -> (World, impl Future<Output = ()> + Send + 'static + use<>) {
        let (services, services_watch) = follow(listwatch, vec![wake.clone()]);
        let (slices, slices_watch) = follow(listwatch, vec![wake.clone()]);
        let watches = async {
            future::join(services_watch, slices_watch).await;
        };
        (World { services, slices, nodes }, watches)
    }

    /// Waits for the first complete lists.
    async fn ready(&self) {
        // An error means that the watches have ended: the program is stopping.
        let _ = future::join3(
            self.services.wait_until_ready(),
            self.slices.wait_until_ready(),
            self.nodes.wait_until_ready(),
        )
        .await;
    }

    /// `local`: the addresses of this host.
    fn plans(&self, here: &Here, local: &BTreeSet<Ipv4Addr>) -> Vec<ServicePlan> {
        let (services, slices, nodes) =
            (self.services.state(), self.slices.state(), self.nodes.state());
        let names = routes::nodes_here(&here.node, local, nodes.iter().map(AsRef::as_ref));
        let place = Place { nodes: names, service_cidr: here.service_cidr };
        plan(&place, services.iter().map(AsRef::as_ref), slices.iter().map(AsRef::as_ref))
    }
}

/// Passes until dropped. Nothing is touched before the first complete lists are there: what is not in
/// them is removed.
pub async fn run<C: Containers, A: Addresses>(
    world: &World,
    here: &Here,
    reconciler: &mut Reconciler<C, A>,
    wake: &Wake,
    outlets: &Outlets,
) {
    outlets.check.failed("waiting for the API server's lists");
    world.ready().await;
    let (mut pace, mut told) = (Pace::default(), BTreeMap::new());
    loop {
        if wake.take_containers_changed() {
            reconciler.distrust_containers();
        }
        let begin = Instant::now();
        let result = pass(world, here, reconciler).await;
        outlets.metrics.duration.observe(begin.elapsed().as_secs_f64());
        let outcome = outlets.report(result, &mut told);
        pace.wait(outcome, wake).await;
    }
}

/// Gives the number of Services too.
async fn pass<C: Containers, A: Addresses>(
    world: &World,
    here: &Here,
    reconciler: &mut Reconciler<C, A>,
) -> Result<(usize, Summary), ReconcileError> {
    reconciler.look().await?;
    let plans = world.plans(here, reconciler.local());
    Ok((plans.len(), reconciler.reconcile(&plans).await?))
}

impl Outlets {
    /// Tells the outcome of a pass to all who want to know it. `told`: by Service, what was told last.
    fn report(
        &self,
        result: Result<(usize, Summary), ReconcileError>,
        told: &mut BTreeMap<String, String>,
    ) -> Outcome {
        let (services, summary) = match result {
            Ok(done) => done,
            Err(error) => return self.fail(&format!("{:#}", anyhow::Error::from(error))),
        };
        debug!(services, ?summary, "pass");
        self.metrics.record(services, &summary);
        let pending = summary.pending > 0;
        let faults: Vec<_> = summary.failed.into_iter().map(Fault::from).collect();
        self.tell(&faults, told);
        match faults.is_empty() {
            false => {
                let failed = self.fail(&sentence(&faults));
                if pending { Outcome::Both } else { failed }
            }
            true => {
                self.check.ready();
                if pending { Outcome::Pending } else { Outcome::Well }
            }
        }
    }

    fn fail(&self, why: &str) -> Outcome {
        warn!("not all Services are as they should be: {why}");
        self.check.failed(why);
        Outcome::Failed
    }

    /// An event for each Service of which this has not been told yet.
    fn tell(&self, faults: &[Fault], told: &mut BTreeMap<String, String>) {
        let wrong = faults.iter().map(|fault| (fault.subject.clone(), fault.why.clone())).collect();
        for (subject, why) in news(told, &wrong) {
            let object = faults.iter().find(|fault| fault.subject == subject);
            if let Some(object) = object.and_then(Fault::object) {
                self.recorder.record(&object, EventType::Warning, REASON, why);
            }
        }
        *told = wrong;
    }
}

/// A [`Failure`] in words.
struct Fault {
    subject: String,
    uid: Option<String>,
    why: String,
}

impl From<Failure> for Fault {
    fn from(Failure { subject, uid, error }: Failure) -> Self {
        Fault { subject, uid, why: format!("{:#}", anyhow::Error::from(error)) }
    }
}

impl Fault {
    /// The Service that it is about.
    fn object(&self) -> Option<ObjectReference> {
        let (namespace, name) = self.subject.split_once('/')?;
        Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(self.uid.clone()?),
            ..Default::default()
        })
    }
}

fn sentence(faults: &[Fault]) -> String {
    let all: Vec<_> =
        faults.iter().map(|fault| format!("{}: {}", fault.subject, fault.why)).collect();
    all.join("; ")
}

/// A kind as a store, and what keeps it up to date and calls `wakes`.
pub fn follow<K>(
    listwatch: &ListWatch,
    wakes: Vec<Arc<Wake>>,
) -> (Store<K>, impl Future<Output = ()> + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + Hash,
{
    let (store, writer) = reflector::store();
    (store, wake_on_changes(listwatch.watch::<K>(Scope::All).reflect(writer), wakes))
}

/// Single objects of a list that is under way do not count: the store changes when it is complete.
async fn wake_on_changes<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    wakes: Vec<Arc<Wake>>,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => {
                wakes.iter().for_each(|wake| wake.changed());
            }
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => warn!(%error, "watching"),
        }
    }
}
