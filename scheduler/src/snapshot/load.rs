//! How busy a node is: what its heartbeats say it uses, and what was assigned to it and does not show in that yet.

use std::time::Duration;

use tokio::time::Instant;

use crate::pod::Uid;
use crate::resources::Resources;

/// How long a pod may take, after it was assigned, until its node's use shows it.
const SETTLES: Duration = Duration::from_secs(30);

/// Heartbeats come every second. What the last one said does not hold for longer.
const STALE: Duration = Duration::from_secs(10);

/// What a node uses, of all it has: 0 is nothing, 1 everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Of its processors together.
    pub cpu: f64,
    /// Of its memory.
    pub memory: f64,
}

/// How busy a node is.
#[derive(Clone, Debug, Default)]
pub struct Load {
    usage: Option<(Usage, Instant)>,
    /// What pods are expected to take that were assigned of late.
    assigned: Vec<(Uid, Resources, Instant)>,
}

impl Load {
    /// Takes in what a heartbeat says.
    pub(crate) fn heard(&mut self, usage: Usage, now: Instant) {
        self.usage = Some((usage, now));
    }

    /// A pod is assigned to the node.
    pub(crate) fn assign(&mut self, pod: &Uid, expected: &Resources, now: Instant) {
        self.withdraw(pod);
        self.assigned.retain(|(.., at)| is_unsettled(*at, now));
        self.assigned.push((pod.clone(), expected.clone(), now));
    }

    /// That pod is gone again.
    pub(crate) fn withdraw(&mut self, pod: &Uid) {
        self.assigned.retain(|(assigned, ..)| assigned != pod);
    }

    /// What the node uses, if it has said so lately.
    pub(crate) fn usage(&self, now: Instant) -> Option<Usage> {
        let (usage, heard) = self.usage?;
        (now.duration_since(heard) < STALE).then_some(usage)
    }

    /// How much of a resource those pods are expected to take that need not show in its use yet.
    pub(crate) fn assigned(&self, resource: &str, now: Instant) -> i64 {
        let unsettled = self.assigned.iter().filter(|(.., at)| is_unsettled(*at, now));
        unsettled.map(|(_, expected, _)| expected.get(resource)).sum()
    }
}

fn is_unsettled(assigned: Instant, now: Instant) -> bool {
    now.duration_since(assigned) < SETTLES
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USAGE: Usage = Usage { cpu: 0.5, memory: 0.25 };

    #[test]
    fn use_is_believed_for_a_while_and_pods_count_beside_it_until_they_show_in_it() {
        let (mut load, begin) = (Load::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let expected = Resources::expected_of(
            &serde_json::from_value(json!({"containers": [{"name": "c"}]})).unwrap(),
        );
        assert_eq!(load.usage(begin), None);
        load.heard(USAGE, begin);
        load.assign(&Uid::from("a"), &expected, begin);
        load.assign(&Uid::from("b"), &expected, at(8));
        load.assign(&Uid::from("b"), &expected, at(8));
        assert_eq!((load.usage(at(9)), load.assigned("cpu", at(9))), (Some(USAGE), 200));
        assert_eq!((load.usage(at(10)), load.assigned("cpu", at(30))), (None, 100));
        load.withdraw(&Uid::from("b"));
        assert_eq!(load.assigned("cpu", at(9)), 100);
    }
}
