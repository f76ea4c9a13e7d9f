//! How many replicas one metric asks for (Kubernetes: `podautoscaler/replica_calculator.go`). Amounts are in thousandths.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api_machinery::Quantity;
use api_types::api::core::v1::{Container, Pod};
use api_types::jiff::Timestamp;

use super::figures::Samples;
use crate::pods;

/// For so long after its start a pod's processor time counts only from when it was ready.
const CPU_INITIALIZATION_PERIOD: Duration = Duration::from_secs(300);
/// A pod that has not been ready later than this after its start never was.
const INITIAL_READINESS_DELAY: Duration = Duration::from_secs(30);

/// Which ratios of usage and target change nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerances {
    pub(super) down: f64,
    pub(super) up: f64,
}

impl Tolerances {
    fn contain(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What a metric asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// Of what is requested, in percent.
    pub(super) utilization: Option<i32>,
    /// What there is, or what there is for each pod.
    pub(super) usage: i64,
}

/// The pods that an autoscaler counts, and how many there are to be now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pods<'a> {
    pub(super) replicas: i32,
    pub(super) all: &'a [Arc<Pod>],
    pub(super) tolerances: Tolerances,
    pub(super) now: Timestamp,
}

/// Usage relative to the target.
struct Usage {
    ratio: f64,
    utilization: Option<i32>,
    average: i64,
}

/// The names of pods by what is to be made of them.
#[derive(Default)]
struct Groups<'a> {
    ready: u32,
    unready: BTreeSet<&'a str>,
    missing: BTreeSet<&'a str>,
    ignored: BTreeSet<&'a str>,
}

impl<'a> Pods<'a> {
    /// By what the pods, or one container of each, use of a resource, in percent of what they request.
    pub(super) fn by_utilization(
        self,
        samples: &Samples,
        resource: &str,
        container: Option<&str>,
        target: i32,
    ) -> Result<Proposal, String> {
        let (groups, mut values) = self.counted(samples, resource)?;
        let mut requests = BTreeMap::new();
        for pod in self.all {
            requests.insert(name(pod), requested(pod, container, resource)?);
        }
        // Pods without a figure count as if they used all that they request, or the target if that is more.
        let full = |pod: &str| requests[pod] * i64::from(target.max(100)) / 100;
        let ratio = |values: &BTreeMap<&str, i64>| utilization(values, &requests, target);
        self.replicas(&groups, &mut values, ratio, full)
    }

    /// By an amount that the pods are to have on average.
    pub(super) fn by_average(
        self,
        samples: &Samples,
        resource: &str,
        target: i64,
    ) -> Result<Proposal, String> {
        let (groups, mut values) = self.counted(samples, resource)?;
        self.replicas(&groups, &mut values, |values| Ok(average(values, target)), |_| target)
    }

    /// By an amount that all pods together are to bring to a value.
    pub(super) fn by_value(self, usage: i64, target: i64) -> Result<Proposal, String> {
        let ratio = ratio(usage, target);
        let replicas = if self.replicas == 0 {
            whole(ratio)
        } else if self.tolerances.contain(ratio) {
            self.replicas
        } else if self.all.is_empty() {
            return Err(format!("unable to calculate ready pods: {NO_PODS}"));
        } else {
            let is_ready = |pod: &&Arc<Pod>| pods::phase(pod) == "Running" && pods::is_ready(pod);
            // Kubernetes has it that none are needed if none is ready.
            match self.all.iter().filter(is_ready).count() {
                0 => return Err("unable to calculate ready pods: no pod is ready".to_owned()),
                ready => whole(ratio * count(ready)),
            }
        };
        Ok(Proposal { replicas, utilization: None, usage })
    }

    /// By an amount of which each pod is to have a share; there are `status_replicas` pods.
    pub(super) fn by_share(self, usage: i64, target: i64, status_replicas: i32) -> Proposal {
        let each = ratio(usage, target) / f64::from(status_replicas);
        let replicas = if self.tolerances.contain(each) {
            status_replicas
        } else {
            whole(ratio(usage, target))
        };
        let usage = (usage as f64 / f64::from(status_replicas)).ceil();
        Proposal { replicas, utilization: None, usage: usage as i64 }
    }

