//! How pods are removed that did not ask for it: first it is written into them why, so that whoever
//! counts failures can tell, then they are deleted.

use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::frame::{Error, ObjectKey, Step};
use crate::pods;

/// The condition `DisruptionTarget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disruption {
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

/// Writes a new phase, and why the pod is disrupted. A pod that is gone, or another one by now, is none.
pub(super) async fn note(
    client: &Client,
    pod: &Pod,
    phase: Option<&str>,
    disruption: Option<Disruption>,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(patch) = patch(pod, phase, disruption, now) else { return Ok(()) };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let patched = api(client, pod)
        .patch_status(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    patched.unless_gone("noting a pod's disruption").map(|_| ())
}

/// Deletes the pod, and says whether it was there.
pub(super) async fn delete(
    client: &Client,
    pod: &Pod,
    grace_seconds: Option<u32>,
    step: &'static str,
) -> Result<bool, Error> {
    let this_one = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
    let how = DeleteParams { grace_period_seconds: grace_seconds, ..DeleteParams::default() };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let deleted = api(client, pod).delete(name, &how.preconditions(this_one)).await;
    Ok(deleted.unless_gone(step)?.is_some())
}

fn api(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &ObjectKey::of(&pod.metadata).namespace)
}

/// `None` if there is nothing to be written: what is finished stays as it ended.
fn patch(
    pod: &Pod,
    phase: Option<&str>,
    disruption: Option<Disruption>,
    now: Timestamp,
) -> Option<Value> {
    let written = disruption.filter(|disruption| !is_noted(pod, *disruption));
    let mut status = json!({});
    if let Some(phase) = phase.filter(|phase| *phase != pods::phase(pod)) {
        status["phase"] = json!(phase);
    }
    if let Some(Disruption { reason, message }) = written {
        status["conditions"] = json!([{"type": "DisruptionTarget", "status": "True",
            "reason": reason, "message": message, "lastTransitionTime": now}]);
    }
    let news =
        !pods::is_finished(pod) && status.as_object().is_some_and(|status| !status.is_empty());
    news.then(|| json!({"metadata": {"uid": pod.metadata.uid}, "status": status}))
}

fn is_noted(pod: &Pod, disruption: Disruption) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c.type_ == "DisruptionTarget" && c.reason.as_deref() == Some(disruption.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Disruption = Disruption { reason: "Why", message: "Because" };

    fn check(status: Value, phase: Option<&str>, why: Option<Disruption>, expected: &[&str]) {
        let pod = serde_json::from_value(json!({"metadata": {"uid": "u"}, "status": status}));
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let patch = patch(&pod.unwrap(), phase, why, now);
        let keys = patch.iter().flat_map(|patch| patch["status"].as_object().unwrap().keys());
        assert_eq!(keys.collect::<Vec<_>>(), expected, "{status}");
        assert!(patch.is_none_or(|patch| patch["metadata"]["uid"] == "u"));
    }

    #[test]
    fn the_phase_and_the_reason_are_written_once_and_not_into_finished_pods() {
        let running = json!({"phase": "Running"});
        check(running.clone(), Some("Failed"), Some(WHY), &["conditions", "phase"]);
        check(running.clone(), None, Some(WHY), &["conditions"]);
        check(running, Some("Failed"), None, &["phase"]);
        check(json!({"phase": "Succeeded"}), Some("Failed"), Some(WHY), &[]);
        let noted = json!([{"type": "DisruptionTarget", "status": "True", "reason": "Why"}]);
        check(json!({"phase": "Running", "conditions": noted}), None, Some(WHY), &[]);
        check(json!({"phase": "Failed", "conditions": noted}), Some("Failed"), Some(WHY), &[]);
    }

    #[tokio::test]
    async fn a_pod_that_has_taken_the_name_of_another_is_let_alone() {
        let plane = testkit::ControlPlane::start().await;
        let pods = Api::<Pod>::namespaced(plane.client(), "default");
        let create = async || {
            let pod = testkit::pod("a").build();
            pods.create(&Default::default(), &pod).await.unwrap()
        };
        let before = create().await;
        pods.delete("a", &DeleteParams::default()).await.unwrap();
        let now = create().await;
        let noted =
            note(&plane.client(), &before, Some("Failed"), Some(WHY), Timestamp::UNIX_EPOCH).await;
        noted.unwrap_err();
        let deleted = delete(&plane.client(), &before, Some(0), "deleting").await;
        assert!(deleted.unwrap_err().is_conflict());
        assert_eq!(
            pods.get("a").await.unwrap().metadata.resource_version,
            now.metadata.resource_version
        );
    }
}
