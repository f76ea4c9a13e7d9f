//! Says whether a workflow's functions exist and how its last run went, and removes runs that ended long ago. The steps
//! of runs are the gateways' business; what becomes of a run whose gateway is gone is [`super::workflow_run`]'s.

mod history;
mod status;

use std::sync::Arc;
use std::time::Duration;

use api_types::meta::OwnerReference;
use api_types::minik8s::{Function, Workflow, WorkflowRun};
use api_types::{Resource, jiff::Timestamp};
use component::events::Recorder;
use kube::api::{Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, api::DeleteParams};
use serde_json::json;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, Term, WorkQueue};
use crate::informers::Informers;

const NAME: &str = "workflow-controller";
/// How soon the news of a workflow's runs are looked at: a workflow that runs often is written once for many of them.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    let controller = Workflows {
        client: context.client(),
        clock: context.clock,
        informers: context.informers.clone(),
        recorder: context.recorder(NAME),
    };
    let Informers { workflows, workflow_runs, functions, .. } = &context.informers;
    Registered::new(controller, queue).reads(workflows).reads(workflow_runs).reads(functions)
}

fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    let wanted = queue.clone();
    informers.workflows.on_change(move |change: &Change<Workflow>| {
        change.new.iter().for_each(|workflow| wanted.add(ObjectKey::of(&workflow.metadata)));
    });
    let wanted = queue.clone();
    informers.workflow_runs.on_change(move |change: &Change<WorkflowRun>| {
        if phase(change.old.as_deref()) != phase(change.new.as_deref()) {
            change.versions().for_each(|run| wanted.add_after(workflow_of(run), PAUSE));
        }
    });
    // The functions' handler must not hold the workflows for ever.
    let (wanted, workflows) = (queue.clone(), Arc::downgrade(&informers.workflows));
    informers.functions.on_change(move |change: &Change<Function>| {
        let Some(workflows) =
            workflows.upgrade().filter(|_| change.old.is_none() || change.new.is_none())
        else {
            return;
        };
        let namespace = change.latest().and_then(|function| function.metadata.namespace.clone());
        for workflow in workflows.filter_in(&namespace.unwrap_or_default(), |_| true) {
            wanted.add(ObjectKey::of(&workflow.metadata));
        }
    });
}

/// `None` if there is no run.
fn phase(run: Option<&WorkflowRun>) -> Option<api_types::minik8s::RunPhase> {
    run.map(|run| run.status.as_ref().map(|status| status.phase).unwrap_or_default())
}

/// The workflow that it is a run of.
fn workflow_of(run: &WorkflowRun) -> ObjectKey {
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    ObjectKey::new(namespace, &run.spec.workflow)
}

struct Workflows {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
}

#[async_trait::async_trait]
impl Controller for Workflows {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let workflow = self.informers.workflows.get(key);
        let alive = |w: &Arc<Workflow>| w.metadata.deletion_timestamp.is_none();
        let workflow = workflow.filter(alive);
        let runs = self.informers.workflow_runs.with(&Term::RunOf(key.clone()));
        let now = self.clock.now();
        if let Some(workflow) = &workflow {
            self.write_status(key, workflow, &runs, now).await?;
            for run in runs.iter().filter(|run| run.metadata.owner_references.is_none()) {
                self.adopt(key, workflow, run).await?;
            }
        }
        // Runs of what does not exist end too, and are not kept for ever.
        let spec = workflow.map(|workflow| workflow.spec.clone()).unwrap_or_default();
        let history = history::history(&spec, &runs, now);
        for run in &history.over {
            self.delete(key, run).await?;
        }
        Ok(history.next.map_or(Next::Change, Next::After))
    }
}

impl Workflows {
    async fn write_status(
        &self,
        key: &ObjectKey,
        workflow: &Workflow,
        runs: &[Arc<WorkflowRun>],
        now: Timestamp,
    ) -> Result<(), Error> {
        let exists = |function: &str| {
            self.informers.functions.get(&ObjectKey::new(&key.namespace, function)).is_some()
        };
        let wanted = status::status(workflow, runs, exists, now);
        if workflow.status.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let news = status::news(workflow, &wanted);
        let changed = Workflow { status: Some(wanted), ..workflow.clone() };
        let api = Api::<Workflow>::namespaced(self.client.clone(), &key.namespace);
        let written = api.replace_status(&key.name, &PostParams::default(), &changed).await;
        if written.unless_gone("writing the status of a workflow")?.is_some() {
            for (type_, reason, message) in news {
                self.recorder.about(workflow, type_, &reason, message);
            }
        }
        Ok(())
    }

    /// A run goes with its workflow.
    async fn adopt(
        &self,
        key: &ObjectKey,
        workflow: &Workflow,
        run: &WorkflowRun,
    ) -> Result<(), Error> {
        let owner = OwnerReference {
            api_version: Workflow::API_VERSION.to_owned(),
            kind: Workflow::KIND.to_owned(),
            name: key.name.clone(),
            uid: workflow.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        };
        let (uid, version) = (&run.metadata.uid, &run.metadata.resource_version);
        let owned = json!({"metadata": {
            "uid": uid, "resourceVersion": version, "ownerReferences": [owner]}});
        let (api, params) = (self.runs(key), PatchParams::default());
        let patched = api.patch(name(run), &params, &Patch::Merge(owned)).await;
        patched.unless_gone("adopting a run").map(drop)
    }

    async fn delete(&self, key: &ObjectKey, run: &WorkflowRun) -> Result<(), Error> {
        let this_one = Preconditions { uid: run.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().preconditions(this_one);
        let deleted = self.runs(key).delete(name(run), &params).await;
        deleted.unless_gone("deleting a run that ended long ago").map(drop)
    }

    fn runs(&self, key: &ObjectKey) -> Api<WorkflowRun> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

fn name(run: &WorkflowRun) -> &str {
    run.metadata.name.as_deref().unwrap_or_default()
}