    /// The groups of pods, and what those use that count: a query may tell of other pods, too.
    fn counted(
        self,
        samples: &Samples,
        resource: &str,
    ) -> Result<(Groups<'a>, BTreeMap<&'a str, i64>), String> {
        if self.all.is_empty() {
            return Err(NO_PODS.to_owned());
        }
        let groups = self.groups(samples, resource == "cpu");
        let counts = |pod: &str| !groups.ignored.contains(pod) && !groups.unready.contains(pod);
        let counting = self.all.iter().map(name).filter(|pod| counts(pod));
        let known = counting.filter_map(|pod| Some((pod, samples.get(pod)?.value)));
        let values: BTreeMap<_, _> = known.collect();
        if values.is_empty() {
            let why = "did not receive metrics for targeted pods (pods might be unready)";
            return Err(why.to_owned());
        }
        Ok((groups, values))
    }

    fn groups(self, samples: &Samples, is_cpu: bool) -> Groups<'a> {
        let mut groups = Groups::default();
        for pod in self.all {
            let name = name(pod);
            if pods::is_terminating(pod) || pods::phase(pod) == "Failed" {
                groups.ignored.insert(name);
            } else if pods::phase(pod) == "Pending" {
                groups.unready.insert(name);
            } else if let Some(sample) = samples.get(name) {
                let is_unready =
                    is_cpu && is_unready(pod, sample.timestamp, sample.window, self.now);
                if is_unready {
                    groups.unready.insert(name);
                } else {
                    groups.ready += 1;
                }
            } else {
                groups.missing.insert(name);
            }
        }
        groups
    }

    /// Pods of which little is known count so that they never make the change larger.
    fn replicas<'v>(
        self,
        groups: &Groups<'v>,
        values: &mut BTreeMap<&'v str, i64>,
        usage_of: impl Fn(&BTreeMap<&str, i64>) -> Result<Usage, String>,
        full: impl Fn(&str) -> i64,
    ) -> Result<Proposal, String> {
        let Usage { ratio, utilization, average } = usage_of(values)?;
        let proposal = |replicas| Ok(Proposal { replicas, utilization, usage: average });
        let grows_with_unready = !groups.unready.is_empty() && ratio > 1.0;
        if !grows_with_unready && groups.missing.is_empty() {
            let is_enough = self.tolerances.contain(ratio);
            let replicas =
                if is_enough { self.replicas } else { whole(ratio * f64::from(groups.ready)) };
            return proposal(replicas);
        }
        if ratio < 1.0 {
            values.extend(groups.missing.iter().map(|pod| (*pod, full(pod))));
        } else if ratio > 1.0 {
            values.extend(groups.missing.iter().map(|pod| (*pod, 0)));
        }
        if grows_with_unready {
            values.extend(groups.unready.iter().map(|pod| (*pod, 0)));
        }
        let again = usage_of(values)?.ratio;
        let replicas = whole(again * count(values.len()));
        let turns = (ratio < 1.0 && again > 1.0)
            || (ratio > 1.0 && again < 1.0)
            || (again < 1.0 && replicas > self.replicas)
            || (again > 1.0 && replicas < self.replicas);
        proposal(if self.tolerances.contain(again) || turns { self.replicas } else { replicas })
    }
}

const NO_PODS: &str = "no pods returned by selector while calculating replica count";

fn name(pod: &Arc<Pod>) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Whether the processor time that was measured says nothing of the pod's work: it may have been spent on starting.
fn is_unready(pod: &Pod, sampled: Timestamp, window: Duration, now: Timestamp) -> bool {
    let start = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|t| t.0);
    let (Some(start), Some(ready)) = (start, pods::ready_condition(pod)) else { return true };
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let is_not_ready = ready.status == "False";
    if start.saturating_add(CPU_INITIALIZATION_PERIOD).is_ok_and(|end| end > now) {
        let counts_from = since.saturating_add(window).unwrap_or(since);
        return is_not_ready || sampled < counts_from;
    }
    let never_ready = start.saturating_add(INITIAL_READINESS_DELAY).is_ok_and(|end| end > since);
    is_not_ready && never_ready
}

