//! What a listener does with a message, given what it knows.
//!
//! A listener's version is one of the whole store, not of a topic: after a list it is the list's, and
//! bookmarks raise it without a change. So it is not compared with `previous` for equality. A message
//! says that its topic had no change between `previous` and itself; whoever has any version in between
//! misses nothing.
//!
//! That is true whoever says it, so several API servers may publish on one topic, each at its own pace: what
//! one has said already is known when another says it, and a hole is one only as long as nobody fills it.
//! But one that lags behind does not know what came after: its messages don't show that all is well.

use crate::{
    ChangeMessage, ChangeType, History,
    relation::{Relation, relate},
};

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is known already, and its sender may not know all that the listener does.
    Late,
    /// It is known already, and nothing is missing.
    Known,
    /// It is the next one.
    Apply,
    /// Something before it has not arrived.
    Hole,
    /// What the listener knows is no part of the store's history.
    Foreign,
}

/// What a listener knows.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// Every change up to this version has been told.
    last: u64,
    /// The version that a list, the topic, or the beginning of an HTTP watch has led to. What the watch has told
    /// since is of the same history, since a watch does not survive a change of it.
    joint: u64,
    /// The history it belongs to, as far as the topic has said.
    history: Option<History>,
}

impl Position {
    /// After a list.
    pub(crate) fn listed(version: u64) -> Self {
        Self { last: version, joint: version, history: None }
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// An HTTP watch begins.
    pub(crate) fn join(&mut self) {
        self.joint = self.last;
    }

    /// An HTTP watch has told everything up to this version.
    pub(crate) fn watched(&mut self, version: u64) {
        self.last = self.last.max(version);
    }

    /// A message of the topic was applied.
    pub(crate) fn applied(&mut self, version: u64) {
        (self.last, self.joint) = (version, version);
    }

    /// Decides about a message. What is older than the version `since` shows nothing.
    pub(crate) fn decide(&mut self, message: &ChangeMessage, since: u64) -> Decision {
        match relate(self.history.as_ref(), self.joint, message) {
            Relation::Continues => self.learn(message),
            Relation::Past => {}
            Relation::Abandoned => return Decision::Late,
            Relation::Unknown => return Decision::Hole,
            Relation::Foreign => return Decision::Foreign,
        }
        decide(self.last, since, message)
    }

    /// Only a bookmark says what its history continues; and of which history a list is, only one that knows as much.
    fn learn(&mut self, message: &ChangeMessage) {
        let is_of = |known: &History| known.name == message.history;
        let knows_enough = self.history.is_some() || message.resource_version >= self.last;
        let tells = message.type_ == ChangeType::Bookmark && !message.history.is_empty();
        if tells && knows_enough && !self.history.as_ref().is_some_and(is_of) {
            let (name, predecessors) = (message.history.clone(), message.predecessors.clone());
            self.history = Some(History { name, predecessors });
        }
    }
}

fn decide(last: u64, since: u64, message: &ChangeMessage) -> Decision {
    if message.resource_version < since {
        Decision::Late
    } else if message.resource_version <= last {
        Decision::Known
    } else if message.previous <= last {
        Decision::Apply
    } else {
        Decision::Hole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Predecessor;

    fn check(last: u64, (previous, version): (u64, u64), expected: Decision) {
        assert_eq!(decide(last, last, &ChangeMessage::bookmark(version, previous)), expected);
    }

    #[test]
    fn the_next_message_is_applied() {
        check(7, (7, 9), Decision::Apply);
    }

    #[test]
    fn a_message_after_a_list_is_applied_though_others_changed_meanwhile() {
        check(20, (7, 21), Decision::Apply);
    }

    #[test]
    fn a_message_that_a_list_or_watch_has_overtaken_is_ignored() {
        check(20, (7, 9), Decision::Late);
        check(20, (19, 20), Decision::Known);
    }

    #[test]
    fn a_message_whose_predecessor_has_not_arrived_shows_a_hole() {
        check(7, (8, 9), Decision::Hole);
    }

    #[test]
    fn a_bookmark_at_the_head_shows_a_hole_if_the_head_has_not_arrived() {
        check(7, (9, 9), Decision::Hole);
        check(9, (9, 9), Decision::Known);
        check(9, (9, 12), Decision::Apply);
    }

    /// A bookmark of a history that continues one other.
    fn bookmark(version: u64, name: &str, before: (&str, u64)) -> ChangeMessage {
        let before = Predecessor { name: before.0.to_owned(), until: before.1 };
        let history = History { name: name.to_owned(), predecessors: vec![before] };
        ChangeMessage::bookmark(version, 1).of(&history)
    }

    #[test]
    fn what_a_watch_tells_is_of_the_history_that_it_began_in() {
        let check = |watches: usize, expected| {
            let mut position = Position::listed(75);
            assert_eq!(position.decide(&bookmark(75, "b", ("a", 5)), 75), Decision::Known);
            for i in 1..=watches {
                position.join();
                position.watched(75 + 10 * i as u64);
            }
            let next = bookmark(99, "c", ("b", 80));
            assert_eq!(position.decide(&next, 75), expected);
        };
        check(1, Decision::Apply);
        // The second may be of a store that was set back meanwhile.
        check(2, Decision::Foreign);
    }

    #[test]
    fn who_knows_less_than_a_list_does_not_say_of_which_history_it_is() {
        let mut position = Position::listed(9);
        assert_eq!(position.decide(&bookmark(7, "a", ("", 1)), 9), Decision::Late);
        assert_eq!(position.decide(&bookmark(10, "b", ("a", 8)), 9), Decision::Apply);
    }
}
