//! How much a run may do and hold, and how long JSON is.

use std::io::{self, Write};

use api_machinery::extent;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// The most steps of a run, so that a circle ends.
pub const MAX_STEPS: u64 = 10_000;
/// The longest JSON text that a step may be given or pass on, in bytes.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// The longest JSON text of an execution, in bytes: it is stored as a whole.
pub const MAX_EXECUTION: usize = 768 * 1024;
/// The most steps that are taken at once, before they are stored.
pub(crate) const MAX_STEPS_AT_ONCE: u64 = 200;

/// How deep the values may be nested that a step is given or passes on: they are stored in an execution.
pub const MAX_DEPTH: usize = 64;
/// How deep an execution may be nested: it is stored in the status of an object.
pub(crate) const MAX_EXECUTION_DEPTH: usize = extent::MAX_DEPTH - 2;

/// The length of the JSON text in bytes, and how deep lists and objects are nested in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Of the text without spaces.
    pub bytes: usize,
    /// 0 for what is neither a list nor an object.
    pub depth: usize,
}

impl Size {
    /// How large a value is.
    pub fn of(value: &impl Serialize) -> Self {
        let (mut bytes, mut depth) = (Bytes(0), Depth::default());
        match value.serialize(&mut Serializer::with_formatter(&mut bytes, &mut depth)) {
            Ok(()) => Self { bytes: bytes.0, depth: depth.deepest },
            // What cannot be written as JSON cannot be stored.
            Err(_) => Self { bytes: usize::MAX, depth: usize::MAX },
        }
    }
}

struct Bytes(usize);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Depth {
    open: usize,
    deepest: usize,
}

impl Depth {
    fn open(&mut self) {
        self.open += 1;
        self.deepest = self.deepest.max(self.open);
    }
}

impl Formatter for &mut Depth {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open();
        CompactFormatter.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open -= 1;
        CompactFormatter.end_array(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open();
        CompactFormatter.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open -= 1;
        CompactFormatter.end_object(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn brackets_within_texts_nest_nothing() {
        for (value, depth) in [
            (json!(1), 0),
            (json!([]), 1),
            (json!({"a": [1, {"b": null}], "c": []}), 3),
            (json!({"[{": "\\\"[[", "x\"[": "\\"}), 1),
        ] {
            let size = Size { bytes: value.to_string().len(), depth };
            assert_eq!(Size::of(&value), size, "{value}");
        }
    }
}
