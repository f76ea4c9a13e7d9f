//! API Priority and Fairness: which requests are served at once, which wait for that, and which are refused, so that a flood of
//! one kind leaves room for the others (Kubernetes: `k8s.io/apiserver/pkg/util/flowcontrol`).
//!
//! A request is of the first FlowSchema that matches it, and takes seats of that one's priority level as long as it
//! executes. What is decided is decided by pure parts: who matches ([`rules`]), how many seats a level has ([`plan`], and with
//! what others lend [`allocation`]), who is next ([`queue_set`]).
//!
//! *Guarantees*: without a queue, a request costs two short locks of its level, and none if that is exempt. A seat and a place
//! in a queue are given back by whatever ends the request.

mod allocation;
mod counters;
mod defaults;
mod demand;
mod digest;
mod dropped;
mod dump;
mod in_flight;
mod level;
mod plan;
mod queue_set;
mod refusal;
mod rules;
mod shuffle;
#[cfg(test)]
mod tests;
mod width;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use api_machinery::ApiError;
use api_types::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

pub(crate) use self::{
    counters::Counters,
    defaults::{AUTOUPDATE, Standard, all as defaults},
    digest::digest,
    in_flight::{InFlight, Place},
    plan::Reference,
    rules::Digest,
    width::width,
};
use self::{
    counters::FlowCounters,
    level::{Entry, Level, Seat},
    plan::{Distinguisher, Plan, SchemaPlan},
    queue_set::Refusal,
    refusal::too_many_requests,
};

/// In each answer, by which it was decided. Their names are nobody's business who may not read them.
const SCHEMA_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// No request waits longer for a seat.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct FlowControl {
    /// Those of all levels together.
    seats: u32,
    counters: Counters,
    current: ArcSwap<Scheme>,
}

/// What keeps requests from being too many at once.
#[derive(Debug)]
pub(crate) enum Limits {
    Fair(Box<FlowControl>),
    InFlight(InFlight),
}

/// Lets a request on, until this is dropped.
#[expect(dead_code, reason = "they are held")]
pub(crate) enum Passage {
    Free,
    Seats(Permit),
    Place(Place),
}

/// What requests are decided by at the moment.
#[derive(Debug)]
struct Scheme {
    levels: BTreeMap<String, Arc<Level>>,
    /// In the order in which they are asked.
    flows: Vec<Arc<Flow>>,
}

/// A FlowSchema and its level.
#[derive(Debug)]
pub(crate) struct Flow {
    schema: SchemaPlan,
    headers: [(HeaderName, HeaderValue); 2],
    level: Arc<Level>,
    counters: FlowCounters,
}

/// The seats of a request, until this is dropped.
pub(crate) struct Permit {
    flow: Arc<Flow>,
    seats: u32,
    is_watch: bool,
    began: Instant,
    _seat: Seat,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) seats: u32,
    pub(crate) is_watch: bool,
    /// How long its answer may take altogether: a quarter of that may be spent waiting.
    pub(crate) patience: Duration,
}

impl FlowControl {
    /// With this many seats. Until it is told of objects, it goes by those that there must be.
    pub(crate) fn new(seats: u32, counters: Counters) -> Self {
        let current = Scheme { levels: BTreeMap::new(), flows: Vec::new() };
        let this = Self { seats, counters, current: ArcSwap::from_pointee(current) };
        this.configure(Vec::new(), Vec::new());
        this
    }

    /// Goes by these objects from now on. Returns to which levels the schemas refer. One caller at a time.
    pub(crate) fn configure(
        &self,
        levels: Vec<PriorityLevelConfiguration>,
        schemas: Vec<FlowSchema>,
    ) -> Vec<Reference> {
        let plan = plan::plan(self.seats, levels, schemas);
        let before = self.current.load();
        let levels = plan.levels.iter().map(|(name, plan)| {
            self.counters.configured(name, plan);
            let level = before.levels.get(name).cloned();
            // Who has a seat of one that is gone keeps it, and who waits in its queues goes on to.
            let level = level.inspect(|level| level.plan(plan));
            (name.clone(), level.unwrap_or_else(|| Arc::new(Level::new(plan))))
        });
        let levels: BTreeMap<_, _> = levels.collect();
        let flows = self.flows(&plan, &levels);
        // Before requests come in: a new level has no seats yet.
        self.allocate(&levels);
        self.current.store(Arc::new(Scheme { levels, flows }));
        plan.references
    }

    /// Lends seats of levels that did not need them in the last period to those that could use more.
    pub(crate) fn lend(&self) {
        self.allocate(&self.current.load().levels);
    }

