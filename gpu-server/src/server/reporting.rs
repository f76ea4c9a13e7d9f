//! What a server says to the API server, and what it does when that is not taken.

use std::{ops::ControlFlow, time::Duration};

use api_types::minik8s::GpuJob;

use super::{
    IDLE, Server,
    unwritten::{REPORTING, Unwritten},
};
use crate::report::{self, Written};

/// How long the API server may take for the status of a job that is deleted.
const AT_LAST: Duration = Duration::from_secs(3);

impl Server {
    /// Writes the status. That of a job that is deleted is not waited for for long.
    pub(super) async fn report(&mut self, job: &GpuJob) -> Result<(), Unwritten> {
        let most = if job.metadata.deletion_timestamp.is_some() { AT_LAST } else { IDLE };
        let written = tokio::time::timeout(most, self.reporter.write(&self.status)).await;
        let Ok(written) = written else { return Err(Unwritten::Failed) };
        match written {
            Ok(Written::Yes) => Ok(()),
            Ok(Written::Other(status)) => {
                tracing::warn!("another server has written the job's status: going on from that");
                self.take_over(job, *status);
                Err(Unwritten::Other)
            }
            Ok(Written::Gone) => {
                self.fetching.give_up().await;
                Err(Unwritten::Gone)
            }
            Err(error) => {
                tracing::warn!(%error, "cannot write the status");
                Err(Unwritten::Failed)
            }
        }
    }

    /// From then on nobody need tell this server that the job is gone: its account goes with the job.
    pub(super) async fn release(&mut self) -> ControlFlow<(), Duration> {
        match self.reporter.release().await {
            Ok(()) => ControlFlow::Break(()),
            // The account is gone already: whoever comes next, if anybody has to, has another one.
            Err(error) if report::is_refused(&error) && self.shutdown.is_cancelled() => {
                ControlFlow::Break(())
            }
            Err(error) => {
                tracing::warn!(%error, "the finalizer stays");
                ControlFlow::Continue(REPORTING)
            }
        }
    }
}