/// What a pod, or one of its containers, requests.
fn requested(pod: &Pod, container: Option<&str>, resource: &str) -> Result<i64, String> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut sum = 0;
    let mut found = false;
    for it in running(pod).filter(|it| container.is_none_or(|name| name == it.name)) {
        let requests = it.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let amount = requests.and_then(|requests| requests.get(resource));
        let amount =
            amount.and_then(|amount| Quantity::try_from(amount).ok()).ok_or_else(|| {
                format!("missing request for {resource} in container {} of Pod {pod_name}", it.name)
            })?;
        sum += amount.milli_value();
        found = true;
    }
    match container {
        Some(name) if !found => Err(format!("container {name} not found in Pod {pod_name}")),
        _ => Ok(sum),
    }
}

/// The containers that run all the time.
pub(super) fn running(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    let sidecars = spec.clone().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|it| it.restart_policy.as_deref() == Some("Always"));
    spec.flat_map(|spec| &spec.containers).chain(sidecars)
}

fn utilization(
    values: &BTreeMap<&str, i64>,
    requests: &BTreeMap<&str, i64>,
    target: i32,
) -> Result<Usage, String> {
    let known = values.iter().filter_map(|(pod, value)| Some((value, requests.get(pod)?)));
    let (mut used, mut requested, mut entries) = (0_i128, 0_i128, 0_i128);
    for (value, request) in known {
        used += i128::from(*value);
        requested += i128::from(*request);
        entries += 1;
    }
    if requested == 0 {
        return Err("no metrics returned matched known pods".to_owned());
    }
    let percent = i32::try_from(used * 100 / requested).unwrap_or(i32::MAX);
    let ratio = f64::from(percent) / f64::from(target);
    Ok(Usage { ratio, utilization: Some(percent), average: narrow(used / entries) })
}

