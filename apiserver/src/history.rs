//! The histories of the store, by which listeners find out that it was restored from a backup: keys of the store
//! itself, so that a backup has those that had begun when it was made.

use bytes::Bytes;
use listwatch::{History, Predecessor};
use store::{Expect, Revision, StoreError};
use uuid::Uuid;

use crate::{encoded::CachedObject, storage::Storage};

/// Where they are. No resource of the API is there, whose group and plural these would be.
const PREFIX: &str = "/registry/minik8s.io/histories/";
pub(crate) const GROUP: &str = "minik8s.io";
pub(crate) const PLURAL: &str = "histories";

/// How many are kept. A listener that knows an older one lists anew.
const KEPT: usize = 16;

/// Begins a new history: when the server starts, and when it found that the store's changes are not the
/// continuation of what it knows.
pub(crate) async fn begin(storage: &Storage) -> Result<(), StoreError> {
    let key = format!("{PREFIX}{}", Uuid::new_v4().simple());
    let began = storage.store().put(&key, Bytes::from_static(b"{}"), Some(Expect::Absent)).await?;
    storage.cache().wait_for(began).await?;
    let known = by_age(storage);
    for old in known.iter().rev().skip(KEPT) {
        // Another server may have removed it.
        let _ = storage.store().delete(&old.key, Some(old.revision)).await;
    }
    Ok(())
}

/// The history that a version belongs to.
pub(crate) fn at(storage: &Storage, version: Revision) -> History {
    let mut known = by_age(storage);
    known.retain(|history| history.revision <= version);
    let predecessor = |pair: &[CachedObject]| Predecessor {
        name: name(&pair[0]),
        until: pair[1].revision.0.saturating_sub(1),
    };
    History {
        name: known.last().map(name).unwrap_or_default(),
        predecessors: known.windows(2).map(predecessor).collect(),
    }
}

/// Whether a key is that of a history.
pub(crate) fn is_one(key: &str) -> bool {
    key.starts_with(PREFIX)
}

fn by_age(storage: &Storage) -> Vec<CachedObject> {
    let mut known: Vec<_> = storage.cache().list(PREFIX).items.iter().cloned().collect();
    known.sort_by_key(|history| history.revision);
    known
}

fn name(history: &CachedObject) -> String {
    history.key.strip_prefix(PREFIX).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use store::embedded::Embedded;

    use super::*;
    use crate::{
        catalogue::{Catalogue, InForce},
        config::Config,
    };

    #[tokio::test]
    async fn a_history_knows_the_latest_of_those_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Default::default()).unwrap();
        let catalogue = InForce::new(Catalogue::built_in());
        let storage = Storage::start(Arc::new(store), catalogue, &Config::default()).await.unwrap();
        let (mut names, mut began) = (Vec::new(), Vec::new());
        for _ in 0..KEPT + 3 {
            begin(&storage).await.unwrap();
            began.push(storage.cache().revision());
            names.push(at(&storage, storage.cache().revision()).name);
        }
        let now = storage.cache().catch_up().await.unwrap();
        assert_eq!(at(&storage, began[KEPT + 1]).name, names[KEPT + 1]);
        let current = at(&storage, now);
        assert_eq!(names.pop().unwrap(), current.name);
        let before: Vec<_> = current.predecessors.iter().map(|p| p.name.clone()).collect();
        assert_eq!(before, names[names.len() - (KEPT - 1)..]);
        assert!(current.predecessors.is_sorted_by(|a, b| a.until < b.until));
    }
}
