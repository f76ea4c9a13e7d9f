//! The kinds of the group.

pub(super) mod dns;
pub(super) mod function;
pub(super) mod gpu_job;
pub(super) mod workflow;
pub(super) mod workflow_run;
