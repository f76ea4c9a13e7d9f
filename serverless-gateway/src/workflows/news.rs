//! What the watch tells of a run, and a write's answer. What its holder alone reads is passed over: it is most of a run, and each of
//! the holder's own writes comes back twice.

use std::borrow::Cow;

use api_types::{
    Resource as _,
    meta::{MicroTime, ObjectMeta},
    minik8s::{RunPhase, WorkflowRun, WorkflowRunSpec, WorkflowRunStatus},
};
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;

/// A run, without its history and where it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct News {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: WorkflowRunSpec,
    pub(super) status: Progress,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Progress {
    pub(super) phase: RunPhase,
    pub(super) holder: Option<String>,
    pub(super) lease_until: Option<MicroTime>,
    pub(super) output: Option<Value>,
    pub(super) error: Option<String>,
    pub(super) message: Option<String>,
}

impl News {
    pub(super) fn has_ended(&self) -> bool {
        self.status.phase.has_ended()
    }

    /// The whole run, if there is no more of it: nobody has begun it.
    pub(super) fn not_begun(&self) -> Option<WorkflowRun> {
        let Progress { phase, holder, lease_until, .. } = self.status.clone();
        let status = WorkflowRunStatus { phase, holder, lease_until, ..Default::default() };
        let (metadata, spec) = (self.metadata.clone(), self.spec.clone());
        let run = WorkflowRun { metadata, spec, status: Some(status) };
        (phase == RunPhase::Pending).then_some(run)
    }
}

impl From<WorkflowRun> for News {
    fn from(run: WorkflowRun) -> Self {
        let status = run.status.unwrap_or_default().into();
        Self { metadata: run.metadata, spec: run.spec, status }
    }
}

impl From<WorkflowRunStatus> for Progress {
    fn from(status: WorkflowRunStatus) -> Self {
        let WorkflowRunStatus { phase, holder, lease_until, output, error, message, .. } = status;
        Self { phase, holder, lease_until, output, error, message }
    }
}

impl Resource for News {
    type DynamicType = ();
    type Scope = <WorkflowRun as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        WorkflowRun::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        WorkflowRun::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        WorkflowRun::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        WorkflowRun::URL_PATH_SEGMENT.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
