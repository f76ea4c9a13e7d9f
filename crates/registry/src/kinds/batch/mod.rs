//! The kinds of the group.

pub(super) mod cron_job;
pub(super) mod job;
