//! What a listener does with a message, given the version it has.
//!
//! A listener's version is one of the whole store, not of a topic: after a list it is the list's, and
//! bookmarks raise it without a change. So it is not compared with `previous` for equality. A message
//! says that its topic had no change between `previous` and itself; whoever has any version in between
//! misses nothing.

use crate::ChangeMessage;

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is known already.
    Ignore,
    /// It is the next one.
    Apply,
    /// Something before it has not arrived.
    Hole,
}

/// Decides for a listener that has all changes up to `last`.
pub(crate) fn decide(last: u64, message: &ChangeMessage) -> Decision {
    if message.resource_version <= last {
        Decision::Ignore
    } else if message.previous <= last {
        Decision::Apply
    } else {
        Decision::Hole
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(last: u64, (previous, version): (u64, u64), expected: Decision) {
        assert_eq!(decide(last, &ChangeMessage::bookmark(version, previous)), expected);
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
        check(20, (7, 9), Decision::Ignore);
        check(20, (19, 20), Decision::Ignore);
    }

    #[test]
    fn a_message_whose_predecessor_has_not_arrived_shows_a_hole() {
        check(7, (8, 9), Decision::Hole);
    }

    #[test]
    fn a_bookmark_at_the_head_shows_a_hole_if_the_head_has_not_arrived() {
        check(7, (9, 9), Decision::Hole);
        check(9, (9, 9), Decision::Ignore);
        check(9, (9, 12), Decision::Apply);
    }

    proptest! {
        /// Whatever is lost or repeated: once a bookmark has been taken, nothing is missing.
        #[test]
        fn no_loss_goes_unnoticed(
            steps in prop::collection::vec(1u64..4, 1..20),
            fates in prop::collection::vec(0usize..3, 20),
            start in 0u64..10,
        ) {
            let versions: Vec<u64> = steps
                .iter()
                .scan(0, |version, step| { *version += step; Some(*version) })
                .collect();
            let previous = |i: usize| if i == 0 { 0 } else { versions[i - 1] };
            let mut last = start;
            let mut seen: Vec<u64> = versions.iter().copied().filter(|v| *v <= start).collect();
            for (i, version) in versions.iter().enumerate() {
                // Lost, delivered, or delivered twice.
                for _ in 0..fates[i] {
                    match decide(last, &ChangeMessage::bookmark(*version, previous(i))) {
                        Decision::Apply => { seen.push(*version); last = *version; }
                        Decision::Ignore => prop_assert!(seen.contains(version)),
                        Decision::Hole => {}
                    }
                }
            }
            let head = *versions.last().unwrap();
            let bookmark = decide(last, &ChangeMessage::bookmark(head + 1, head));
            prop_assert_eq!(bookmark == Decision::Hole, seen != versions);
        }
    }
}
