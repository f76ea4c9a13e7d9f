//! The tasks of a job, as its status has them.

use api_types::minik8s::{GpuJobStatus, GpuJobTask};

use crate::slurm::State;

pub(super) const COMPLETED: &str = "COMPLETED";
pub(super) const CANCELLED: &str = "CANCELLED";
/// The reason of a task that was cancelled as its job is deleted.
pub(super) const DELETED: &str = "Deleted";

/// One attempt at a task: at most one job of Slurm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Attempt {
    pub(crate) index: i32,
    pub(crate) attempt: i32,
}

impl Attempt {
    pub(crate) fn of(task: &GpuJobTask) -> Self {
        Self { index: task.index, attempt: task.attempt }
    }

    /// What the status says of it, unless it is about another attempt.
    pub(super) fn of_status(self, status: &GpuJobStatus) -> Option<&GpuJobTask> {
        status.tasks.iter().find(|task| Self::of(task) == self)
    }

    pub(super) fn in_status(self, status: &mut GpuJobStatus) -> Option<&mut GpuJobTask> {
        status.tasks.iter_mut().find(|task| Self::of(task) == self)
    }
}

/// Whether the task stays in its state.
pub(crate) fn is_final(task: &GpuJobTask) -> bool {
    task.state
        .as_deref()
        .and_then(|state| state.parse().ok())
        .is_some_and(|state: State| state.is_final())
}

pub(super) fn has_completed(task: &GpuJobTask) -> bool {
    task.state.as_deref() == Some(COMPLETED)
}

/// The tasks that are in Slurm, or on their way there.
pub(crate) fn in_slurm(status: &GpuJobStatus) -> impl Iterator<Item = &GpuJobTask> {
    status.tasks.iter().filter(|task| !is_final(task))
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
