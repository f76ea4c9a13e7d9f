//! What is to be done, and what is to be told of it (Kubernetes: `reconcileAutoscaler` and what it calls). Pure.

use std::sync::Arc;
use std::time::Duration;

use api_machinery::Quantity;
use api_types::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricStatus, PodsMetricStatus,
    ResourceMetricStatus,
};
use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use api_types::meta;
use tokio::time::Instant;

use super::behavior::{History, PERIOD, Wanted, policies};
use super::calculator::{Pods, Proposal, Tolerances};
use super::figures::Figures;

const TOLERANCE: f64 = 0.1;

/// What a look has found.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) spec: &'a HorizontalPodAutoscalerSpec,
    /// How many replicas the target is to have.
    pub(super) replicas: i32,
    /// How many it has.
    pub(super) status_replicas: i32,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
    pub(super) instant: Instant,
}

impl Seen<'_> {
    /// Whether what is to be done depends on metrics.
    pub(super) fn needs_metrics(&self) -> bool {
        let min = self.spec.min_replicas.unwrap_or(1);
        without_metrics(self.replicas, min, self.spec.max_replicas).is_none()
    }
}

/// A condition without its time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) type_: &'static str,
    pub(super) is_so: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Told {
    pub(super) fn new(
        type_: &'static str,
        is_so: bool,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, is_so, reason: reason.to_owned(), message: message.into() }
    }
}

/// What comes of a look.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decision {
    /// The replicas that there should be, if that is known.
    pub(super) replicas: Option<i32>,
    /// Why they are not as many as there are.
    pub(super) reason: String,
    pub(super) conditions: Vec<Told>,
    pub(super) metrics: Vec<MetricStatus>,
    /// What is wrong: reasons and messages of events.
    pub(super) warnings: Vec<(&'static str, String)>,
    /// Whether a policy keeps more from being done now.
    pub(super) waits: bool,
}

/// Decides by the figures, one for each metric of the spec.
pub(super) fn decide(seen: &Seen<'_>, figures: &[Figures], history: &mut History) -> Decision {
    let min = seen.spec.min_replicas.unwrap_or(1);
    let (current, max) = (seen.replicas, seen.spec.max_replicas);
    history.begin(seen.instant, current);
    if let Some(decision) = without_metrics(current, min, max) {
        return decision;
    }
    let proposals = Proposals::of(seen, figures);
    let mut decision = Decision {
        metrics: proposals.statuses,
        warnings: proposals.warnings,
        ..Decision::default()
    };
    let failed = proposals.failed;
    let best = match (proposals.best, failed) {
        (Some(best), failed) if failed.is_none() || best.0 >= current => best,
        (_, failed) => {
            let Failed { condition, message } = failed.unwrap_or_default();
            decision.conditions.extend(condition);
            decision.warnings.push(("FailedComputeMetricsReplicas", message));
            return decision;
        }
    };
    let (recommended, metric) = best;
    let found = format!("the HPA was able to successfully calculate a replica count from {metric}");
    let active = Told::new("ScalingActive", true, "ValidMetricFound", found);
    if recommended != current {
        decision.reason = match recommended > current {
            true => format!("{metric} above target"),
            false => "All metrics below target".to_owned(),
        };
    }
    let wanted = Wanted { current, recommended, min, max };
    let limited = history.limit(seen.instant, wanted, seen.spec.behavior.as_ref());
    let (reason, message) = limited.stabilized;
    decision.conditions = vec![Told::new("AbleToScale", true, reason, message), active];
    let (reason, message) = limited.limit;
    decision.conditions.push(Told::new("ScalingLimited", limited.is_limited, reason, message));
    decision.replicas = Some(limited.replicas);
    decision.waits = limited.by_policy();
    decision
}

