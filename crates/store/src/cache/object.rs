//! Objects and their changes, as the cache has them.

use std::sync::Arc;

use super::ordered::{Keyed, Ordered, Range};
use crate::Revision;

/// What the cache keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many changes of each collection are kept for watchers.
    pub window: usize,
    /// How much the states before these changes may weigh together, for each collection.
    pub window_bytes: usize,
    /// Keys below this prefix are kept; changes of others only move the revision.
    pub root: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: 4096, window_bytes: 64 << 20, root: "/registry/".into() }
    }
}

/// What the cache has to know of an object.
pub trait Object {
    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize;

    /// The labels that it can be listed by, in one order; `None` if they can't be read.
    fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        Some(std::iter::empty())
    }

    /// What it can be watched by; `None` if it can't be read.
    fn trigger(&self) -> Option<&str> {
        None
    }
}

/// What is kept of an object that can't be read is little.
impl<T: Object, E> Object for Result<T, E> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, T::weight)
    }

    fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        self.as_ref().ok()?.labels()
    }

    fn trigger(&self) -> Option<&str> {
        self.as_ref().ok()?.trigger()
    }
}

impl Object for String {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// An object in the form that the readers want, made once for each revision.
#[derive(Debug)]
pub struct Item<T> {
    /// Its key.
    pub key: Arc<str>,
    /// The revision that wrote it.
    pub revision: Revision,
    /// What `decode` made of its bytes.
    pub object: T,
}

/// Objects by key.
pub(super) type Items<T> = Ordered<Arc<Item<T>>>;

impl<T> Keyed for Arc<Item<T>> {
    fn key(&self) -> &str {
        &self.key
    }
}

/// A change of one object. At least one of `old` and `new` is there.
#[derive(Debug)]
pub struct Change<T> {
    /// The revision of the change.
    pub revision: Revision,
    /// The revision of the change before it in the same collection. For the first change after the cache
    /// was loaded, the revision that it was loaded at.
    pub previous: Revision,
    /// The object before; absent if this created it.
    pub old: Option<Arc<Item<T>>>,
    /// The object after; absent if this deleted it.
    pub new: Option<Arc<Item<T>>>,
}

impl<T> Change<T> {
    /// The key of the object.
    pub fn key(&self) -> &str {
        self.new.as_ref().or(self.old.as_ref()).map_or("", |item| &item.key)
    }
}

/// The objects below a prefix as of one revision, in key order.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// The revision as of which the items are; a watch after it continues them.
    pub revision: Revision,
    /// The items.
    pub items: Listed<T>,
}

/// The items of a list, as they were when it was asked for: those of a part of a collection, or of them those that an index
/// has chosen.
#[derive(Debug)]
pub struct Listed<T> {
    pub(super) all: Range<Arc<Item<T>>>,
    pub(super) chosen: Option<Range<Arc<str>>>,
}

impl<T> Listed<T> {
    /// The items in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Item<T>>> {
        let all = self.chosen.is_none().then(|| self.all.iter());
        let keys = self.chosen.as_ref().map(|keys| keys.iter().map(|key| &**key));
        let chosen = keys.map(|keys| self.all.of_keys(keys));
        all.into_iter().flatten().chain(chosen.into_iter().flatten())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.chosen.as_ref().map_or_else(|| self.all.len(), Range::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chosen.as_ref().map_or_else(|| self.all.is_empty(), Range::is_empty)
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { all: Range::default(), chosen: None }
    }
}

impl<T> From<Range<Arc<Item<T>>>> for Listed<T> {
    fn from(all: Range<Arc<Item<T>>>) -> Self {
        Self { all, chosen: None }
    }
}
