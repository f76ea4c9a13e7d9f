//! What a message says of the store that a listener knows: see [`crate::history`].

use crate::{ChangeMessage, ChangeType, History, Predecessor};

/// What a message's history is to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// What the listener knows is part of it.
    Continues,
    /// It is of a history that the listener's continues.
    Past,
    /// It is of a past that the store went back behind.
    Abandoned,
    /// Only a bookmark can tell.
    Unknown,
    /// What the listener knows is no part of it.
    Foreign,
}

/// Relates a message to what a listener knows: a version `last`, in the history `known`, if it has heard of one.
pub(crate) fn relate(known: Option<&History>, last: u64, message: &ChangeMessage) -> Relation {
    let Some(known) = known else { return Relation::Continues };
    let of = |histories: &[Predecessor], name: &str| {
        histories.iter().find(|history| history.name == name).map(|history| history.until)
    };
    if message.history == known.name || message.history.is_empty() {
        return Relation::Continues;
    }
    if let Some(until) = of(&known.predecessors, &message.history) {
        let is_past = message.resource_version <= until;
        return if is_past { Relation::Past } else { Relation::Abandoned };
    }
    match of(&message.predecessors, &known.name) {
        Some(until) if last <= until => Relation::Continues,
        // A bookmark would name what its history continues: this store is a new one.
        None if message.type_ != ChangeType::Bookmark => Relation::Unknown,
        _ => Relation::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A store: who wrote each version, and the histories that began there.
    #[derive(Clone, Debug, Default)]
    struct Store {
        writes: Vec<u32>,
        histories: Vec<(String, u64)>,
    }

    impl Store {
        fn version(&self) -> u64 {
            self.writes.len() as u64
        }

        fn begin(&mut self, unique: u32) {
            self.writes.push(unique);
            self.histories.push((unique.to_string(), self.version()));
        }

        /// A backup of an earlier version.
        fn backup(&self, version: u64) -> Self {
            let kept = |history: &&(String, u64)| history.1 <= version;
            Self {
                writes: self.writes[..version as usize].to_vec(),
                histories: self.histories.iter().filter(kept).cloned().collect(),
            }
        }

        fn history(&self) -> History {
            let predecessor = |pair: &[(String, u64)]| Predecessor {
                name: pair[0].0.clone(),
                until: pair[1].1 - 1,
            };
            History {
                name: self.histories.last().unwrap().0.clone(),
                predecessors: self.histories.windows(2).map(predecessor).collect(),
            }
        }

        fn bookmark(&self) -> ChangeMessage {
            ChangeMessage::bookmark(self.version(), self.version()).of(&self.history())
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write,
        Restart,
        /// The store is set back by so many versions, and its server begins anew.
        Restore(u64),
        /// The listener takes in what is there.
        Listen,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Write),
            2 => Just(Step::Restart),
            1 => (0..6_u64).prop_map(Step::Restore),
            2 => Just(Step::Listen),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        /// Whether the store has the versions that a listener knows is told from names and numbers alone.
        #[test]
        fn what_is_no_part_of_the_store_is_noticed(steps in steps()) {
            let mut store = Store::default();
            store.begin(0);
            let (mut heard, mut known) = (store.clone(), store.history());
            for (step, unique) in steps.iter().zip(1..) {
                match step {
                    Step::Write => store.writes.push(unique),
                    Step::Restart => store.begin(unique),
                    Step::Restore(back) => {
                        store = store.backup((store.version() - 1).saturating_sub(*back) + 1);
                        store.begin(unique);
                    }
                    Step::Listen => (heard, known) = (store.clone(), store.history()),
                }
                let relation = relate(Some(&known), heard.version(), &store.bookmark());
                let is_part = store.writes.starts_with(&heard.writes);
                let expected = if is_part { Relation::Continues } else { Relation::Foreign };
                prop_assert_eq!(relation, expected);
            }
        }
    }

    fn named(name: &str, predecessors: &[(&str, u64)]) -> History {
        let predecessors = predecessors.iter();
        let predecessors =
            predecessors.map(|(name, until)| Predecessor { name: (*name).into(), until: *until });
        History { name: name.into(), predecessors: predecessors.collect() }
    }

    #[test]
    fn a_change_does_not_say_what_came_before_its_history() {
        let message = |history: &History| ChangeMessage {
            type_: ChangeType::Modified,
            predecessors: Vec::new(),
            ..ChangeMessage::bookmark(9, 8).of(history)
        };
        let known = named("b", &[("a", 5)]);
        assert_eq!(relate(None, 7, &message(&known)), Relation::Continues);
        assert_eq!(relate(Some(&known), 7, &message(&known)), Relation::Continues);
        assert_eq!(relate(Some(&known), 7, &message(&named("c", &[]))), Relation::Unknown);
        assert_eq!(relate(Some(&known), 7, &message(&named("a", &[]))), Relation::Abandoned);
        assert_eq!(relate(Some(&known), 7, &message(&named("", &[]))), Relation::Continues);
    }

    #[test]
    fn a_late_message_is_one_of_the_past_that_the_store_has() {
        let late = |version| ChangeMessage::bookmark(version, 1).of(&named("a", &[]));
        let known = named("b", &[("a", 5)]);
        assert_eq!(relate(Some(&known), 7, &late(5)), Relation::Past);
        assert_eq!(relate(Some(&known), 7, &late(6)), Relation::Abandoned);
    }

    #[test]
    fn a_store_that_begins_from_nothing_is_noticed() {
        let known = named("b", &[("a", 5)]);
        let first = ChangeMessage::bookmark(2, 2).of(&named("c", &[]));
        assert_eq!(relate(Some(&known), 7, &first), Relation::Foreign);
    }
}
