//! The loop over the Services: whenever something may have changed, and now and then anyway, one pass of the
//! backend over the Services of which the watches have brought something new.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Display, Formatter},
};

use api_types::api::core::v1::{ObjectReference, Service};
use component::{
    Check,
    events::{EventType, Recorder},
};
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    backend::Backend,
    health_checks::HealthChecks,
    metrics::Metrics,
    pace::{Outcome, Pace},
    plan::{Place, ServicePlan},
    reconciler::{Failure, ReconcileError, Summary},
    router::Target,
    told::news,
    wake::Wake,
    world::{self, Changed, Here, World},
};

/// The reason of the event about a Service that can't be served as it should.
const REASON: &str = "FailedToSyncProxy";

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

/// What was planned last.
#[derive(Debug, Default)]
struct Planned {
    place: Option<Place>,
    uids: HashMap<ObjectRef<Service>, String>,
    health_checks: HealthChecks,
    /// By whose changes the router may change, beside those of DNS objects.
    routed: HashSet<ObjectRef<Service>>,
    /// By whose changes a Gateway may change, beside those of Gateways and routes.
    routed_by_gateways: HashSet<ObjectRef<Service>>,
}

/// Passes until dropped. Before the first complete lists are there nothing is removed, as what is not in
/// them will be, and what ran before is got going.
pub async fn run(
    world: &World,
    here: &Here,
    backend: &mut dyn Backend,
    wake: &Wake,
    outlets: &Outlets,
) {
    outlets.check.failed("waiting for the API server's lists");
    resume(world, backend, wake).await;
    let (mut pace, mut told, mut planned) = (Pace::default(), BTreeMap::new(), Planned::default());
    loop {
        if wake.take_containers_changed() {
            backend.distrust_containers();
        }
        let begin = Instant::now();
        let result = pass(world, here, backend, &mut planned).await;
        outlets.metrics.duration.observe(begin.elapsed().as_secs_f64());
        let outcome = outlets.report(result, &mut told);
        pace.wait(outcome, wake).await;
    }
}

/// Until the API server says what is wanted: again after a failure, and when a container has ended.
async fn resume(world: &World, backend: &mut dyn Backend, wake: &Wake) {
    let mut pace = Pace::default();
    loop {
        let fault = match backend.resume().await {
            Ok(failed) => sentence(&failed.into_iter().map(FailureText::from).collect::<Vec<_>>()),
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
        };
        let outcome = if fault.is_empty() { Outcome::Well } else { Outcome::Failed };
        if outcome == Outcome::Failed {
            warn!("cannot resume all that ran before: {fault}");
        }
        tokio::select! {
            biased;
            () = world.ready() => return,
            () = pace.wait(outcome, wake) => {}
        }
    }
}

async fn pass(
    world: &World,
    here: &Here,
    backend: &mut dyn Backend,
    planned: &mut Planned,
) -> Result<Summary, ReconcileError> {
    let result = serve(world, here, backend, planned).await;
    let failed = planned.health_checks.settle(result.is_ok()).await;
    result.map(|mut summary| {
        summary.failed.extend(failed);
        summary
    })
}

async fn serve(
    world: &World,
    here: &Here,
    backend: &mut dyn Backend,
    planned: &mut Planned,
) -> Result<Summary, ReconcileError> {
    let place = world.place(here, backend.look().await?);
    planned.update(world, place, backend);
    backend.pass().await
}

impl Planned {
    /// Tells the backend what is planned otherwise than before.
    fn update(&mut self, world: &World, place: Place, backend: &mut dyn Backend) {
        let changed = world.take_changed();
        let moved = self.place.as_ref() != Some(&place);
        let concerns_router = self.routed.iter().any(|service| changed.concerns(service));
        if world.take_hosts_changed() || moved || concerns_router {
            self.plan_router(world, &place, backend);
        }
        let concerns_gateways = self.routed_by_gateways.iter().any(|it| changed.concerns(it));
        if world.take_gateways_changed() || moved || concerns_gateways {
            self.plan_gateways(world, &place, backend);
        }
        match changed {
            Changed::Only(names) if !moved => {
                names.into_iter().for_each(|name| self.plan(world, &place, name, backend));
            }
            _ => self.plan_all(world, &place, backend),
        }
        self.place = Some(place);
    }

