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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::Revision;

    /// Its labels, as `name=value` with spaces between; `?` if they can't be read.
    #[derive(Debug)]
    struct Thing(String);

    impl Object for Thing {
        fn weight(&self) -> usize {
            1
        }

        fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
            (self.0 != "?").then(|| self.0.split(' ').filter_map(|word| word.split_once('=')))
        }
    }

    const TEXTS: [&str; 6] = ["", "x=1", "x=2", "x=1 y=1", "x=2 y=1", "?"];
    const LABELS: [(&str, &str); 4] = [("x", "1"), ("x", "2"), ("y", "1"), ("z", "1")];

    /// What is said of a label, and what a look at all objects says: each with the revision that it is from.
    fn agree(labels: &Labels<Thing>, all: &BTreeMap<usize, Arc<Item<Thing>>>) {
        let is_known = all.values().all(|item| item.object.0 != "?");
        for label in LABELS {
            let have = |item: &&Arc<Item<Thing>>| pairs(Some(item)).any(|pair| pair == label);
            let expected = all.values().filter(have).map(|item| (item.key.clone(), item.revision));
            let found = labels.having([label].into_iter()).map(|items| {
                items
                    .below("")
                    .iter()
                    .map(|item| (item.key.clone(), item.revision))
                    .collect::<Vec<_>>()
            });
            assert_eq!(found, is_known.then(|| expected.collect()), "{label:?}");
        }
    }

    proptest! {
        #[test]
        fn a_list_by_a_label_is_what_a_look_at_all_objects_finds(
            changes in vec((0..3_usize, prop::option::weighted(0.8, 0..TEXTS.len())), 0..40),
        ) {
            let (mut labels, mut all) = (Labels::default(), BTreeMap::new());
            for (revision, (key, text)) in changes.into_iter().enumerate() {
                let new = text.map(|text| {
                    let (name, object) = (format!("{key}"), Thing(TEXTS[text].to_owned()));
                    Arc::new(Item { key: name.into(), revision: Revision(revision as u64), object })
                });
                let old = match &new {
                    Some(new) => all.insert(key, Arc::clone(new)),
                    None => all.remove(&key),
                };
                labels.replace(old.as_ref(), new.as_ref());
                agree(&labels, &all);
            }
            let mut loaded = Labels::default();
            all.values().for_each(|item| loaded.replace(None, Some(item)));
            agree(&loaded, &all);
        }
    }
}
