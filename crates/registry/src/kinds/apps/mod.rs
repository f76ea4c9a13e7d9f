//! The kinds of the group.

pub(super) mod replica_set;
