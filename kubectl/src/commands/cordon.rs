//! `kubectl cordon` and `kubectl uncordon`: whether pods are placed on nodes.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::target::{self, Target};
use crate::{Failure, api::Call, failure::Failures, flags::DryRun, object, session::Session};

/// Keep new pods away from nodes
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl cordon n1\n  kubectl cordon -l rack=3")]
pub struct Cordon {
    #[command(flatten)]
    nodes: Nodes,
}

/// Let new pods onto nodes again
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl uncordon n1\n  kubectl uncordon -l rack=3")]
pub struct Uncordon {
    #[command(flatten)]
    nodes: Nodes,
}

/// Nodes, and whether they are only tried to be changed.
#[derive(Args, Debug)]
pub(super) struct Nodes {
    /// NODE…
    names: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    #[command(flatten)]
    pub(super) dry_run: DryRun,
}

impl Cordon {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        self.nodes.set(session, true).await.map(drop)
    }
}

impl Uncordon {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        self.nodes.set(session, false).await.map(drop)
    }
}

impl Nodes {
    /// Has pods placed on them or not, and says so; gives those of which that is true now.
    pub(super) async fn set(
        &self,
        session: &Session,
        cordoned: bool,
    ) -> Result<Vec<Target>, Failure> {
        let (mut set, mut failures) = (Vec::new(), Failures::default());
        for node in self.targets(session).await? {
            let done = self.set_one(session, &node, cordoned).await;
            if failures.keep(done)?.is_some() {
                set.push(node);
            }
        }
        failures.finish(&session.io).map(|()| set)
    }

    async fn targets(&self, session: &Session) -> Result<Vec<Target>, Failure> {
        match (&self.names[..], &self.selector[..]) {
            ([], "") => Err(Failure::message("name a node, or select nodes by labels (-l)")),
            ([_, ..], "") => {
                let with_kind = |name: &String| match name.contains('/') {
                    true => name.clone(),
                    false => format!("node/{name}"),
                };
                let words: Vec<_> = self.names.iter().map(with_kind).collect();
                target::of_words(session, &words, false).await
            }
            ([], selector) => {
                let resource = session.resource("nodes").await?;
                let kind = Target { resource, namespace: None, name: None };
                let call = Call::get(kind.path()).query("labelSelector", selector);
                let list = session.api().await?.call(call).await?;
                Ok(object::items(list).iter().map(|node| kind.of(node)).collect())
            }
            _ => Err(Failure::message("cannot specify both a node name and a --selector option")),
        }
    }

    async fn set_one(
        &self,
        session: &Session,
        node: &Target,
        cordoned: bool,
    ) -> Result<(), Failure> {
        let now = node.fetch(session).await?;
        if object::kind(&now) != "Node" {
            let resource = node.resource.qualified();
            return Err(Failure::message(format!(
                "expected resource of type node, got {resource:?}"
            )));
        }
        let done = if cordoned { "cordoned" } else { "uncordoned" };
        let name = node.resource.object_name(object::name(&now));
        if is_cordoned(&now) == cordoned {
            return Ok(session.io.line(format_args!("{name} already {done}"))?);
        }
        if !self.dry_run.is_local() {
            let patch = json!({"spec": {"unschedulable": cordoned.then_some(true)}});
            let call = Call::new(Method::PATCH, node.path())
                .query("dryRun", self.dry_run.query())
                .patch("application/merge-patch+json", &patch);
            session.api().await?.call(call).await?;
        }
        Ok(session.io.line(format_args!("{name} {done}{}", self.dry_run.suffix()))?)
    }
}

fn is_cordoned(node: &Value) -> bool {
    node["spec"]["unschedulable"] == true
}
