//! What objects are found by without looking at all of them: an inverted index, kept with the store.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::ObjectKey;

/// Something that an object is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// Its controller, as far as that is in the same namespace: it owns nothing elsewhere, whatever is written there.
    Controller {
        /// The namespace.
        namespace: String,
        /// The controller's uid.
        uid: String,
    },
    /// The node that it is on.
    Node(String),
    /// The host name that it is about.
    Host(String),
    /// The workflow that it is a run of.
    RunOf(ObjectKey),
    /// A label of it.
    Label(Label),
    /// It selects only what has this label.
    Selects(Label),
    /// It selects objects of this namespace of which no label is known.
    SelectsUnknown(String),
}

/// A label of objects in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// The namespace.
    pub namespace: String,
    /// The label's key.
    pub key: String,
    /// The label's value.
    pub value: String,
}

impl Label {
    /// A label of objects in a namespace.
    pub fn new(namespace: &str, key: &str, value: &str) -> Self {
        Self { namespace: namespace.into(), key: key.into(), value: value.into() }
    }
}

/// The objects by their terms.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Term, BTreeSet<Arc<ObjectKey>>>);

impl Index {
    /// An object whose terms were `old` has those of `new` now.
    pub(super) fn update(&mut self, key: &ObjectKey, old: Vec<Term>, new: Vec<Term>) {
        if old == new {
            return;
        }
        for term in old {
            if let Some(keys) = self.0.get_mut(&term) {
                keys.remove(key);
                if keys.is_empty() {
                    self.0.remove(&term);
                }
            }
        }
        let key = Arc::new(key.clone());
        for term in new {
            self.0.entry(term).or_default().insert(key.clone());
        }
    }

    /// The objects with this term, in order.
    pub(super) fn get(&self, term: &Term) -> impl Iterator<Item = &ObjectKey> {
        self.0.get(term).into_iter().flatten().map(AsRef::as_ref)
    }

    /// Of some terms, the one that the fewest objects have.
    pub(super) fn rarest(&self, terms: Vec<Term>) -> Option<Term> {
        terms.into_iter().min_by_key(|term| self.0.get(term).map_or(0, BTreeSet::len))
    }
}
