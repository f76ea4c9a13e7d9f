//! What could not be read when it came. It is tried again when its kind is listed: the key that opens it may be there by
//! then, or who keeps it may be well.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use store::{Entry, Revision, Store, StoreError, cache::Cache};
use tokio::time::timeout;

use crate::encoded::{self, Decoded};

/// For how long a list waits for this at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// By key, the revision that could not be read.
    entries: Mutex<BTreeMap<Arc<str>, Revision>>,
    /// One list tries at a time: for the others it is as it was.
    turn: tokio::sync::Mutex<()>,
}

impl Unread {
    /// Remembers what can't be read.
    pub(super) fn note(&self, entry: &Entry) {
        self.entries.lock().insert(entry.key.clone(), entry.revision);
    }

    /// Tries what is below a prefix again, and puts what can be read by now into the cache.
    pub(super) async fn try_again(
        &self,
        store: &dyn Store,
        cache: &Cache<Decoded>,
        prefix: &str,
    ) -> Result<(), StoreError> {
        let entries = self.below(prefix);
        let Some(_turn) = self.turn.try_lock().ok().filter(|_| !entries.is_empty()) else {
            return Ok(());
        };
        let trying = async {
            for (key, revision) in entries {
                let now = store.get(&key).await?;
                if is_settled(cache, now.as_ref(), revision) {
                    self.forget(&key, revision);
                }
            }
            Ok(())
        };
        timeout(PATIENCE, trying).await.unwrap_or(Ok(()))
    }

    fn below(&self, prefix: &str) -> Vec<(Arc<str>, Revision)> {
        let entries = self.entries.lock();
        let below = entries.iter().filter(|(key, _)| key.starts_with(prefix));
        below.map(|(key, revision)| (key.clone(), *revision)).collect()
    }

    /// Another revision of it may have been noted meanwhile.
    fn forget(&self, key: &str, revision: Revision) {
        let mut entries = self.entries.lock();
        if entries.get(key) == Some(&revision) {
            entries.remove(key);
        }
    }
}

/// Whether there is nothing left to try: it is gone, or was written again, and that comes or has come by itself, or can be
/// read and the cache has it.
fn is_settled(cache: &Cache<Decoded>, now: Option<&Entry>, unread: Revision) -> bool {
    match now {
        Some(entry) if entry.revision == unread => {
            encoded::decode(entry).is_ok() && cache.mend(entry)
        }
        Some(_) | None => true,
    }
}
