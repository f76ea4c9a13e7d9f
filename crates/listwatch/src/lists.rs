//! Lists as a whole: what exists when a watch begins, or begins anew, is told at once and not object by object. So who
//! keeps objects learns of those that have gone meanwhile, too, and never takes a part of a list for all.

use std::{collections::HashSet, hash::Hash};

use kube::runtime::watcher::Event;

/// What a watch says.
#[derive(Clone, Debug, PartialEq)]
pub enum News<K> {
    /// The object is new or has changed.
    Applied(K),
    /// The object is gone. This was its last state.
    Deleted(K),
    /// These are there, and no others: whatever else is known of is [`gone`].
    Listed(Vec<K>),
}

/// Makes news of the events of one watch.
#[derive(Debug)]
pub struct Lists<K> {
    under_way: Vec<K>,
}

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self { under_way: Vec::new() }
    }
}

impl<K> Lists<K> {
    /// Takes the next event. It is no news as long as a list is under way; one that is broken off never is.
    pub fn take_in(&mut self, event: Event<K>) -> Option<News<K>> {
        match event {
            Event::Apply(object) => return Some(News::Applied(object)),
            Event::Delete(object) => return Some(News::Deleted(object)),
            Event::Init => self.under_way.clear(),
            Event::InitApply(object) => self.under_way.push(object),
            Event::InitDone => return Some(News::Listed(std::mem::take(&mut self.under_way))),
        }
        None
    }
}

/// What is known and not listed, in the order in which it is known.
pub fn gone<T: Eq + Hash>(
    known: impl IntoIterator<Item = T>,
    listed: impl IntoIterator<Item = T>,
) -> Vec<T> {
    let listed: HashSet<T> = listed.into_iter().collect();
    known.into_iter().filter(|known| !listed.contains(known)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_told_when_it_is_complete_and_one_that_is_broken_off_is_not() {
        use Event::{Apply, Delete, Init, InitApply, InitDone};
        let mut lists = Lists::default();
        let events =
            [Init, InitApply(1), Init, InitApply(2), InitApply(3), InitDone, Init, InitDone];
        let told: Vec<_> = events.into_iter().filter_map(|event| lists.take_in(event)).collect();
        assert_eq!(told, [News::Listed(vec![2, 3]), News::Listed(vec![])]);
        assert_eq!(lists.take_in(Apply(4)), Some(News::Applied(4)));
        assert_eq!(lists.take_in(Delete(4)), Some(News::Deleted(4)));
    }

    #[test]
    fn what_a_list_does_not_have_is_gone() {
        assert_eq!(gone([3, 1, 2], [2, 4]), [3, 1]);
    }
}
