//! What admission has to tell the sender of a request beside the answer, and whether the sender still listens.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::respond::{WARNING_LENGTH, WARNINGS_LENGTH};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    warnings: Mutex<Warnings>,
    /// For the audit log.
    annotations: Mutex<BTreeMap<String, String>>,
    /// The same where it is told what objects are.
    contents: Mutex<BTreeMap<String, String>>,
    gone: CancellationToken,
}

/// What is to be told, as long as an answer has room for more of it.
#[derive(Debug, Default)]
struct Warnings {
    in_order: Vec<String>,
    known: HashSet<String>,
    /// The letters of all, each cut as it is when all together are too long.
    length: usize,
}

impl Feedback {
    /// Tells the sender something, once: a write that meets another one is admitted again.
    pub(crate) fn warn(&self, warning: String) {
        self.warnings.lock().add(warning);
    }

    /// All that is to be told.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock()).in_order
    }

    /// Tells the audit log something: what is told first of a key stays, as in Kubernetes.
    pub(crate) fn annotate(&self, key: String, value: String) {
        self.annotations.lock().entry(key).or_insert(value);
    }

    /// Tells it something of what is in the object, which is told only where objects are (the level `Request`).
    pub(crate) fn annotate_with_content(&self, key: String, value: String) {
        self.contents.lock().entry(key).or_insert(value);
    }

    /// All that the audit log is to be told.
    pub(crate) fn take_annotations(&self, with_content: bool) -> BTreeMap<String, String> {
        let mut all = std::mem::take(&mut *self.annotations.lock());
        if with_content {
            all.append(&mut self.contents.lock());
        }
        all
    }

    /// Cancelled when nobody waits for the answer any more.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }
}

impl Warnings {
    fn add(&mut self, warning: String) {
        if self.length >= WARNINGS_LENGTH || self.known.contains(&warning) {
            return;
        }
        self.length += warning.chars().take(WARNING_LENGTH).count();
        self.known.insert(warning.clone());
        self.in_order.push(warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_told_once_and_none_that_no_answer_has_room_for() {
        let feedback = Feedback::default();
        for warning in ["a", "b", "a"] {
            feedback.warn(warning.to_owned());
        }
        assert_eq!(feedback.take(), ["a", "b"]);
        for number in 0..10_000 {
            feedback.warn(format!("{number:0>300}"));
        }
        assert_eq!(feedback.take().len(), WARNINGS_LENGTH / WARNING_LENGTH);
    }
}
