//! Gives whatever has a `scale` as many replicas as its pods' work needs.
//!
//! *Flow*: find the target's scale and pods, ask for the figures of each metric, [`decision::decide`], write the scale with
//! the uid and the version that were found, tell in the status and in events.
//!
//! *Guarantees*: a figure that is missing, or older than three samples, never makes a target smaller. Two autoscalers of
//! the same pods do nothing but say so. Each is looked at at least every 15 s, and as often as its shortest policy
//! period; a policy that kept a look from doing more has the next one as soon as there is room.

mod behavior;
mod calculator;
mod decision;
mod failures;
mod figures;
#[cfg(test)]
mod histories;
mod pod_usage;
mod prometheus;
mod selectors;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod wanted;
mod warned;

use std::collections::BTreeMap;
use std::sync::Arc;

use api_machinery::LabelSelector;
use api_types::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec,
};
use api_types::api::core::v1::Pod;
use api_types::meta::Time;
use component::events::{EventType, Recorder};
use futures::StreamExt;
use futures::future::join_all;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::behavior::{History, PERIOD, policies};
use self::decision::{Decision, Seen, Told, decide, next_look, period};
use self::figures::{Figures, Known};
use self::pod_usage::{Sources, UsageSource};
use self::prometheus::Prometheus;
use self::selectors::Selectors;
use self::target::{Target, Unknown};
use self::wanted::Wanted;
use self::warned::Warned;
use crate::clock::Clock;
use crate::context::Context;
use crate::discovery::Discovery;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::pods;

const NAME: &str = "horizontal-pod-autoscaler";

pub(super) fn register(context: &Context, tasks: &mut JoinSet<()>) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { horizontal_pod_autoscalers: autoscalers, pods, .. } = &context.informers;
    let to = queue.clone();
    autoscalers.on_change(move |change: &Change<HorizontalPodAutoscaler>| {
        let spec =
            |it: &Option<Arc<HorizontalPodAutoscaler>>| it.as_ref().map(|it| it.spec.clone());
        // Their status is ours.
        let latest = change.latest().filter(|_| spec(&change.old) != spec(&change.new));
        latest.into_iter().for_each(|it| to.add(ObjectKey::of(&it.metadata)));
    });
    let registered = Registered::new(Autoscalers::new(context, tasks), queue);
    registered.reads(autoscalers).reads(pods)
}

struct Autoscalers {
    client: kube::Client,
    clock: Clock,
    discovery: Arc<Discovery>,
    informers: Informers,
    recorder: Recorder,
    usage: Arc<dyn UsageSource>,
    prometheus: Prometheus,
    wanted: Wanted,
    selectors: Selectors,
    warned: Warned,
    histories: Mutex<BTreeMap<ObjectKey, (Option<String>, History)>>,
}

impl Autoscalers {
    fn new(context: &Context, tasks: &mut JoinSet<()>) -> Self {
        let told = Arc::<pod_usage::Told>::default();
        if let Some(messages) = context.listwatch.pods_usage() {
            let told = told.clone();
            let heard = messages.for_each(move |usage| {
                told.hear(Instant::now(), usage);
                std::future::ready(())
            });
            tasks.spawn(heard);
        }
        let client = context.client();
        Self {
            clock: context.clock,
            discovery: context.discovery.clone(),
            informers: context.informers.clone(),
            recorder: context.recorder(NAME),
            usage: Arc::new(Sources { told, client: client.clone() }),
            prometheus: Prometheus::new(client.clone(), context.settings.prometheus_url.clone()),
            wanted: Wanted::start(context.listwatch.clone(), tasks),
            selectors: Selectors::default(),
            warned: Warned::default(),
            histories: Mutex::default(),
            client,
        }
    }
}

#[async_trait::async_trait]
impl Controller for Autoscalers {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let autoscaler = self.informers.horizontal_pod_autoscalers.get(key);
        let is_there = |it: &Arc<HorizontalPodAutoscaler>| it.metadata.deletion_timestamp.is_none();
        let Some(autoscaler) = autoscaler.filter(is_there) else {
            self.histories.lock().remove(key);
            self.selectors.forget(key);
            self.wanted.of(key, [].into());
            return Ok(Next::Change);
        };
        let begun = Instant::now();
        let mut look = Look { controller: self, key, autoscaler: &autoscaler, begun };
        let mut status = autoscaler.status.clone().unwrap_or_default();
        let next = look.look(&mut status).await;
        if let Err(error) = self.write_status(&autoscaler, &status).await {
            // The next look writes it; one that came sooner would scale sooner.
            tracing::warn!(autoscaler = %key, %error, "the status was not written");
        }
        Ok(Next::After(next.saturating_duration_since(Instant::now())))
    }
}

