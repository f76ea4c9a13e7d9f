//! Where and when the output of tasks that run is looked for: together, at a pace of its own, as nobody is told when a file
//! grows.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    driver::{self, Attempt},
    output::{Progress, Source},
};

/// After how long is looked for more files that a task may have begun.
const LISTING: Duration = Duration::from_secs(30);

/// When and where output is looked for.
#[derive(Debug, Default)]
pub(super) struct Printing {
    /// The files that tasks have, as far as they have been found.
    found: BTreeMap<Attempt, Found>,
    next: Option<Instant>,
    wait: Duration,
    /// What has come of this look.
    progress: Progress,
}

#[derive(Debug)]
struct Found {
    sources: Vec<Source>,
    at: Instant,
}

impl Printing {
    /// Another round begins.
    pub(super) fn begin(&mut self) {
        self.progress = Progress::default();
    }

    /// Tasks have printed more than was printed here.
    pub(super) fn has_more(&self) -> bool {
        self.progress.more
    }

    /// How long it is not looked again.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.next.map(|next| next.saturating_duration_since(now)).unwrap_or_default()
    }

    pub(super) fn see(&mut self, progress: Progress) {
        self.progress.some |= progress.some;
        self.progress.more |= progress.more;
    }

    pub(super) fn looked(&mut self, now: Instant) {
        self.wait = driver::streaming(self.wait, self.progress.some);
        self.next = Some(now + self.wait);
    }

    /// Only these run.
    pub(super) fn keep(&mut self, running: &[Attempt]) {
        self.found.retain(|attempt, _| running.contains(attempt));
    }

    pub(super) fn forget(&mut self, attempt: Attempt) {
        self.found.remove(&attempt);
    }

    /// The files of a task, as far as they are known.
    pub(super) fn sources(&self, attempt: Attempt) -> &[Source] {
        self.found.get(&attempt).map_or(&[], |found| &found.sources)
    }

    pub(super) fn is_known(&self, attempt: Attempt, now: Instant) -> bool {
        self.found.get(&attempt).is_some_and(|found| now < found.at + LISTING)
    }

    pub(super) fn found(&mut self, attempt: Attempt, sources: Vec<Source>, at: Instant) {
        // What has begun a moment ago has no file yet.
        if sources.is_empty() {
            self.found.remove(&attempt);
        } else {
            self.found.insert(attempt, Found { sources, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Stream;

    #[test]
    fn output_is_looked_for_at_once_and_then_at_its_pace() {
        let (mut printing, now) = (Printing::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(printing.wait(now).is_zero());
        printing.looked(now);
        assert_eq!(printing.wait(now), Duration::from_secs(1));
        assert!(printing.wait(after(1)).is_zero());
        printing.looked(after(1));
        assert_eq!(printing.wait(after(1)), Duration::from_secs(2));
        printing.see(Progress { some: true, more: true });
        printing.looked(after(3));
        assert!(printing.has_more());
        assert_eq!(printing.wait(after(3)), Duration::from_secs(1));
        printing.begin();
        assert!(!printing.has_more());
    }

    #[test]
    fn the_files_of_a_task_are_looked_for_until_there_are_some_and_then_seldom() {
        let (mut printing, now) = (Printing::default(), Instant::now());
        let attempt = Attempt { index: 0, attempt: 0 };
        printing.found(attempt, Vec::new(), now);
        assert!(!printing.is_known(attempt, now));
        let source = Source { attempt, stream: Stream::Output, path: "/x".to_owned() };
        printing.found(attempt, vec![source], now);
        assert!(printing.is_known(attempt, now) && !printing.is_known(attempt, now + LISTING));
    }
}
