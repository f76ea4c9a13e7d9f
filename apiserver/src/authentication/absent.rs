//! What tokens are of or bound to, and the store has no longer: a token that somebody goes on showing costs it no question each
//! time.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long that is believed, as Kubernetes believes what it knows of a token. Who shows a token has it from a server that
/// found the object, so one that is not there has gone; only a backup that is restored brings it back.
const BELIEVED: Duration = Duration::from_secs(10);
/// So many are remembered.
const MOST: usize = 4096;

/// The UIDs of objects that are gone, and when the store said so.
#[derive(Debug, Default)]
pub(crate) struct Absent(Mutex<HashMap<String, Instant>>);

impl Absent {
    /// Whether the store has said so a moment ago.
    pub(super) fn has(&self, uid: &str) -> bool {
        self.0.lock().get(uid).is_some_and(is_believed)
    }

    /// The store does not have it.
    pub(super) fn note(&self, uid: &str) {
        let mut known = self.0.lock();
        if known.len() >= MOST {
            known.retain(|_, said| is_believed(said));
        }
        // The node of a pod may have had none.
        if known.len() < MOST && !uid.is_empty() {
            known.insert(uid.to_owned(), Instant::now());
        }
    }
}

fn is_believed(said: &Instant) -> bool {
    said.elapsed() < BELIEVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_believed_for_a_while_and_of_no_more_than_fit() {
        let absent = Absent::default();
        absent.note("");
        (0..MOST).for_each(|n| absent.note(&n.to_string()));
        absent.note("one too many");
        assert_eq!(["", "0", "one too many"].map(|uid| absent.has(uid)), [false, true, false]);
        tokio::time::advance(BELIEVED).await;
        assert!(!absent.has("0"));
        absent.note("another");
        assert!(absent.has("another"));
    }
}