/// When to look again.
pub(super) fn next_look(seen: &Seen<'_>, decision: &Decision, history: &History) -> Instant {
    let behavior = seen.spec.behavior.as_ref();
    let next = seen.instant + period(seen.spec);
    let room = history.has_room_at(seen.instant, behavior).filter(|_| decision.waits);
    room.map_or(next, |room| room.min(next))
}

/// How often to look: at least once in the shortest period of a policy.
pub(super) fn period(spec: &HorizontalPodAutoscalerSpec) -> Duration {
    let shortest = policies(spec.behavior.as_ref()).min();
    shortest.map_or(PERIOD, |shortest| shortest.clamp(Duration::from_secs(1), PERIOD))
}

/// If metrics don't matter.
fn without_metrics(current: i32, min: i32, max: i32) -> Option<Decision> {
    let to = |replicas, reason: &str| Decision {
        replicas: Some(replicas),
        reason: reason.to_owned(),
        ..Decision::default()
    };
    if current == 0 && min != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        let disabled = Told::new("ScalingActive", false, "ScalingDisabled", message);
        return Some(Decision { conditions: vec![disabled], ..to(0, "") });
    }
    if current > max {
        return Some(to(max, "Current number of replicas above Spec.MaxReplicas"));
    }
    (current < min).then(|| to(min, "Current number of replicas below Spec.MinReplicas"))
}

/// Why metrics are of no use.
#[derive(Default)]
struct Failed {
    condition: Option<Told>,
    message: String,
}

/// What all metrics ask for.
struct Proposals {
    best: Option<(i32, String)>,
    failed: Option<Failed>,
    statuses: Vec<MetricStatus>,
    warnings: Vec<(&'static str, String)>,
}

impl Proposals {
    fn of(seen: &Seen<'_>, figures: &[Figures]) -> Self {
        let (mut best, mut first, mut failures) = (None::<(i32, String)>, None, 0);
        let (mut statuses, mut warnings) = (Vec::new(), Vec::new());
        let specs = seen.spec.metrics.as_deref().unwrap_or_default();
        for (spec, figures) in specs.iter().zip(figures) {
            let metric = Metric { seen, spec };
            match metric.propose(figures) {
                Ok((proposal, status)) => {
                    let name = metric.description();
                    if best.as_ref().is_none_or(|(most, _)| *most == 0 || proposal.replicas > *most)
                    {
                        best = Some((proposal.replicas, name));
                    }
                    statuses.push(status);
                }
                Err(error) => {
                    let reason = metric.failure();
                    let message =
                        format!("the HPA was unable to compute the replica count: {error}");
                    let condition = Told::new("ScalingActive", false, reason, message);
                    first.get_or_insert((condition, metric.step(&error)));
                    failures += 1;
                    statuses.push(MetricStatus::default());
                    warnings.push((reason, error));
                }
            }
        }
        let failed = first.map(|(condition, error)| {
            let of = specs.len();
            let message = format!(
                "invalid metrics ({failures} invalid out of {of}), first error is: {error}"
            );
            Failed { condition: Some(condition), message }
        });
        Self { best, failed, statuses, warnings }
    }
}

/// One metric of an autoscaler.
struct Metric<'a> {
    seen: &'a Seen<'a>,
    spec: &'a MetricSpec,
}

