//! `kubectl run -i`: the streams of the new pod's container are those of this process, until it has ended.

use std::pin::pin;

use futures::{AsyncReadExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Restart, Run};
use crate::{
    Failure,
    api::Call,
    commands::{attach::Attach, pods, target::Target},
    object::{self, list, number, text},
    session::Session,
    terminal::ended,
};

impl Run {
    pub(super) async fn run_attached(&self, session: &Session) -> Result<(), Failure> {
        // From before there is a pod that a signal could leave behind.
        let interrupted = ended()?;
        let (target, pod) = self.options.make(session, &self.pod()?).await?;
        let done = tokio::select! {
            done = self.until_over(session, &target) => done,
            () = interrupted => Err(Failure::message("ended by a signal")),
        };
        if !self.rm {
            return done;
        }
        // Who gives up leaves no pod behind either.
        done.and(remove(session, &target, text(&pod, "/metadata/uid"), self.quiet).await)
    }

    async fn until_over(&self, session: &Session, target: &Target) -> Result<(), Failure> {
        let begun = until(session, target, |pod| phase(pod) != "Pending");
        let pod = timeout(self.pod_running_timeout, begun).await.unwrap_or_else(|_| {
            Err(Failure::message(format!(
                "timed out waiting for the condition: kubectl describe pod {} says more",
                self.name
            )))
        })?;
        if is_over(&pod) {
            show_log(session, &pod).await?;
        } else {
            self.attach(session, &pod).await?;
        }
        // The container is begun again, or the session was not its end.
        if self.restart == Restart::Always || self.leave_stdin_open {
            return Ok(());
        }
        let is_over = |pod: &Value| match self.restart {
            Restart::OnFailure => phase(pod) == "Succeeded",
            _ => is_over(pod),
        };
        outcome(&until(session, target, is_over).await?)
    }

    async fn attach(&self, session: &Session, pod: &Value) -> Result<(), Failure> {
        let attach = Attach {
            word: None,
            container: Some(self.name.clone()),
            stdin: self.stdin,
            tty: self.tty,
            quiet: self.quiet,
        };
        match attach.connect(session, pod).await {
            // How the container has ended is in the pod's status.
            Ok(()) | Err(Failure::Exited(_)) => Ok(()),
            Err(failure) => {
                session.io.note(format_args!(
                    "warning: couldn't attach to pod/{}, falling back to streaming logs: {failure}",
                    self.name
                ));
                show_log(session, pod).await
            }
        }
    }
}

/// The pod as soon as the condition holds.
async fn until(
    session: &Session,
    target: &Target,
    condition: impl Fn(&Value) -> bool,
) -> Result<Value, Failure> {
    loop {
        let pod = target.fetch(session).await?;
        if condition(&pod) {
            return Ok(pod);
        }
        let call = Call::get(target.resource.path(target.namespace.as_deref()))
            .query("fieldSelector", format!("metadata.name={}", object::name(&pod)))
            .query("resourceVersion", text(&pod, "/metadata/resourceVersion"));
        let mut events = pin!(session.api().await?.watch(call).await?);
        while let Some(event) = events.next().await {
            let event = event?;
            match text(&event, "/type") {
                "DELETED" => return Err(Failure::message("object has been deleted")),
                "ADDED" | "MODIFIED" if condition(&event["object"]) => {
                    return Ok(event["object"].clone());
                }
                "ERROR" => break,
                _ => {}
            }
        }
    }
}

fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&phase(pod))
}

async fn show_log(session: &Session, pod: &Value) -> Result<(), Failure> {
    let call = Call::get(pods::path(pod, "log")).query("follow", "true");
    let mut log = session.api().await?.stream(call).await?;
    let mut part = vec![0; 32 << 10];
    loop {
        match log.read(&mut part).await? {
            0 => return Ok(()),
            length => session.io.raw(&part[..length])?,
        }
    }
}

/// The exit code of the only container is ours.
fn outcome(pod: &Value) -> Result<(), Failure> {
    if phase(pod) == "Succeeded" {
        return Ok(());
    }
    let status = list(pod, "/status/containerStatuses").first();
    let code = status.and_then(|status| number(status, "/state/terminated/exitCode"));
    match code.filter(|code| *code != 0) {
        Some(code) => Err(Failure::Exited(code.to_le_bytes()[0].max(1))),
        None => Err(Failure::message(format!(
            "pod {}/{} failed with unknown exit code",
            object::namespace(pod).unwrap_or_default(),
            object::name(pod)
        ))),
    }
}

/// Does not wait until the pod is gone: its container may have been begun again, and take its time to end.
async fn remove(session: &Session, target: &Target, uid: &str, quiet: bool) -> Result<(), Failure> {
    let api = session.api().await?;
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}});
    match api.call(Call::new(Method::DELETE, target.path()).body(&options)).await {
        Err(failure) if failure.is_not_found() => return Ok(()),
        deleted => deleted?,
    };
    if !quiet {
        let name = target.name.as_deref().unwrap_or_default();
        session.io.line(format_args!("{} {name:?} deleted", target.resource.object_prefix()))?;
    }
    Ok(())
}
