//! The part of a pod's worker that takes in what has come of what was begun.

use api_types::{api::core::v1::Pod, jiff::Timestamp};
use component::events::EventType;

use super::{
    act::SANDBOX,
    operations::{OperationError, Outcome},
    pace::{Held, PAUSE},
    plan::{Failure, Step},
    sandbox::SandboxError,
    start::Started,
    worker::Worker,
};
use crate::{describe::describe, runtime::RuntimeError, spec};

impl Worker {
    /// A start has ended. Between a look at the runtime and what follows from it none may be taken for
    /// ended: its container was not seen yet, and would be started again.
    pub(super) fn start_ended(&mut self, name: String, outcome: Result<Started, Failure>) {
        match outcome {
            Ok(Started { id, resources, hooked }) => {
                self.failures.remove(&name);
                if let Err(message) = hooked {
                    self.probes.condemn(&id, "FailedPostStartHook");
                    self.failures.insert(name, Failure::of_post_start(message));
                }
                self.containers.given(&id, resources);
                self.containers.made(id);
            }
            Err(failure) => {
                self.failures.insert(name, failure);
                self.containers.distrust();
            }
        }
    }

    /// An operation has ended.
    pub(super) fn operation_ended(&mut self, step: Step, outcome: Outcome) {
        let now = Timestamp::now();
        // Its ports went with it, at least.
        if matches!(step, Step::RemoveSandbox { .. } | Step::Leave) {
            self.published = None;
        }
        let (until, failed) = match outcome {
            Ok(made) => {
                self.succeeded(&step, made);
                (now + PAUSE, false)
            }
            Err(error) => {
                self.containers.distrust();
                self.note_undelivered(&step);
                (self.failed(&step, &error, now), true)
            }
        };
        let step = match step {
            // In this form it is tried again.
            Step::Stop { id, grace, .. } if failed => Step::Ask { id, grace },
            step => step,
        };
        self.operations.hold(step, Held { until, failed }, now);
    }

    fn succeeded(&mut self, step: &Step, made: Option<String>) {
        match (step, made) {
            (Step::RunSandbox { .. }, Some(id)) => {
                self.containers.made(id.clone());
                self.connected = Some(id);
            }
            (Step::PublishPorts { ports }, chosen) => {
                self.published = Some(ports.clone());
                self.chosen_ports = chosen;
            }
            (Step::Leave, _) => self.left = true,
            (Step::Update { id, name, resources }, _) => {
                self.resizing.refused.remove(name);
                self.containers.given(id, *resources);
            }
            _ => self.containers.changed(),
        }
    }

    /// A container that was killed meanwhile need not be asked any more.
    fn note_undelivered(&mut self, step: &Step) {
        if let Step::Stop { id, .. } | Step::Ask { id, .. } = step
            && let Some(stopping) = self.stopping.get_mut(id)
        {
            stopping.undelivered = !stopping.killed;
        }
    }

    /// Gives the time of the next try.
    fn failed(&mut self, step: &Step, error: &OperationError, now: Timestamp) -> Timestamp {
        let unreachable = matches!(
            error,
            OperationError::Sandbox(SandboxError::Runtime(RuntimeError::Unreachable(_)))
        );
        let pod = self.pod();
        if matches!(step, Step::RunSandbox { .. }) && !unreachable {
            return self.sandbox_failed(&pod, error);
        }
        let pause = match step {
            Step::Update { name, .. } => self.resize_failed(&pod, name, error),
            _ => PAUSE,
        };
        let error = describe(error);
        tracing::warn!(pod = spec::label(&pod), ?step, error, "a step failed, trying again");
        now + pause
    }

    pub(super) fn sandbox_failed(&mut self, pod: &Pod, error: &OperationError) -> Timestamp {
        let message = format!("Failed to create pod sandbox: {}", describe(error));
        self.context.pod_event(pod, EventType::Warning, "FailedCreatePodSandBox", message);
        let now = Timestamp::now();
        self.sandboxes.next(SANDBOX, now);
        now + self.sandboxes.delay(SANDBOX)
    }
}
