//! Pods as commands name them, themselves or what selects them, and their containers.

use serde_json::Value;

use super::target::{self, Target};
use crate::{
    Failure,
    api::Call,
    object::{self, list, map, text},
    session::Session,
};

/// Names the container that is meant when none is.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The pod of a word, and what that names: the pod, or what selects it. `what` is said to be impossible if
/// that selects none.
pub(super) async fn named(
    session: &Session,
    word: &str,
    what: &str,
) -> Result<(Value, Value), Failure> {
    let target = target_of(session, word).await?;
    let object = target.fetch(session).await?;
    if target.resource.kind == "Pod" {
        return Ok((object.clone(), object));
    }
    let pod = behind(session, &target, &object, what).await?;
    Ok((pod, object))
}

/// The pod of a word.
pub(super) async fn of_word(session: &Session, word: &str, what: &str) -> Result<Value, Failure> {
    named(session, word, what).await.map(|(pod, _)| pod)
}

/// The pod of a word, if processes may still run in it. `what` is what would be done there.
pub(super) async fn running(session: &Session, word: &str, what: &str) -> Result<Value, Failure> {
    let pod = of_word(session, word, what).await?;
    match text(&pod, "/status/phase") {
        phase @ ("Succeeded" | "Failed") => Err(Failure::message(format!(
            "cannot {what} a container in a completed pod; current phase is {phase}"
        ))),
        _ => Ok(pod),
    }
}

/// A pod is meant unless the word begins with another kind's name; `namespace/pod` is the seed's form.
async fn target_of(session: &Session, word: &str) -> Result<Target, Failure> {
    let kind = word.split_once('/').map(|(kind, _)| kind);
    let words = match kind {
        Some(kind) if session.mapper().await?.find(kind).is_some() => vec![word.to_owned()],
        _ => vec!["pods".to_owned(), word.to_owned()],
    };
    let target = target::of_words(session, &words, false).await?.into_iter().next();
    target.ok_or_else(|| Failure::message(format!("invalid name {word:?}")))
}

/// The best pod behind a controller or service: a running one before others.
async fn behind(
    session: &Session,
    target: &Target,
    object: &Value,
    what: &str,
) -> Result<Value, Failure> {
    let namespace = target.namespace.clone().unwrap_or_default();
    let selector = object::selector(object).ok_or_else(|| {
        let kind = &target.resource.kind;
        Failure::message(format!("cannot {what} {kind}: it selects no pods"))
    })?;
    let mut pods = selected(session, namespace, &selector.to_string()).await?;
    pods.sort_by_key(|p| text(p, "/status/phase") != "Running");
    let count = pods.len();
    let pod = pods.into_iter().next().ok_or_else(|| {
        Failure::message(format!(
            "{} has no pods",
            target.resource.object_name(object::name(object))
        ))
    })?;
    if count > 1 {
        session.io.note(format_args!("Found {count} pods, using pod/{}", object::name(&pod)));
    }
    Ok(pod)
}

/// The pods with these labels.
pub(super) async fn selected(
    session: &Session,
    namespace: String,
    labels: &str,
) -> Result<Vec<Value>, Failure> {
    let call =
        Call::get(format!("/api/v1/namespaces/{namespace}/pods")).query("labelSelector", labels);
    let pods = session.api().await?.call(call).await?;
    Ok(list(&pods, "/items").to_vec())
}

/// The path of a subresource of a pod.
pub(super) fn path(pod: &Value, subresource: &str) -> String {
    let (namespace, name) = (text(pod, "/metadata/namespace"), object::name(pod));
    format!("/api/v1/namespaces/{namespace}/pods/{name}/{subresource}")
}

fn of_list(pod: &Value, pointer: &str) -> Vec<String> {
    list(pod, pointer).iter().map(|c| object::name_of(c).to_owned()).collect()
}

/// All containers of a pod, in the order of their start.
pub(super) fn containers(pod: &Value) -> Vec<String> {
    [of_list(pod, "/spec/initContainers"), of_list(pod, "/spec/containers")].concat()
}

/// The container that is asked for; else the default one, which is said if there are others.
pub(super) fn container(
    session: &Session,
    pod: &Value,
    asked: Option<&String>,
) -> Result<Option<String>, Failure> {
    if let Some(name) = asked {
        return match containers(pod).contains(name) {
            true => Ok(Some(name.clone())),
            false => Err(Failure::message(format!(
                "container {name} is not valid for pod {}",
                object::name(pod)
            ))),
        };
    }
    let own = of_list(pod, "/spec/containers");
    let annotated = map(pod, "/metadata/annotations").remove(DEFAULT_CONTAINER);
    let chosen = annotated.filter(|c| own.contains(c)).or_else(|| own.first().cloned());
    if own.len() > 1 {
        let chosen = chosen.as_deref().unwrap_or_default();
        session.io.note(format_args!("Defaulted container {chosen:?} out of: {}", own.join(", ")));
    }
    Ok(chosen)
}
