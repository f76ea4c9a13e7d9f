//! `kubectl drain`: cordons nodes, and has their pods evicted.

mod filter;

use std::time::Duration;

use api_machinery::duration;
use clap::Args;
use futures::{StreamExt, stream::FuturesUnordered};
use http::Method;
use serde_json::{Value, json};

use self::filter::{Filter, Verdict};
use super::{cordon::Nodes, delete, target::Target};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    object::{self, text},
    session::Session,
};

/// How long a pod that its budget keeps is left alone.
const RETRY: Duration = Duration::from_secs(5);

/// Evict the pods of nodes, and keep new ones away, as before maintenance
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl drain n1 --ignore-daemonsets\n  kubectl drain n1 --force --delete-emptydir-data --timeout=5m"
)]
pub struct Drain {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    filter: Filter,
    /// Only pods with these labels
    #[arg(long, default_value = "")]
    pod_selector: String,
    /// Seconds the containers have to stop; -1: as the pod says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    grace_period: i64,
    /// How long to wait for the pods of a node to be gone; 0 is for ever
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    timeout: Duration,
    /// Delete pods rather than evict them, whatever their budgets say
    #[arg(long)]
    disable_eviction: bool,
}

impl Drain {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut pending = Vec::new();
        for node in self.nodes.set(session, true).await? {
            let name = node.name.clone().unwrap_or_default();
            match self.drain(session, &name).await {
                Ok(()) => {
                    let suffix = self.nodes.dry_run.suffix();
                    session.io.line(format_args!("node/{name} drained{suffix}"))?;
                }
                Err(failure) => {
                    let why = failure.to_string();
                    let why = why.strip_prefix("error: ").unwrap_or(&why);
                    session.io.note(format_args!(
                        "error: unable to drain node {name:?} due to error: {why}, continuing command..."
                    ));
                    pending.push((name, failure));
                }
            }
        }
        if !pending.is_empty() {
            let names: String = pending.iter().map(|(name, _)| format!("\n {name}")).collect();
            session.io.note(format_args!("There are pending nodes to be drained:{names}"));
        }
        pending.pop().map_or(Ok(()), |(_, failure)| Err(failure))
    }

    async fn drain(&self, session: &Session, node: &str) -> Result<(), Failure> {
        let pods =
            Target { resource: session.resource("pods").await?, namespace: None, name: None };
        let call = Call::get(pods.path())
            .query("fieldSelector", format!("spec.nodeName={node}"))
            .query("labelSelector", &self.pod_selector);
        let list = object::items(session.api().await?.call(call).await?);
        let verdicts: Vec<_> = list.iter().map(|pod| (pod, self.filter.of(pod))).collect();
        filter::refusals(&verdicts).map_or(Ok(()), |why| Err(Failure::message(why)))?;
        if let Some(warnings) = filter::warnings(&verdicts) {
            session.io.note(format_args!("Warning: {warnings}"));
        }
        let goes = |verdict: &Verdict| matches!(verdict, Verdict::Go(_));
        let going = verdicts.iter().filter(|(_, verdict)| goes(verdict));
        let going: FuturesUnordered<_> =
            going.map(|(pod, _)| self.remove(session, &pods, pod)).collect();
        self.until_gone(session, going).await
    }

    /// One that does not go keeps no other.
    async fn until_gone(
        &self,
        session: &Session,
        mut going: FuturesUnordered<impl Future<Output = Result<(), Failure>>>,
    ) -> Result<(), Failure> {
        let mut failures = Failures::default();
        let all = async {
            while let Some(gone) = going.next().await {
                failures.keep(gone)?;
            }
            Ok::<_, Failure>(())
        };
        let in_time = match self.timeout.is_zero() {
            true => Ok(all.await),
            false => tokio::time::timeout(self.timeout, all).await,
        };
        let ended = in_time.unwrap_or_else(|_| {
            let timeout = duration::format(self.timeout);
            Err(Failure::message(format!("global timeout reached: {timeout}")))
        });
        failures.keep(ended)?;
        failures.finish(&session.io)
    }

    /// Has one pod go, and waits until it has.
    async fn remove(&self, session: &Session, pods: &Target, pod: &Value) -> Result<(), Failure> {
        let target = pods.of(pod);
        let (namespace, name) = (object::namespace(pod).unwrap_or_default(), object::name(pod));
        let doing = if self.disable_eviction { "deleting" } else { "evicting" };
        let suffix = self.nodes.dry_run.suffix();
        session.io.line(format_args!("{doing} pod {namespace}/{name}{suffix}"))?;
        if self.nodes.dry_run.is_local() {
            return Ok(());
        }
        while let Err(failure) = session.api().await?.call(self.call(&target, pod)).await {
            match failure.code() {
                Some(404) if failure.is_about("pods") => return Ok(()),
                Some(409) if is_gone(session, &target, pod).await? => return Ok(()),
                Some(409) => {}
                Some(429) => session.io.note(format_args!(
                    "error when evicting pods/{name:?} -n {namespace:?} (will retry after 5s): {}",
                    reason(&failure)
                )),
                _ => return Err(failure.about(&format!("pods/{name:?} -n {namespace:?}"))),
            }
            tokio::time::sleep(RETRY).await;
        }
        if self.nodes.dry_run.is_off() {
            delete::until_gone(session.api().await?, &target, text(pod, "/metadata/uid")).await?;
            let done = if self.disable_eviction { "deleted" } else { "evicted" };
            session.io.line(format_args!("pod/{name} {done}"))?;
        }
        Ok(())
    }

    fn call(&self, target: &Target, pod: &Value) -> Call {
        let mut options = json!({"preconditions": {"uid": pod["metadata"]["uid"]}});
        if self.grace_period >= 0 {
            options["gracePeriodSeconds"] = json!(self.grace_period);
        }
        if !self.nodes.dry_run.query().is_empty() {
            options["dryRun"] = json!([self.nodes.dry_run.query()]);
        }
        if self.disable_eviction {
            return Call::new(Method::DELETE, target.path()).body(&options);
        }
        let metadata = json!({"name": target.name, "namespace": target.namespace});
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, "deleteOptions": options});
        Call::new(Method::POST, target.path() + "/eviction").body(&eviction)
    }
}

/// Whether it is not there any more, though another of its name may be.
async fn is_gone(session: &Session, target: &Target, pod: &Value) -> Result<bool, Failure> {
    match target.fetch(session).await {
        Err(failure) if failure.is_not_found() => Ok(true),
        now => Ok(text(&now?, "/metadata/uid") != text(pod, "/metadata/uid")),
    }
}

fn reason(failure: &Failure) -> String {
    let said = failure.to_string();
    said.split_once("): ").map_or(said.clone(), |(_, reason)| reason.to_owned())
}
