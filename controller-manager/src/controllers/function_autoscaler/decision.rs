//! How many instances a function needs, decided as Knative's autoscaler does it, by concurrency. Pure: the time is given.
//!
//! *Flow*: the calls in hand, averaged over a minute (the stable window), are divided by what one instance is to have in
//! hand. If the average over six seconds (the panic window) asks for twice as many instances as are ready, that counts,
//! and nothing is taken back until a minute after that was last so.
//!
//! *Guarantees*: never fewer or more than the limits say; never none while there are calls in hand; from none, at once what
//! the calls that wait ask for; none after the function was idle for long enough.

use std::collections::VecDeque;
use std::time::Duration;

use api_types::minik8s::FunctionSpec;
use tokio::time::Instant;

const STABLE_WINDOW: Duration = Duration::from_secs(60);
const PANIC_WINDOW: Duration = Duration::from_secs(6);
/// An instance is to have this part of its target in hand, so that there is room for what comes while another starts.
const UTILIZATION: f64 = 0.7;
/// So many times the ready instances' worth of calls is panic.
const PANIC_THRESHOLD: f64 = 2.0;
/// In one step at most so many times the ready instances.
const MAX_SCALE_UP_RATE: f64 = 1000.0;

/// What a function's spec says about scaling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) min: u32,
    pub(super) max: u32,
    /// The calls that an instance is to have in hand.
    pub(super) target: f64,
    /// How long the last instance is kept without calls.
    pub(super) idle: Duration,
    /// How long fewer instances must have been enough.
    pub(super) scale_down_delay: Duration,
}

/// The calls of all gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// That wait or are being answered.
    pub(super) in_hand: u32,
    /// When a call was last heard of.
    pub(super) last_call: Option<Instant>,
}

/// What has been seen of a function.
#[derive(Debug)]
pub(super) struct Autoscaler {
    /// The calls in hand, and since when there are so many; over one stable window, from the first call on.
    loads: VecDeque<(Instant, u32)>,
    last_call: Option<Instant>,
    panic: Option<Panic>,
    /// What was wanted, over the scale-down delay.
    wanted: VecDeque<(Instant, u32)>,
}

/// More is called than the instances can answer.
#[derive(Clone, Copy, Debug)]
struct Panic {
    until: Instant,
    most: u32,
}

impl Limits {
    pub(super) fn of(spec: &FunctionSpec) -> Self {
        let count =
            |value: Option<i32>, usual| value.map_or(usual, |v| u32::try_from(v).unwrap_or(0));
        let seconds = |value, usual| Duration::from_secs(count(value, usual).into());
        let max = count(spec.max_scale, 10);
        let hard = count(spec.container_concurrency, 0);
        let soft = count(spec.target_concurrency, if hard == 0 { 10 } else { hard });
        let target = if hard == 0 { soft } else { soft.min(hard) };
        Self {
            min: count(spec.min_scale, 0).min(max),
            max,
            target: target.max(1).into(),
            idle: seconds(spec.idle_seconds, 60),
            scale_down_delay: seconds(spec.scale_down_delay_seconds, 0),
        }
    }

    /// How many instances so many calls ask for.
    fn instances(&self, calls: f64) -> f64 {
        // Averages are not exact.
        (calls / (self.target * UTILIZATION) - 1e-9).ceil().max(0.0)
    }
}

impl Autoscaler {
    /// For a function of which nothing is known but how many instances it should have so far: as if it had been called until
    /// now, so that a new autoscaler takes none away before it can know better.
    pub(super) fn new(now: Instant, replicas: u32) -> Self {
        let has_some = replicas > 0;
        let panic = Panic { until: now + STABLE_WINDOW, most: replicas };
        Self {
            loads: VecDeque::new(),
            last_call: has_some.then_some(now),
            panic: has_some.then_some(panic),
            wanted: VecDeque::new(),
        }
    }

    /// Another version serves: what it has was made for a reason, and is idle from now on at the earliest.
    pub(super) fn start_anew(&mut self, now: Instant) {
        self.last_call = Some(now);
    }

