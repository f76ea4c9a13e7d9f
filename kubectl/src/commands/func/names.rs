//! Which functions a command is about.

use api_machinery::names::function_name;
use clap::Args;
use serde_json::Value;

use super::super::target::Target;
use crate::{Failure, object, session::Session};

#[derive(Args, Debug)]
pub(super) struct Names {
    /// NAME… or NAMESPACE/NAME…
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A name, as in the seed
    #[arg(short, long, value_name = "NAME")]
    func: Vec<String>,
}

/// The function that a word means: `add-five`, `addFive` or `namespace/name`.
pub(crate) async fn function(session: &Session, word: &str) -> Result<Target, Failure> {
    let resource = session.resource("functions.minik8s.io").await?;
    let word = in_kubernetes_spelling(word);
    let (namespace, name) = match word.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (session.namespace().await?, word),
    };
    Ok(Target { resource, namespace: Some(namespace), name: Some(name) })
}

/// Of `add-five`, `addFive` or `namespace/addFive`.
pub(super) fn in_kubernetes_spelling(word: &str) -> String {
    match word.rsplit_once('/') {
        Some((namespace, name)) => format!("{namespace}/{}", function_name(name)),
        None => function_name(word),
    }
}

impl Names {
    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(&self.func)
    }

    /// The one function that is named.
    pub(super) async fn one(&self, session: &Session) -> Result<Target, Failure> {
        let mut names = self.all();
        match (names.next(), names.next()) {
            (Some(name), None) => function(session, name).await,
            _ => Err(Failure::message("the name of one function is needed")),
        }
    }
}

/// Tells what was done to a function.
pub(super) fn say(
    session: &Session,
    target: &Target,
    function: &Value,
    done: &str,
) -> Result<(), Failure> {
    let name = target.resource.object_name(object::name(function));
    Ok(session.io.line(format_args!("{name} {done}"))?)
}
