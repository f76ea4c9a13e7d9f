//! The memory of a process.

use std::fs;

use anyhow::Context;

/// In KiB, as /proc has them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Each page divided among those that have it.
    pub(crate) proportional: u64,
    /// That of no file: heap, stacks, and pages of the program that were written to.
    pub(crate) anonymous: u64,
    pub(crate) resident: u64,
}

impl Memory {
    pub(crate) fn of(process: &str) -> anyhow::Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let kib = |name: &str| {
            let line = maps.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
                .with_context(|| format!("/proc/{process}/smaps_rollup has no {name}"))
        };
        Ok(Self {
            proportional: kib("Pss:")?,
            anonymous: kib("Pss_Anon:")?,
            resident: kib("Rss:")?,
        })
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            proportional: self.proportional + other.proportional,
            anonymous: self.anonymous + other.anonymous,
            resident: self.resident + other.resident,
        }
    }

    pub(crate) fn mib(kib: u64) -> String {
        format!("{:.1}", kib as f64 / 1024.0)
    }
}
