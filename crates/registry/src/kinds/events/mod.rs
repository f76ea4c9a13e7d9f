//! The kinds of the group.

pub(super) mod event;
