//! Which objects have a label: a list that selects by one looks at those alone. The index has their keys only, so that a
//! change of anything else of an object costs it nothing, however many labels there are.

use std::{collections::HashMap, sync::Arc};

use super::{
    object::{Item, Object},
    ordered::{Keyed, Ordered},
};

/// The keys of objects.
pub(super) type Keys = Ordered<Arc<str>>;

impl Keyed for Arc<str> {
    fn key(&self) -> &str {
        self
    }
}

/// The keys of the objects by name and value of each of their labels.
#[derive(Debug, Default)]
pub(super) struct Labels {
    having: HashMap<Box<str>, HashMap<Box<str>, Keys>>,
    /// How many objects may have any, since they can't be read.
    unknown: usize,
}

impl Labels {
    /// Takes note that an object has changed, has come or has gone.
    pub(super) fn replace<T: Object>(
        &mut self,
        old: Option<&Arc<Item<T>>>,
        new: Option<&Arc<Item<T>>>,
    ) {
        let unknown =
            |item: Option<&Arc<Item<T>>>| item.is_some_and(|item| item.object.labels().is_none());
        self.unknown = self.unknown + usize::from(unknown(new)) - usize::from(unknown(old));
        if pairs(old).eq(pairs(new)) {
            return;
        }
        if let Some(old) = old {
            pairs(Some(old)).for_each(|(name, value)| self.remove(name, value, &old.key));
        }
        if let Some(new) = new {
            pairs(Some(new)).for_each(|(name, value)| self.add(name, value, &new.key));
        }
    }

    /// The objects among which all are that have these labels; `None` if they can be anywhere.
    pub(super) fn having<'a>(
        &self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Option<Keys> {
        let keys = |(name, value)| self.having.get(name)?.get(value).cloned();
        let found = labels.map(|label| keys(label).unwrap_or_default());
        found.min_by_key(Ordered::chunks).filter(|_| self.unknown == 0)
    }

    fn add(&mut self, name: &str, value: &str, key: &Arc<str>) {
        let values = match self.having.get_mut(name) {
            Some(values) => values,
            None => self.having.entry(name.into()).or_default(),
        };
        match values.get_mut(value) {
            Some(keys) => drop(keys.insert(Arc::clone(key))),
            None => drop(values.insert(value.into(), Keys::of_sorted(vec![Arc::clone(key)]))),
        }
    }

    fn remove(&mut self, name: &str, value: &str, key: &str) {
        let Some(values) = self.having.get_mut(name) else { return };
        if let Some(keys) = values.get_mut(value) {
            keys.remove(key);
            if keys.is_empty() {
                values.remove(value);
            }
        }
        if values.is_empty() {
            self.having.remove(name);
        }
    }
}

fn pairs<T: Object>(item: Option<&Arc<Item<T>>>) -> impl Iterator<Item = (&str, &str)> {
    item.and_then(|item| item.object.labels()).into_iter().flatten()
}
