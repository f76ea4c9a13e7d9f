//! What this server has just written, for when it comes back from the store's watch: its encoding for the store is the one
//! for the cache too.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::encoded::Written;

/// How many bytes wait at most. More are waiting only while the watch stands still, and then are decoded like others'.
const MOST: usize = 16 << 20;

/// The latest write of each key that is under way, or has not come back.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    by_key: HashMap<String, Written>,
    bytes: usize,
}

impl Parked {
    /// Keeps what is going to be written.
    pub(crate) fn park(&self, key: &str, written: Written) {
        let mut waiting = self.0.lock();
        waiting.bytes += weight(key, &written);
        if waiting.bytes > MOST {
            *waiting = Waiting { bytes: weight(key, &written), ..Waiting::default() };
        }
        let before = waiting.by_key.insert(key.to_owned(), written);
        waiting.bytes -= before.map_or(0, |before| weight(key, &before));
    }

    /// What was parked, if these are its bytes: they have come back, or are not going to be written.
    pub(crate) fn take(&self, key: &str, value: &[u8]) -> Option<Written> {
        let mut waiting = self.0.lock();
        waiting.by_key.get(key).filter(|written| written.json == value)?;
        let written = waiting.by_key.remove(key)?;
        waiting.bytes -= weight(key, &written);
        Some(written)
    }
}

/// About how much memory an object takes while it waits.
fn weight(key: &str, written: &Written) -> usize {
    const REST: usize = 512;
    key.len() + written.json.len() + REST
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
        parked.park("k", a.clone());
        assert!(parked.take("k", &b.json).is_none() && parked.take("l", &a.json).is_none());
        assert!(parked.take("k", &a.json).is_some());
        assert!(parked.take("k", &a.json).is_none());
        parked.park("k", a.clone());
        parked.park("k", b.clone());
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
        let waiting = storage.parked.0.lock();
        assert_eq!((waiting.by_key.len(), waiting.bytes), (0, 0));
    }

    #[test]
    fn what_never_comes_back_is_forgotten() {
        let (parked, a) = (Parked::default(), written("a"));
        let held = || {
            let waiting = parked.0.lock();
            let all = waiting.by_key.iter().map(|(key, written)| weight(key, written));
            assert_eq!(waiting.bytes, all.sum::<usize>());
            waiting.bytes
        };
        let mut heavy = a.clone();
        heavy.json = vec![b' '; MOST / 4].into();
        for key in ["a", "a", "b", "c", "d", "e", "a"] {
            parked.park(key, heavy.clone());
            assert!(held() <= MOST);
        }
        assert!(parked.take("c", &heavy.json).is_none());
        assert!(parked.take("a", &heavy.json).is_some());
        assert!(held() > 0);
    }
}
