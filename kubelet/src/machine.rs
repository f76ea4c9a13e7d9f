//! What the node has and how busy it is, read from `/proc`. Parsing is pure.

use std::path::Path;

/// The kernel tells programs hundredths of a second, whatever its own ticks are (`USER_HZ`).
const NANOS_PER_TICK: u64 = 10_000_000;

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What can be given to programs.
    pub available: u64,
}

impl Memory {
    /// From `/proc/meminfo`.
    pub fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> Self {
        let field = |name| kibibytes(text, name).unwrap_or_default();
        Self { total: field("MemTotal:"), available: field("MemAvailable:") }
    }

    /// Use in percent.
    pub fn percent(self) -> f64 {
        percent(self.total.saturating_sub(self.available), self.total)
    }
}

/// The bytes in a line of `/proc/meminfo`.
pub(crate) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Ticks of all processors together since the start of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    user: u64,
    system: u64,
    busy: u64,
    total: u64,
}

impl CpuTicks {
    /// From `/proc/stat`.
    pub fn read() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&text).unwrap_or_default()
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        // guest and guest_nice, the last two, are part of user and nice.
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let total: u64 = ticks.iter().sum();
        // user and nice; system, irq and softirq. Time stolen by other machines is neither.
        let sum = |places: &[usize]| places.iter().filter_map(|place| ticks.get(*place)).sum();
        Some(Self { user: sum(&[0, 1]), system: sum(&[2, 5, 6]), busy: total - idle, total })
    }

    /// Nanoseconds that were not idle.
    pub(crate) fn busy_nanos(self) -> u64 {
        ticks_nanos(self.busy)
    }

    /// Nanoseconds of programs.
    pub(crate) fn user_nanos(self) -> u64 {
        ticks_nanos(self.user)
    }

    /// Nanoseconds of the kernel.
    pub(crate) fn system_nanos(self) -> u64 {
        ticks_nanos(self.system)
    }

    /// Use in percent since an earlier moment.
    pub fn percent_since(self, earlier: Self) -> f64 {
        percent(self.busy.saturating_sub(earlier.busy), self.total.saturating_sub(earlier.total))
    }
}

/// Of a time in ticks.
pub(crate) fn ticks_nanos(ticks: u64) -> u64 {
    ticks.saturating_mul(NANOS_PER_TICK)
}

/// Bytes of the file system of a directory.
pub fn disk_bytes(directory: &Path) -> u64 {
    let stat = nix::sys::statvfs::statvfs(directory);
    stat.map_or(0, |stat| stat.blocks() * stat.fragment_size())
}

/// The part of the disk that pods may use: the rest is kept free.
pub fn allocatable_disk(bytes: u64) -> u64 {
    bytes - bytes / 10
}

/// What is left of something, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// All of it.
    pub total: u64,
    /// What can be used.
    pub available: u64,
}

impl Left {
    /// In percent.
    pub fn percent(self) -> f64 {
        percent(self.available, self.total)
    }
}

/// What is left of the file system of a directory. `None` if that can't be told.
pub fn disk(directory: &Path) -> Option<Left> {
    let stat = nix::sys::statvfs::statvfs(directory).ok()?;
    let left = left(stat.blocks(), stat.blocks_free(), stat.blocks_available());
    let bytes = |blocks: u64| blocks * stat.fragment_size();
    Some(Left { total: bytes(left.total), available: bytes(left.available) })
}

/// As `df` counts: what is kept back from everybody but root is neither used nor free.
fn left(all: u64, free: u64, available: u64) -> Left {
    Left { total: all.saturating_sub(free) + available, available }
}

/// Number of processors.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let memory = Memory::parse("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  250 kB\n");
        assert_eq!(memory, Memory { total: 1_024_000, available: 256_000 });
        assert!((memory.percent() - 75.0).abs() < 0.001);
        assert!((Memory::default().percent()).abs() < 0.001);
    }

    #[test]
    fn what_is_kept_back_from_users_of_a_disk_is_neither_used_nor_left() {
        assert_eq!(left(1000, 500, 500), Left { total: 1000, available: 500 });
        assert_eq!(left(1000, 600, 50), Left { total: 450, available: 50 });
    }

    #[test]
    fn cpu_use_is_the_share_of_ticks_that_were_not_idle() {
        let earlier = CpuTicks::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n").unwrap();
        let later = CpuTicks::parse("cpu  150 0 100 840 10 0 0 0 0 0\n").unwrap();
        assert!((later.percent_since(earlier) - 50.0).abs() < 0.001);
    }
}
