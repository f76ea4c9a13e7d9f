//! How many values a body may have: in CBOR and in protobuf two or three bytes can say what takes hundreds of bytes of memory.

use std::cell::Cell;

/// So many values, of which lists and maps count as several: what is sent in earnest is too long long before.
pub(crate) const VALUES: usize = 1 << 20;

/// What a list and a map come to, however little is in them. A map may become a struct with room for each of its fields.
const LIST: usize = 3;
const MAP: usize = 8;

/// How many values there may still be; nothing once there were too many.
#[derive(Debug)]
pub(crate) struct Budget(Cell<Option<usize>>);

/// There were too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent;

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(Some(VALUES)))
    }
}

impl Budget {
    pub(crate) fn value(&self) -> Result<(), Spent> {
        self.take(1)
    }

    pub(crate) fn list(&self) -> Result<(), Spent> {
        self.take(LIST)
    }

    pub(crate) fn map(&self) -> Result<(), Spent> {
        self.take(MAP)
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.get().is_none()
    }

    fn take(&self, values: usize) -> Result<(), Spent> {
        let left = self.0.get().and_then(|left| left.checked_sub(values));
        self.0.set(left);
        if left.is_some() { Ok(()) } else { Err(Spent) }
    }
}
