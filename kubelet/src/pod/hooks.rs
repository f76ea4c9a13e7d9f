//! The hooks of a container's life: one after its start, one before it is asked to stop.
//! <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>
//!
//! As in Kubernetes, a hook has no deadline but that of what it belongs to, any HTTP answer will do, and why
//! one failed is not said in an event: it may hold secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api_types::api::core::v1::{Container as Wanted, LifecycleHandler, Pod};
use component::events::EventType;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::{context::Context, probe::Target, runtime::command, spec};

/// A container and the pod that it is of.
#[derive(Clone, Debug)]
pub(super) struct Hooked {
    pub(super) context: Arc<Context>,
    pub(super) pod: Arc<Pod>,
    pub(super) pod_ip: String,
    pub(super) wanted: Wanted,
    /// The container's id.
    pub(super) id: String,
}

impl Hooked {
    /// Without such a hook, all is well. The error is what the pod's status says.
    pub(super) async fn post_start(&self) -> Result<(), String> {
        let hook = self.wanted.lifecycle.as_ref().and_then(|hooks| hooks.post_start.as_ref());
        self.run(hook, "PostStart").await
    }

    fn pre_stop(wanted: &Wanted) -> Option<&LifecycleHandler> {
        wanted.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref())
    }

    async fn run(&self, hook: Option<&LifecycleHandler>, name: &str) -> Result<(), String> {
        let Some(hook) = hook else { return Ok(()) };
        let Err(why) = self.attempt(hook).await else { return Ok(()) };
        let (pod, container) = (spec::label(&self.pod), &self.wanted.name);
        tracing::info!(pod, container, hook = name, why, "a hook failed");
        let (reason, message) = (format!("Failed{name}Hook"), format!("{name}Hook failed"));
        self.context.container_event(&self.pod, container, EventType::Warning, &reason, message);
        Err(why)
    }

    async fn attempt(&self, hook: &LifecycleHandler) -> Result<(), String> {
        let runtime = self.context.runtime.clone();
        if let Some(exec) = &hook.exec {
            let words = exec.command.clone().unwrap_or_default();
            let why = match command::run(runtime, &self.id, &words, Duration::MAX).await {
                Ok((0, _)) => return Ok(()),
                Ok((code, output)) => {
                    let command = words.join(" ");
                    format!("command '{command}' exited with {code}: , message: {output:?}")
                }
                Err(error) => format!("{error}, message: \"\""),
            };
            return Err(self.failure(&format!("Exec lifecycle hook ([{}])", words.join(" ")), &why));
        }
        if let Some(action) = &hook.http_get {
            let target = Target { runtime, pod_ip: self.pod_ip.clone() };
            let path = action.path.as_deref().unwrap_or_default();
            let what = format!("HTTP lifecycle hook ({path})");
            let told = target.get(action, &self.wanted).await;
            return told.map_err(|why| self.failure(&what, &why));
        }
        if let Some(action) = &hook.sleep {
            sleep(Duration::from_secs(action.seconds.try_into().unwrap_or_default())).await;
            return Ok(());
        }
        Err("Cannot run handler: invalid handler".to_owned())
    }

    fn failure(&self, what: &str, why: &str) -> String {
        let (container, pod) = (&self.wanted.name, spec::label(&self.pod));
        format!("{what} for Container {container:?} in Pod {pod:?} failed - error: {why}")
    }
}

/// The preStop hooks of a pod's containers, by container id.
#[derive(Debug, Default)]
pub(super) struct PreStops {
    tasks: BTreeMap<String, AbortOnDropHandle<()>>,
    ended: Arc<Mutex<BTreeSet<String>>>,
}

impl PreStops {
    /// Begins with the hook, if the container has one; tells whether it has. `wake` is told of its end.
    pub(super) fn begin(&mut self, hooked: Hooked, wake: &Arc<Notify>) -> bool {
        if Hooked::pre_stop(&hooked.wanted).is_none() {
            return false;
        }
        let id = hooked.id.clone();
        let end = End { id: id.clone(), ended: self.ended.clone(), wake: wake.clone() };
        let task = tokio::spawn(async move {
            let _end = end;
            // One that failed has been told of, and hinders nothing.
            let _ = hooked.run(Hooked::pre_stop(&hooked.wanted), "PreStop").await;
        });
        self.tasks.insert(id, AbortOnDropHandle::new(task));
        true
    }

    /// Whether the hook has ended, however.
    pub(super) fn has_ended(&self, id: &str) -> bool {
        self.ended.lock().contains(id)
    }

    /// Forgets those of all other containers.
    pub(super) fn keep(&mut self, running: &BTreeSet<&str>) {
        self.tasks.retain(|id, _| running.contains(id.as_str()));
        self.ended.lock().retain(|id| running.contains(id.as_str()));
    }

    /// The hook has had its time.
    pub(super) fn end(&mut self, id: &str) {
        self.tasks.remove(id);
    }
}

/// Tells the end of a hook, also of one that panicked.
struct End {
    id: String,
    ended: Arc<Mutex<BTreeSet<String>>>,
    wake: Arc<Notify>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.ended.lock().insert(std::mem::take(&mut self.id));
        self.wake.notify_one();
    }
}
