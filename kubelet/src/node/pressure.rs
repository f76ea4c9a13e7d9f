//! When the node is short of something, and says so: less of it is left than there has to be (Kubernetes: `--eviction-hard`,
//! `pkg/kubelet/eviction/helpers.go`).

use std::{path::Path, str::FromStr};

use api_machinery::quantity::Quantity;

use crate::machine::{Left, Memory, disk};

/// What there has to be where nobody says otherwise.
pub const USUAL: &str = "memory.available<100Mi,nodefs.available<10%";

/// How much there has to be, at least.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thresholds {
    memory: Threshold,
    disk: Threshold,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Threshold {
    /// It is never short.
    #[default]
    None,
    Bytes(u64),
    /// Of all that there is.
    Percent(f64),
}

impl Thresholds {
    /// Whether too little memory is left.
    pub fn memory_is_short(self) -> bool {
        let Memory { total, available } = Memory::read();
        self.memory.is_above(Left { total, available })
    }

    /// Whether too little is left where a directory is.
    pub fn disk_is_short(self, directory: &Path) -> bool {
        disk(directory).is_some_and(|left| self.disk.is_above(left))
    }
}

impl FromStr for Thresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut thresholds = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (signal, value) = part
                .split_once('<')
                .ok_or_else(|| format!("{part}: must be SIGNAL<QUANTITY or SIGNAL<PERCENT%"))?;
            let threshold = match signal {
                "memory.available" => &mut thresholds.memory,
                "nodefs.available" => &mut thresholds.disk,
                _ => {
                    let known = "memory.available and nodefs.available";
                    return Err(format!("{signal}: no such signal, only {known}"));
                }
            };
            *threshold = value.parse().map_err(|why| format!("{signal}: {value}: {why}"))?;
        }
        Ok(thresholds)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // How Kubernetes has none said.
        if matches!(text, "0%" | "100%") {
            return Ok(Self::None);
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
            return percent.map(Self::Percent).ok_or("must be between 0 % and 100 %".to_owned());
        }
        let bytes = text.parse::<Quantity>().map_err(|error| error.to_string())?.value();
        u64::try_from(bytes).map(Self::Bytes).map_err(|_| "must not be negative".to_owned())
    }
}

impl Threshold {
    fn is_above(self, left: Left) -> bool {
        match self {
            Self::None => false,
            // Nobody can tell.
            _ if left.total == 0 => false,
            Self::Bytes(bytes) => left.available < bytes,
            Self::Percent(percent) => left.percent() < percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_short_of_what_less_is_left_of_than_there_has_to_be() {
        let check = |threshold: &str, total: u64, available: u64, expected: bool| {
            let threshold: Threshold = threshold.parse().unwrap();
            assert_eq!(threshold.is_above(Left { total, available }), expected, "{threshold:?}");
        };
        check("10%", 1000, 99, true);
        check("10%", 1000, 100, false);
        check("1Ki", 4096, 1023, true);
        check("1Ki", 4096, 1024, false);
        check("0%", 1000, 0, false);
        check("100%", 1000, 0, false);
        check("10%", 0, 0, false);
    }

    #[test]
    fn what_has_to_be_left_is_said_as_with_kubernetes() {
        let read = |text: &str| text.parse::<Thresholds>();
        let usual =
            Thresholds { memory: Threshold::Bytes(100 << 20), disk: Threshold::Percent(10.0) };
        assert_eq!(read(USUAL), Ok(usual));
        let disk = Thresholds { memory: Threshold::None, disk: Threshold::Bytes(1 << 30) };
        assert_eq!(read("nodefs.available<1Gi"), Ok(disk));
        assert_eq!(read(""), Ok(Thresholds::default()));
        for (text, why) in [
            ("memory.available", "memory.available: must be SIGNAL<QUANTITY or SIGNAL<PERCENT%"),
            (
                "pid.available<5%",
                "pid.available: no such signal, only memory.available and nodefs.available",
            ),
            ("nodefs.available<101%", "nodefs.available: 101%: must be between 0 % and 100 %"),
            ("memory.available<-1", "memory.available: -1: must not be negative"),
        ] {
            assert_eq!(read(text), Err(why.to_owned()), "{text}");
        }
    }
}
