//! What templates and functions are filled from.

use serde_json::Value;

use crate::{
    context::Context,
    error::RunError,
    limits::{MAX_DEPTH, MAX_PAYLOAD, Size},
    path::Path,
    random::Random,
};

/// The most that filling a template may copy and compute, in bytes of JSON: what is passed on is shorter by far.
const MAX_FILLING: usize = 16 * MAX_PAYLOAD;

/// See the module.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) data: &'a Value,
    pub(crate) context: Context<'a>,
    pub(crate) random: &'a mut Random,
    room: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(data: &'a Value, context: Context<'a>, random: &'a mut Random) -> Self {
        Self { data, context, random, room: MAX_FILLING }
    }

    pub(crate) fn get(&mut self, path: &Path) -> Result<Value, RunError> {
        let value = path.get(self.data, &self.context)?;
        self.take(value)
    }

    /// Counts a value that was copied or computed.
    pub(crate) fn take(&mut self, value: Value) -> Result<Value, RunError> {
        let size = Size::of(&value);
        if size.depth > MAX_DEPTH {
            return Err(RunError::depth_limit());
        }
        let left = self.room.checked_sub(size.bytes);
        self.room = left.ok_or_else(|| {
            RunError::data_limit(format!("a template takes more than {MAX_FILLING} bytes"))
        })?;
        Ok(value)
    }
}
