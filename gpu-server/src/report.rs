//! What is told of the job in the API: its status and Events.
//!
//! Two servers may have a job at a time, if a node that was given up comes back. So a status is written only in place of
//! the one that this server has seen last: what the other one wrote is taken over, and decided upon anew.

use api_types::{
    meta::ObjectMeta,
    minik8s::{GpuJob, GpuJobStatus},
};
use component::events::{EventType, Recorder};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Map, Value, json};

use crate::driver::{self, Happening};

/// What has come of writing the status.
#[derive(Debug, PartialEq)]
pub(crate) enum Written {
    /// It is there.
    Yes,
    /// It is not: another server has written this one.
    Other(Box<GpuJobStatus>),
    /// The job is gone, or another one has its name.
    Gone,
}

/// Writes the status of one job. Its controller writes some of it too, which is left alone.
#[derive(Debug)]
pub(crate) struct Reporter {
    api: Api<GpuJob>,
    recorder: Recorder,
    /// The job without its spec: with the status that is based upon.
    stored: GpuJob,
    /// What was written last.
    written: GpuJobStatus,
    /// What was sent since, without an answer: it may be there.
    sent: Vec<GpuJobStatus>,
}

impl Reporter {
    /// `job` is as it was seen.
    pub(crate) fn new(api: Api<GpuJob>, recorder: Recorder, job: &GpuJob) -> Self {
        let written = own(job.status.as_ref());
        Self { api, recorder, stored: without_spec(job.clone()), written, sent: Vec::new() }
    }

