//! The kinds of the group.

pub(super) mod endpoint_slice;