    /// Takes in what the gateways say.
    pub(super) fn record(&mut self, now: Instant, load: Load) {
        let heard = if load.in_hand > 0 { Some(now) } else { load.last_call };
        self.last_call = self.last_call.max(heard);
        if self.in_hand() != load.in_hand {
            self.loads.push_back((now, load.in_hand));
        }
        // The one that was there when the window began stays.
        while self.loads.get(1).is_some_and(|(since, _)| now - *since >= STABLE_WINDOW) {
            self.loads.pop_front();
        }
    }

    /// How many instances there should be, where so many are ready.
    pub(super) fn decide(&mut self, now: Instant, ready: u32, limits: &Limits) -> u32 {
        let wanted =
            if self.is_idle(now, limits) { self.rest() } else { self.needed(now, ready, limits) };
        self.delayed(now, wanted, limits.scale_down_delay).clamp(limits.min, limits.max)
    }

    /// Whether nothing will change without another call.
    pub(super) fn is_at_rest(&self, now: Instant, limits: &Limits) -> bool {
        self.is_idle(now, limits) && self.wanted.iter().all(|(_, wanted)| *wanted == 0)
    }

    fn is_idle(&self, now: Instant, limits: &Limits) -> bool {
        self.in_hand() == 0 && self.last_call.is_none_or(|call| now - call >= limits.idle)
    }

    /// Forgets what was, so that the next call is not averaged with it.
    fn rest(&mut self) -> u32 {
        self.loads.clear();
        self.panic = None;
        0
    }

    fn needed(&mut self, now: Instant, ready: u32, limits: &Limits) -> u32 {
        let base = f64::from(ready.max(1));
        let lately = match ready {
            // Nothing was answered so far: what waits now is all that there is to know.
            0 => f64::from(self.in_hand()).max(self.average(now, PANIC_WINDOW)),
            _ => self.average(now, PANIC_WINDOW),
        };
        let (stable, lately) =
            (limits.instances(self.average(now, STABLE_WINDOW)), limits.instances(lately));
        let at_most = |instances: f64| whole(instances.min(base * MAX_SCALE_UP_RATE)).max(1);
        let most = |panic: Panic| panic.most.max(at_most(lately));
        let is_over = lately >= base * PANIC_THRESHOLD;
        self.panic = match self.panic.filter(|panic| now < panic.until) {
            panic if is_over => {
                let most = panic.map_or_else(|| at_most(lately), most);
                Some(Panic { until: now + STABLE_WINDOW, most })
            }
            Some(panic) => Some(Panic { most: most(panic), ..panic }),
            None => None,
        };
        self.panic.map_or_else(|| at_most(stable), |panic| panic.most)
    }

    /// The most that was wanted within the delay.
    fn delayed(&mut self, now: Instant, wanted: u32, delay: Duration) -> u32 {
        self.wanted.retain(|(at, earlier)| now - *at < delay && *earlier > wanted);
        self.wanted.push_back((now, wanted));
        self.wanted.front().map_or(wanted, |(_, most)| *most)
    }

    fn in_hand(&self) -> u32 {
        self.loads.back().map_or(0, |(_, calls)| *calls)
    }

    /// The average of the calls in hand, over the window or since something is known.
    fn average(&self, now: Instant, window: Duration) -> f64 {
        let Some((first, _)) = self.loads.front() else { return 0.0 };
        let from = now.checked_sub(window).map_or(*first, |start| start.max(*first));
        let ends = self.loads.iter().skip(1).map(|(since, _)| *since).chain([now]);
        let spans = self.loads.iter().zip(ends).map(|((since, calls), end)| {
            f64::from(*calls) * end.saturating_duration_since((*since).max(from)).as_secs_f64()
        });
        match (now - from).as_secs_f64() {
            0.0 => self.in_hand().into(),
            seconds => spans.sum::<f64>() / seconds,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a small whole number, rounded up already"
)]
fn whole(instances: f64) -> u32 {
    instances as u32
}
