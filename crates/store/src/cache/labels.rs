//! Which objects have a label: a list that selects by one looks at those alone.

use std::{collections::HashMap, sync::Arc};

use super::{
    object::{Item, Items, Object},
    ordered::Ordered,
};

/// The objects by name and value of each of their labels.
#[derive(Debug)]
pub(super) struct Labels<T> {
    having: HashMap<Box<str>, HashMap<Box<str>, Items<T>>>,
    /// How many objects may have any, since they can't be read.
    unknown: usize,
}

impl<T> Default for Labels<T> {
    fn default() -> Self {
        Self { having: HashMap::new(), unknown: 0 }
    }
}

impl<T: Object> Labels<T> {
    /// Takes note that an object has changed, has come or has gone.
    pub(super) fn replace(&mut self, old: Option<&Arc<Item<T>>>, new: Option<&Arc<Item<T>>>) {
        let unknown =
            |item: Option<&Arc<Item<T>>>| item.is_some_and(|item| item.object.labels().is_none());
        self.unknown = self.unknown + usize::from(unknown(new)) - usize::from(unknown(old));
        if let Some(old) = old.filter(|_| !pairs(old).eq(pairs(new))) {
            pairs(Some(old)).for_each(|(name, value)| self.remove(name, value, &old.key));
        }
        if let Some(new) = new {
            pairs(Some(new)).for_each(|(name, value)| self.put(name, value, new));
        }
    }

    /// The objects among which all are that have these labels; `None` if they can be anywhere.
    pub(super) fn having<'a>(
        &self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Option<Items<T>> {
        let items = |(name, value)| self.having.get(name)?.get(value).cloned();
        let found = labels.map(|label| items(label).unwrap_or_default());
        found.min_by_key(Ordered::chunks).filter(|_| self.unknown == 0)
    }

    /// Adds an object, or puts it in the place of its state before.
    fn put(&mut self, name: &str, value: &str, item: &Arc<Item<T>>) {
        let values = match self.having.get_mut(name) {
            Some(values) => values,
            None => self.having.entry(name.into()).or_default(),
        };
        match values.get_mut(value) {
            Some(items) => drop(items.insert(Arc::clone(item))),
            None => drop(values.insert(value.into(), Items::of_sorted(vec![Arc::clone(item)]))),
        }
    }

    fn remove(&mut self, name: &str, value: &str, key: &str) {
        let Some(values) = self.having.get_mut(name) else { return };
        if let Some(items) = values.get_mut(value) {
            items.remove(key);
            if items.is_empty() {
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
