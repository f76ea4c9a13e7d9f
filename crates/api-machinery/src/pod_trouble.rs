//! What keeps a pod from being ready, in the words of its status. Pure.

use api_types::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};

/// A container that waits for these reasons is just being started.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What keeps a pod from being ready that is not just being started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodTrouble {
    /// A container ends, or cannot be made or started as it is: its image, what it refers to, what is in it.
    Container(String),
    /// A container has ended, and runs again: it may become ready yet.
    Restarted(String),
    /// No node takes the pod for now.
    Unscheduled(String),
}

impl PodTrouble {
    /// Of a pod that is not ready, as far as it is known.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<PodTrouble> {
        let status = pod.status.as_ref().filter(|status| !has(status, "Ready", "True"))?;
        let mut containers = status.container_statuses.iter().flatten();
        let container = containers.find_map(trouble_of_container);
        container.or_else(|| unscheduled(status).map(PodTrouble::Unscheduled))
    }

    /// The whole of it.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Container(message) | Self::Restarted(message) | Self::Unscheduled(message) => {
                message
            }
        }
    }
}

fn has(status: &PodStatus, condition: &str, value: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|c| c.type_ == condition && c.status == value)
}

/// Its own last words say more than that it is started again later.
fn trouble_of_container(container: &ContainerStatus) -> Option<PodTrouble> {
    let (now, before) = (container.state.as_ref(), container.last_state.as_ref());
    let ended = |state: &ContainerState| state.terminated.clone();
    if let Some(ended) = now.and_then(ended).or_else(|| before.and_then(ended)) {
        let message = ended.message.filter(|message| !message.trim().is_empty());
        let message = message.unwrap_or_else(|| format!("exited with {}", ended.exit_code));
        let runs = now.is_some_and(|state| state.running.is_some());
        let trouble = if runs { PodTrouble::Restarted } else { PodTrouble::Container };
        return Some(trouble(message));
    }
    let waiting = now?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !USUAL.contains(reason))?;
    Some(PodTrouble::Container(told(reason, waiting.message.as_deref())))
}

fn unscheduled(status: &PodStatus) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
    Some(told(reason, condition.message.as_deref()))
}

fn told(reason: &str, message: Option<&str>) -> String {
    message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(status: &Value, expected: Option<&PodTrouble>) {
        let pod: Pod = serde_json::from_value(json!({"status": status})).unwrap();
        assert_eq!(PodTrouble::of(&pod).as_ref(), expected);
    }

    fn container(state: &Value, last: &Value) -> Value {
        json!({"containerStatuses": [{"name": "function", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": state, "lastState": last}]})
    }

    #[test]
    fn what_a_container_cannot_do() {
        let trouble = |message: &str| PodTrouble::Container(message.to_owned());
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "why"}});
        let ended = |message| json!({"terminated": {"exitCode": 3, "message": message}});
        let (no_main, first) = (ended("no main"), json!({}));
        let again = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        check(&json!({}), None);
        check(&container(&waiting("ContainerCreating"), &first), None);
        for (state, last, expected) in [
            (&waiting("ErrImagePull"), &first, "ErrImagePull: why"),
            (&json!({"waiting": {"reason": "Odd"}}), &first, "Odd"),
            (&no_main, &first, "no main"),
            (&ended(" "), &first, "exited with 3"),
            (&waiting("CrashLoopBackOff"), &no_main, "no main"),
        ] {
            check(&container(state, last), Some(&trouble(expected)));
        }
        let restarted = PodTrouble::Restarted("no main".to_owned());
        check(&container(&again, &no_main), Some(&restarted));
        let mut ready = container(&again, &no_main);
        ready["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        check(&ready, None);
    }

    #[test]
    fn where_it_cannot_be() {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available"});
        let message = "Unschedulable: 0/1 nodes are available".to_owned();
        check(&json!({"conditions": [condition]}), Some(&PodTrouble::Unscheduled(message)));
    }
}
