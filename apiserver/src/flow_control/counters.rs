//! What is counted, by Kubernetes' names (`util/flowcontrol/metrics`).

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{allocation::Allocation, demand::DemandStats, plan::LevelPlan, queue_set::Refusal};

const SECONDS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const LENGTHS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const SEATS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];

const LEVEL: &str = "priority_level";
const SCHEMA: &str = "flow_schema";

type Label = (&'static str, String);
type OfFlow = [Label; 2];
type OfEvent = [Label; 3];
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
type Decimal = Gauge<f64, AtomicU64>;

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    rejected: Family<OfEvent, Counter>,
    dispatched: Family<OfFlow, Counter>,
    queued: Family<OfFlow, Gauge>,
    seats_queued: Family<OfFlow, Gauge>,
    executing: Family<OfFlow, Gauge>,
    seats_executing: Family<OfFlow, Gauge>,
    lengths: Histograms<OfFlow>,
    waits: Histograms<OfEvent>,
    executions: Histograms<OfEvent>,
    widths: Histograms<OfFlow>,
    levels: LevelCounters,
    fair: Decimal,
}

/// Those of levels.
#[derive(Clone, Debug, Default)]
struct LevelCounters {
    nominal: Family<[Label; 1], Gauge>,
    min: Family<[Label; 1], Gauge>,
    max: Family<[Label; 1], Gauge>,
    current: Family<[Label; 1], Gauge>,
    most: Family<[Label; 1], Gauge>,
    average: Family<[Label; 1], Decimal>,
    deviation: Family<[Label; 1], Decimal>,
    smoothed: Family<[Label; 1], Decimal>,
    target: Family<[Label; 1], Decimal>,
}

/// Those of a schema and its level: found once, not at each request.
#[derive(Clone, Debug)]
pub(super) struct FlowCounters {
    flow: OfFlow,
    rejected: Family<OfEvent, Counter>,
    pub(super) dispatched: Counter,
    pub(super) queued: Gauge,
    pub(super) seats_queued: Gauge,
    pub(super) executing: Gauge,
    pub(super) seats_executing: Gauge,
    pub(super) lengths: Histogram,
    /// Of those that were refused after that.
    pub(super) waits_in_vain: Histogram,
    pub(super) waits: Histogram,
    pub(super) executions: Histogram,
    /// Of watches, until what there was has been sent.
    pub(super) watches: Histogram,
    pub(super) widths: Histogram,
}

impl Counters {
    /// All at zero, in the registry.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(SECONDS);
        let all = Self {
            rejected: Family::default(),
            dispatched: Family::default(),
            queued: Family::default(),
            seats_queued: Family::default(),
            executing: Family::default(),
            seats_executing: Family::default(),
            lengths: Histograms::new_with_constructor(|| Histogram::new(LENGTHS)),
            waits: Histograms::new_with_constructor(seconds),
            executions: Histograms::new_with_constructor(seconds),
            widths: Histograms::new_with_constructor(|| Histogram::new(SEATS)),
            levels: LevelCounters::default(),
            fair: Decimal::default(),
        };
        all.register(registry);
        all
    }

    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("apiserver_flowcontrol");
        let it = self.clone();
        registry.register("rejected_requests", "Requests that were refused", it.rejected);
        registry.register("dispatched_requests", "Requests that were executed", it.dispatched);
        registry.register("current_inqueue_requests", "Requests in queues", it.queued);
        registry.register("current_inqueue_seats", "Seats that they want", it.seats_queued);
        registry.register("current_executing_requests", "Requests that execute", it.executing);
        registry.register("current_executing_seats", "Seats in use", it.seats_executing);
        let help = "Length of a queue as each request sees it that comes in";
        registry.register("request_queue_length_after_enqueue", help, it.lengths);
        registry.register("request_wait_duration_seconds", "Time spent in a queue", it.waits);
        registry.register("request_execution_seconds", "Time of execution", it.executions);
        registry.register("work_estimated_seats", "Seats that requests want", it.widths);
        let help = "Part of their targets that levels get";
        registry.register("seat_fair_frac", help, it.fair);
        let of = it.levels;
        registry.register("nominal_limit_seats", "Seats by configuration", of.nominal);
        registry.register("lower_limit_seats", "Seats that are not lent", of.min);
        registry.register("upper_limit_seats", "Seats with all that may be borrowed", of.max);
        registry.register("current_limit_seats", "Seats at the moment", of.current);
        let help = "Most seats that were wanted in the last period";
        registry.register("demand_seats_high_watermark", help, of.most);
        registry.register("demand_seats_average", "Seats wanted, on average", of.average);
        registry.register("demand_seats_stdev", "Standard deviation of that", of.deviation);
        registry.register("demand_seats_smoothed", "Seats wanted, smoothed", of.smoothed);
        registry.register("target_seats", "Seats that are aimed at", of.target);
    }

    /// Those of a schema whose requests are of this level.
    pub(super) fn of_flow(&self, level: &str, schema: &str) -> FlowCounters {
        let flow = || [(LEVEL, level.to_owned()), (SCHEMA, schema.to_owned())];
        let with = |name: &'static str, value: &str| {
            let [level, schema] = flow();
            [level, schema, (name, value.to_owned())]
        };
        FlowCounters {
            flow: flow(),
            rejected: self.rejected.clone(),
            dispatched: self.dispatched.get_or_create_owned(&flow()),
            queued: self.queued.get_or_create_owned(&flow()),
            seats_queued: self.seats_queued.get_or_create_owned(&flow()),
            executing: self.executing.get_or_create_owned(&flow()),
            seats_executing: self.seats_executing.get_or_create_owned(&flow()),
            lengths: self.lengths.get_or_create_owned(&flow()),
            waits_in_vain: self.waits.get_or_create_owned(&with("execute", "false")),
            waits: self.waits.get_or_create_owned(&with("execute", "true")),
            executions: self.executions.get_or_create_owned(&with("type", "regular")),
            watches: self.executions.get_or_create_owned(&with("type", "watch")),
            widths: self.widths.get_or_create_owned(&flow()),
        }
    }

    /// What a level is to have.
    pub(super) fn configured(&self, level: &str, plan: &LevelPlan) {
        let of = [(LEVEL, level.to_owned())];
        self.levels.nominal.get_or_create(&of).set(plan.nominal.into());
        self.levels.min.get_or_create(&of).set(plan.min.into());
        self.levels.max.get_or_create(&of).set(plan.max.into());
    }

    /// What levels have now, in the order of the allocation.
    pub(super) fn allocated<'a>(
        &self,
        levels: impl Iterator<Item = (&'a str, DemandStats)>,
        allocation: &Allocation,
    ) {
        self.fair.set(allocation.fair);
        for (index, (level, stats)) in levels.enumerate() {
            let of = [(LEVEL, level.to_owned())];
            self.levels.current.get_or_create(&of).set(allocation.seats[index].into());
            self.levels.target.get_or_create(&of).set(allocation.targets[index]);
            self.levels.most.get_or_create(&of).set(stats.most.into());
            self.levels.average.get_or_create(&of).set(stats.average);
            self.levels.deviation.get_or_create(&of).set(stats.deviation);
            self.levels.smoothed.get_or_create(&of).set(stats.smoothed);
        }
    }
}

impl FlowCounters {
    /// Counts one that is refused.
    pub(super) fn reject(&self, why: Refusal) {
        let [level, schema] = self.flow.clone();
        let why = [level, schema, ("reason", why.as_str().to_owned())];
        self.rejected.get_or_create(&why).inc();
    }
}