    fn allocate(&self, levels: &BTreeMap<String, Arc<Level>>) {
        let claims: Vec<_> = levels.values().map(|level| level.claim()).collect();
        let allocation = allocation::allocate(&claims);
        for (level, seats) in levels.values().zip(&allocation.seats) {
            level.allocate(*seats);
        }
        let demands = claims.iter().map(|claim| claim.demand);
        self.counters.allocated(levels.keys().map(String::as_str).zip(demands), &allocation);
    }

    fn flows(&self, plan: &Plan, levels: &BTreeMap<String, Arc<Level>>) -> Vec<Arc<Flow>> {
        let flow = |schema: &SchemaPlan| {
            let (level, of_level) = (levels.get(&schema.level)?, plan.levels.get(&schema.level)?);
            let uid = |uid: &str| HeaderValue::from_str(uid).ok();
            let headers = [(SCHEMA_HEADER, uid(&schema.uid)?), (LEVEL_HEADER, uid(&of_level.uid)?)];
            let counters = self.counters.of_flow(&schema.level, &schema.name);
            Some(Arc::new(Flow { schema: schema.clone(), headers, level: level.clone(), counters }))
        };
        plan.schemas.iter().filter_map(flow).collect()
    }

    /// The flow that a request is of. The last schema is about everybody.
    pub(crate) fn classify(&self, digest: &Digest<'_>) -> Arc<Flow> {
        let current = self.current.load();
        let matching = current.flows.iter().find(|it| rules::match_any(&it.schema.rules, digest));
        let last = matching.or_else(|| current.flows.last());
        last.cloned().expect("the mandatory ones are always there")
    }
}

impl Flow {
    /// What an answer says of it.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether its requests may have to wait, or be refused.
    pub(crate) fn is_limited(&self) -> bool {
        self.level.is_limited()
    }

    /// Waits for seats, if need be.
    ///
    /// # Errors
    /// 429 if there are none in time, or too many wait for them.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        digest: &Digest<'_>,
        wish: Wish,
    ) -> Result<Permit, ApiError> {
        let seats = wish.seats.clamp(1, self.level.widest().max(1));
        self.counters.widths.observe(f64::from(seats));
        let came = Instant::now();
        let entry = self.level.enter(self.hash(digest), seats);
        let seat = match entry {
            Entry::Seat(seat) => seat,
            Entry::Refused(why) => return Err(self.refuse(why, came)),
            Entry::Wait(wait) => {
                self.counters.lengths.observe(count(wait.place.length));
                let queued = Queued::new(self, seats);
                let seat = wait.seat((wish.patience / 4).min(LONGEST_WAIT)).await;
                drop(queued);
                seat.ok_or_else(|| self.refuse(Refusal::TimeOut, came))?
            }
        };
        if self.is_limited() {
            self.counters.waits.observe(came.elapsed().as_secs_f64());
        }
        self.level.dispatch();
        Ok(Permit::new(self.clone(), seat, seats, wish.is_watch))
    }

    /// Of what hash its flow is.
    fn hash(&self, digest: &Digest<'_>) -> u64 {
        let distinguisher = match self.schema.distinguisher {
            None => "",
            Some(Distinguisher::User) => &digest.identity.user,
            Some(Distinguisher::Namespace) => digest.namespace(),
        };
        let mut hasher = DefaultHasher::new();
        (&self.schema.name, distinguisher).hash(&mut hasher);
        hasher.finish()
    }

    fn refuse(&self, why: Refusal, came: Instant) -> ApiError {
        self.counters.reject(why);
        self.counters.waits_in_vain.observe(came.elapsed().as_secs_f64());
        too_many_requests(self.level.refuse(why))
    }
}

#[expect(clippy::cast_precision_loss, reason = "queues are short")]
fn count(length: usize) -> f64 {
    length as f64
}

/// Counts one in a queue.
struct Queued<'a>(&'a FlowCounters, i64);

impl<'a> Queued<'a> {
    fn new(flow: &'a Flow, seats: u32) -> Self {
        flow.counters.queued.inc();
        flow.counters.seats_queued.inc_by(seats.into());
        Self(&flow.counters, seats.into())
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.dec();
        self.0.seats_queued.dec_by(self.1);
    }
}

impl Permit {
    fn new(flow: Arc<Flow>, seat: Seat, seats: u32, is_watch: bool) -> Self {
        flow.counters.dispatched.inc();
        flow.counters.executing.inc();
        flow.counters.seats_executing.inc_by(seats.into());
        Self { flow, seats, is_watch, began: Instant::now(), _seat: seat }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let counters = &self.flow.counters;
        counters.executing.dec();
        counters.seats_executing.dec_by(self.seats.into());
        let executions = if self.is_watch { &counters.watches } else { &counters.executions };
        executions.observe(self.began.elapsed().as_secs_f64());
    }
}
