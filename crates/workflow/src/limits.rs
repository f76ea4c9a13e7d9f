//! How much a run may do and hold, and how long JSON is.

use serde::Serialize;

/// The most steps of a run, so that a circle ends.
pub const MAX_STEPS: u64 = 10_000;
/// The longest JSON text that a step may be given or pass on, in bytes.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// The longest JSON text of an execution, in bytes: it is stored as a whole.
pub const MAX_EXECUTION: usize = 768 * 1024;
/// The most steps that are taken at once, before they are stored.
pub(crate) const MAX_STEPS_AT_ONCE: u64 = 200;

/// The length of the JSON text.
pub(crate) fn length(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written as JSON cannot be stored.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}