impl Metric<'_> {
    fn propose(&self, figures: &Figures) -> Result<(Proposal, MetricStatus), String> {
        let mut status = MetricStatus { type_: self.spec.type_.clone(), ..MetricStatus::default() };
        let proposal = match self.spec {
            MetricSpec { resource: Some(metric), .. } => {
                let proposal = self.by_resource(&metric.name, None, &metric.target, figures)?;
                let (name, current) = (metric.name.clone(), amounts(&metric.name, &proposal));
                status.resource = Some(ResourceMetricStatus { name, current });
                proposal
            }
            MetricSpec { container_resource: Some(metric), .. } => {
                let (name, container) = (metric.name.clone(), metric.container.clone());
                let proposal =
                    self.by_resource(&name, Some(&container), &metric.target, figures)?;
                let current = amounts(&name, &proposal);
                let of_container = ContainerResourceMetricStatus { container, current, name };
                status.container_resource = Some(of_container);
                proposal
            }
            MetricSpec { pods: Some(metric), .. } => {
                let target = milli(metric.target.average_value.as_ref());
                let unknown =
                    |error| format!("unable to get metric {}: {error}", metric.metric.name);
                let known = figures.as_ref().map_err(unknown)?.pods()?;
                let proposal = self.pods().by_average(known, "", target)?;
                let (metric, current) = (metric.metric.clone(), each(&proposal));
                status.pods = Some(PodsMetricStatus { metric, current });
                proposal
            }
            MetricSpec { object: Some(metric), .. } => {
                let (proposal, current) = self.by_total(&metric.target, figures)?;
                status.object = Some(ObjectMetricStatus {
                    current,
                    described_object: metric.described_object.clone(),
                    metric: metric.metric.clone(),
                });
                proposal
            }
            MetricSpec { external: Some(metric), .. } => {
                let (proposal, current) = self.by_total(&metric.target, figures)?;
                let metric = metric.metric.clone();
                status.external = Some(ExternalMetricStatus { current, metric });
                proposal
            }
            other => return Err(format!("unknown metric source type {:?}", other.type_)),
        };
        Ok((proposal, status))
    }

    fn by_resource(
        &self,
        name: &str,
        container: Option<&str>,
        target: &MetricTarget,
        figures: &Figures,
    ) -> Result<Proposal, String> {
        let what = if target.average_value.is_some() { "usage" } else { "utilization" };
        let failed = |error: String| format!("failed to get {name} {what}: {error}");
        let unknown = |error| failed(format!("unable to get metrics for resource {name}: {error}"));
        let known = figures.as_ref().map_err(unknown)?.pods()?;
        let proposal = match (&target.average_value, target.average_utilization) {
            (Some(value), _) => self.pods().by_average(known, name, milli(Some(value))),
            (None, Some(percent)) => self.pods().by_utilization(known, name, container, percent),
            (None, None) => Err("invalid resource metric source: neither an average utilization \
                 target nor an average value (usage) target was set"
                .to_owned()),
        };
        proposal.map_err(failed)
    }

    fn by_total(
        &self,
        target: &MetricTarget,
        figures: &Figures,
    ) -> Result<(Proposal, MetricValueStatus), String> {
        let unknown = |error: &String| match self.spec {
            MetricSpec { object: Some(it), .. } => {
                let (name, kind) = (&it.metric.name, &it.described_object.kind);
                let object = &it.described_object.name;
                format!("unable to get metric {name}: {error} on {kind} {object}")
            }
            MetricSpec { external: Some(it), .. } => {
                format!("unable to get external metric {}: {error}", it.metric.name)
            }
            _ => error.clone(),
        };
        let usage = figures.as_ref().map_err(unknown)?.value()?;
        if let Some(share) = &target.average_value {
            let target = milli(Some(share));
            let proposal = self.pods().by_share(usage, target, self.seen.status_replicas);
            return Ok((proposal, each(&proposal)));
        }
        let proposal = self.pods().by_value(usage, milli(target.value.as_ref()))?;
        let value = Some(quantity(Quantity::from_milli(proposal.usage)));
        Ok((proposal, MetricValueStatus { value, ..MetricValueStatus::default() }))
    }

    fn pods(&self) -> Pods<'_> {
        let behavior = self.seen.spec.behavior.as_ref();
        let tolerance = |tolerance: Option<&api_types::Quantity>| {
            let given = tolerance.and_then(|given| Quantity::try_from(given).ok());
            given.map_or(TOLERANCE, Quantity::to_f64)
        };
        let up = behavior.and_then(|both| both.scale_up.as_ref()?.tolerance.as_ref());
        let down = behavior.and_then(|both| both.scale_down.as_ref()?.tolerance.as_ref());
        let tolerances = Tolerances { down: tolerance(down), up: tolerance(up) };
        let Seen { replicas, pods: all, now, .. } = *self.seen;
        Pods { replicas, all, tolerances, now }
    }

    /// What the replicas are calculated from.
    fn description(&self) -> String {
        let by_percent = |target: &MetricTarget| target.average_value.is_none();
        match self.spec {
            MetricSpec { resource: Some(it), .. } if by_percent(&it.target) => {
                format!("{} resource utilization (percentage of request)", it.name)
            }
            MetricSpec { resource: Some(it), .. } => format!("{} resource", it.name),
            MetricSpec { container_resource: Some(it), .. } if by_percent(&it.target) => {
                format!("{} container resource utilization (percentage of request)", it.name)
            }
            MetricSpec { container_resource: Some(it), .. } => format!("{} resource", it.name),
            MetricSpec { pods: Some(it), .. } => format!("pods metric {}", it.metric.name),
            MetricSpec { object: Some(it), .. } if by_percent(&it.target) => {
                format!("{} metric {}", it.described_object.kind, it.metric.name)
            }
            MetricSpec { object: Some(it), .. } => {
                external(&it.metric.name, it.metric.selector.as_ref())
            }
            MetricSpec { external: Some(it), .. } => {
                external(&it.metric.name, it.metric.selector.as_ref())
            }
            _ => String::new(),
        }
    }

    /// The reason if it can't be used.
    fn failure(&self) -> &'static str {
        match self.spec.type_.as_str() {
            "Resource" => "FailedGetResourceMetric",
            "ContainerResource" => "FailedGetContainerResourceMetric",
            "Pods" => "FailedGetPodsMetric",
            "Object" => "FailedGetObjectMetric",
            "External" => "FailedGetExternalMetric",
            _ => "InvalidMetricSourceType",
        }
    }

    fn step(&self, error: &str) -> String {
        match self.spec {
            MetricSpec { resource: Some(it), .. } => {
                format!("failed to get {} resource metric value: {error}", it.name)
            }
            MetricSpec { container_resource: Some(it), .. } => {
                format!("failed to get {} container metric value: {error}", it.container)
            }
            MetricSpec { pods: Some(_), .. } => format!("failed to get pods metric value: {error}"),
            MetricSpec { object: Some(_), .. } => {
                format!("failed to get object metric value: {error}")
            }
            MetricSpec { external: Some(it), .. } => {
                format!("failed to get {} external metric value: {error}", it.metric.name)
            }
            _ => error.to_owned(),
        }
    }
}

