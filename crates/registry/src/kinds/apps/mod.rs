//! The kinds of the group.

pub(super) mod deployment;
mod pods;
pub(super) mod replica_set;
pub(super) mod replication_controller;
