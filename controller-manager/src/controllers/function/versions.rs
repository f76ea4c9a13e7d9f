//! Numbers versions, keeps their sets, and lets the next one take over.

use std::sync::Arc;

use api_machinery::PodTrouble;
use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::meta::Condition;
use api_types::minik8s::{Function, FunctionStatus};
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use super::plan::{Action, Plan, Seen, plan};
use super::{instances, status};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Controller, Error, Next, ObjectKey, Step};
use crate::functions::{FunctionArgs, PULL_SECRET};
use crate::informers::Informers;
use crate::pods;

const NAME: &str = "function-controller";

pub(super) struct Versions {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
    settings: FunctionArgs,
}

#[async_trait::async_trait]
impl Controller for Versions {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(function) = self.informers.functions.get(key) else { return Ok(Next::Change) };
        let uid = function.metadata.uid.as_deref().unwrap_or_default();
        let sets = self.informers.replica_sets.controlled_by(&key.namespace, uid);
        if function.metadata.deletion_timestamp.is_some() {
            for set in &sets {
                self.delete(set).await?;
            }
            return Ok(Next::Change);
        }
        let Plan { status, actions, next } = plan(&Seen {
            function: &function,
            sets: &sets,
            trouble: &|version| self.trouble(&sets, version),
            url: self.settings.url(&key.namespace, &key.name),
            now: self.clock.now(),
        });
        self.write_status(key, &function, &status).await?;
        for action in actions {
            self.act(&function, &status, &sets, action).await?;
        }
        Ok(next)
    }
}

impl Versions {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            client: context.client(),
            clock: context.clock,
            informers: context.informers.clone(),
            recorder: context.recorder(NAME),
            settings: context.settings.functions.clone(),
        }
    }

    /// What keeps the instances of a version from being ready.
    fn trouble(&self, sets: &[Arc<ReplicaSet>], version: i64) -> Option<String> {
        let set = sets.iter().find(|set| instances::version(set) == Some(version))?;
        let (namespace, uid) = (set.metadata.namespace.as_deref()?, set.metadata.uid.as_deref()?);
        let pods = self.informers.pods.controlled_by(namespace, uid);
        let active = pods.iter().filter(|pod: &&Arc<Pod>| pods::is_active(pod));
        active.filter_map(|pod| PodTrouble::of(pod)).next().map(|it| it.message().to_owned())
    }

    /// Refused if somebody else has written since: then there is another look.
    async fn write_status(
        &self,
        key: &ObjectKey,
        function: &Function,
        status: &FunctionStatus,
    ) -> Result<(), Error> {
        if function.status.as_ref() == Some(status) {
            return Ok(());
        }
        let api = Api::<Function>::namespaced(self.client.clone(), &key.namespace);
        let new = Function { status: Some(status.clone()), ..function.clone() };
        api.replace_status(&key.name, &PostParams::default(), &new)
            .await
            .step("writing the status")?;
        self.tell(function, status);
        Ok(())
    }

    fn tell(&self, function: &Function, status: &FunctionStatus) {
        let before = function.status.as_ref().and_then(|status| status.version);
        if let Some(version) = status.version.filter(|version| before != Some(*version)) {
            let message = format!("Version {version} serves");
            self.recorder.about(function, EventType::Normal, "VersionServes", message);
        }
        let ready = |status: &FunctionStatus| {
            status.conditions.iter().find(|condition| condition.type_ == "Ready").cloned()
        };
        let (now, before) = (ready(status), function.status.as_ref().and_then(ready));
        let is_failure = |now: &Condition| ["VersionFailed", "VersionLost"].contains(&&*now.reason);
        if let Some(failed) = now.filter(is_failure)
            && before.is_none_or(|before| before.message != failed.message)
        {
            self.recorder.about(function, EventType::Warning, &failed.reason, failed.message);
        }
    }

    async fn act(
        &self,
        function: &Function,
        status: &FunctionStatus,
        sets: &[Arc<ReplicaSet>],
        action: Action,
    ) -> Result<(), Error> {
        let set = |version| sets.iter().find(|set| instances::version(set) == Some(version));
        match action {
            Action::Create { version, replicas } => match status::find(&status.versions, version) {
                Some(version) => {
                    let pull_secret = self.settings.function_registry_secret.as_ref();
                    let is_built = function.spec.source.is_some();
                    let pull_secret = pull_secret.filter(|_| is_built).map(|_| PULL_SECRET);
                    self.create(&instances::set(function, version, replicas, pull_secret)).await
                }
                None => Ok(()),
            },
            Action::Scale { version, replicas } => match set(version) {
                Some(set) => self.scale(set, replicas).await,
                None => Ok(()),
            },
            Action::Delete { version } => match set(version) {
                Some(set) => self.delete(set).await,
                None => Ok(()),
            },
        }
    }

    async fn create(&self, set: &ReplicaSet) -> Result<(), Error> {
        let created = self.sets(set).create(&PostParams::default(), set).await;
        created.unless_terminating("creating the set of a version").map(drop)
    }

    async fn scale(&self, set: &ReplicaSet, replicas: i32) -> Result<(), Error> {
        let patch = Patch::Merge(json!({
            "metadata": {"uid": set.metadata.uid, "resourceVersion": set.metadata.resource_version},
            "spec": {"replicas": replicas},
        }));
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let scaled = self.sets(set).patch(name, &PatchParams::default(), &patch).await;
        scaled.unless_gone("scaling the set of a version").map(drop)
    }

    async fn delete(&self, set: &ReplicaSet) -> Result<(), Error> {
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let deleted = self.sets(set).delete(name, &params).await;
        deleted.unless_gone("deleting the set of a version").map(drop)
    }

    fn sets(&self, set: &ReplicaSet) -> Api<ReplicaSet> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.client.clone(), namespace)
    }
}