    /// Writes the status, and tells of what has happened since the last one.
    pub(crate) async fn write(&mut self, status: &GpuJobStatus) -> Result<Written, kube::Error> {
        if *status == self.written {
            return Ok(Written::Yes);
        }
        let name = self.stored.metadata.name.clone().unwrap_or_default();
        loop {
            let patch = Patch::Merge(self.patch(status));
            // Before the answer, for which nobody may wait.
            if !self.sent.contains(status) {
                self.sent.push(status.clone());
            }
            match self.api.patch_status(&name, &PatchParams::default(), &patch).await {
                Ok(stored) => {
                    self.stored = without_spec(stored);
                    self.wrote(status.clone());
                    return Ok(Written::Yes);
                }
                Err(error) if is(&error, 409) => {
                    let Some(latest) = self.latest().await? else { return Ok(Written::Gone) };
                    if let Some(theirs) = self.compare(latest) {
                        return Ok(Written::Other(Box::new(theirs)));
                    }
                    if self.written == *status {
                        return Ok(Written::Yes);
                    }
                }
                Err(error) if is(&error, 404) => return Ok(Written::Gone),
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on from the latest version of the job. Its status, if it is another server's.
    fn compare(&mut self, latest: GpuJob) -> Option<GpuJobStatus> {
        let before = own(self.stored.status.as_ref());
        self.stored = without_spec(latest);
        let now = own(self.stored.status.as_ref());
        if now == before {
            return None;
        }
        // Times are stored in seconds.
        let stored = json!(now);
        match self.sent.iter().position(|sent| json!(own(Some(sent))) == stored) {
            Some(at) => {
                let sent = self.sent.swap_remove(at);
                self.wrote(sent);
                None
            }
            None => {
                self.sent.clear();
                self.written = now.clone();
                Some(now)
            }
        }
    }

    /// Tells of what has happened.
    fn wrote(&mut self, status: GpuJobStatus) {
        for happening in driver::happenings(&self.written, &status) {
            self.tell(happening);
        }
        self.written = status;
        self.sent.clear();
    }

    /// What changes by it, on condition that nobody has changed the job meanwhile. What the job is to do stays at home: its
    /// sources may be in it.
    fn patch(&self, status: &GpuJobStatus) -> Value {
        let ObjectMeta { uid, resource_version, .. } = &self.stored.metadata;
        let wanted = merged(status, self.stored.status.as_ref());
        json!({
            "metadata": { "uid": uid, "resourceVersion": resource_version },
            "status": changes(self.stored.status.as_ref(), &wanted),
        })
    }

    /// Takes the finalizer away.
    pub(crate) async fn release(&self) -> Result<(), kube::Error> {
        let name = self.stored.metadata.name.clone().unwrap_or_default();
        while let Some(latest) = self.latest().await? {
            let mut finalizers = latest.metadata.finalizers.unwrap_or_default();
            if !finalizers.iter().any(|finalizer| finalizer == GpuJob::FINALIZER) {
                break;
            }
            finalizers.retain(|finalizer| finalizer != GpuJob::FINALIZER);
            let version = latest.metadata.resource_version;
            let metadata = json!({ "finalizers": finalizers, "resourceVersion": version });
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            match self.api.patch(&name, &PatchParams::default(), &patch).await {
                Err(error) if is(&error, 409) => {}
                Err(error) if !is(&error, 404) => return Err(error),
                _ => break,
            }
        }
        Ok(())
    }

    /// The latest version of the job, unless another one has its name.
    async fn latest(&self) -> Result<Option<GpuJob>, kube::Error> {
        let latest = self.api.get_opt(self.stored.metadata.name.as_deref().unwrap_or_default());
        Ok(latest.await?.filter(|latest| latest.metadata.uid == self.stored.metadata.uid))
    }

    fn tell(&self, Happening { warning, reason, message }: Happening) {
        let type_ = if warning { EventType::Warning } else { EventType::Normal };
        tracing::info!(%reason, "{message}");
        self.recorder.about(&self.stored, type_, &reason, message);
    }
}

/// Whether the API server does not know who asks, or does not let it.
pub(crate) fn is_refused(error: &kube::Error) -> bool {
    is(error, 401) || is(error, 403)
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

fn without_spec(job: GpuJob) -> GpuJob {
    GpuJob { spec: Default::default(), ..job }
}

/// A status without what its controller says in it: which pod there is, how that is, and, for want of anything else to say,
/// the same as the job's message.
pub(crate) fn own(status: Option<&GpuJobStatus>) -> GpuJobStatus {
    let mut own = status.cloned().unwrap_or_default();
    let readiness = driver::condition(&own, GpuJob::SERVER_READY).map(|it| it.message.clone());
    if own.message == readiness {
        own.message = None;
    }
    own.conditions.retain(|condition| condition.type_ != GpuJob::SERVER_READY);
    own.pod_name = None;
    own
}

/// Our status, with what the controller says in its own part of it.
fn merged(ours: &GpuJobStatus, theirs: Option<&GpuJobStatus>) -> GpuJobStatus {
    let mut merged = own(Some(ours));
    let Some(theirs) = theirs else { return merged };
    merged.pod_name.clone_from(&theirs.pod_name);
    let readiness = driver::condition(theirs, GpuJob::SERVER_READY);
    if merged.message.is_none() && readiness.map(|it| &it.message) == theirs.message.as_ref() {
        merged.message.clone_from(&theirs.message);
    }
    merged.conditions.extend(readiness.cloned());
    merged
}

/// As a merge patch.
fn changes(before: Option<&GpuJobStatus>, after: &GpuJobStatus) -> Value {
    let fields = |status: &GpuJobStatus| match json!(status) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let (before, mut changes) = (before.map(fields).unwrap_or_default(), fields(after));
    let gone: Vec<_> = before.keys().filter(|key| !changes.contains_key(*key)).cloned().collect();
    changes.retain(|key, value| before.get(key) != Some(value));
    changes.extend(gone.into_iter().map(|key| (key, Value::Null)));
    Value::Object(changes)
}

#[cfg(test)]
mod tests {
    use api_types::{
        jiff::Timestamp,
        meta::{Condition, Time},
    };
    use component::Tasks;
    use kube::api::{DeleteParams, PostParams};
    use testkit::ControlPlane;

    use super::*;

    fn status(state: &str, conditions: &[(&str, &str)]) -> GpuJobStatus {
        let condition = |&(type_, message): &(&str, &str)| Condition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: "Told".to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        };
        GpuJobStatus {
            state: Some(state.to_owned()),
            conditions: conditions.iter().map(condition).collect(),
            ..GpuJobStatus::default()
        }
    }

    fn by_controller(pod: &str, message: &str) -> GpuJobStatus {
        let told = status("", &[(GpuJob::SERVER_READY, message)]);
        let (pod_name, message) = (Some(pod.to_owned()), Some(message.to_owned()));
        GpuJobStatus { state: None, pod_name, message, ..told }
    }

    #[test]
    fn what_the_controller_says_stays_its_own() {
        let theirs = by_controller("new", "not ready yet");
        let ours = own(Some(&theirs));
        assert_eq!(ours, GpuJobStatus::default());
        assert_eq!(merged(&ours, Some(&theirs)), theirs);
        let ready = GpuJobStatus { message: None, ..theirs.clone() };
        assert_eq!(merged(&ours, Some(&ready)).message, None, "what it has taken back");
        let busy = GpuJobStatus {
            message: Some("compiling".to_owned()),
            ..status("RUNNING", &[("Uploaded", "")])
        };
        let merged = merged(&busy, Some(&theirs));
        assert_eq!((&merged.message, &merged.pod_name), (&busy.message, &theirs.pod_name));
        assert_eq!(merged.conditions.len(), 2);
        assert_eq!(own(Some(&merged)), busy);
    }

    #[test]
    fn a_patch_has_what_changes_and_takes_away_what_is_gone() {
        let before = GpuJobStatus { queue_position: Some(3), ..status("PENDING", &[]) };
        let after = status("RUNNING", &[]);
        let expected = json!({ "state": "RUNNING", "queuePosition": null });
        assert_eq!(changes(Some(&before), &after), expected);
        assert_eq!(changes(None, &after)["state"], "RUNNING");
    }

    struct World {
        plane: ControlPlane,
        tasks: Tasks,
        api: Api<GpuJob>,
    }

    impl World {
        async fn new() -> Self {
            let plane = ControlPlane::start().await;
            let api: Api<GpuJob> = Api::namespaced(plane.client(), "default");
            let world = Self { plane, tasks: Tasks::default(), api };
            world.create().await;
            world
        }

        async fn create(&self) -> GpuJob {
            let job = json!({
                "apiVersion": "minik8s.io/v1", "kind": "GpuJob", "metadata": { "name": "j" },
                "spec": {
                    "runScripts": ["true"],
                    "credentials": { "secretRef": { "name": "login" } },
                    "cluster": { "host": "login" },
                },
            });
            let job = serde_json::from_value(job).unwrap();
            self.api.create(&PostParams::default(), &job).await.unwrap()
        }

        /// Of a server that begins now.
        async fn reporter(&self) -> Reporter {
            let recorder = Recorder::new(&self.tasks, self.plane.client(), "gpu-server", "");
            Reporter::new(self.api.clone(), recorder, &self.api.get("j").await.unwrap())
        }

        async fn patch(&self, patch: Value) {
            let patch = Patch::Merge(patch);
            self.api.patch_status("j", &PatchParams::default(), &patch).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_another_server_has_written_is_not_written_over() {
        let world = World::new().await;
        let (mut one, mut other) = (world.reporter().await, world.reporter().await);
        let newer = status("RUNNING", &[("Uploaded", "")]);
        assert_eq!(other.write(&newer).await.unwrap(), Written::Yes);
        let older = status("PENDING", &[]);
        assert_eq!(one.write(&older).await.unwrap(), Written::Other(Box::new(newer.clone())));
        assert_eq!(own(world.api.get("j").await.unwrap().status.as_ref()), newer);
        // From there on it is this one's turn as much as anybody's.
        let ended = status("COMPLETED", &[("Uploaded", "")]);
        assert_eq!(one.write(&ended).await.unwrap(), Written::Yes);
        assert_eq!(other.write(&older).await.unwrap(), Written::Other(Box::new(ended)));
    }

    #[tokio::test]
    async fn what_was_written_without_an_answer_is_its_own() {
        let world = World::new().await;
        let (mut one, mut other) = (world.reporter().await, world.reporter().await);
        let first = status("PENDING", &[("Uploaded", "")]);
        let lost = world.plane.lose_answers(|request| request.method() == "PATCH");
        one.write(&first).await.unwrap_err();
        drop(lost);
        assert_eq!(one.write(&first).await.unwrap(), Written::Yes);
        // The same of one that was decided upon since, whether the lost one has arrived or not.
        let second = GpuJobStatus { start_time: Some(Time(Timestamp::now())), ..first };
        let lost = world.plane.lose_answers(|request| request.method() == "PATCH");
        one.write(&second).await.unwrap_err();
        drop(lost);
        let refused = world.plane.refuse(|request| request.method() == "PATCH");
        let third = status("RUNNING", &[("Uploaded", "")]);
        one.write(&third).await.unwrap_err();
        drop(refused);
        let fourth = status("COMPLETED", &[("Uploaded", "")]);
        assert_eq!(one.write(&fourth).await.unwrap(), Written::Yes);
        assert_eq!(own(world.api.get("j").await.unwrap().status.as_ref()), fourth);
        let written = other.write(&status("FAILED", &[])).await.unwrap();
        assert_eq!(written, Written::Other(Box::new(fourth)));
    }

    #[tokio::test]
    async fn a_controller_that_has_written_is_in_nobodys_way() {
        let world = World::new().await;
        let mut reporter = world.reporter().await;
        world.patch(json!({ "status": by_controller("pod", "not ready yet") })).await;
        let running = status("RUNNING", &[]);
        assert_eq!(reporter.write(&running).await.unwrap(), Written::Yes);
        let stored = world.api.get("j").await.unwrap().status.unwrap();
        assert_eq!((own(Some(&stored)), stored.pod_name.as_deref()), (running, Some("pod")));
        assert_eq!(stored.message.as_deref(), Some("not ready yet"));
        let puts = world.plane.requests().into_iter().filter(|request| request.starts_with("PUT"));
        assert_eq!(puts.count(), 0, "a PUT has the sources in it");
    }

    #[tokio::test]
    async fn a_job_that_is_gone_is_told_from_one_that_was_written() {
        let world = World::new().await;
        let mut reporter = world.reporter().await;
        world.api.delete("j", &DeleteParams::default()).await.unwrap();
        assert_eq!(reporter.write(&status("RUNNING", &[])).await.unwrap(), Written::Gone);
        world.create().await;
        assert_eq!(reporter.write(&status("RUNNING", &[])).await.unwrap(), Written::Gone);
        reporter.release().await.unwrap();
        assert_eq!(world.api.get("j").await.unwrap().status, None);
    }
}
