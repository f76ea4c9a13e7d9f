//! The kinds of the group.

pub(super) mod controller_revision;
pub(super) mod daemon_set;
pub(super) mod deployment;
pub(super) mod pods;
pub(super) mod replica_set;
pub(super) mod replication_controller;
pub(super) mod stateful_set;
