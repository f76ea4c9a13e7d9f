//! The part of a pod's worker that has the pod's containers take more, or less, than they did.

use std::{sync::Arc, time::Duration};

use api_types::{
    api::core::v1::{Container, Pod, PodStatus},
    jiff::Timestamp,
};
use component::events::EventType;
use serde_json::{Value, json};

use super::{
    conditions::RESIZE_IN_PROGRESS,
    operations::{OperationError, Outcome},
    pace::PAUSE,
    plan::Step,
    status,
    status_input::{Refused, Resizing},
    worker::{Update, Worker},
};
use crate::{
    admission::{
        Pending, Resize,
        allocation::{is_allocated, with_sizes_of},
    },
    context::Context,
    describe::describe,
    runtime::{self, Resources, observed::Observed},
    spec,
    usage::{host::Host, sample},
};

/// Until the node is asked again whether it has room by now.
const LOOK: Duration = Duration::from_secs(3);
/// At most, until what was refused is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Worker {
    /// The pod with what the node gave it, if it was admitted.
    pub(super) fn allocated(&self, pod: Pod) -> Pod {
        match self.context.ledger.allocated(&spec::identity(&pod).uid) {
            Some(allocated) => with_sizes_of(pod, &allocated),
            None => pod,
        }
    }

    /// Asks the node for what the pod wants by now; true if it has another share then.
    pub(super) fn resize(&mut self, pod: &Pod, update: &Update) -> bool {
        let over =
            update.stops() || update.evicted.is_some() || status::reported_end(pod).is_some();
        if over || is_allocated(&update.pod, pod) {
            self.resizing.pending = None;
            self.resizing.wanted = false;
            return false;
        }
        self.resizing.wanted = true;
        match self.context.ledger.resize(&update.pod) {
            Resize::Done => {
                self.resizing.refused.clear();
                let message = said(&update.pod, "Pod resize started", None);
                self.context.pod_event(pod, EventType::Normal, "ResizeStarted", message);
                return true;
            }
            Resize::Pending(pending) => self.resize_pending(pod, &update.pod, &pending),
            Resize::NotYet => {}
        }
        false
    }

    fn resize_pending(&mut self, pod: &Pod, wanted: &Pod, pending: &Pending) {
        if self.resizing.waits(wanted.metadata.generation, pending) {
            let what = format!("Pod resize {}", pending.reason);
            let message = said(wanted, &what, Some(&pending.message));
            let reason = format!("Resize{}", pending.reason);
            self.context.pod_event(pod, EventType::Warning, &reason, message);
        }
    }

    /// When to ask again; others tell when a pod changes, but not when one leaves.
    pub(super) fn resize_again(&self) -> Option<Timestamp> {
        let is_deferred = self.resizing.pending.as_ref().is_none_or(Pending::is_deferred);
        (self.resizing.wanted && is_deferred).then(|| Timestamp::now() + LOOK)
    }

    /// Begins with a container that is to take more or less.
    pub(super) fn update(
        &mut self,
        step: &Step,
        observed: &Observed,
        id: &str,
        resources: Resources,
    ) {
        let Some(container) = observed.running().find(|container| container.id == id) else {
            return;
        };
        let update = update(self.context.clone(), container.clone(), resources);
        self.operations.begin(step.clone(), update);
    }

    /// Gives the time until it is tried again.
    pub(super) fn resize_failed(
        &mut self,
        pod: &Pod,
        container: &str,
        error: &OperationError,
    ) -> Duration {
        if self.resizing.fails(container, error) {
            let message = said(pod, "Pod resize error", Some(&describe(error)));
            self.context.pod_event(pod, EventType::Warning, "ResizeError", message);
        }
        self.resizing.pause(container)
    }

    /// Tells when nothing of a resize is left to be done.
    pub(super) fn tell_resized(&self, pod: &Pod, status: &PodStatus) {
        let goes_on = |status: &PodStatus| {
            let mut conditions = status.conditions.iter().flatten();
            conditions.any(|condition| condition.type_ == RESIZE_IN_PROGRESS)
        };
        if self.status.as_ref().is_some_and(goes_on)
            && !goes_on(status)
            && status.phase.as_deref() == Some("Running")
        {
            let message = said(pod, "Pod resize completed", None);
            self.context.pod_event(pod, EventType::Normal, "ResizeCompleted", message);
        }
    }
}

