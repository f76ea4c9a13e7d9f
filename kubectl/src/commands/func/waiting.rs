//! `--wait`: what becomes of a function, told as it goes, until the version that is wanted serves or cannot.

use std::pin::pin;

use clap::Args;
use futures::TryStreamExt;
use serde_json::Value;

use super::super::target::Target;
use crate::{
    Failure,
    api::Call,
    object::{self, list, number, text},
    session::Session,
};

#[derive(Args, Debug)]
pub(super) struct Wait {
    // As of other commands, where it takes a value too.
    /// Wait until it serves; if it cannot, say why, with what the build printed
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
}

/// How far a function is.
#[derive(Debug, PartialEq)]
enum Progress {
    Unknown,
    Going(String),
    Serves(String),
    Failed { message: String, log: String },
}

impl Wait {
    /// Waits if it is asked for. `changed` is the function as the server has stored it.
    pub(super) async fn until_ready(
        &self,
        session: &Session,
        target: &Target,
        changed: &Value,
    ) -> Result<(), Failure> {
        if !self.wait {
            return Ok(());
        }
        let generation = number(changed, "/metadata/generation").unwrap_or_default();
        let collection = Target { name: None, ..target.clone() };
        let mut told = String::new();
        loop {
            // It begins with the function as it is.
            let call = Call::get(collection.path())
                .query("fieldSelector", format!("metadata.name={}", object::name(changed)));
            let mut events = pin!(session.api().await?.watch(call).await?);
            while let Some(event) = events.try_next().await? {
                match text(&event, "/type") {
                    "DELETED" => return Err(Failure::message("the function was deleted")),
                    "ADDED" | "MODIFIED" => {}
                    _ => break,
                }
                match progress(&event["object"], generation) {
                    Progress::Unknown => {}
                    Progress::Going(message) if message == told => {}
                    Progress::Going(message) => {
                        session.io.note(&message);
                        told = message;
                    }
                    Progress::Serves(message) => {
                        session.io.note(message);
                        return Ok(());
                    }
                    Progress::Failed { message, log } => {
                        if !log.is_empty() {
                            session.io.note(log.trim_end());
                        }
                        return Err(Failure::message(message.trim_end()));
                    }
                }
            }
        }
    }
}

fn progress(function: &Value, generation: i64) -> Progress {
    if number(function, "/status/observedGeneration").is_none_or(|seen| seen < generation) {
        return Progress::Unknown;
    }
    let told = |kind: &str| {
        let condition =
            list(function, "/status/conditions").iter().find(|c| text(c, "/type") == kind);
        let field = |name| condition.map_or("", |condition| text(condition, name)).to_owned();
        (field("/status"), field("/message"))
    };
    let ((built, building), (ready, message)) = (told("Built"), told("Ready"));
    match (&*built, &*ready) {
        ("False", _) => Progress::Failed { message: building, log: log(function) },
        ("True", "True") => Progress::Serves(message),
        ("True", "False") => Progress::Failed { message, log: String::new() },
        ("True", _) => Progress::Going(message),
        _ => Progress::Going(building),
    }
}

/// What the last build that failed has printed.
fn log(function: &Value) -> String {
    let versions = list(function, "/status/versions").iter().rev();
    let mut logs = versions.map(|version| text(version, "/buildLog")).filter(|log| !log.is_empty());
    logs.next().unwrap_or_default().to_owned()
}
