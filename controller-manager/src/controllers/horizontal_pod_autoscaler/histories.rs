//! Generated histories of load, in virtual time, against what an autoscaler promises.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec,
};
use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tokio::time::Instant;

use super::behavior::History;
use super::decision::{Decision, Seen, decide, next_look};
use super::figures::{Figures, Known, Sample};

/// A target whose pods share a load evenly, each with a target of 100 thousandths.
struct World {
    spec: HorizontalPodAutoscalerSpec,
    history: History,
    instant: Instant,
    replicas: i32,
    pods: Vec<Arc<Pod>>,
    /// When there were how many.
    done: Vec<(Instant, i32)>,
}

fn pods(count: i32) -> Vec<Arc<Pod>> {
    let pod = |i: i32| {
        let pod = json!({"metadata": {"name": format!("p{i}")}, "status": {"phase": "Running",
            "startTime": Timestamp::UNIX_EPOCH, "conditions": [{"type": "Ready", "status": "True"}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    };
    (0..count).map(pod).collect()
}

impl World {
    fn new(min: i32, max: i32, behavior: Option<HorizontalPodAutoscalerBehavior>) -> Self {
        let spec = json!({"scaleTargetRef": {"kind": "ReplicaSet", "name": "web"}, "minReplicas": min,
            "maxReplicas": max, "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "AverageValue", "averageValue": "100m"}}}]});
        let mut spec: HorizontalPodAutoscalerSpec = serde_json::from_value(spec).unwrap();
        spec.behavior = behavior;
        let (history, instant, pods) = (History::default(), Instant::now(), pods(max));
        Self { spec, history, instant, replicas: min, pods, done: vec![(instant, min)] }
    }

    /// A look while so many of the pods are known, and then the time until the next one passes.
    fn look(&mut self, load: i64, known: i32) -> Decision {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(3600);
        let each = load / i64::from(self.replicas);
        let sample = Sample { value: each, timestamp: now, window: Duration::from_secs(10) };
        let samples = (0..known.min(self.replicas)).map(|i| (format!("p{i}"), sample)).collect();
        let figures: Figures =
            if known == 0 { Err("nothing".to_owned()) } else { Ok(Known::Pods(samples)) };
        let pods = &self.pods[..usize::try_from(self.replicas).unwrap()];
        let (replicas, instant) = (self.replicas, self.instant);
        let seen =
            Seen { spec: &self.spec, replicas, status_replicas: replicas, pods, now, instant };
        let decision = decide(&seen, &[figures], &mut self.history);
        let wanted = decision.replicas.unwrap_or(replicas);
        if wanted != replicas {
            self.history.scaled(instant, replicas, wanted);
            self.replicas = wanted;
        }
        self.done.push((instant, wanted));
        self.instant = next_look(&seen, &decision, &self.history);
        decision
    }

    fn for_seconds(&mut self, seconds: u64, load: i64, known: i32) {
        let end = self.instant + Duration::from_secs(seconds);
        while self.instant < end {
            self.look(load, known);
        }
    }
}

fn rules(window: i32, pods: i32, period: i32) -> HPAScalingRules {
    HPAScalingRules {
        policies: Some(vec![HPAScalingPolicy {
            period_seconds: period,
            type_: "Pods".to_owned(),
            value: pods,
        }]),
        select_policy: Some("Max".to_owned()),
        stabilization_window_seconds: Some(window),
        tolerance: None,
    }
}

/// One pod in each interval, as the original's `scaleInterval` has it.
fn interval(seconds: i32) -> Option<HorizontalPodAutoscalerBehavior> {
    let rules = rules(0, 1, seconds);
    Some(HorizontalPodAutoscalerBehavior { scale_down: Some(rules.clone()), scale_up: Some(rules) })
}

prop_compose! {
    fn behavior()(up in (0..30i32, 1..4i32, 1..40i32), down in (0..60i32, 1..4i32, 1..40i32))
        -> HorizontalPodAutoscalerBehavior {
        HorizontalPodAutoscalerBehavior {
            scale_up: Some(rules(up.0, up.1, up.2)),
            scale_down: Some(rules(down.0, down.1, down.2)),
        }
    }
}

/// Seconds with so much load, of which so many pods tell.
fn loads() -> impl Strategy<Value = Vec<(u64, i64, i32)>> {
    let known = prop_oneof![3 => Just(100), 1 => 0..4i32];
    prop::collection::vec((1..120u64, 0..3000i64, known), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_outside_of_the_limits_and_never_faster_than_the_policies(
        min in 1..4i32, more in 0..20i32, behavior in behavior(), loads in loads(),
    ) {
        let mut world = World::new(min, min + more, Some(behavior.clone()));
        for (seconds, load, known) in loads {
            world.for_seconds(seconds, load, known);
        }
        prop_assert!(world.done.iter().all(|(_, replicas)| (min..=min + more).contains(replicas)));
        let policy = |rules: &Option<HPAScalingRules>| {
            let policy = rules.as_ref().unwrap().policies.as_ref().unwrap()[0].clone();
            (Duration::from_secs(policy.period_seconds.try_into().unwrap()), policy.value)
        };
        let (up, down) = (policy(&behavior.scale_up), policy(&behavior.scale_down));
        for pair in world.done.windows(2) {
            let [(_, from), (at, to)] = pair else { continue };
            // A period begins with what there was right after the change at its beginning.
            let before = |period: Duration| {
                let earlier = world.done.iter().rev().find(|(then, _)| *then + period <= *at);
                earlier.map_or(min, |(_, replicas)| *replicas)
            };
            prop_assert!(to <= from || *to <= before(up.0) + up.1, "{from} to {to}");
            prop_assert!(to >= from || *to >= before(down.0) - down.1, "{from} to {to}");
        }
    }

    #[test]
    fn a_load_that_stays_the_same_is_met_and_nothing_changes_after(
        load in 1..2000i64, behavior in prop::option::of(behavior()), before in 0..2000i64,
    ) {
        let mut world = World::new(1, 30, behavior);
        world.for_seconds(600, before, 100);
        world.for_seconds(3000, load, 100);
        let met = world.replicas;
        // Within a tenth of the target, or at the least there can be.
        let each = load / i64::from(met);
        prop_assert!(each <= 110, "{each} each with {met}");
        prop_assert!(met == 1 || load / i64::from(met - 1) > 90, "{load} for {met}");
        world.for_seconds(600, load, 100);
        prop_assert_eq!(world.replicas, met);
    }

    #[test]
    fn nothing_gets_smaller_while_nothing_is_known(
        load in 200..2000i64, behavior in prop::option::of(behavior()), seconds in 1..3000u64,
    ) {
        let mut world = World::new(1, 30, behavior);
        world.for_seconds(1200, load, 100);
        let before = world.replicas;
        world.for_seconds(seconds, 0, 0);
        prop_assert_eq!(world.replicas, before);
    }
}

#[test]
fn one_pod_in_each_interval_up_and_down() {
    for seconds in [1, 5, 10, 40] {
        let mut world = World::new(1, 6, interval(seconds));
        let begun = world.instant;
        world.for_seconds(600, 10_000, 100);
        let when = |world: &World, replicas: i32| {
            let all = world.done.iter().rev().take_while(|(_, there)| *there >= replicas);
            all.last().map(|(at, _)| at.duration_since(begun).as_secs_f64()).unwrap()
        };
        let pace = (when(&world, 6) - when(&world, 2)) / 4.0 / f64::from(seconds);
        assert!((pace - 1.0).abs() < 1e-6, "{pace} of the interval of {seconds} s");
        let begun = world.instant;
        world.for_seconds(600, 0, 100);
        let since = |replicas: i32| {
            let mut all = world.done.iter();
            all.find(|(at, there)| *at >= begun && *there == replicas).unwrap().0
        };
        let pace = since(1).duration_since(since(5)).as_secs_f64() / 4.0 / f64::from(seconds);
        assert!((pace - 1.0).abs() < 1e-6, "{pace} of the interval of {seconds} s");
    }
}

#[test]
fn a_look_out_of_turn_scales_no_further() {
    let mut world = World::new(1, 30, None);
    for replicas in [4, 8, 16, 30] {
        let turn = world.instant;
        world.look(10_000, 100);
        let next = world.instant;
        assert_eq!(world.replicas, replicas);
        world.instant = turn + Duration::from_millis(50);
        world.look(10_000, 100);
        assert_eq!(world.replicas, replicas);
        world.instant = next;
    }
}

#[test]
fn a_lower_load_counts_only_when_it_has_lasted_for_five_minutes() {
    let mut world = World::new(1, 10, None);
    world.for_seconds(120, 1000, 100);
    assert_eq!(world.replicas, 10);
    world.for_seconds(285, 100, 100);
    assert_eq!(world.replicas, 10);
    let decision = world.look(100, 100);
    assert_eq!(decision.conditions[0].reason, "ScaleDownStabilized");
    world.for_seconds(60, 100, 100);
    assert_eq!(world.replicas, 1);
}

#[test]
fn policies_and_windows_are_told() {
    let told = |behavior, load| {
        let mut world = World::new(1, 10, behavior);
        let decision = world.look(load, 100);
        let reasons: Vec<_> = decision.conditions.iter().map(|it| it.reason.clone()).collect();
        (world.replicas, reasons.join(" "), decision.reason)
    };
    let above = "cpu resource above target".to_owned();
    assert_eq!(
        told(None, 1000),
        (4, "ReadyForNewScale ValidMetricFound ScaleUpLimit".to_owned(), above.clone())
    );
    assert_eq!(
        told(interval(10), 1000),
        (2, "ReadyForNewScale ValidMetricFound ScaleUpLimit".to_owned(), above.clone())
    );
    assert_eq!(
        told(interval(10), 100),
        (1, "ReadyForNewScale ValidMetricFound DesiredWithinRange".to_owned(), String::new())
    );
    let mut slow = interval(10);
    slow.as_mut().unwrap().scale_up = Some(rules(30, 1, 10));
    assert_eq!(
        told(slow.clone(), 1000),
        (1, "ScaleUpStabilized ValidMetricFound DesiredWithinRange".to_owned(), above.clone())
    );
    let disabled = Some("Disabled".to_owned());
    let mut off = interval(10);
    off.as_mut().unwrap().scale_up.as_mut().unwrap().select_policy = disabled;
    assert_eq!(
        told(off, 1000),
        (1, "ReadyForNewScale ValidMetricFound ScaleUpLimit".to_owned(), above)
    );
}

#[test]
fn the_largest_metric_wins_and_one_that_fails_only_keeps_from_scaling_down() {
    let spec = |types: &str| -> HorizontalPodAutoscalerSpec {
        let metric = |name: char| {
            json!({"type": "External", "external": {"metric": {"name": name.to_string()},
                "target": {"type": "AverageValue", "averageValue": "1"}}})
        };
        let metrics: Vec<_> = types.chars().map(metric).collect();
        serde_json::from_value(json!({"scaleTargetRef": {"kind": "ReplicaSet", "name": "web"},
            "minReplicas": 1, "maxReplicas": 10, "metrics": metrics, "behavior": {}}))
        .unwrap()
    };
    let check = |values: &[Option<i64>]| {
        let spec = spec(&"ab"[..values.len()]);
        let pods = pods(2);
        let now = Timestamp::UNIX_EPOCH;
        let instant = Instant::now();
        let seen = Seen { spec: &spec, replicas: 2, status_replicas: 2, pods: &pods, now, instant };
        let known = |value: &Option<i64>| value.map(Known::Value).ok_or("gone".to_owned());
        let figures: Vec<_> = values.iter().map(known).collect();
        let recommended = |decision: &Decision| {
            let active = decision.conditions.iter().find(|it| it.type_ == "ScalingActive").unwrap();
            (active.is_so, active.reason.clone(), decision.reason.clone())
        };
        let decision = decide(&seen, &figures, &mut History::default());
        (recommended(&decision), decision)
    };
    let name = |metric: &str| format!("external metric {metric}(nil) above target");
    let found = |reason: String| (true, "ValidMetricFound".to_owned(), reason);
    let failed = (false, "FailedGetExternalMetric".to_owned(), String::new());
    assert_eq!(check(&[Some(3000), Some(4000)]).0, found(name("b")));
    assert_eq!(check(&[Some(4000), Some(3000)]).0, found(name("a")));
    assert_eq!(check(&[None, Some(4000)]).0, found(name("b")));
    let (told, decision) = check(&[Some(1000), None]);
    assert_eq!((told, decision.replicas), (failed.clone(), None));
    let message = "invalid metrics (1 invalid out of 2), first error is: failed to get b external \
        metric value: unable to get external metric b: gone";
    assert_eq!(decision.warnings[1], ("FailedComputeMetricsReplicas", message.to_owned()));
    assert_eq!(decision.metrics.len(), 2);
    assert_eq!(decision.metrics[0].type_, "External");
    let (told, decision) = check(&[None]);
    assert_eq!((told, decision.replicas), (failed, None));
}

#[test]
fn what_lies_outside_of_the_limits_is_brought_back_whatever_the_metrics_say() {
    let check = |replicas: i32| {
        let world = World::new(3, 5, None);
        let instant = world.instant;
        let now = Timestamp::UNIX_EPOCH;
        let seen =
            Seen { spec: &world.spec, replicas, status_replicas: 0, pods: &[], now, instant };
        assert_eq!(seen.needs_metrics(), (3..=5).contains(&replicas));
        let decision = decide(&seen, &[], &mut History::default());
        (decision.replicas, decision.reason)
    };
    assert_eq!(check(9), (Some(5), "Current number of replicas above Spec.MaxReplicas".to_owned()));
    assert_eq!(check(1), (Some(3), "Current number of replicas below Spec.MinReplicas".to_owned()));
    assert_eq!(check(0), (Some(0), String::new()), "whoever set it to none wants it so");
}
