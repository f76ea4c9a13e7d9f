//! What a call waited for while an instance came up. Pure.
//!
//! The times are those at which this gateway heard of each step: conditions of pods tell time in whole seconds.

use std::{fmt::Write, time::Duration};

use api_types::{
    api::core::v1::{ContainerStatus, Pod, PodStatus},
    minik8s::Function,
};
use tokio::time::Instant;

/// What a call waited for, in order, and how long.
pub(crate) type Breakdown = Vec<(&'static str, Duration)>;

/// Until the pod was made, until it was bound to a node, until its image was pulled if it was not there (the sandbox is made
/// meanwhile), until the sandbox stood, until the container ran, and until the server in it was ready and took the call.
const PHASES: [&str; 6] = ["queued", "scheduled", "image", "sandbox", "container", "server"];
/// Why a container waits whose image may be missing. Kubelets say `ContainerCreating` until its first start has failed.
const BEFORE_ITS_IMAGE: [&str; 8] = [
    "",
    "ContainerCreating",
    "PodInitializing",
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "ErrImageNeverPull",
    "InvalidImageName",
];
/// For an instance that waited in a warm pool: until it had the function and was handed over, and until it took the call.
const POOL_PHASES: [&str; 2] = ["pool", "server"];

/// When this gateway heard that a pod had come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Milestones {
    created: Instant,
    scheduled: Option<Instant>,
    pulled: Option<Instant>,
    sandbox: Option<Instant>,
    started: Option<Instant>,
    ready: Option<Instant>,
    /// Whether a container has run, or could not be started: what is told of its image from then on is no pull.
    begun: bool,
    from_pool: bool,
}

impl Milestones {
    /// Of a pod as it is now; what was heard before stays.
    pub(crate) fn of(pod: &Pod, before: Option<&Milestones>, now: Instant) -> Self {
        let status = pod.status.as_ref();
        let when = |before: Option<Instant>, holds: bool| before.or(holds.then_some(now));
        let is_bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let containers = || status.iter().filter_map(|s| s.container_statuses.as_ref()).flatten();
        let begun = before.is_some_and(|before| before.begun) || containers().any(has_begun);
        Milestones {
            created: before.map_or(now, |before| before.created),
            scheduled: when(before.and_then(|b| b.scheduled), is_bound),
            pulled: when(before.and_then(|b| b.pulled), !begun && containers().any(has_pulled)),
            sandbox: when(
                before.and_then(|b| b.sandbox),
                status.is_some_and(|s| condition(s, "PodReadyToStartContainers")),
            ),
            started: when(before.and_then(|b| b.started), containers().any(runs)),
            ready: when(
                before.and_then(|b| b.ready),
                status.is_some_and(|s| condition(s, "Ready")),
            ),
            begun,
            from_pool: is_from_pool(pod),
        }
    }

    /// Whether a call that came at `arrived` was there before it was ready for the first time.
    pub(crate) fn was_awaited(&self, arrived: Instant) -> bool {
        self.ready.is_none_or(|ready| ready >= arrived)
    }

    /// What a call waited for that came at `arrived` and was taken by the instance at `taken`. A step that was not heard
    /// of counts with the one after it.
    pub(crate) fn breakdown(&self, arrived: Instant, taken: Instant) -> Breakdown {
        let (created, taken) = (Some(self.created), Some(taken.max(arrived)));
        let mut since = arrived;
        let mut part = |(phase, end): (&'static str, Option<Instant>)| {
            let end = end.unwrap_or(since).max(since).min(taken.unwrap_or(since));
            (phase, end - std::mem::replace(&mut since, end))
        };
        if self.from_pool {
            return POOL_PHASES.into_iter().zip([created, taken]).map(&mut part).collect();
        }
        let ends = [created, self.scheduled, self.pulled, self.sandbox, self.started, taken];
        PHASES.into_iter().zip(ends).map(&mut part).collect()
    }
}

