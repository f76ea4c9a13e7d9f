//! `kubectl reset`: a cluster without its users' objects, which works on.

use std::{collections::BTreeSet, time::Duration};

use api_machinery::duration;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{delete::until_gone, target::Target};
use crate::{
    Failure,
    api::{Api, Call},
    failure::Failures,
    object::{self, list, text},
    session::Session,
};

/// What is in them is the cluster's own.
const SYSTEM_NAMESPACES: [&str; 3] = ["kube-node-lease", "kube-public", "kube-system"];
/// Stays, and is cleared.
const DEFAULT: &str = "default";
/// What the cluster itself has in `default`, or makes again.
const OWN: [(&str, &str); 5] = [
    ("Service", KUBERNETES),
    ("Endpoints", KUBERNETES),
    ("EndpointSlice", KUBERNETES),
    ("ServiceAccount", "default"),
    ("ConfigMap", "kube-root-ca.crt"),
];
const KUBERNETES: &str = "kubernetes";
/// Whoever makes objects as fast as they are deleted is not raced for ever.
const MOST_ROUNDS: usize = 10;
/// Functions' images are removed with a Secret, which has to be there until then.
const FIRST: [&str; 3] = ["Function", "GpuJob", "Namespace"];
/// What takes longer is told with its reason.
const SLOW: Duration = Duration::from_secs(1);

/// Delete all objects of all users
///
/// Deletes all namespaces but default, kube-node-lease, kube-public and kube-system, with all that is in them, and what
/// is in default. What the cluster itself needs stays: its nodes, the kubernetes Service, what is in the kube-
/// namespaces, addresses and settings.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl reset              # shows what it would delete, and asks\n  kubectl reset --yes"
)]
pub struct Reset {
    /// Don't ask, whatever there is
    #[arg(long)]
    yes: bool,
    /// How long to wait; 0 is for ever
    #[arg(long, default_value = "0", value_parser = duration::parse)]
    timeout: Duration,
}

/// An object that has to go.
struct Doomed {
    target: Target,
    uid: String,
    /// Its owner's end, or its own that has begun, is its end.
    goes_by_itself: bool,
}

impl Reset {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        if session.global.namespace.is_some() {
            return Err(Failure::message(
                "reset is about the whole cluster, and takes no --namespace: kubectl delete namespace NAME deletes one with all that is in it",
            ));
        }
        let doomed = find(session).await?;
        if doomed.is_empty() {
            session.io.note("No resources found");
            return Ok(());
        }
        if !self.confirmed(session, doomed.iter()).await? {
            return Ok(session.io.line("deletion is cancelled")?);
        }
        if self.timeout.is_zero() {
            return self.until_all_are_gone(session, doomed).await;
        }
        match timeout(self.timeout, self.until_all_are_gone(session, doomed)).await {
            Ok(done) => done,
            Err(_) => {
                let mut left = Vec::new();
                for Doomed { target, .. } in find(session).await? {
                    left.push(described(session.api().await?, &target).await);
                }
                let left = left.join(", ");
                Err(Failure::message(format!("timed out waiting for the condition on {left}")))
            }
        }
    }

    async fn until_all_are_gone(
        &self,
        session: &Session,
        mut doomed: Vec<Doomed>,
    ) -> Result<(), Failure> {
        let mut shown = BTreeSet::new();
        for _ in 0..MOST_ROUNDS {
            shown.extend(doomed.iter().map(|it| it.uid.clone()));
            let (first, rest): (Vec<_>, Vec<_>) =
                doomed.iter().partition(|it| FIRST.contains(&it.target.resource.kind.as_str()));
            delete(session, &first).await?;
            delete(session, &rest).await?;
            doomed = find(session).await?;
            if doomed.is_empty() {
                return forget_events(session).await;
            }
            let new = |it: &&Doomed| !it.goes_by_itself && !shown.contains(&it.uid);
            if !self.confirmed(session, doomed.iter().filter(new)).await? {
                return Ok(session.io.line("deletion is cancelled")?);
            }
        }
        let left: Vec<_> = doomed.iter().map(|it| name(&it.target)).collect();
        Err(Failure::message(format!("somebody goes on making {}", left.join(", "))))
    }

    /// In the words of `kubectl delete --interactive`. Nothing needs no answer.
    async fn confirmed(
        &self,
        session: &Session,
        doomed: impl Iterator<Item = &Doomed>,
    ) -> Result<bool, Failure> {
        let lines = doomed.map(|it| match it.target.resource.kind.as_str() {
            "Namespace" => format!("{} with all that is in it\n", name(&it.target)),
            _ => format!("{}\n", name(&it.target)),
        });
        let lines: Vec<_> = lines.collect();
        if self.yes || lines.is_empty() {
            return Ok(true);
        }
        let question = format!(
            "You are about to delete the following {} resource(s) of the cluster at {}:\n{}Do you want to continue? (y/N): ",
            lines.len(),
            session.api().await?.server(),
            lines.concat()
        );
        session.io.raw(question.as_bytes())?;
        let answer = session.io.read_line()?;
        Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }
}

