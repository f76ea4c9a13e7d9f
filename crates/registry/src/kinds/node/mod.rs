//! The kinds of the group.

pub(super) mod runtime_class;
