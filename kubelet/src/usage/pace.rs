//! How often samples are taken. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use listwatch::{UsageWanted, usage::WANTED_SECONDS};

/// Unless somebody wants them more often.
pub(super) const USUAL: Duration = Duration::from_secs(10);
/// However often somebody wants them.
const SHORTEST: Duration = Duration::from_secs(1);

/// The periods that somebody wants, with how long that holds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    wanted: BTreeMap<Duration, Instant>,
}

impl Pace {
    /// Somebody wants something, perhaps of this node.
    pub(super) fn note(&mut self, wanted: &UsageWanted, node: &str, now: Instant) {
        if wanted.nodes.iter().any(|name| name == node) {
            let period = Duration::from_secs(wanted.period_seconds.into()).max(SHORTEST);
            self.wanted.insert(period, now + Duration::from_secs(WANTED_SECONDS));
        }
    }

    /// The time between two samples.
    pub(super) fn period(&mut self, now: Instant) -> Duration {
        self.wanted.retain(|_, until| *until > now);
        self.wanted.keys().next().map_or(USUAL, |shortest| USUAL.min(*shortest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_period_that_is_wanted_holds_as_long_as_it_is() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let wanted = |node: &str, period_seconds| UsageWanted {
            nodes: vec!["n0".to_owned(), node.to_owned()],
            period_seconds,
        };
        let mut period = |wanted: Option<UsageWanted>, seconds| {
            wanted.iter().for_each(|wanted| pace.note(wanted, "n1", at(seconds)));
            pace.period(at(seconds)).as_secs()
        };
        assert_eq!(period(None, 0), 10);
        assert_eq!(period(Some(wanted("n2", 1)), 0), 10, "another node's");
        assert_eq!(period(Some(wanted("n1", 60)), 1), 10, "less often than usual");
        assert_eq!(period(Some(wanted("n1", 1)), 2), 1);
        assert_eq!(period(Some(wanted("n1", 5)), 3), 1);
        assert_eq!(period(None, 16), 1);
        assert_eq!(period(None, 17), 5, "the wish for one second is over");
        assert_eq!(period(None, 18), 10);
        assert_eq!(period(Some(wanted("n1", 0)), 19), 1, "never without a pause");
    }
}
