//! `kubectl cfg`: settings of the cluster, which are kept in its API.

use std::borrow::Cow;

use api_types::minik8s::{
    SCHEDULER_CONFIG_NAME, SCHEDULER_CONFIG_NAMESPACE, SCHEDULING_STRATEGIES, STRATEGY_KEY,
};
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::{Failure, api::Call, object::text, session::Session};

/// The only setting: how the scheduler chooses among the nodes that fit.
pub(super) const STRATEGY: &str = "sched";

/// Show or change how the scheduler chooses among nodes
#[derive(Args, Debug)]
#[command(
    after_help = "Strategies (sched):\n  balanced            the most CPU and memory left, both alike, few pods of one controller on a node and in a zone\n  spread              the fewest pods of the same controller\n  round-robin         each node in turn\n  min-pods, max-pods  the fewest pods, or the most\n  min-cpu, min-mem    the least in use, by the nodes' heartbeats and what was just assigned\n  random              any node that fits\n\nExamples:\n  kubectl cfg\n  kubectl cfg sched=min-cpu\n  # Back to what the scheduler was started with\n  kubectl cfg sched-"
)]
pub struct Cfg {
    /// KEY=VALUE, or KEY- to set it no more
    change: Option<String>,
}

/// What is to become of the strategy.
#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    To(&'a str),
    Unset,
}

impl Cfg {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.change.as_deref().map(change).transpose()? {
            None => show(session).await?,
            Some(Change::To(strategy)) => {
                set(session, strategy).await?;
                session.io.line(format_args!("{STRATEGY}={strategy}"))?;
            }
            Some(Change::Unset) => {
                unset(session).await?;
                session.io.line(format_args!("{STRATEGY} unset"))?;
            }
        }
        Ok(())
    }
}

fn change(text: &str) -> Result<Change<'_>, Failure> {
    let given = match text.split_once('=') {
        Some((key, value)) => Some((key, Change::To(value))),
        None => text.strip_suffix('-').map(|key| (key, Change::Unset)),
    };
    let choices = SCHEDULING_STRATEGIES.join(", ");
    match given {
        None => {
            Err(Failure::message(format!("expected KEY=VALUE or KEY-, such as {STRATEGY}=min-cpu")))
        }
        Some((key, _)) if key != STRATEGY => {
            Err(Failure::message(format!("unknown setting {key:?}, expected: {STRATEGY}")))
        }
        Some((_, Change::To(value))) if !SCHEDULING_STRATEGIES.contains(&value) => {
            Err(Failure::message(format!("unknown strategy {value:?}, expected one of: {choices}")))
        }
        Some((_, change)) => Ok(change),
    }
}

async fn show(session: &Session) -> Result<(), Failure> {
    let found = session.api().await?.call(Call::get(path())).await;
    let config = match found {
        Err(failure) if failure.is_not_found() => Value::Null,
        found => found?,
    };
    let strategy: Cow<'_, str> = match text(&config, &format!("/data/{STRATEGY_KEY}")) {
        "" => "<not set> (what the scheduler was started with)".into(),
        strategy => strategy.into(),
    };
    session.io.line(format_args!("{STRATEGY}={strategy}"))?;
    session.io.line(format_args!("choices: {}", SCHEDULING_STRATEGIES.join(", ")))?;
    Ok(())
}

/// In the ConfigMap, which is made if there is none.
async fn set(session: &Session, strategy: &str) -> Result<(), Failure> {
    let data = json!({"data": {STRATEGY_KEY: strategy}});
    match patch(session, &data).await {
        Err(failure) if failure.is_not_found() => {}
        patched => return patched,
    }
    let mut object = data.clone();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("ConfigMap");
    object["metadata"] =
        json!({"name": SCHEDULER_CONFIG_NAME, "namespace": SCHEDULER_CONFIG_NAMESPACE});
    let call = Call::new(Method::POST, collection()).body(&object);
    match session.api().await?.call(call).await {
        // Somebody else has made it just now.
        Err(failure) if failure.is_already_exists() => patch(session, &data).await,
        created => created.map(drop),
    }
}

async fn unset(session: &Session) -> Result<(), Failure> {
    match patch(session, &json!({"data": {STRATEGY_KEY: null}})).await {
        Err(failure) if failure.is_not_found() => Ok(()),
        patched => patched,
    }
}

async fn patch(session: &Session, patch: &Value) -> Result<(), Failure> {
    let call = Call::new(Method::PATCH, path()).patch("application/merge-patch+json", patch);
    session.api().await?.call(call).await.map(drop)
}

fn collection() -> String {
    format!("/api/v1/namespaces/{SCHEDULER_CONFIG_NAMESPACE}/configmaps")
}

fn path() -> String {
    format!("{}/{SCHEDULER_CONFIG_NAME}", collection())
}
