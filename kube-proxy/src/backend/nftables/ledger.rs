//! Who wants what of the table: what several want is there as long as one of them does. A function of what was said.

use std::collections::{BTreeMap, BTreeSet};

use packet_filter::nftables::{Chain, Contents, Set};

/// What each owner wants.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    owners: BTreeMap<String, Contents>,
    chains: Claims<String, Chain>,
    sets: Claims<String, Set>,
    elements: Claims<(String, String), String>,
}

/// A part of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) before: Contents,
    pub(super) after: Contents,
}

/// By key and owner. If they want several things for one key it is what the first of them by name wants: nobody gets
/// all others into a change that the kernel refuses.
#[derive(Debug)]
struct Claims<K, V>(BTreeMap<K, BTreeMap<String, V>>);

impl<K, V> Default for Claims<K, V> {
    fn default() -> Self {
        Claims(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V: Clone> Claims<K, V> {
    fn claim(&mut self, owner: &str, wanted: &BTreeMap<K, V>) {
        for (key, value) in wanted {
            self.0.entry(key.clone()).or_default().insert(owner.to_owned(), value.clone());
        }
    }

    fn give_up<'a>(&mut self, owner: &str, keys: impl Iterator<Item = &'a K>)
    where
        K: 'a,
    {
        for key in keys {
            let Some(claims) = self.0.get_mut(key) else { continue };
            claims.remove(owner);
            if claims.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// What there is for these keys.
    fn part(&self, keys: &BTreeSet<K>) -> BTreeMap<K, V> {
        keys.iter().filter_map(|key| Some((key.clone(), self.get(key)?.clone()))).collect()
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)?.values().next()
    }

    fn all(&self) -> BTreeMap<K, V> {
        self.0.keys().filter_map(|key| Some((key.clone(), self.get(key)?.clone()))).collect()
    }
}

/// What updates are about.
#[derive(Default)]
struct Keys {
    chains: BTreeSet<String>,
    sets: BTreeSet<String>,
    elements: BTreeSet<(String, String)>,
}

impl Keys {
    fn add(&mut self, contents: &Contents) {
        self.chains.extend(contents.chains.keys().cloned());
        self.sets.extend(contents.sets.keys().cloned());
        self.elements.extend(contents.elements.keys().cloned());
    }
}

impl Ledger {
    /// What these owners want from now on, if anything, and what that changes. What it costs depends on them alone.
    pub(super) fn update(&mut self, updates: BTreeMap<String, Option<Contents>>) -> Change {
        let mut keys = Keys::default();
        for (owner, wanted) in &updates {
            self.owners
                .get(owner)
                .into_iter()
                .chain(wanted)
                .for_each(|contents| keys.add(contents));
        }
        let before = self.part(&keys);
        updates.into_iter().for_each(|(owner, wanted)| self.set(owner, wanted));
        Change { before, after: self.part(&keys) }
    }

    /// The whole table.
    pub(super) fn contents(&self) -> Contents {
        Contents { chains: self.chains.all(), sets: self.sets.all(), elements: self.elements.all() }
    }

    fn set(&mut self, owner: String, wanted: Option<Contents>) {
        if let Some(old) = self.owners.remove(&owner) {
            self.chains.give_up(&owner, old.chains.keys());
            self.sets.give_up(&owner, old.sets.keys());
            self.elements.give_up(&owner, old.elements.keys());
        }
        if let Some(wanted) = wanted {
            self.chains.claim(&owner, &wanted.chains);
            self.sets.claim(&owner, &wanted.sets);
            self.elements.claim(&owner, &wanted.elements);
            self.owners.insert(owner, wanted);
        }
    }

    fn part(&self, keys: &Keys) -> Contents {
        Contents {
            chains: self.chains.part(&keys.chains),
            sets: self.sets.part(&keys.sets),
            elements: self.elements.part(&keys.elements),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(elements: &[(&str, &str)]) -> Option<Contents> {
        let elements = elements
            .iter()
            .map(|(key, value)| (("services".to_owned(), (*key).to_owned()), (*value).to_owned()));
        Some(Contents { elements: elements.collect(), ..Contents::default() })
    }

    fn update(ledger: &mut Ledger, owner: &str, contents: Option<Contents>) -> [String; 2] {
        let Change { before, after } = ledger.update([(owner.to_owned(), contents)].into());
        [before, after].map(|it| {
            let all = it.elements.iter().map(|((_, key), value)| format!("{key}={value}"));
            all.collect::<Vec<_>>().join(" ")
        })
    }

    #[test]
    fn a_change_is_about_what_its_owners_had_and_have() {
        let mut ledger = Ledger::default();
        assert_eq!(update(&mut ledger, "a", wanted(&[("1", "x"), ("2", "x")])), ["", "1=x 2=x"]);
        assert_eq!(update(&mut ledger, "b", wanted(&[("3", "x")])), ["", "3=x"]);
        assert_eq!(
            update(&mut ledger, "a", wanted(&[("2", "y"), ("4", "x")])),
            ["1=x 2=x", "2=y 4=x"]
        );
        assert_eq!(update(&mut ledger, "a", None), ["2=y 4=x", ""]);
        assert_eq!(ledger.contents(), wanted(&[("3", "x")]).unwrap());
    }

    #[test]
    fn what_two_want_stays_until_neither_does_and_the_first_by_name_says_what_it_is() {
        let mut ledger = Ledger::default();
        update(&mut ledger, "b", wanted(&[("1", "of b")]));
        assert_eq!(update(&mut ledger, "a", wanted(&[("1", "of a")])), ["1=of b", "1=of a"]);
        assert_eq!(update(&mut ledger, "b", wanted(&[("1", "else")])), ["1=of a", "1=of a"]);
        assert_eq!(update(&mut ledger, "a", None), ["1=of a", "1=else"]);
        assert_eq!(update(&mut ledger, "b", None), ["1=else", ""]);
        assert_eq!(ledger.contents(), Contents::default());
    }
}