/// What is said again and again would be news each time: what others, or the container itself, take meanwhile is in the words.
impl Resizing {
    /// Notes why the pod does not get what it asks for; true if that is news.
    fn waits(&mut self, generation: Option<i64>, pending: &Pending) -> bool {
        let known = self.pending.as_ref().filter(|_| self.generation == generation);
        if known.is_some_and(|known| known.reason == pending.reason) {
            return false;
        }
        (self.generation, self.pending) = (generation, Some(pending.clone()));
        true
    }

    /// Notes why a container can't be given what the pod got; true if that is news.
    fn fails(&mut self, container: &str, error: &OperationError) -> bool {
        let cause = match error {
            OperationError::BelowUsage { limit, .. } => format!("usage is not below {limit}"),
            error => describe(error),
        };
        let known = self.refused.get_mut(container).filter(|known| known.cause == cause);
        if let Some(known) = known {
            known.tries = known.tries.saturating_add(1);
            return false;
        }
        let refused = Refused { cause, message: describe(error), tries: 1 };
        self.refused.insert(container.to_owned(), refused);
        true
    }

    /// Until a container is given it again: twice as long each time.
    fn pause(&self, container: &str) -> Duration {
        let tries = self.refused.get(container).map_or(0, |refused| refused.tries);
        let factor = 2_u32.saturating_pow(tries.saturating_sub(1));
        PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
    }
}

/// An event of a pod's resize, with what its containers ask for.
fn said(pod: &Pod, what: &str, error: Option<&str>) -> String {
    let mut summary = json!({
        "containers": sizes(spec::containers(pod)),
        "generation": pod.metadata.generation,
    });
    let init = sizes(spec::init_containers(pod));
    if !init.is_empty() {
        summary["initContainers"] = init.into();
    }
    if let Some(error) = error {
        summary["error"] = error.into();
    }
    format!("{what}: {summary}")
}

fn sizes<'a>(all: impl Iterator<Item = &'a Container>) -> Vec<Value> {
    all.map(|container| json!({"name": container.name, "resources": container.resources})).collect()
}

/// The kernel ends processes for a limit below what they take, or refuses it.
async fn update(
    context: Arc<Context>,
    container: runtime::Container,
    resources: Resources,
) -> Outcome {
    let has = container.resources.memory;
    let lowered = resources.memory.filter(|limit| has.is_none_or(|has| *limit < has));
    if let (Some(limit), Some(pid)) = (lowered, container.pid) {
        let (host, id) = (Host::new(&context.root), container.id.clone());
        let usage = tokio::task::spawn_blocking(move || sample::memory(&host, &id, pid));
        let usage = usage.await.map_err(OperationError::Lost)?;
        if let Some(usage) = usage.filter(|usage| i128::from(*usage) >= i128::from(limit)) {
            return Err(OperationError::BelowUsage { name: container.name, limit, usage });
        }
    }
    context.runtime.update(&container.id, &resources).await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(limit: i64, usage: u64) -> OperationError {
        OperationError::BelowUsage { name: "a".to_owned(), limit, usage }
    }

    #[test]
    fn what_is_refused_is_told_once_whatever_is_used_meanwhile() {
        let mut resizing = Resizing::default();
        assert!(resizing.fails("a", &below(10, 900)));
        assert!(!resizing.fails("a", &below(10, 901)));
        assert!(resizing.fails("b", &below(10, 800)));
        assert!(!resizing.fails("a", &below(10, 902)));
        assert_eq!(resizing.refused["a"].message, describe(&below(10, 900)));
        assert!(resizing.fails("a", &below(20, 902)), "another limit");
        assert!(resizing.fails("a", &OperationError::GivenUp), "another reason");
    }

    #[test]
    fn what_is_refused_is_tried_ever_more_rarely() {
        let mut resizing = Resizing::default();
        let pauses: Vec<u64> = (0..7)
            .map(|usage| {
                resizing.fails("a", &below(10, 900 + usage));
                resizing.pause("a").as_secs()
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(resizing.pause("b"), PAUSE);
    }

    #[test]
    fn why_a_pod_waits_is_told_once_of_each_wish() {
        let mut resizing = Resizing::default();
        let pending = |reason, used: u32| Pending { reason, message: format!("used: {used}") };
        assert!(resizing.waits(Some(2), &pending("Deferred", 1)));
        assert!(!resizing.waits(Some(2), &pending("Deferred", 2)));
        assert_eq!(resizing.pending, Some(pending("Deferred", 1)));
        assert!(resizing.waits(Some(2), &pending("Infeasible", 2)));
        assert!(resizing.waits(Some(3), &pending("Infeasible", 2)));
    }
}
