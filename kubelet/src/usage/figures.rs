//! Figures of something that uses resources, and their sums.

use super::rates::Rate;

/// What a container, a pod or the host has used, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Processor time since the start, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Bytes, the page cache included.
    pub memory_usage: Option<u64>,
    /// Bytes without the inactive part of the page cache.
    pub memory_working_set: Option<u64>,
    /// Bytes of anonymous memory.
    pub memory_rss: Option<u64>,
    /// Bytes of the page cache.
    pub memory_cache: Option<u64>,
    /// Page faults since the start.
    pub page_faults: Option<u64>,
    /// Those that had to be read from a disk.
    pub major_page_faults: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
}

/// Figures with what they say since the sample before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The figures.
    pub figures: Figures,
    /// How fast the processor time grows.
    pub rate: Option<Rate>,
}

impl Measured {
    /// All of them together: nothing of what is not known of each.
    pub(super) fn sum(parts: &[&Self]) -> Self {
        let add = |figure: fn(&Figures) -> Option<u64>| {
            let known = parts.iter().map(|part| figure(&part.figures));
            known.sum::<Option<u64>>().filter(|_| !parts.is_empty())
        };
        let rates: Option<Vec<Rate>> = parts.iter().map(|part| part.rate).collect();
        Self {
            figures: Figures {
                cpu_nanos: add(|f| f.cpu_nanos),
                memory_usage: add(|f| f.memory_usage),
                memory_working_set: add(|f| f.memory_working_set),
                memory_rss: add(|f| f.memory_rss),
                memory_cache: add(|f| f.memory_cache),
                page_faults: add(|f| f.page_faults),
                major_page_faults: add(|f| f.major_page_faults),
                pids: add(|f| f.pids),
                processes: add(|f| f.processes),
            },
            rate: rates.and_then(|rates| rates.into_iter().reduce(Rate::and)),
        }
    }
}

/// The number in a line `name number`, as the kernel writes most of its counters.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

/// A file that is a number.
pub(super) fn number(text: Option<String>) -> Option<u64> {
    text?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn measured(cpu: Option<u64>, memory: Option<u64>, rate: Option<u64>) -> Measured {
        let figures = Figures { cpu_nanos: cpu, memory_working_set: memory, ..Figures::default() };
        let rate = rate.map(|nano_cores| Rate { nano_cores, window: Duration::from_secs(10) });
        Measured { figures, rate }
    }

    #[test]
    fn a_sum_has_nothing_of_what_a_part_lacks() {
        let (one, other) = (measured(Some(1), Some(2), Some(3)), measured(Some(10), None, None));
        assert_eq!(Measured::sum(&[&one, &one]), measured(Some(2), Some(4), Some(6)));
        assert_eq!(Measured::sum(&[&one, &other]), measured(Some(11), None, None));
        assert_eq!(Measured::sum(&[]), Measured::default());
    }

    #[test]
    fn a_field_has_that_name_and_no_other() {
        let text = "cache 1\ntotal_cache 2\nrss\nbad x\n";
        assert_eq!(field(text, "total_cache"), Some(2));
        assert_eq!(
            (field(text, "total"), field(text, "rss"), field(text, "bad")),
            (None, None, None)
        );
    }
}
