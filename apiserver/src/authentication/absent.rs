//! What tokens are of or bound to, and the store has no longer: a token that somebody goes on showing costs it no question each
//! time, but one as often as that is no longer believed.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long that is believed, as Kubernetes believes what it knows of a token. Who shows a token has it from a server that
/// found the object, so one that is not there has gone; only a backup that is restored brings it back.
const BELIEVED: Duration = Duration::from_secs(10);
/// So many are remembered: the latest.
const MOST: usize = 4096;

/// The UIDs of objects that are gone, and when the store said so.
#[derive(Debug, Default)]
pub(crate) struct Absent(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    said: HashMap<String, Instant>,
    /// The same, the oldest first: no request walks all of them.
    in_turn: VecDeque<(String, Instant)>,
}

impl Absent {
    /// Whether the store has said so a moment ago.
    pub(super) fn has(&self, uid: &str) -> bool {
        self.0.lock().said.get(uid).is_some_and(is_believed)
    }

    /// The store does not have it.
    pub(super) fn note(&self, uid: &str) {
        // A claim may have none, and is not good for that.
        if uid.is_empty() {
            return;
        }
        let mut known = self.0.lock();
        if known.in_turn.len() >= MOST {
            known.forget_oldest();
        }
        let now = Instant::now();
        known.said.insert(uid.to_owned(), now);
        known.in_turn.push_back((uid.to_owned(), now));
    }
}

impl Known {
    fn forget_oldest(&mut self) {
        let Some((uid, then)) = self.in_turn.pop_front() else { return };
        // It may have been said once more.
        if self.said.get(&uid) == Some(&then) {
            self.said.remove(&uid);
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
        assert_eq!(["", "0", "1"].map(|uid| absent.has(uid)), [false, true, true]);
        absent.note("one more");
        assert_eq!(["0", "1", "one more"].map(|uid| absent.has(uid)), [false, true, true]);
        tokio::time::advance(BELIEVED).await;
        assert!(!absent.has("1"));
        // What is said once more is not forgotten with what was said before.
        absent.note("1");
        absent.note("another");
        assert!(absent.has("1"));
        assert_eq!(absent.0.lock().in_turn.len(), MOST);
    }
}
