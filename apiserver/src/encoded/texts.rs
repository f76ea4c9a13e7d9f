//! What selectors need of an object beside its encoding.

/// The name and the value of each label, in the order of the names; then what its definition's field selectors see. In
/// one piece of memory, since there are many objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Texts {
    all: Box<str>,
    ends: Box<[usize]>,
}

impl Texts {
    pub(super) fn new<'a>(
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        fields: &'a [String],
    ) -> Self {
        let mut all = String::new();
        let labels = labels.flat_map(|(name, value)| [name, value]);
        let ends = labels.chain(fields.iter().map(String::as_str)).map(|text| {
            all.push_str(text);
            all.len()
        });
        Self { ends: ends.collect(), all: all.into() }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start..self.ends[index]]
    }
}