fn average(values: &BTreeMap<&str, i64>, target: i64) -> Usage {
    let sum: i128 = values.values().map(|value| i128::from(*value)).sum();
    let average = narrow(sum / i128::try_from(values.len()).unwrap_or(1).max(1));
    Usage { ratio: ratio(average, target), utilization: None, average }
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "Kubernetes goes by the same approximation")]
fn ratio(usage: i64, target: i64) -> f64 {
    usage as f64 / target as f64
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

/// The next whole number of replicas.
#[allow(clippy::cast_possible_truncation, reason = "what is too large is as large as can be")]
fn whole(replicas: f64) -> i32 {
    replicas.ceil() as i32
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controllers::horizontal_pod_autoscaler::figures::Sample;

    const EXACT: Tolerances = Tolerances { down: 0.0, up: 0.0 };
    const USUAL: Tolerances = Tolerances { down: 0.1, up: 0.1 };

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(3600)
    }

    /// `r` is ready, `u` is not, `h` and `H` are so and have just started, `p` waits, `f` has failed, `d` is being deleted.
    fn pods(states: &str, requests: &[&str]) -> Vec<Arc<Pod>> {
        let pod = |(i, state): (usize, char)| {
            let phase = match state {
                'p' => "Pending",
                'f' => "Failed",
                _ => "Running",
            };
            let ready = if "rh".contains(state) { "True" } else { "False" };
            let start = if "hH".contains(state) { now() } else { Timestamp::UNIX_EPOCH };
            let deleted = (state == 'd').then(now);
            let requests = requests.get(i).map(|cpu| json!({"requests": {"cpu": cpu}}));
            let pod = json!({"metadata": {"name": i.to_string(), "deletionTimestamp": deleted},
                "spec": {"containers": [{"name": "c", "resources": requests}]},
                "status": {"phase": phase, "startTime": start, "conditions": [
                    {"type": "Ready", "status": ready, "lastTransitionTime": Timestamp::UNIX_EPOCH}]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        states.chars().enumerate().map(pod).collect()
    }

    fn samples(levels: &[i64]) -> Samples {
        named(&levels.iter().copied().enumerate().collect::<Vec<_>>())
    }

    fn named(levels: &[(usize, i64)]) -> Samples {
        let (timestamp, window) = (Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        let sample = |(i, value): &(usize, i64)| {
            (i.to_string(), Sample { value: *value, timestamp, window })
        };
        levels.iter().map(sample).collect()
    }

    /// Of `podautoscaler/replica_calculator_test.go`; each pod requests one processor.
    #[test]
    fn by_utilization_as_kubernetes_does() {
        for (replicas, states, levels, target, expected, percent) in [
            (3, "rrr", &[300_i64, 500, 700] as &[i64], 30, 5, 50),
            (3, "urr", &[300, 500, 700], 30, 4, 60),
            (3, "hrr", &[300, 500, 700], 30, 4, 60),
            (3, "ruu", &[400, 500, 700], 30, 3, 40),
            (3, "rHH", &[400, 500, 700], 30, 3, 40),
            (2, "rrff", &[500, 700], 30, 4, 60),
            (2, "rrdd", &[500, 700], 30, 4, 60),
            (5, "rrrrr", &[100, 300, 500, 250, 250], 50, 3, 28),
            (5, "rrruu", &[100, 300, 500, 250, 250], 50, 2, 30),
            (5, "rpppp", &[100], 50, 1, 10),
            (5, "rrrhh", &[100, 300, 500, 250, 250], 50, 2, 30),
            (5, "rrrrrff", &[100, 300, 500, 250, 250], 50, 3, 28),
            (5, "rrrrrdd", &[100, 300, 500, 250, 250, 900, 900], 50, 3, 28),
            (4, "rrrr", &[4000, 9500, 3000, 7000, 3200, 2000], 100, 24, 587),
            (4, "rrrr", &[400, 95], 100, 3, 24),
            (2, "rr", &[1000], 100, 2, 100),
            (2, "rr", &[1900], 100, 2, 190),
            (2, "rr", &[600], 100, 2, 60),
            (3, "urr", &[100, 450], 50, 3, 45),
            (3, "hrr", &[100, 450], 50, 3, 45),
            (3, "urr", &[100, 2000], 50, 4, 200),
            (3, "Hrr", &[100, 2000], 50, 4, 200),
            (4, "urrr", &[100, 100, 100], 50, 3, 10),
            (2, "rrr", &[100, 100], 50, 2, 10),
        ] {
            let all = pods(states, &["1"; 7]);
            let pods = Pods { replicas, all: &all, tolerances: USUAL, now: now() };
            let found = pods.by_utilization(&samples(levels), "cpu", None, target).unwrap();
            let found = (found.replicas, found.utilization);
            assert_eq!(found, (expected, Some(percent)), "{states} {levels:?}");
        }
    }

    #[test]
    fn requests_differ_and_may_be_missing() {
        let check = |states: &str, requests: &[&str], levels: &[i64], container, target| {
            let all = pods(states, requests);
            let replicas = i32::try_from(all.len()).unwrap();
            let pods = Pods { replicas, all: &all, tolerances: USUAL, now: now() };
            let found = pods.by_utilization(&samples(levels), "cpu", container, target);
            found.map(|found| (found.replicas, found.utilization.unwrap(), found.usage))
        };
        let close = check("rrr", &["0.9", "1.0", "1.1"], &[1010, 1030, 1020], None, 100);
        assert_eq!(close, Ok((3, 102, 1020)));
        assert_eq!(
            check("urrr", &["1", "1", "2", "2"], &[200, 100, 100], None, 300),
            Ok((2, 6, 100))
        );
        assert_eq!(check("rr", &["1", "1"], &[500, 1500], Some("c"), 50), Ok((4, 100, 1000)));
        let missing = "missing request for cpu in container c of Pod 1";
        assert_eq!(check("rr", &["1"], &[500, 1500], None, 50), Err(missing.to_owned()));
        let other = "container other not found in Pod 0";
        assert_eq!(check("r", &["1"], &[500], Some("other"), 50), Err(other.to_owned()));
        let unready = "did not receive metrics for targeted pods (pods might be unready)";
        assert_eq!(check("u", &["1"], &[500], None, 50), Err(unready.to_owned()));
        assert_eq!(check("", &[], &[500], None, 50), Err(NO_PODS.to_owned()));
        let nothing = "no metrics returned matched known pods";
        assert_eq!(check("r", &["0"], &[500], None, 50), Err(nothing.to_owned()));
    }

    #[test]
    fn by_average_as_kubernetes_does() {
        for (replicas, states, levels, target, tolerances, expected, usage) in [
            (3, "rrr", &[20_000_i64, 10_000, 30_000] as &[i64], 15_000, USUAL, 4, 20_000),
            (3, "rrH", &[50_000, 10_000, 30_000], 15_000, USUAL, 6, 30_000),
            (3, "HrH", &[50_000, 15_000, 30_000], 15_000, USUAL, 7, 31_666),
            (5, "rrrrr", &[12_000; 5], 20_000, USUAL, 3, 12_000),
            (3, "rrr", &[20_000, 21_000, 21_000], 20_000, USUAL, 3, 20_666),
            (3, "rrr", &[20_000, 21_000, 21_000], 20_000, EXACT, 4, 20_666),
            (2, "rrr", &[10_000, 10_000], 17_000, USUAL, 2, 10_000),
        ] {
            let all = pods(states, &[]);
            let pods = Pods { replicas, all: &all, tolerances, now: now() };
            let found = pods.by_average(&samples(levels), "", target).unwrap();
            assert_eq!((found.replicas, found.usage), (expected, usage), "{states} {levels:?}");
        }
    }

    #[test]
    fn pods_of_others_do_not_count() {
        let check = |states: &str, levels: &[(usize, i64)], others: i64| {
            let all = pods(states, &[]);
            let replicas = i32::try_from(all.len()).unwrap();
            let mut levels = levels.to_vec();
            levels.extend((100..130).map(|other| (other, others)));
            let pods = Pods { replicas, all: &all, tolerances: USUAL, now: now() };
            pods.by_average(&named(&levels), "", 40_000).map(|it| (it.replicas, it.usage))
        };
        let busy: Vec<_> = (0..10).map(|pod| (pod, 90_000)).collect();
        assert_eq!(check("rrrrrrrrrr", &busy, 0), Ok((23, 90_000)));
        assert_eq!(check("rr", &[(0, 40_000)], 90_000), Ok((2, 40_000)));
        assert!(check("rr", &[], 90_000).is_err());
    }

    #[test]
    fn by_value_and_by_share_as_kubernetes_does() {
        for (replicas, states, usage, target, tolerances, expected) in [
            (3, "rrr", 20_000, 15_000, USUAL, 4),
            (3, "uru", 50_000, 10_000, USUAL, 5),
            (3, "uru", 8600, 4400, USUAL, 2),
            (5, "rrrrr", 12_000, 20_000, USUAL, 3),
            (3, "rrr", 20_666, 20_000, USUAL, 3),
            (3, "rrr", 20_666, 20_000, EXACT, 4),
            (0, "", 20_000, 15_000, USUAL, 2),
            (3, "rrr", i64::MAX, 1, USUAL, i32::MAX),
        ] {
            let all = pods(states, &[]);
            let pods = Pods { replicas, all: &all, tolerances, now: now() };
            let found = pods.by_value(usage, target).unwrap();
            assert_eq!((found.replicas, found.usage), (expected, usage), "{usage} of {target}");
        }
        let all = pods("uu", &[]);
        let unready = Pods { replicas: 2, all: &all, tolerances: USUAL, now: now() };
        assert!(unready.by_value(20_000, 10_000).is_err(), "there is too much to do for two");
        for (status, usage, target, tolerances, expected, each) in [
            (3, 20_000, 5000, USUAL, 4, 6667),
            (5, 6000, 2000, USUAL, 3, 1200),
            (3, 8600, 2150, USUAL, 4, 2867),
            (4, 20_166, 5000, USUAL, 4, 5042),
            (4, 20_208, 5000, EXACT, 5, 5052),
            (1, i64::MAX, 1, USUAL, i32::MAX, i64::MAX),
        ] {
            let pods = Pods { replicas: status, all: &[], tolerances, now: now() };
            let found = pods.by_share(usage, target, status);
            assert_eq!((found.replicas, found.usage), (expected, each), "{usage} of {target}");
        }
    }

    #[test]
    fn a_pod_that_has_been_ready_counts_and_one_that_just_became_so_counts_from_its_first_window() {
        let check = |ready: &str, start: u64, since: u64, sampled: u64| {
            let at = |second| Timestamp::UNIX_EPOCH + Duration::from_secs(second);
            let pod = json!({"status": {"startTime": at(start), "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": at(since)}]}});
            let pod = serde_json::from_value(pod).unwrap();
            is_unready(&pod, at(sampled), Duration::from_secs(10), at(3600))
        };
        assert!(check("True", 3590, 3592, 3600), "its window began before it was ready");
        assert!(!check("True", 3580, 3590, 3600));
        assert!(check("False", 3580, 3590, 3600));
        assert!(check("False", 3000, 3020, 3600), "it never was ready");
        assert!(!check("False", 3000, 3040, 3600), "it was ready once");
        assert!(!check("True", 3000, 3595, 3600), "it has been there for long");
    }
}