impl Autoscalers {
    async fn write_status(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        status: &HorizontalPodAutoscalerStatus,
    ) -> Result<(), Error> {
        let (Some(namespace), Some(name)) =
            (&autoscaler.metadata.namespace, &autoscaler.metadata.name)
        else {
            return Ok(());
        };
        if autoscaler.status.as_ref() == Some(status) {
            return Ok(());
        }
        let mut status = json!(status);
        if status.get("currentMetrics").is_none() {
            status["currentMetrics"] = json!(null);
        }
        let api = Api::<HorizontalPodAutoscaler>::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {"uid": autoscaler.metadata.uid}, "status": status});
        let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.unless_gone("writing the status of a HorizontalPodAutoscaler").map(drop)
    }
}

/// Whether a metric is what pods use.
fn is_of_pods(metric: &MetricSpec) -> bool {
    metric.resource.is_some() || metric.container_resource.is_some()
}

/// Why the pods can't be counted: an event and a condition.
struct Uncountable {
    event: &'static str,
    message: String,
    condition: Told,
}

/// One look at one autoscaler.
struct Look<'a> {
    controller: &'a Autoscalers,
    key: &'a ObjectKey,
    autoscaler: &'a HorizontalPodAutoscaler,
    begun: Instant,
}

impl Look<'_> {
    /// Does what is to be done, and says when to look again.
    async fn look(&mut self, status: &mut HorizontalPodAutoscalerStatus) -> Instant {
        let controller = self.controller;
        let (spec, now) = (&self.autoscaler.spec, controller.clock.now());
        let regular = self.begun + period(spec);
        let (client, discovery) = (controller.client.clone(), &controller.discovery);
        let namespace = &self.key.namespace;
        let found = Target::find(client, discovery, namespace, &spec.scale_target_ref).await;
        let target = match found {
            Ok(target) => target,
            Err(Unknown { message: error, is_gone }) => {
                if is_gone {
                    controller.selectors.forget(self.key);
                }
                controller.wanted.of(self.key, [].into());
                self.warn("FailedGetScale", error.clone());
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {error}"
                );
                let told = Told::new("AbleToScale", false, "FailedGetScale", message);
                status::tell(status, &[told], now);
                return regular;
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        let able = Told::new("AbleToScale", true, "SucceededGetScale", message);
        status::tell(status, &[able], now);
        let pods = match self.pods(target.selector()) {
            Ok(pods) => pods,
            Err(Uncountable { event, message, condition }) => {
                controller.wanted.of(self.key, [].into());
                self.warn(event, message.clone());
                self.warn("FailedComputeMetricsReplicas", message);
                status::tell(status, &[condition], now);
                status::count(status, target.wanted(), Vec::new(), None);
                return regular;
            }
        };
        self.want_samples(&pods);
        let seen = Seen {
            spec,
            replicas: target.wanted(),
            status_replicas: target.there(),
            pods: &pods,
            now,
            instant: self.begun,
        };
        let figures = self.figures(&seen, target.selector()).await;
        let mut history = self.history();
        let decision = decide(&seen, &figures, &mut history);
        for (reason, message) in &decision.warnings {
            self.warn(reason, message.clone());
        }
        status::tell(status, &decision.conditions, now);
        let current = target.wanted();
        let scaled = self.act(target, &decision, status).await;
        if let Some(replicas) = scaled {
            history.scaled(self.begun, current, replicas);
        }
        let next = next_look(&seen, &decision, &history);
        self.remember(history);
        next
    }

    /// The pods, unless they are not the autoscaler's alone.
    fn pods(&self, selector: &str) -> Result<Vec<Arc<Pod>>, Uncountable> {
        let fault = |event, condition, message: String, told: &str| {
            let condition = Told::new("ScalingActive", false, condition, told);
            Uncountable { event, message, condition }
        };
        if selector.is_empty() {
            let told = "the HPA target's scale is missing a selector";
            let message = "selector is required".to_owned();
            return Err(fault("SelectorRequired", "InvalidSelector", message, told));
        }
        let parsed = selector.parse::<LabelSelector>().map_err(|error| {
            let why = format!(
                "couldn't convert selector into a corresponding internal selector object: {error}"
            );
            fault("InvalidSelector", "InvalidSelector", why.clone(), &why)
        })?;
        let pods = self.controller.informers.pods.selected(&self.key.namespace, &parsed);
        self.controller.selectors.set(self.key, parsed);
        let all = self.controller.selectors.picking(&self.key.namespace, &pods);
        if all.len() > 1 {
            let names: Vec<_> =
                all.iter().map(|key| format!("{{{} {}}}", key.name, key.namespace)).collect();
            let names = names.join(" ");
            let why =
                format!("pods by selector {selector} are controlled by multiple HPAs: [{names}]");
            return Err(fault("AmbiguousSelector", "AmbiguousSelector", why.clone(), &why));
        }
        Ok(pods)
    }

    /// Policies that act soon need samples that come soon.
    fn want_samples(&self, pods: &[Arc<Pod>]) {
        let spec = &self.autoscaler.spec;
        let is_soon = policies(spec.behavior.as_ref()).any(|policy| policy <= PERIOD);
        let wants = is_soon && spec.metrics.iter().flatten().any(is_of_pods);
        let nodes = pods.iter().filter_map(|pod| pods::node_of(pod)).map(str::to_owned);
        self.controller.wanted.of(self.key, nodes.filter(|_| wants).collect());
    }

    /// One for each metric; none if none is needed.
    async fn figures(&self, seen: &Seen<'_>, selector: &str) -> Vec<Figures> {
        if !seen.needs_metrics() {
            return Vec::new();
        }
        let specs = seen.spec.metrics.as_deref().unwrap_or_default();
        let namespace = self.key.namespace.as_str();
        let Autoscalers { usage, prometheus, .. } = self.controller;
        let used = async {
            match specs.iter().any(is_of_pods) {
                true => usage.used(namespace, selector, seen.pods).await,
                false => Ok(Vec::new()),
            }
        };
        let queried = async {
            let others = || specs.iter().filter(|spec| !is_of_pods(spec));
            if others().next().is_none() {
                return Vec::new();
            }
            let queries = prometheus.queries().await;
            join_all(others().map(|spec| prometheus.figures(&queries, namespace, spec))).await
        };
        let (used, queried) = tokio::join!(used, queried);
        let of = |resource: &str, container: Option<&str>| -> Figures {
            let used = used.as_ref().map_err(Clone::clone)?;
            Ok(Known::Pods(pod_usage::samples(used, resource, container)))
        };
        let mut queried = queried.into_iter();
        let figures = specs.iter().map(|spec| match spec {
            MetricSpec { resource: Some(it), .. } => of(&it.name, None),
            MetricSpec { container_resource: Some(it), .. } => of(&it.name, Some(&it.container)),
            _ => queried.next().unwrap_or_else(|| Err("it was not asked for".to_owned())),
        });
        figures.collect()
    }

    /// Scales if that is decided; gives the replicas there are to be if they have changed.
    async fn act(
        &self,
        target: Target,
        decision: &Decision,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> Option<i32> {
        let current = target.wanted();
        let metrics = decision.metrics.clone();
        let Some(replicas) = decision.replicas.filter(|replicas| *replicas != current) else {
            status::count(status, current, metrics, decision.replicas);
            return None;
        };
        let (now, reason) = (self.controller.clock.now(), &decision.reason);
        if let Err(error) = target.rescale(replicas).await {
            let message = format!("New size: {replicas}; reason: {reason}; error: {error}");
            self.warn("FailedRescale", message);
            let message =
                format!("the HPA controller was unable to update the target scale: {error}");
            let told = Told::new("AbleToScale", false, "FailedUpdateScale", message);
            status::tell(status, &[told], now);
            status::count(status, current, metrics, None);
            return None;
        }
        tracing::info!(autoscaler = %self.key, from = current, to = replicas, reason, "scaled");
        let message =
            format!("the HPA controller was able to update the target scale to {replicas}");
        let told = Told::new("AbleToScale", true, "SucceededRescale", message);
        status::tell(status, &[told], now);
        status::count(status, current, metrics, Some(replicas));
        status.last_scale_time = Some(Time(now));
        let message = format!("New size: {replicas}; reason: {reason}");
        let recorder = &self.controller.recorder;
        recorder.about(self.autoscaler, EventType::Normal, "SuccessfulRescale", message);
        Some(replicas)
    }

    fn warn(&self, reason: &str, message: String) {
        let warning = (self.autoscaler.metadata.uid.clone(), reason.to_owned(), message.clone());
        if !self.controller.warned.is_due(Instant::now(), warning) {
            return;
        }
        self.controller.recorder.about(self.autoscaler, EventType::Warning, reason, message);
    }

    /// It may have been made anew unseen.
    fn history(&self) -> History {
        let histories = self.controller.histories.lock();
        let known = histories.get(self.key);
        let known = known.filter(|(uid, _)| *uid == self.autoscaler.metadata.uid);
        known.map(|(_, history)| history.clone()).unwrap_or_default()
    }

    fn remember(&self, history: History) {
        let uid = self.autoscaler.metadata.uid.clone();
        self.controller.histories.lock().insert(self.key.clone(), (uid, history));
    }
}