    fn plan_router(&mut self, world: &World, place: &Place, backend: &mut dyn Backend) {
        if !world.hosts_are_listed() {
            return;
        }
        let plan = world.router(place);
        let targets = plan.iter().flat_map(|plan| plan.backends.keys());
        self.routed = targets.map(Target::service).chain([world::router()]).collect();
        backend.want_router(plan);
    }

    fn plan_gateways(&mut self, world: &World, place: &Place, backend: &mut dyn Backend) {
        if let Some((plans, services)) = world.gateways(place) {
            self.routed_by_gateways = services;
            backend.want_gateways(&plans);
        }
    }

    fn plan_all(&mut self, world: &World, place: &Place, backend: &mut dyn Backend) {
        let plans = world.plans(place);
        self.uids = plans.iter().map(|plan| (name(plan), plan.uid.clone())).collect();
        self.health_checks.want_all(&plans);
        backend.want_all(plans);
    }

    fn plan(
        &mut self,
        world: &World,
        place: &Place,
        name: ObjectRef<Service>,
        backend: &mut dyn Backend,
    ) {
        let plan = world.plan(place, &name);
        let before = match &plan {
            Some(plan) => self.uids.insert(name, plan.uid.clone()),
            None => self.uids.remove(&name),
        };
        // A Service made anew under the old name is another one.
        if let Some(gone) = before.filter(|uid| plan.as_ref().is_none_or(|plan| plan.uid != *uid)) {
            self.health_checks.forget(&gone);
            backend.forget(&gone);
        }
        if let Some(plan) = plan {
            self.health_checks.want(&plan);
            backend.want(plan);
        }
    }
}

fn name(plan: &ServicePlan) -> ObjectRef<Service> {
    ObjectRef::new(&plan.name).within(&plan.namespace)
}

impl Outlets {
    /// Tells the outcome of a pass to all who want to know it. `told`: by Service, what was told last.
    fn report(
        &self,
        result: Result<Summary, ReconcileError>,
        told: &mut BTreeMap<String, String>,
    ) -> Outcome {
        let summary = match result {
            Ok(done) => done,
            Err(error) => return self.fail(&format!("{:#}", anyhow::Error::from(error))),
        };
        debug!(?summary, "pass");
        self.metrics.record(&summary);
        let (pending, starting) = (summary.pending > 0, summary.starting > 0);
        let faults: Vec<_> = summary.failed.into_iter().map(FailureText::from).collect();
        self.tell(&faults, told);
        match faults.is_empty() {
            false => {
                let failed = self.fail(&sentence(&faults));
                if pending { Outcome::Both } else { failed }
            }
            true => {
                // Ready is who has served all Services there are: pods are made as soon as the node is.
                if !starting {
                    self.check.ready();
                }
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
    fn tell(&self, faults: &[FailureText], told: &mut BTreeMap<String, String>) {
        let wrong = faults.iter().map(|fault| (fault.subject.clone(), fault.why.clone())).collect();
        for (subject, why) in news(told, &wrong) {
            let object = faults.iter().find(|fault| fault.subject == subject);
            if let Some(object) = object.and_then(FailureText::object) {
                self.recorder.record(&object, EventType::Warning, REASON, why);
            }
        }
        *told = wrong;
    }
}

/// A [`Failure`] in words.
struct FailureText {
    subject: String,
    uid: Option<String>,
    why: String,
}

impl From<Failure> for FailureText {
    fn from(Failure { subject, uid, error }: Failure) -> Self {
        FailureText { subject, uid, why: format!("{:#}", anyhow::Error::from(error)) }
    }
}

impl FailureText {
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

impl Display for FailureText {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.why)
    }
}

fn sentence(faults: &[FailureText]) -> String {
    let all: Vec<_> = faults.iter().map(FailureText::to_string).collect();
    all.join("; ")
}
