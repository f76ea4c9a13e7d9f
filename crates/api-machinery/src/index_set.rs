//! Which indexes of an Indexed Job: `0,2-5,9`, in ascending order (Kubernetes: `orderedIntervals`).

use std::{fmt, ops::RangeInclusive};

/// A set of indexes, as ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSet(Vec<RangeInclusive<u32>>);

impl IndexSet {
    /// Those of the text, each of which must be below `completions`.
    ///
    /// # Errors
    /// What is wrong with it, in Kubernetes' words.
    pub fn parse(text: &str, completions: u32) -> Result<Self, String> {
        let mut set = Self::default();
        let mut last: Option<u32> = None;
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let range = interval(part, completions)?;
            if let Some(last) = last.filter(|last| last >= range.start()) {
                return Err(not_increasing(last, *range.start()));
            }
            last = Some(*range.end());
            set.push(range);
        }
        Ok(set)
    }

    /// Those of a status: what is above `completions` is left out, and so is what can't be read.
    #[must_use]
    pub fn kept(text: &str, completions: u32) -> Self {
        let parts = text.split(',').filter_map(|part| interval(part, u32::MAX).ok());
        let below = parts.filter(|range| *range.start() < completions);
        let mut set = Self::default();
        below.for_each(|range| set.push(*range.start()..=(*range.end()).min(completions - 1)));
        set
    }

    /// These and those.
    #[must_use]
    pub fn with(&self, indexes: impl IntoIterator<Item = u32>) -> Self {
        self.union(&Self(indexes.into_iter().map(|index| index..=index).collect()))
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).cloned().collect();
        all.sort_unstable_by_key(|range| *range.start());
        let mut set = Self::default();
        all.into_iter().for_each(|range| set.push(range));
        set
    }

    /// Whether the index is one of them.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        let place = self.0.partition_point(|range| *range.end() < index);
        self.0.get(place).is_some_and(|range| range.contains(&index))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|range| (range.end() - range.start()) as usize + 1).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> usize {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |two| (one, two)));
        let overlaps = pairs.map(|(one, two)| {
            let (first, last) = (one.start().max(two.start()), one.end().min(two.end()));
            if first <= last { (last - first) as usize + 1 } else { 0 }
        });
        overlaps.sum()
    }

    /// The first `count` indexes below `completions` that are not in it.
    #[must_use]
    pub fn missing(&self, count: usize, completions: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut candidate = 0;
        for range in &self.0 {
            found.extend((candidate..(*range.start()).min(completions)).take(count - found.len()));
            candidate = candidate.max(range.end().saturating_add(1));
        }
        found.extend((candidate..completions).take(count - found.len()));
        found
    }

    /// The first index that is in both.
    #[must_use]
    pub fn first_common(&self, other: &Self) -> Option<u32> {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |two| (one, two)));
        let firsts = pairs.filter_map(|(one, two)| {
            let first = *one.start().max(two.start());
            (one.contains(&first) && two.contains(&first)).then_some(first)
        });
        firsts.min()
    }

    /// One that begins no sooner than all that there are.
    fn push(&mut self, range: RangeInclusive<u32>) {
        match self.0.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => self.0.push(range),
        }
    }
}

impl fmt::Display for IndexSet {
    /// Two neighbours are told one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let (first, last) = (range.start(), range.end());
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

fn interval(text: &str, completions: u32) -> Result<RangeInclusive<u32>, String> {
    let limits: Vec<_> = text.split('-').collect();
    match *limits {
        [one] => number(one, completions).map(|one| one..=one),
        [first, last] => {
            let (first, last) = (number(first, completions)?, number(last, completions)?);
            if first < last { Ok(first..=last) } else { Err(not_increasing(first, last)) }
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

fn number(text: &str, completions: u32) -> Result<u32, String> {
    let number: u32 = text
        .parse()
        .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    if number < completions { Ok(number) } else { Err(format!("too large index: {text:?}")) }
}

fn not_increasing(previous: u32, current: u32) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_read_is_read_and_what_is_wrong_is_told() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let got = IndexSet::parse(text, 10).map(|set| set.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
        };
        check("", Ok(""));
        check("0", Ok("0"));
        check("0,1,2,4", Ok("0-2,4"));
        check("1-2,9", Ok("1,2,9"));
        check("10", Err("too large index: \"10\""));
        check("1-10", Err("too large index: \"10\""));
        check("a", Err("cannot convert string to integer for index: \"a\""));
        check("3-1", Err("non-increasing order, previous: 3, current: 1"));
        check("3,3", Err("non-increasing order, previous: 3, current: 3"));
        let three = "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'";
        check("1-2-3", Err(three));
    }

    #[test]
    fn a_status_keeps_what_is_below_the_completions() {
        assert_eq!(IndexSet::kept("0,3-7,9", 6).to_string(), "0,3-5");
        assert_eq!(IndexSet::kept("x,2", 6).to_string(), "2");
        assert_eq!(IndexSet::kept("", 0).to_string(), "");
    }

    fn set(indexes: &BTreeSet<u32>) -> IndexSet {
        IndexSet::default().with(indexes.iter().copied())
    }

    proptest! {
        #[test]
        fn it_is_a_set(one in prop::collection::btree_set(0..20_u32, 0..12), two in prop::collection::btree_set(0..20_u32, 0..12), count in 0..20_usize) {
            let (first, second) = (set(&one), set(&two));
            prop_assert_eq!(first.len(), one.len());
            prop_assert_eq!(&IndexSet::parse(&first.to_string(), 20).unwrap(), &first);
            prop_assert_eq!(first.union(&second), set(&one.union(&two).copied().collect()));
            prop_assert_eq!(first.common(&second), one.intersection(&two).count());
            prop_assert_eq!(first.first_common(&second), one.intersection(&two).next().copied());
            for index in 0..20 {
                prop_assert_eq!(first.contains(index), one.contains(&index));
            }
            let missing: Vec<_> = (0..20).filter(|index| !one.contains(index)).take(count).collect();
            prop_assert_eq!(first.missing(count, 20), missing);
        }
    }
}
