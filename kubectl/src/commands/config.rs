//! `kubectl config`: looking at the kubeconfig and choosing its context.

use api_machinery::encode;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::config_files::ConfigFiles;
use crate::{
    Failure,
    object::{list, text},
    output::tabs,
    session::Session,
};

/// Fields whose values are not shown, and what is shown instead.
const HIDDEN: [(&str, &str); 5] = [
    ("certificate-authority-data", "DATA+OMITTED"),
    ("client-certificate-data", "DATA+OMITTED"),
    ("client-key-data", "DATA+OMITTED"),
    ("token", "REDACTED"),
    ("password", "REDACTED"),
];

/// Show the kubeconfig or choose its context
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl config view\n  kubectl config get-contexts\n  kubectl config use-context lab\n  kubectl config set-context --current --namespace=team-a"
)]
pub struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the kubeconfig, secrets left out
    #[command(after_help = "Examples:\n  kubectl config view --raw")]
    View {
        /// With the secrets
        #[arg(long)]
        raw: bool,
    },
    /// Show the name of the current context
    #[command(after_help = "Examples:\n  kubectl config current-context")]
    CurrentContext,
    /// List the contexts
    #[command(after_help = "Examples:\n  kubectl config get-contexts")]
    GetContexts,
    /// Choose the context that is used from now on
    #[command(alias = "use", after_help = "Examples:\n  kubectl config use-context lab")]
    UseContext {
        /// Its name
        name: String,
    },
    /// Set the cluster, user and namespace (-n) of a context, or make it
    #[command(
        after_help = "Examples:\n  kubectl config set-context --current --namespace=team-a\n  kubectl config set-context lab --cluster=lab --user=me --namespace=team-a"
    )]
    SetContext(SetContext),
}

#[derive(Args, Debug)]
struct SetContext {
    /// Its name
    name: Option<String>,
    /// The current one
    #[arg(long)]
    current: bool,
    /// The name of its cluster in the kubeconfig
    #[arg(long)]
    cluster: Option<String>,
    /// The name of its user in the kubeconfig
    #[arg(long)]
    user: Option<String>,
}

impl Config {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        if let Action::SetContext(set) = self.action {
            return set.run(session);
        }
        let mut files = ConfigFiles::open_existing(session)?;
        let current = files.current().to_owned();
        match self.action {
            Action::View { raw } => {
                let mut config = files.merged();
                if !raw {
                    hide(&mut config);
                }
                session.io.raw(encode::yaml(&config).as_bytes())?;
            }
            Action::CurrentContext if current.is_empty() => {
                return Err(Failure::message("current-context is not set"));
            }
            Action::CurrentContext => session.io.line(current)?,
            Action::GetContexts => {
                session.io.raw(contexts(&files.merged(), &current).as_bytes())?;
            }
            Action::UseContext { name } if !files.has_context(&name) => {
                return Err(Failure::message(format!("no context exists with the name: {name:?}")));
            }
            Action::UseContext { name } => {
                files.use_context(&name)?;
                session.io.line(format_args!("Switched to context {name:?}."))?;
            }
            Action::SetContext(_) => {}
        }
        Ok(())
    }
}

impl SetContext {
    fn run(self, session: &Session) -> Result<(), Failure> {
        let mut files = ConfigFiles::open(session)?;
        let name = match (self.name.filter(|name| !name.is_empty()), self.current) {
            (Some(_), true) => {
                return Err(Failure::message(
                    "you cannot specify both a context name and --current",
                ));
            }
            (Some(name), false) => name,
            (None, true) if files.current().is_empty() => {
                return Err(Failure::message("no current context is set"));
            }
            (None, true) => files.current().to_owned(),
            (None, false) => {
                return Err(Failure::message(
                    "you must specify a non-empty context name or --current",
                ));
            }
        };
        let done = if files.has_context(&name) { "modified" } else { "created" };
        let namespace = session.global.namespace.as_deref();
        let fields = [
            ("cluster", self.cluster.as_deref()),
            ("user", self.user.as_deref()),
            ("namespace", namespace),
        ];
        files.set_context(&name, &fields)?;
        Ok(session.io.line(format_args!("Context {name:?} {done}."))?)
    }
}

fn contexts(config: &Value, current: &str) -> String {
    let mut table = String::from("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    for c in list(config, "/contexts") {
        let mark = if text(c, "/name") == current { "*" } else { "" };
        let cell = |pointer| text(c, pointer);
        let (name, cluster) = (cell("/name"), cell("/context/cluster"));
        let (user, namespace) = (cell("/context/user"), cell("/context/namespace"));
        table += &format!("{mark}\t{name}\t{cluster}\t{user}\t{namespace}\n");
    }
    tabs::align(&table, 6, 3)
}

fn hide(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => {
            for (key, value) in fields {
                match HIDDEN.iter().find(|(hidden, _)| hidden == key) {
                    Some((_, shown)) => *value = json!(shown),
                    None => hide(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_wherever_they_are() {
        let mut config =
            json!({"users": [{"name": "u", "user": {"token": "t", "client-key-data": "k"}}]});
        hide(&mut config);
        assert_eq!(
            config,
            json!({"users": [{"name": "u", "user": {"token": "REDACTED", "client-key-data": "DATA+OMITTED"}}]})
        );
    }
}
