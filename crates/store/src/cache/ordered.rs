//! A list in the order of its keys, of which a copy costs next to nothing: whoever lists takes one, and reads it while
//! others write.

use std::sync::Arc;

/// How many entries a chunk has at most. After a copy was taken, a write copies the chunk that it changes, and the list
/// of the chunks.
const CHUNK: usize = 256;

/// Has the key by which it is ordered.
pub(super) trait Keyed {
    fn key(&self) -> &str;
}

/// Entries in chunks, none of them empty.
#[derive(Debug)]
pub(super) struct Ordered<E>(Arc<Vec<Arc<Vec<E>>>>);

/// A place in the list: a chunk, and an entry of it.
type Place = (usize, usize);

impl<E> Clone for Ordered<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Default for Ordered<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E: Keyed + Clone> Ordered<E> {
    /// A list of entries that are in order, each key once.
    pub(super) fn of_sorted(entries: Vec<E>) -> Self {
        let mut entries = entries.into_iter();
        let next = || Some(entries.by_ref().take(CHUNK / 2).collect::<Vec<_>>());
        let chunks = std::iter::from_fn(next).take_while(|chunk| !chunk.is_empty());
        Self(Arc::new(chunks.map(Arc::new).collect()))
    }

    pub(super) fn get(&self, key: &str) -> Option<&E> {
        let (chunk, index) = self.find(key).ok()?;
        Some(&self.0[chunk][index])
    }

