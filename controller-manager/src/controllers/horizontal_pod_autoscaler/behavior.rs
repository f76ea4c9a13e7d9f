//! How fast the number of replicas follows what the metrics ask for (Kubernetes: `podautoscaler/horizontal.go`, "normalize").
//! All that is remembered from one look to the next is here.

use std::time::Duration;

use api_types::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};
use tokio::time::Instant;

/// Autoscalers are looked at at least so often.
pub(super) const PERIOD: Duration = Duration::from_secs(15);
/// For how long a higher recommendation holds where nothing else is said.
const DOWNSCALE_STABILIZATION: Duration = Duration::from_secs(300);
/// No window and no period is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Why something is so: a condition's reason and message.
pub(super) type Why = (&'static str, &'static str);

const READY: Why = ("ReadyForNewScale", "recommended size matches current size");
const UP_STABILIZED: Why = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN_STABILIZED: Why = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const WITHIN_RANGE: Why =
    ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_MANY: Why =
    ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: Why =
    ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const UP_LIMIT: Why =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: Why = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);

/// What is done, and why that is not what the metrics ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limited {
    pub(super) replicas: i32,
    pub(super) stabilized: Why,
    pub(super) is_limited: bool,
    pub(super) limit: Why,
}

impl Limited {
    /// Whether a policy was what stood in the way.
    pub(super) fn by_policy(&self) -> bool {
        [UP_LIMIT, DOWN_LIMIT].contains(&self.limit) && self.is_limited
    }
}

/// From how many replicas to how many, at least and at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) current: i32,
    pub(super) recommended: i32,
    pub(super) min: i32,
    pub(super) max: i32,
}

/// What an autoscaler has recommended and done.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    recommendations: Vec<(Instant, i32)>,
    added: Vec<(Instant, i32)>,
    removed: Vec<(Instant, i32)>,
}

impl History {
    /// An autoscaler that knows nothing of before does not scale down at once.
    pub(super) fn begin(&mut self, now: Instant, current: i32) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    /// Notes what was done.
    pub(super) fn scaled(&mut self, now: Instant, from: i32, to: i32) {
        let list = if to > from { &mut self.added } else { &mut self.removed };
        list.retain(|(at, _)| now - *at <= LONGEST);
        list.push((now, (to - from).abs()));
    }

    /// Notes what is recommended, and gives what is to be done.
    pub(super) fn limit(
        &mut self,
        now: Instant,
        wanted: Wanted,
        behavior: Option<&HorizontalPodAutoscalerBehavior>,
    ) -> Limited {
        let none = HPAScalingRules::default();
        match behavior {
            None => self.by_default(now, wanted),
            Some(behavior) => {
                let up = behavior.scale_up.as_ref().unwrap_or(&none);
                let down = behavior.scale_down.as_ref().unwrap_or(&none);
                self.by_rules(now, wanted, up, down)
            }
        }
    }

    fn by_default(&mut self, now: Instant, wanted: Wanted) -> Limited {
        let recent = self.recent(now, DOWNSCALE_STABILIZATION).max();
        let stable = recent.unwrap_or(wanted.recommended).max(wanted.recommended);
        self.remember(now, wanted.recommended);
        let stabilized = if stable == wanted.recommended { READY } else { DOWN_STABILIZED };
        let start = self.start(now, wanted.current, PERIOD);
        let fastest = start.saturating_mul(2).max(4).max(wanted.current);
        let (most, why) =
            if wanted.max > fastest { (fastest, UP_LIMIT) } else { (wanted.max, TOO_MANY) };
        limited(stable, wanted.min, TOO_FEW, most, why, stabilized)
    }

    fn by_rules(
        &mut self,
        now: Instant,
        wanted: Wanted,
        up: &HPAScalingRules,
        down: &HPAScalingRules,
    ) -> Limited {
        let Wanted { current, recommended, min, max } = wanted;
        let window = |rules: &HPAScalingRules| {
            let seconds = rules.stabilization_window_seconds.map(u64::try_from);
            seconds.map(|seconds| Duration::from_secs(seconds.unwrap_or(0)))
        };
        let lowest = self.younger(now, window(up).unwrap_or_default()).min();
        let highest = self.younger(now, window(down).unwrap_or(DOWNSCALE_STABILIZATION)).max();
        let lowest = lowest.unwrap_or(recommended).min(recommended);
        let highest = highest.unwrap_or(recommended).max(recommended);
        let stable = current.max(lowest).min(highest);
        self.remember(now, recommended);
        let stabilized = match () {
            () if stable == recommended => READY,
            () if recommended >= current => UP_STABILIZED,
            () => DOWN_STABILIZED,
        };
        if stable > current {
            let fastest = self.limit_of(now, current, up, 1).max(current);
            let (most, why) = if max > fastest { (fastest, UP_LIMIT) } else { (max, TOO_MANY) };
            return limited(stable, i32::MIN, TOO_FEW, most, why, stabilized);
        }
        if stable < current {
            let fastest = self.limit_of(now, current, down, -1).min(current);
            let (least, why) = if min < fastest { (fastest, DOWN_LIMIT) } else { (min, TOO_FEW) };
            return limited(stable, least, why, i32::MAX, TOO_MANY, stabilized);
        }
        limited(stable, i32::MIN, TOO_FEW, i32::MAX, TOO_MANY, stabilized)
    }

