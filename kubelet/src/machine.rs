//! What the node has and how busy it is, read from `/proc`. Parsing is pure.

use std::path::Path;

/// Below this share of free memory the node is under pressure.
const MEMORY_PRESSURE_BYTES: u64 = 100 << 20;
/// Below this share of free disk space the node is under pressure.
const DISK_PRESSURE_PERCENT: f64 = 10.0;

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

    /// Whether hardly any is left.
    pub fn is_short(self) -> bool {
        self.total > 0 && self.available < MEMORY_PRESSURE_BYTES
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

/// Whether the file system of a directory is nearly full.
pub fn disk_is_short(directory: &Path) -> bool {
    let Ok(stat) = nix::sys::statvfs::statvfs(directory) else { return false };
    is_short(stat.blocks(), stat.blocks_free(), stat.blocks_available())
}

/// As `df` counts: what is kept back from everybody but root is neither used nor free.
fn is_short(all: u64, free: u64, available: u64) -> bool {
    percent(available, all.saturating_sub(free) + available) < DISK_PRESSURE_PERCENT
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
    fn a_disk_is_short_when_a_tenth_of_what_can_be_used_is_left() {
        assert!(!is_short(1000, 500, 500));
        assert!(is_short(1000, 99, 99));
        assert!(!is_short(1000, 600, 50), "50 of 450 blocks are left, 550 are kept back");
        assert!(is_short(1000, 600, 40), "40 of 440 blocks");
    }

    #[test]
    fn cpu_use_is_the_share_of_ticks_that_were_not_idle() {
        let earlier = CpuTicks::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n").unwrap();
        let later = CpuTicks::parse("cpu  150 0 100 840 10 0 0 0 0 0\n").unwrap();
        assert!((later.percent_since(earlier) - 50.0).abs() < 0.001);
    }
}