/// As the value of a `Server-Timing` header.
pub(crate) fn server_timing(breakdown: &[(&'static str, Duration)]) -> String {
    let mut text = String::new();
    for (phase, duration) in breakdown {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{phase};dur={:.1}", duration.as_secs_f64() * 1000.0);
    }
    text
}

/// Whether it became the function's when it ran already.
pub(crate) fn is_from_pool(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(Function::ADOPTED_ANNOTATION))
}

/// Whether a condition of a pod holds.
pub(crate) fn condition(status: &PodStatus, kind: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

/// Kubelets name the image of a container that waits for its first start once they have pulled it.
fn has_pulled(container: &ContainerStatus) -> bool {
    !container.image_id.is_empty() && waits(container).is_some()
}

/// Why it waits, in Kubernetes' words.
fn waits(container: &ContainerStatus) -> Option<&str> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    Some(waiting.reason.as_deref().unwrap_or_default())
}

fn runs(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Whether it has run, or its start has failed when its image was there.
fn has_begun(container: &ContainerStatus) -> bool {
    let ended = container.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
    let waits_for_first = waits(container).is_some_and(|why| BEFORE_ITS_IMAGE.contains(&why));
    ended || container.restart_count > 0 || (container.state.is_some() && !waits_for_first)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value, status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
    }

    fn ms(millis: [u64; 6]) -> Breakdown {
        PHASES.into_iter().zip(millis.map(Duration::from_millis)).collect()
    }

    #[test]
    fn the_parts_are_told_and_add_up_to_the_wait() {
        let arrived = Instant::now();
        let at = |millis| arrived + Duration::from_millis(millis);
        let bound = json!({"nodeName": "n", "containers": []});
        let sandbox = json!([{"type": "PodReadyToStartContainers", "status": "True"}]);
        let running = json!([{"name": "function", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"running": {}}}]);
        let pods = [
            (10, pod(&json!({"containers": []}), &json!({}))),
            (30, pod(&bound, &json!({}))),
            (80, pod(&bound, &json!({"conditions": sandbox}))),
            (150, pod(&bound, &json!({"conditions": sandbox, "containerStatuses": running}))),
        ];
        let mut milestones = None;
        for (millis, pod) in &pods {
            milestones = Some(Milestones::of(pod, milestones.as_ref(), at(*millis)));
        }
        let milestones = milestones.unwrap();
        let parts = milestones.breakdown(arrived, at(400));
        assert_eq!(parts, ms([10, 20, 0, 50, 70, 250]));
        assert_eq!(
            server_timing(&parts),
            "queued;dur=10.0, scheduled;dur=20.0, image;dur=0.0, sandbox;dur=50.0, \
             container;dur=70.0, server;dur=250.0"
        );
        // A call that came when the sandbox stood waited for no more than the rest.
        assert_eq!(milestones.breakdown(at(100), at(400)), ms([0, 0, 0, 0, 50, 250]));
        // It was bound before anything was heard of it.
        let late = Milestones::of(&pods[3].1, None, at(150));
        assert_eq!(late.breakdown(arrived, at(400)), ms([150, 0, 0, 0, 0, 250]));
    }

    #[test]
    fn an_image_that_is_pulled_has_a_part_of_its_own() {
        let arrived = Instant::now();
        let at = |millis| arrived + Duration::from_millis(millis);
        let bound = json!({"nodeName": "n", "containers": []});
        let sandbox = json!([{"type": "PodReadyToStartContainers", "status": "True"}]);
        let container = |image: &str, state: Value| {
            json!([{"name": "function", "image": "", "imageID": image, "ready": false,
                "restartCount": 0, "state": state}])
        };
        let status = |containers| json!({"conditions": sandbox, "containerStatuses": containers});
        let told = [
            (10, status(container("", json!({"waiting": {}})))),
            (900, status(container("sha256:0", json!({"waiting": {}})))),
            (950, status(container("sha256:0", json!({"running": {}})))),
        ];
        let mut milestones = None;
        for (millis, status) in &told {
            let pod = pod(&bound, status);
            milestones = Some(Milestones::of(&pod, milestones.as_ref(), at(*millis)));
        }
        let parts = milestones.unwrap().breakdown(arrived, at(1000));
        assert_eq!(parts, ms([10, 0, 890, 0, 50, 50]));
        // One that was there has none, though the container that runs names it.
        let milestones = Milestones::of(&pod(&bound, &told[0].1), None, at(10));
        let milestones = Milestones::of(&pod(&bound, &told[2].1), Some(&milestones), at(60));
        assert_eq!(milestones.breakdown(arrived, at(100)), ms([10, 0, 0, 0, 50, 40]));
    }

    #[test]
    fn an_instance_that_has_failed_once_had_its_image() {
        let arrived = Instant::now();
        let at = |millis| arrived + Duration::from_millis(millis);
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        let refused = json!({"waiting": {"reason": "RunContainerError"}});
        let crashed = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let running = json!({"running": {}});
        let parts = |told: &[(u64, &str, &Value)]| {
            let mut milestones = None;
            for (millis, image, state) in told {
                let container = json!({"name": "function", "image": "", "imageID": image,
                    "ready": false, "restartCount": 0, "state": state});
                let status = json!({"containerStatuses": [container]});
                let pod = pod(&json!({"nodeName": "n", "containers": []}), &status);
                milestones = Some(Milestones::of(&pod, milestones.as_ref(), at(*millis)));
            }
            milestones.unwrap().breakdown(arrived, at(1000))
        };
        let id = "sha256:0";
        let came =
            [(10, "", &creating), (50, id, &running), (300, id, &crashed), (900, id, &running)];
        assert_eq!(parts(&came), ms([10, 0, 0, 0, 40, 950]));
        let came =
            [(10, "", &creating), (300, id, &refused), (600, id, &creating), (900, id, &running)];
        assert_eq!(parts(&came), ms([10, 0, 0, 0, 890, 100]));
        let missing = json!({"waiting": {"reason": "ImagePullBackOff"}});
        let came = [(10, "", &missing), (300, id, &creating), (900, id, &running)];
        assert_eq!(parts(&came), ms([10, 0, 290, 0, 600, 100]));
    }

    #[test]
    fn a_step_that_is_not_heard_of_counts_with_the_next() {
        let arrived = Instant::now();
        let milestones = Milestones {
            created: arrived + Duration::from_millis(5),
            scheduled: None,
            pulled: None,
            sandbox: None,
            started: Some(arrived + Duration::from_millis(9)),
            ready: None,
            begun: true,
            from_pool: false,
        };
        let taken = arrived + Duration::from_millis(10);
        assert_eq!(milestones.breakdown(arrived, taken), ms([5, 0, 0, 0, 4, 1]));
    }

    #[test]
    fn of_an_instance_from_a_pool_it_is_told_when_it_was_handed_over() {
        let arrived = Instant::now();
        let at = |millis| arrived + Duration::from_millis(millis);
        let mut adopted = pod(&json!({"nodeName": "n", "containers": []}), &json!({}));
        let annotation = (Function::ADOPTED_ANNOTATION.to_owned(), "2".to_owned());
        adopted.metadata.annotations = Some([annotation].into());
        let milestones = Milestones::of(&adopted, None, at(30));
        let parts = milestones.breakdown(arrived, at(31));
        assert_eq!(server_timing(&parts), "pool;dur=30.0, server;dur=1.0");
    }
}
