//! What is told of a run as it goes on: that it has begun, has changed hands, has ended, each once.

use api_types::minik8s::{RunPhase, WorkflowRun, WorkflowRunStatus};
use component::events::EventType;

/// Type, reason and message.
pub(super) type Told = (EventType, &'static str, String);

/// What there is to tell of a change. Of a run that is seen for the first time it is not known whether it was told before.
pub(super) fn told(old: &WorkflowRun, new: &WorkflowRun) -> Option<Told> {
    let (old, new) =
        (old.status.clone().unwrap_or_default(), new.status.clone().unwrap_or_default());
    if old.phase.has_ended() {
        return None;
    }
    if new.phase.has_ended() {
        return Some(end(&new));
    }
    let holder = new.holder.clone().filter(|_| new.holder != old.holder)?;
    Some(match (old.phase, &old.holder) {
        (RunPhase::Pending, _) => (EventType::Normal, "Started", format!("by gateway {holder}")),
        (_, Some(before)) => {
            let message = format!("gateway {holder} goes on with it: {before} has gone silent");
            (EventType::Warning, "TakenOver", message)
        }
        (_, None) => (EventType::Normal, "TakenOver", format!("gateway {holder} goes on with it")),
    })
}

fn end(status: &WorkflowRunStatus) -> Told {
    let message = status.message.clone().unwrap_or_default();
    match status.phase {
        RunPhase::Succeeded => {
            let steps = status.steps.len() + usize::try_from(status.steps_dropped).unwrap_or(0);
            let plural = if steps == 1 { "" } else { "s" };
            (EventType::Normal, "Succeeded", format!("in {steps} step{plural}"))
        }
        RunPhase::Cancelled => (EventType::Normal, "Cancelled", message),
        _ => {
            let error = status.error.clone().into_iter().chain(Some(message));
            let parts: Vec<_> = error.filter(|part| !part.is_empty()).collect();
            (EventType::Warning, "Failed", parts.join(": "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(old: Value, new: Value, expected: Option<&str>) {
        let [old, new] = [old, new].map(|status| {
            serde_json::from_value::<WorkflowRun>(json!({"status": status})).unwrap()
        });
        let told = told(&old, &new).map(|(t, reason, message)| format!("{t:?} {reason} {message}"));
        assert_eq!(told.as_deref(), expected);
    }

    fn running(holder: &str) -> Value {
        json!({"phase": "Running", "holder": holder, "leaseUntil": "2026-01-02T03:04:15.000000Z"})
    }

    #[test]
    fn a_run_is_told_to_begin_and_to_change_hands() {
        check(json!(null), running("a"), Some("Normal Started by gateway a"));
        check(running("a"), running("a"), None);
        check(running("a"), json!({"phase": "Running"}), None);
        let silent = "Warning TakenOver gateway b goes on with it: a has gone silent";
        check(running("a"), running("b"), Some(silent));
        let released = Some("Normal TakenOver gateway b goes on with it");
        check(json!({"phase": "Running"}), running("b"), released);
    }

    #[test]
    fn a_runs_end_is_told_with_how_it_ended() {
        let step = json!({"state": "s"});
        let ended = json!({"phase": "Succeeded", "steps": [step], "stepsDropped": 2});
        check(running("a"), ended.clone(), Some("Normal Succeeded in 3 steps"));
        check(json!({"phase": "Pending"}), ended.clone(), Some("Normal Succeeded in 3 steps"));
        check(ended.clone(), ended, None);
        let failed = json!({"phase": "Failed", "error": "ValueError", "message": "no"});
        check(running("a"), failed, Some("Warning Failed ValueError: no"));
        let unnamed = json!({"phase": "Failed", "error": "Sorry"});
        check(running("a"), unnamed, Some("Warning Failed Sorry"));
        let cancelled = json!({"phase": "Cancelled", "message": "cancelled"});
        check(running("a"), cancelled, Some("Normal Cancelled cancelled"));
    }
}
