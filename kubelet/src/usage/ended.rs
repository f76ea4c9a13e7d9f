//! What containers of a pod had counted that have ended, so that the pod's counters only grow: whoever compares two
//! takes any fall for a beginning at zero. What a container counts after the last sample that has it is lost. Pure.

use std::collections::HashMap;

use super::{figures::Figures, running::RunningPod};

/// By the pods' uid.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pods: HashMap<String, Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// What containers that ran in the last sample had counted, by id.
    running: HashMap<String, Counters>,
    ended: Counters,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    cpu_nanos: u64,
    page_faults: u64,
    major_page_faults: u64,
}

impl Ended {
    /// Begins a sample: pods of which nothing runs are forgotten.
    pub(super) fn begin(&mut self, running: &[RunningPod]) {
        let kept = running.iter().filter_map(|running| self.pods.remove_entry(&running.pod.uid));
        self.pods = kept.collect();
    }

    /// Adds what ended containers of a pod had counted to what those count that run, by id.
    pub(super) fn add<'a>(
        &mut self,
        uid: &str,
        running: impl Iterator<Item = (&'a str, &'a Figures)>,
        sum: &mut Figures,
    ) {
        let counted = self.pods.entry(uid.to_owned()).or_default();
        counted.note(running);
        let Counters { cpu_nanos, page_faults, major_page_faults } = counted.ended;
        let add = |figure: &mut Option<u64>, more| *figure = figure.map(|figure| figure + more);
        add(&mut sum.cpu_nanos, cpu_nanos);
        add(&mut sum.page_faults, page_faults);
        add(&mut sum.major_page_faults, major_page_faults);
    }
}

impl Counted {
    fn note<'a>(&mut self, running: impl Iterator<Item = (&'a str, &'a Figures)>) {
        let mut before = std::mem::take(&mut self.running);
        for (id, figures) in running {
            let last = before.remove(id).unwrap_or_default();
            self.running.insert(id.to_owned(), last.and(figures));
        }
        before.into_values().for_each(|ended| self.ended.add(ended));
    }
}

impl Counters {
    /// What cannot be read is as it was: a container that has just ended may still be among those that run.
    fn and(self, figures: &Figures) -> Self {
        Self {
            cpu_nanos: figures.cpu_nanos.unwrap_or(self.cpu_nanos),
            page_faults: figures.page_faults.unwrap_or(self.page_faults),
            major_page_faults: figures.major_page_faults.unwrap_or(self.major_page_faults),
        }
    }

    fn add(&mut self, other: Self) {
        self.cpu_nanos += other.cpu_nanos;
        self.page_faults += other.page_faults;
        self.major_page_faults += other.major_page_faults;
    }
}
