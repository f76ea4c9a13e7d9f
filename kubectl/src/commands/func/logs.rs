//! `kubectl func logs`: what all instances of a function print, also of those that come while one looks.

use std::{collections::HashSet, pin::pin};

use api_types::minik8s::Function;
use futures::{FutureExt, StreamExt, TryStreamExt, stream::FuturesUnordered};
use serde_json::Value;

use super::{super::logs::Logs, names::function};
use crate::{
    Failure,
    api::Call,
    object::{self, list, text},
    session::Session,
};

pub(super) async fn print(mut logs: Logs, session: &Session) -> Result<(), Failure> {
    let [word] = logs.words.as_slice() else {
        return Err(Failure::message("the name of one function is needed"));
    };
    let function = function(session, word).await?;
    function.fetch(session).await?;
    logs.words.clear();
    let name = function.name.as_deref().unwrap_or_default();
    let namespace = function.namespace.as_deref().unwrap_or_default();
    let pods = Call::get(format!("/api/v1/namespaces/{namespace}/pods"))
        .query("labelSelector", format!("{}={name}", Function::LABEL));
    if logs.follow {
        return follow(&logs, session, pods).await;
    }
    let found = session.api().await?.call(pods).await?;
    let pods: Vec<_> = list(&found, "/items").iter().filter(|pod| has_started(pod)).collect();
    if pods.is_empty() {
        session.io.note(format_args!("function {namespace}/{name} has no instance"));
    }
    for pod in pods {
        let goes = pod.pointer("/metadata/deletionTimestamp").is_some();
        match copy(&logs, session, pod.clone()).await {
            // Its log may have gone first.
            Err(failure) if goes && !failure.is_closed_output() => session.io.note(failure),
            copied => copied?,
        }
    }
    Ok(())
}

/// Each container's log as soon as the container has been seen running, until nobody looks any more.
async fn follow(logs: &Logs, session: &Session, pods: Call) -> Result<(), Failure> {
    let (mut seen, mut copies) = (HashSet::new(), FuturesUnordered::new());
    loop {
        // It begins with the pods that there are.
        let mut events = pin!(session.api().await?.watch(pods.clone()).await?.fuse());
        loop {
            let mut event = futures::select_biased! {
                event = events.try_next().fuse() => match event? {
                    Some(event) if text(&event, "/type") != "ERROR" => event,
                    _ => break,
                },
                copied = copies.select_next_some() => match copied {
                    Err::<(), Failure>(failure) if failure.is_closed_output() => return Err(failure),
                    // The pod is gone.
                    Err(failure) if failure.is_not_found() => continue,
                    Err(failure) => {
                        session.io.note(failure);
                        continue;
                    }
                    Ok(()) => continue,
                },
            };
            let pod = event["object"].take();
            let container = text(&pod, "/status/containerStatuses/0/containerID").to_owned();
            if has_started(&pod) && seen.insert(container) {
                copies.push(copy(logs, session, pod));
            }
        }
    }
}

/// Whether there is a log.
fn has_started(pod: &Value) -> bool {
    let pointers = ["/state/running", "/state/terminated", "/lastState/terminated"];
    let container = pod.pointer("/status/containerStatuses/0");
    container.is_some_and(|c| pointers.iter().any(|pointer| c.pointer(pointer).is_some()))
}

async fn copy(logs: &Logs, session: &Session, pod: Value) -> Result<(), Failure> {
    let container = object::name_of(&pod["spec"]["containers"][0]).to_owned();
    logs.copy(session, session.api().await?, pod, container, false).await
}
