//! What the cache and the task that feeds it have in common.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{
    collection::Collection,
    object::{Item, Object, Options},
};
use crate::{Entry, Event, Revision, Store};

/// See the module.
pub(super) struct Shared<T> {
    pub(super) store: Arc<dyn Store>,
    pub(super) options: Options,
    pub(super) decode: Box<dyn Fn(&Entry) -> T + Send + Sync>,
    pub(super) collections: RwLock<Collections<T>>,
    /// The changes of all collections, without items.
    pub(super) all: Arc<Collection<T>>,
    /// The last change that was seen, or the newest of the objects that were loaded.
    pub(super) last: Mutex<Option<Event>>,
    /// Up to this revision every collection is whole. One may be further already.
    pub(super) progress: watch::Sender<Revision>,
    /// Whether the store is being watched.
    pub(super) following: AtomicBool,
}

pub(super) struct Collections<T> {
    pub(super) by_name: HashMap<Arc<str>, Arc<Collection<T>>>,
    /// The revision of the latest load: a collection that is first met now has not changed since.
    pub(super) origin: Revision,
}

impl<T: Object + Send + Sync + 'static> Shared<T> {
    pub(super) fn new(
        store: Arc<dyn Store>,
        options: Options,
        decode: impl Fn(&Entry) -> T + Send + Sync + 'static,
    ) -> Self {
        let origin = Revision(0);
        Self {
            store,
            decode: Box::new(decode),
            collections: RwLock::new(Collections { by_name: HashMap::new(), origin }),
            all: Arc::new(Collection::new(origin, &options)),
            last: Mutex::new(None),
            options,
            progress: watch::Sender::new(origin),
            following: AtomicBool::new(false),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        *self.progress.borrow()
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Item<T>>> {
        self.known(collection_of(key)?)?.get(key)
    }

    pub(super) fn known(&self, name: &str) -> Option<Arc<Collection<T>>> {
        self.collections.read().by_name.get(name).cloned()
    }

    pub(super) fn collection(&self, name: &str) -> Arc<Collection<T>> {
        let create = || self.collections.write().get_or_create(name, &self.options);
        self.known(name).unwrap_or_else(create)
    }
}

impl<T: Object> Collections<T> {
    pub(super) fn get_or_create(&mut self, name: &str, options: &Options) -> Arc<Collection<T>> {
        let create = || Arc::new(Collection::new(self.origin, options));
        Arc::clone(self.by_name.entry(name.into()).or_insert_with(create))
    }
}

/// The collection of a key: its first three segments.
pub(super) fn collection_of(key: &str) -> Option<&str> {
    let (end, _) = key.match_indices('/').nth(3)?;
    Some(&key[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_the_first_three_segments() {
        for key in ["/registry/core/pods/n1/a", "/registry/core/pods/n1/", "/registry/core/pods/"] {
            assert_eq!(collection_of(key), Some("/registry/core/pods/"));
        }
        assert_eq!(collection_of("/registry/core/nodes/a"), Some("/registry/core/nodes/"));
        assert_eq!(collection_of("/registry/core/pods"), None);
    }
}
