//! Sets of paths in an object.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Map;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathElement {
    /// A field of a structure, a key of a map.
    Field(String),
    /// An element of a list by its key fields: their JSON, which is compared often and read seldom.
    Key(String),
    /// An element of a set by its value: its JSON.
    Value(String),
    /// An element of any other list.
    Index(u64),
}

/// As conflicts are told: `.spec`, `[name="web"]`, `[="a"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields = serde_json::from_str::<Map<_, _>>(fields).unwrap_or_default();
                let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A set of paths, as a tree: what is a member itself, and what has members below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) members: BTreeSet<PathElement>,
    /// None of them is empty.
    pub(super) children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    /// Whether no path is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds a path of one step.
    pub fn insert(&mut self, element: PathElement) {
        self.members.insert(element);
    }

    /// Adds what is below a step.
    pub fn insert_below(&mut self, element: PathElement, below: Self) {
        if below.is_empty() {
            return;
        }
        match self.children.get_mut(&element) {
            Some(there) => there.extend(below),
            None => drop(self.children.insert(element, below)),
        }
    }

    /// Whether the path of this one step is in it.
    #[must_use]
    pub fn has(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    /// What is below a step.
    #[must_use]
    pub fn below(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element)
    }

    /// Whether all of it is in another.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let is_below = |(element, below): (&PathElement, &Self)| {
            other.children.get(element).is_some_and(|others| below.is_within(others))
        };
        self.members.is_subset(&other.members) && self.children.iter().all(is_below)
    }

    /// Adds what is in another.
    pub fn extend(&mut self, other: Self) {
        self.members.extend(other.members);
        for (element, below) in other.children {
            self.insert_below(element, below);
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.extend(other.clone());
        union
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let shared = |(element, below): (&PathElement, &Self)| {
            let shared = below.intersection(other.children.get(element)?);
            (!shared.is_empty()).then(|| (element.clone(), shared))
        };
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self.children.iter().filter_map(shared).collect(),
        }
    }

    /// What is in this one only.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.less(other, false)
    }

    /// The same, without what is below anything in `other`.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.less(other, true)
    }

    fn less(&self, other: &Self, with_all_below: bool) -> Self {
        let left = |(element, below): (&PathElement, &Self)| {
            if with_all_below && other.members.contains(element) {
                return None;
            }
            let left = match other.children.get(element) {
                Some(others) => below.less(others, with_all_below),
                None => below.clone(),
            };
            (!left.is_empty()).then(|| (element.clone(), left))
        };
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self.children.iter().filter_map(left).collect(),
        }
    }

    /// How many paths are in it, counted no further once they are more than `most`.
    pub(super) fn count(&self, most: usize) -> usize {
        let mut count = self.members.len();
        for below in self.children.values() {
            if count > most {
                break;
            }
            count += below.count(most - count);
        }
        count
    }

    /// Whether a text names the last step of one of its paths, as the text of each set does that has the path in it.
    pub(super) fn is_mentioned_in(&self, text: &str) -> bool {
        let is_named = |element: &PathElement| {
            let mut name = Vec::new();
            element.write(&mut name);
            str::from_utf8(&name).is_ok_and(|name| text.contains(name))
        };
        self.members.iter().any(is_named)
            || self.children.values().any(|below| below.is_mentioned_in(text))
    }

    /// The steps that have something below.
    pub(super) fn children(&self) -> impl Iterator<Item = (&PathElement, &Self)> {
        self.children.iter()
    }

    /// Its paths, as conflicts tell them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, above: &str, paths: &mut Vec<String>) {
        paths.extend(self.members.iter().map(|element| format!("{above}{element}")));
        for (element, below) in &self.children {
            below.collect(&format!("{above}{element}"), paths);
        }
    }
}
