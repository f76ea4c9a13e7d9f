//! What this server has just written, for when it comes back from the store's watch: its encoding for the store is the one
//! for the cache too.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::encoded::Written;

/// How many objects wait at most. More are waiting only while the watch stands still, and then are decoded like others'.
const MOST: usize = 4096;

/// The latest write of each key that is under way, or has not come back.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<HashMap<String, Written>>);

impl Parked {
    /// Keeps what is going to be written.
    pub(crate) fn park(&self, key: String, written: Written) {
        let mut parked = self.0.lock();
        if parked.len() >= MOST {
            parked.clear();
        }
        parked.insert(key, written);
    }

    /// What was parked, if these are its bytes: they have come back, or are not going to be written.
    pub(crate) fn take(&self, key: &str, value: &[u8]) -> Option<Written> {
        let mut parked = self.0.lock();
        parked.get(key).filter(|written| written.json == value)?;
        parked.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api_types::api::core::v1::{Namespace, Pod};
    use registry::AnyObject;
    use store::embedded::Embedded;

    use super::*;
    use crate::{
        catalogue::{Catalogue, InForce},
        config::Config,
        storage::{Address, Storage},
    };

    fn written(name: &str) -> Written {
        let catalogue = Catalogue::built_in();
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        let def = Arc::clone(catalogue.find("", "v1", "pods").unwrap());
        Written::new(&def, &AnyObject::new(pod)).unwrap()
    }

    #[test]
    fn what_comes_back_is_taken_once_and_only_if_it_is_the_same() {
        let (parked, a, b) = (Parked::default(), written("a"), written("b"));
        parked.park("k".to_owned(), a.clone());
        assert!(parked.take("k", &b.json).is_none() && parked.take("l", &a.json).is_none());
        assert!(parked.take("k", &a.json).is_some());
        assert!(parked.take("k", &a.json).is_none());
        parked.park("k".to_owned(), a.clone());
        parked.park("k".to_owned(), b.clone());
        assert!(parked.take("k", &a.json).is_none());
        assert!(parked.take("k", &b.json).is_some());
    }

    #[tokio::test]
    async fn what_is_written_or_refused_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Default::default()).unwrap();
        let catalogue = InForce::new(Catalogue::built_in());
        let kinds = catalogue.load();
        let storage = Storage::start(Arc::new(store), catalogue, &Config::default()).await.unwrap();
        let def = kinds.find("", "v1", "namespaces").unwrap();
        let at = Address { def, namespace: None, name: "a" };
        let object = AnyObject::new(Namespace::default());
        storage.create(at, &object).await.unwrap();
        storage.create(at, &object).await.unwrap_err();
        storage.cache().catch_up().await.unwrap();
        assert!(storage.parked.0.lock().is_empty());
    }

    #[test]
    fn what_never_comes_back_is_forgotten() {
        let (parked, a) = (Parked::default(), written("a"));
        (0..=MOST).for_each(|key| parked.park(key.to_string(), a.clone()));
        assert!(parked.0.lock().len() <= MOST);
        assert!(parked.take(&MOST.to_string(), &a.json).is_some());
    }
}
