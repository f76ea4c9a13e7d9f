//! How a job goes on: functions from what is known of it (its spec, its status, the time) to its next status and to what
//! is to be done. No I/O, no clock.
//!
//! The status is the memory: it is written before anything is done, and a server that begins with it, at whatever
//! point another one ended, does what that one would have done. What may be lost with a server (that a task was
//! submitted, that it has ended) is found out again from the Slurm cluster, by the task's index and attempt.

mod conditions;
mod events;
mod missing;
mod news;
mod next;
mod pace;
mod place;
mod tasks;
mod time_limit;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;

pub(crate) use conditions::{CLUSTER_READY, COMPILED, Told, condition, is_true, set, short};
pub(crate) use events::{Happening, happenings};
pub(crate) use missing::Missing;
pub(crate) use news::{News, Observation, is_on_cluster, tell};
pub(crate) use next::{Action, Prepared, has_ended, next, until_deadline};
pub(crate) use pace::{back_off, pace, streaming};
pub(crate) use place::{Place, place};
pub(crate) use tasks::{Attempt, in_slurm};
