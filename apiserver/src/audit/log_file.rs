//! The file that events are written to, and what becomes of it when it is long.

use std::path::{Path, PathBuf};

use super::truncate::Truncation;

/// Where events are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The file; `-` is the standard output.
    pub path: PathBuf,
    /// After how many megabytes another file is begun; 0: never.
    pub max_size: u64,
    /// How many old files are kept; 0: all.
    pub max_backups: usize,
    /// For how many days old files are kept; 0: for ever.
    pub max_age: u32,
    /// Whether old files are compressed.
    pub compress: bool,
    /// How long events may be, and how many bytes of them are written at once; none: any.
    pub truncation: Option<Truncation>,
}

impl LogFile {
    pub(super) fn is_standard_output(&self) -> bool {
        self.path == Path::new("-")
    }

    pub(super) fn limit(&self) -> u64 {
        if self.max_size == 0 { u64::MAX } else { self.max_size << 20 }
    }
}
