//! The kinds of the group.

pub(super) mod priority_class;