/// What is not the cluster's, now.
async fn find(session: &Session) -> Result<Vec<Doomed>, Failure> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let mapper = session.fresh_mapper().await?;
    let kinds = mapper.resources().iter().filter(|it| it.can("list") && it.can("delete"));
    for kind in kinds {
        // Once, in whichever version. Events come of the deletions, too.
        let is_known = !seen.insert((&kind.group, &kind.plural));
        if is_known || kind.kind == "Event" || !kind.namespaced && kind.kind != "Namespace" {
            continue;
        }
        let namespace = kind.namespaced.then(|| DEFAULT.to_owned());
        let all = Target { resource: kind.clone(), namespace, name: None };
        let objects = session.api().await?.call(Call::get(all.path()).quietly()).await?;
        let theirs = list(&objects, "/items").iter().filter(|object| !is_own(&kind.kind, object));
        found.extend(theirs.map(|object| Doomed {
            target: all.of(object),
            uid: text(object, "/metadata/uid").to_owned(),
            goes_by_itself: !list(object, "/metadata/ownerReferences").is_empty()
                || object["metadata"]["deletionTimestamp"].is_string(),
        }));
    }
    Ok(found)
}

fn is_own(kind: &str, object: &Value) -> bool {
    let name = object::name(object);
    let service = object::map(object, "/metadata/labels").remove("kubernetes.io/service-name");
    match kind {
        "Namespace" => name == DEFAULT || SYSTEM_NAMESPACES.contains(&name),
        _ => OWN.contains(&(kind, name)) || service.as_deref() == Some(KUBERNETES),
    }
}

/// Deletes them and waits until all are gone.
async fn delete(session: &Session, doomed: &[&Doomed]) -> Result<(), Failure> {
    let (api, mut failures) = (session.api().await?, Failures::default());
    for Doomed { target, uid, .. } in doomed.iter().filter(|it| !it.goes_by_itself) {
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": {"uid": uid},
        });
        let deleted =
            api.call(Call::new(Method::DELETE, target.path()).body(&options).quietly()).await;
        // Another of that name was shown to nobody.
        if deleted.as_ref().is_err_and(|it| it.is_not_found() || it.is_conflict()) {
            continue;
        }
        if failures.keep(deleted)?.is_some() {
            session.io.line(format_args!("{} deleted", name(target)))?;
        }
    }
    failures.finish(&session.io)?;
    let all = doomed.len();
    for (gone, Doomed { target, uid, .. }) in doomed.iter().enumerate() {
        // Ten times, or less.
        if gone % all.div_ceil(10) == 0 {
            session.io.note(format_args!("{gone} of {all} gone, waiting for {}", name(target)));
        }
        let mut gone = std::pin::pin!(until_gone(api, target, uid));
        if let Ok(done) = timeout(SLOW, &mut gone).await {
            done?;
            continue;
        }
        session.io.note(format_args!("waiting for {}", described(api, target).await));
        gone.await?;
    }
    Ok(())
}

/// The object, with what keeps it from going.
async fn described(api: &Api, target: &Target) -> String {
    let object = api.call(Call::get(target.path())).await.unwrap_or_default();
    let mut why = Vec::new();
    let finalizers: Vec<_> =
        list(&object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect();
    if !finalizers.is_empty() {
        why.push(format!("finalizers {}", finalizers.join(", ")));
    }
    if !object["metadata"]["deletionTimestamp"].is_string() {
        let owners = list(&object, "/metadata/ownerReferences").iter();
        why.extend(
            owners.map(|it| format!("owned by {} {}", text(it, "/kind"), text(it, "/name"))),
        );
    }
    if target.resource.kind == "Namespace" {
        let conditions = list(&object, "/status/conditions").iter();
        let hindrances = conditions.filter(|it| text(it, "/status") == "True");
        why.extend(hindrances.map(|it| text(it, "/message").to_owned()));
    }
    match why.as_slice() {
        [] => name(target),
        why => format!("{} ({})", name(target), why.join("; ")),
    }
}

async fn forget_events(session: &Session) -> Result<(), Failure> {
    let events = session.resource("events").await?.path(Some(DEFAULT));
    session.api().await?.call(Call::new(Method::DELETE, events)).await.map(drop)
}

fn name(target: &Target) -> String {
    target.resource.object_name(target.name.as_deref().unwrap_or_default())
}