    /// Adds an entry; gives the one of the same key that it takes the place of.
    pub(super) fn insert(&mut self, entry: E) -> Option<E> {
        match self.find(entry.key()) {
            Ok((chunk, index)) => {
                let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.0)[chunk]);
                Some(std::mem::replace(&mut chunk[index], entry))
            }
            Err(place) => {
                self.insert_at(place, entry);
                None
            }
        }
    }

    fn insert_at(&mut self, (index, within): Place, entry: E) {
        let chunks = Arc::make_mut(&mut self.0);
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Arc::new(vec![entry]));
            return;
        };
        let chunk = Arc::make_mut(chunk);
        chunk.insert(within, entry);
        if chunk.len() > CHUNK {
            // Those that come in order leave full chunks behind.
            let at = if within + 1 == chunk.len() { within } else { CHUNK / 2 };
            let rest = chunk.split_off(at);
            chunks.insert(index + 1, Arc::new(rest));
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<E> {
        let (index, within) = self.find(key).ok()?;
        let chunks = Arc::make_mut(&mut self.0);
        let chunk = Arc::make_mut(&mut chunks[index]);
        let removed = chunk.remove(within);
        if chunk.is_empty() {
            chunks.remove(index);
        }
        Some(removed)
    }

    /// How many chunks there are: about how long the list is.
    pub(super) fn chunks(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the key is, or else where it would be: within a chunk rather than before the next one.
    fn find(&self, key: &str) -> Result<Place, Place> {
        let after = self.0.partition_point(|chunk| chunk[0].key() <= key);
        let chunk = after.saturating_sub(1);
        let Some(entries) = self.0.get(chunk) else { return Err((0, 0)) };
        match entries.binary_search_by(|entry| entry.key().cmp(key)) {
            Ok(index) => Ok((chunk, index)),
            Err(index) => Err((chunk, index)),
        }
    }

    /// The entries whose keys begin with the prefix.
    pub(super) fn below(&self, prefix: &str) -> Range<E> {
        self.after(prefix, "")
    }

    /// Those of them that come after a key.
    pub(super) fn after(&self, prefix: &str, after: &str) -> Range<E> {
        let start = self.place(|key| key < prefix || key <= after);
        let end = self.place(|key| key < prefix || key.starts_with(prefix) || key <= after);
        Range { entries: self.clone(), start, end }
    }

    /// The first place, from another one on, whose key is not less than this. Mostly it is not far.
    fn seek(&self, (chunk, within): Place, key: &str) -> Place {
        let rest = self.0.get(chunk..).unwrap_or_default();
        let is_less = |entry: &E| entry.key() < key;
        let here = rest.first().and_then(|chunk| chunk.get(within));
        if here.is_some_and(|entry| !is_less(entry)) {
            return (chunk, within);
        }
        let is_behind = |chunk: &Arc<Vec<E>>| chunk.last().is_some_and(is_less);
        let skipped = match rest.iter().take(2).take_while(|chunk| is_behind(chunk)).count() {
            2 => rest.partition_point(is_behind),
            few => few,
        };
        let from = if skipped == 0 { within } else { 0 };
        let entries = rest.get(skipped).and_then(|chunk| chunk.get(from..)).unwrap_or_default();
        (chunk + skipped, from + entries.partition_point(is_less))
    }

    /// The first place of which something does not hold that holds of all before.
    fn place(&self, holds: impl Fn(&str) -> bool) -> Place {
        let after = self.0.partition_point(|chunk| holds(chunk[0].key()));
        let Some(chunk) = after.checked_sub(1) else { return (0, 0) };
        (chunk, self.0[chunk].partition_point(|entry| holds(entry.key())))
    }
}

/// A part of a list, as it was when it was asked for.
#[derive(Debug)]
pub(super) struct Range<E> {
    entries: Ordered<E>,
    start: Place,
    /// The first place behind it.
    end: Place,
}

impl<E> Range<E> {
    /// The entries in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        let (start, end) = (self.start, self.end);
        let chunks = self.entries.0.iter().enumerate().take(end.0 + 1).skip(start.0);
        chunks.flat_map(move |(index, chunk)| {
            let from = if index == start.0 { start.1 } else { 0 };
            let to = if index == end.0 { end.1 } else { chunk.len() };
            &chunk[from..to]
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let before = |(chunk, within): Place| {
            self.entries.0.iter().take(chunk).map(|chunk| chunk.len()).sum::<usize>() + within
        };
        before(self.end) - before(self.start)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

impl<E: Keyed + Clone> Range<E> {
    /// The entries of these keys, which come in order.
    pub(super) fn of_keys<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a str>,
    ) -> impl Iterator<Item = &'a E> {
        let mut place = self.start;
        keys.filter_map(move |key| {
            place = self.entries.seek(place, key);
            let entry = self.entries.0.get(place.0)?.get(place.1)?;
            (entry.key() == key).then_some(entry)
        })
    }
}

impl<E> Default for Range<E> {
    fn default() -> Self {
        Self { entries: Ordered::default(), start: (0, 0), end: (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn texts(range: &Range<Arc<str>>) -> Vec<String> {
        range.iter().map(ToString::to_string).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(String),
        Remove(String),
        Load,
        Copy,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => "[ab]/[a-d]{1,4}".prop_map(Step::Insert),
            4 => "[ab]/[a-d]{1,2}".prop_map(Step::Remove),
            1 => Just(Step::Load),
            1 => Just(Step::Copy),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_does_what_a_set_does_and_copies_stay(steps in prop::collection::vec(step(), 0..1500)) {
            let (mut ordered, mut set) = (Ordered::<Arc<str>>::default(), BTreeSet::new());
            let mut copies = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key) => {
                        let before = ordered.insert(key.as_str().into());
                        prop_assert_eq!(before.is_none(), set.insert(key));
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(ordered.remove(&key).is_some(), set.remove(&key));
                    }
                    Step::Load => {
                        let entries = set.iter().map(|key| key.as_str().into());
                        ordered = Ordered::of_sorted(entries.collect());
                    }
                    Step::Copy => copies.push((ordered.clone(), set.clone())),
                }
            }
            copies.push((ordered, set));
            for (ordered, set) in copies {
                for prefix in ["", "a", "a/", "a/b", "b/", "c"] {
                    let expected: Vec<_> = set.iter().filter(|k| k.starts_with(prefix)).cloned().collect();
                    let below = ordered.below(prefix);
                    prop_assert_eq!((below.len(), below.is_empty()), (expected.len(), expected.is_empty()));
                    prop_assert_eq!(texts(&below), expected);
                }
                prop_assert!(set.iter().all(|key| ordered.get(key).is_some()));
                prop_assert_eq!(ordered.is_empty(), set.is_empty());
                prop_assert!(ordered.get("c").is_none());
            }
        }
    }
}
