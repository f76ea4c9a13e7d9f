//! The objects that a command works on.

use clap::Args;
use serde_json::Value;

use crate::{
    Failure,
    commands::{choice::ChangeChoice, target::Target},
    failure::Failures,
    object,
    session::Session,
};

/// The objects to work on.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    choice: ChangeChoice,
}

impl Which {
    /// The objects with their targets; of other kinds there are no rollouts.
    pub(super) async fn objects(
        &self,
        session: &Session,
        failures: &mut Failures,
    ) -> Result<Vec<(Target, Value)>, Failure> {
        let mut found = Vec::new();
        if self.words.is_empty() && self.choice.is_empty(&self.words) {
            return Err(Failure::message(
                "required resource not specified: name one, such as deployment/web, or a file with -f",
            ));
        }
        for target in self.choice.objects(session, &self.words, failures).await? {
            let fetched = fetch(session, &target).await;
            if let Some(object) = failures.keep(fetched)? {
                found.push((target, object));
            }
        }
        Ok(found)
    }
}

/// The object as it is now.
pub(super) async fn fetch(session: &Session, target: &Target) -> Result<Value, Failure> {
    let object = target.fetch(session).await?;
    match object::kind(&object) {
        "DaemonSet" | "Deployment" | "StatefulSet" => Ok(object),
        kind => Err(Failure::message(format!(
            "{kind:?} has no rollouts: only Deployments, StatefulSets and DaemonSets have"
        ))),
    }
}