/// As Go prints it.
fn external(name: &str, selector: Option<&meta::LabelSelector>) -> String {
    let Some(selector) = selector else { return format!("external metric {name}(nil)") };
    let labels = selector.match_labels.iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.iter().flatten().map(|it| {
        let values = it.values.as_deref().unwrap_or_default().join(" ");
        let (key, operator) = (&it.key, &it.operator);
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    });
    let expressions: String = expressions.collect();
    format!(
        "external metric {name}(&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}})"
    )
}

fn milli(quantity: Option<&api_types::Quantity>) -> i64 {
    let quantity = quantity.and_then(|quantity| Quantity::try_from(quantity).ok());
    quantity.map_or(0, Quantity::milli_value)
}

fn quantity(quantity: Quantity) -> api_types::Quantity {
    api_types::Quantity(quantity.to_string())
}

fn each(proposal: &Proposal) -> MetricValueStatus {
    amounts("", proposal)
}

/// Memory is written in the units of its kind.
fn amounts(resource: &str, proposal: &Proposal) -> MetricValueStatus {
    let average = match (resource, proposal.usage % 1000) {
        ("memory", 0) => Quantity::from_bytes(proposal.usage / 1000),
        _ => Quantity::from_milli(proposal.usage),
    };
    MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(quantity(average)),
        ..MetricValueStatus::default()
    }
}
