//! Which runs are kept after their end, by count and by age.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use api_types::jiff::Timestamp;
use api_types::minik8s::{WorkflowRun, WorkflowSpec};

/// What a workflow keeps if it does not say: the runs of a week, but not more than this.
const LIMIT: i32 = 100;
const SECONDS: i64 = 7 * 24 * 60 * 60;

/// What is to be done about the runs of a workflow.
#[derive(Debug)]
pub(super) struct History {
    /// Those that are over.
    pub(super) over: Vec<Arc<WorkflowRun>>,
    /// When the next one will be by its age.
    pub(super) next: Option<Duration>,
}

pub(super) fn history(spec: &WorkflowSpec, runs: &[Arc<WorkflowRun>], now: Timestamp) -> History {
    let limit = usize::try_from(spec.history_limit.unwrap_or(LIMIT)).unwrap_or(0);
    let age =
        Duration::from_secs(u64::try_from(spec.history_seconds.unwrap_or(SECONDS)).unwrap_or(0));
    let mut ended: Vec<_> = runs.iter().filter_map(|run| Some((end(run)?, run))).collect();
    ended.sort_by_key(|(end, run)| (Reverse(*end), run.metadata.name.clone()));
    let mut history = History { over: Vec::new(), next: None };
    for (place, (end, run)) in ended.into_iter().enumerate() {
        let since = Duration::try_from(now.duration_since(end)).unwrap_or_default();
        match age.checked_sub(since).filter(|left| !left.is_zero() && place < limit) {
            // They come in the order of their ends, and the oldest is the next.
            Some(left) => history.next = Some(left),
            None => history.over.push(run.clone()),
        }
    }
    history
}

fn end(run: &WorkflowRun) -> Option<Timestamp> {
    let status = run.status.as_ref().filter(|status| status.phase.has_ended())?;
    status.completion_time.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(name: &str, phase: &str, ended: &str) -> Arc<WorkflowRun> {
        let status = json!({"phase": phase, "completionTime": ended});
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap(),
        )
    }

    fn check(limit: i32, seconds: i64, over: &[&str], next: Option<u64>) {
        let now = "2026-01-02T00:01:40Z".parse().unwrap();
        let spec = WorkflowSpec {
            history_limit: Some(limit),
            history_seconds: Some(seconds),
            ..WorkflowSpec::default()
        };
        let runs = [
            run("old", "Failed", "2026-01-02T00:00:00Z"),
            run("new", "Succeeded", "2026-01-02T00:01:30Z"),
            run("middle", "Cancelled", "2026-01-02T00:01:00Z"),
            run("running", "Running", "2026-01-01T00:00:00Z"),
        ];
        let history = history(&spec, &runs, now);
        let names: Vec<_> = history.over.iter().map(|r| r.metadata.name.clone().unwrap()).collect();
        assert_eq!(
            (names.as_slice(), history.next),
            (
                over.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(),
                next.map(Duration::from_secs),
            )
        );
    }

    #[test]
    fn the_runs_that_ended_last_are_kept_for_as_long_as_is_said() {
        check(3, 1000, &[], Some(900));
        check(2, 1000, &["old"], Some(960));
        check(1, 1000, &["middle", "old"], Some(990));
        check(3, 100, &["old"], Some(60));
        check(3, 10, &["new", "middle", "old"], None);
    }
}
