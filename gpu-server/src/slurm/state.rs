//! The states of Slurm's jobs.

use std::{convert::Infallible, fmt, str::FromStr};

/// What a state means for who waits for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It goes on.
    Live,
    /// It has completed.
    Succeeded,
    /// It has failed; another attempt may do better.
    Failed,
    /// Somebody wanted it to end.
    Ended,
}

/// A state, in Slurm's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    word: String,
    meaning: Meaning,
}

/// The states of `man squeue` and `man sacct`, those that are flags beside another state among them.
/// In the order of their words.
const STATES: [(&str, Meaning); 26] = [
    ("BOOT_FAIL", Meaning::Failed),
    ("CANCELLED", Meaning::Ended),
    ("COMPLETED", Meaning::Succeeded),
    ("COMPLETING", Meaning::Live),
    ("CONFIGURING", Meaning::Live),
    // It could not have ended in time: the next would not either.
    ("DEADLINE", Meaning::Ended),
    ("FAILED", Meaning::Failed),
    ("LAUNCH_FAILED", Meaning::Failed),
    ("NODE_FAIL", Meaning::Failed),
    ("OUT_OF_MEMORY", Meaning::Failed),
    ("PENDING", Meaning::Live),
    ("PREEMPTED", Meaning::Failed),
    ("RECONFIG_FAIL", Meaning::Failed),
    ("REQUEUED", Meaning::Live),
    ("REQUEUE_FED", Meaning::Live),
    ("REQUEUE_HOLD", Meaning::Live),
    ("RESIZING", Meaning::Live),
    ("RESV_DEL_HOLD", Meaning::Live),
    // Another cluster of the federation has it.
    ("REVOKED", Meaning::Ended),
    ("RUNNING", Meaning::Live),
    ("SIGNALING", Meaning::Live),
    ("SPECIAL_EXIT", Meaning::Live),
    ("STAGE_OUT", Meaning::Live),
    ("STOPPED", Meaning::Live),
    ("SUSPENDED", Meaning::Live),
    ("TIMEOUT", Meaning::Failed),
];

impl State {
    /// Whether nothing more comes.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.meaning != Meaning::Live
    }

    /// Whether it has completed.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.meaning == Meaning::Succeeded
    }

    /// Whether it has failed in a way in which another attempt may not: nobody wanted it to end.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.meaning == Meaning::Failed
    }

    /// Whether it waits for its turn.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.word == "PENDING"
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.word == "RUNNING"
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.word
    }
}

/// `CANCELLED by 1002` is `CANCELLED`. What is not known goes on.
impl FromStr for State {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let word = text.split([' ', '+']).next().unwrap_or_default();
        let meaning = match STATES.binary_search_by_key(&word, |(word, _)| word) {
            Ok(at) => STATES[at].1,
            Err(_) => Meaning::Live,
        };
        Ok(Self { word: word.to_owned(), meaning })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_goes_on_or_is_a_success_or_a_failure() {
        let state = |text: &str| text.parse::<State>().unwrap();
        let check = |texts: &[&str], is_final, succeeded, may_retry| {
            for text in texts {
                let state = state(text);
                let seen = (state.is_final(), state.succeeded(), state.may_retry());
                assert_eq!(seen, (is_final, succeeded, may_retry), "{text}");
            }
        };
        let live = ["PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED"];
        let more = ["REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"];
        check(&live, false, false, false);
        check(&more, false, false, false);
        check(&["RESIZING", "SIGNALING", "STAGE_OUT", "", "NEW_ONE"], false, false, false);
        check(&["COMPLETED"], true, true, false);
        check(&["FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"], true, false, true);
        check(&["PREEMPTED", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL"], true, false, true);
        check(&["CANCELLED", "CANCELLED by 1002", "CANCELLED+"], true, false, false);
        check(&["DEADLINE", "REVOKED"], true, false, false);
        assert_eq!(state("CANCELLED by 1002").to_string(), "CANCELLED");
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(STATES.is_sorted_by_key(|(word, _)| word));
    }
}
