//! What is told of the job in the API: its status and Events.

use api_types::minik8s::{GpuJob, GpuJobStatus};
use component::events::{EventType, Recorder};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};

use crate::driver::{self, Happening};

/// Writes the status of one job. Its controller writes some of it too, which is left alone.
#[derive(Debug)]
pub(crate) struct Reporter {
    api: Api<GpuJob>,
    recorder: Recorder,
    /// What was written last.
    written: GpuJobStatus,
}

impl Reporter {
    /// `written` is what the job has.
    pub(crate) fn new(api: Api<GpuJob>, recorder: Recorder, written: GpuJobStatus) -> Self {
        Self { api, recorder, written }
    }

    /// Writes the status, and tells of what has happened since the last one. A job that is not there any more is no
    /// error.
    pub(crate) async fn write(
        &mut self,
        job: &GpuJob,
        status: &GpuJobStatus,
    ) -> Result<(), kube::Error> {
        if *status == self.written {
            return Ok(());
        }
        let mut job = job.clone();
        let name = job.metadata.name.clone().unwrap_or_default();
        loop {
            job.status = Some(merged(status, job.status.as_ref()));
            match self.api.replace_status(&name, &PostParams::default(), &job).await {
                Ok(_) => break,
                Err(error) if is(&error, 409) => match self.same(&job).await? {
                    Some(latest) => job = latest,
                    None => break,
                },
                Err(error) if is(&error, 404) => break,
                Err(error) => return Err(error),
            }
        }
        for happening in driver::happenings(&self.written, status) {
            self.tell(&job, happening);
        }
        self.written = status.clone();
        Ok(())
    }

    /// Takes the finalizer away.
    pub(crate) async fn release(&self, job: &GpuJob) -> Result<(), kube::Error> {
        let name = job.metadata.name.clone().unwrap_or_default();
        while let Some(latest) = self.same(job).await? {
            let mut finalizers = latest.metadata.finalizers.unwrap_or_default();
            if !finalizers.iter().any(|finalizer| finalizer == GpuJob::FINALIZER) {
                break;
            }
            finalizers.retain(|finalizer| finalizer != GpuJob::FINALIZER);
            let version = latest.metadata.resource_version;
            let metadata =
                serde_json::json!({ "finalizers": finalizers, "resourceVersion": version });
            let patch = Patch::Merge(serde_json::json!({ "metadata": metadata }));
            match self.api.patch(&name, &PatchParams::default(), &patch).await {
                Err(error) if is(&error, 409) => {}
                Err(error) if !is(&error, 404) => return Err(error),
                _ => break,
            }
        }
        Ok(())
    }

    /// The latest version of the job, unless another one has its name.
    async fn same(&self, job: &GpuJob) -> Result<Option<GpuJob>, kube::Error> {
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let latest = self.api.get_opt(name).await?;
        Ok(latest.filter(|latest| latest.metadata.uid == job.metadata.uid))
    }

    fn tell(&self, job: &GpuJob, Happening { warning, reason, message }: Happening) {
        let type_ = if warning { EventType::Warning } else { EventType::Normal };
        tracing::info!(%reason, "{message}");
        self.recorder.about(job, type_, &reason, message);
    }
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Our status, with what the controller says in its own part of it.
fn merged(ours: &GpuJobStatus, theirs: Option<&GpuJobStatus>) -> GpuJobStatus {
    let mut merged = ours.clone();
    let Some(theirs) = theirs else { return merged };
    merged.pod_name.clone_from(&theirs.pod_name);
    merged.conditions.retain(|condition| condition.type_ != GpuJob::SERVER_READY);
    let have: Vec<_> = merged.conditions.iter().map(|condition| condition.type_.clone()).collect();
    let others = theirs.conditions.iter().filter(|condition| !have.contains(&condition.type_));
    merged.conditions.extend(others.cloned());
    merged
}

#[cfg(test)]
mod tests {
    use api_types::{
        jiff::Timestamp,
        meta::{Condition, Time},
    };

    use super::*;

    fn status(pod: &str, conditions: &[(&str, &str)]) -> GpuJobStatus {
        let condition = |&(type_, status): &(&str, &str)| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: String::new(),
            message: String::new(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        };
        GpuJobStatus {
            pod_name: Some(pod.to_owned()),
            conditions: conditions.iter().map(condition).collect(),
            ..GpuJobStatus::default()
        }
    }

    #[test]
    fn what_the_controller_says_stays() {
        let ours = status("old", &[("Uploaded", "True"), (GpuJob::SERVER_READY, "False")]);
        let theirs = status("new", &[("Uploaded", "False"), (GpuJob::SERVER_READY, "True")]);
        let expected = status("new", &[("Uploaded", "True"), (GpuJob::SERVER_READY, "True")]);
        assert_eq!(merged(&ours, Some(&theirs)), expected);
        assert_eq!(merged(&ours, None), ours);
    }
}