    /// How far the policies let the replicas go up (1) or down (-1).
    fn limit_of(&self, now: Instant, current: i32, rules: &HPAScalingRules, sign: i32) -> i32 {
        let select = rules.select_policy.as_deref();
        if select == Some("Disabled") {
            return current;
        }
        let limits = rules.policies.iter().flatten().map(|policy| {
            let period = seconds(policy.period_seconds);
            let start = self.start(now, current, period);
            match policy.type_.as_str() {
                "Pods" => start.saturating_add(sign.saturating_mul(policy.value)),
                _ => percent(start, sign, policy.value),
            }
        });
        let takes_largest = (select == Some("Min")) != (sign > 0);
        let limit = if takes_largest { limits.max() } else { limits.min() };
        limit.unwrap_or(current)
    }

    /// How many there were at the beginning of a period that ends now.
    fn start(&self, now: Instant, current: i32, period: Duration) -> i32 {
        current - changed(&self.added, now, period) + changed(&self.removed, now, period)
    }

    /// When the earliest of what was done is out of its policy's period, and there is room for more.
    pub(super) fn has_room_at(
        &self,
        now: Instant,
        behavior: Option<&HorizontalPodAutoscalerBehavior>,
    ) -> Option<Instant> {
        let ends = policies(behavior).flat_map(|period| {
            let done = self.added.iter().chain(&self.removed);
            done.map(move |(at, _)| *at + period)
        });
        ends.filter(|end| *end > now).min()
    }

    fn remember(&mut self, now: Instant, recommended: i32) {
        self.recommendations.retain(|(at, _)| now - *at <= LONGEST);
        self.recommendations.push((now, recommended));
    }

    /// Recommendations that are not older.
    fn recent(&self, now: Instant, age: Duration) -> impl Iterator<Item = i32> {
        let recent = self.recommendations.iter().filter(move |(at, _)| now - *at <= age);
        recent.map(|(_, replicas)| *replicas)
    }

    fn younger(&self, now: Instant, age: Duration) -> impl Iterator<Item = i32> {
        let younger = self.recommendations.iter().filter(move |(at, _)| now - *at < age);
        younger.map(|(_, replicas)| *replicas)
    }
}

/// The periods of all policies.
pub(super) fn policies(
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
) -> impl Iterator<Item = Duration> {
    let rules = behavior.into_iter().flat_map(|both| both.scale_up.iter().chain(&both.scale_down));
    let policies = rules.flat_map(|rules| rules.policies.iter().flatten());
    policies.map(|policy| seconds(policy.period_seconds))
}

fn seconds(period: i32) -> Duration {
    Duration::from_secs(u64::try_from(period).unwrap_or(0))
}

fn changed(list: &[(Instant, i32)], now: Instant, period: Duration) -> i32 {
    list.iter().filter(|(at, _)| now - *at < period).map(|(_, replicas)| replicas).sum()
}

/// Up to the next whole replica: nothing would ever change otherwise; and down to it, too.
#[allow(clippy::cast_possible_truncation, reason = "what is too large is as large as can be")]
fn percent(start: i32, sign: i32, value: i32) -> i32 {
    let replicas = f64::from(start) * (1.0 + f64::from(sign) * f64::from(value) / 100.0);
    if sign > 0 { replicas.ceil() as i32 } else { replicas as i32 }
}

fn limited(
    stable: i32,
    least: i32,
    too_few: Why,
    most: i32,
    too_many: Why,
    stabilized: Why,
) -> Limited {
    let (replicas, limit) = match stable {
        _ if stable < least => (least, too_few),
        _ if stable > most => (most, too_many),
        _ => (stable, WITHIN_RANGE),
    };
    Limited { replicas, stabilized, is_limited: replicas != stable, limit }
}
