//! `kubectl config`: looking at the kubeconfig and choosing its context.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    Failure, kubeconfig,
    object::{list, text},
    output::{tabs, yaml::to_yaml},
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
    /// Set the namespace of a context (given with -n)
    #[command(after_help = "Examples:\n  kubectl config set-context --current --namespace=team-a")]
    SetContext {
        /// Its name
        name: Option<String>,
        /// The current one
        #[arg(long)]
        current: bool,
    },
}

impl Config {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (file, mut config) = open(session)?;
        let current = text(&config, "/current-context").to_owned();
        match self.action {
            Action::View { raw } => {
                if !raw {
                    hide(&mut config);
                }
                session.io.raw(to_yaml(&config).as_bytes())?;
            }
            Action::CurrentContext if current.is_empty() => {
                return Err(Failure::message("current-context is not set"));
            }
            Action::CurrentContext => session.io.line(current)?,
            Action::GetContexts => session.io.raw(contexts(&config, &current).as_bytes())?,
            Action::UseContext { name } => {
                context(&mut config, &name)?;
                config["current-context"] = json!(name);
                save(&file, &config)?;
                session.io.line(format_args!("Switched to context {name:?}."))?;
            }
            Action::SetContext { name, current: use_current } => {
                let name = name.filter(|_| !use_current).unwrap_or(current);
                let namespace = session.global.namespace.as_deref().unwrap_or_default();
                context(&mut config, &name)?["namespace"] = json!(namespace);
                save(&file, &config)?;
                session.io.line(format_args!("Context {name:?} modified."))?;
            }
        }
        Ok(())
    }
}

/// The first file that is there, as it stands: what we don't know in it must survive a change.
fn open(session: &Session) -> Result<(PathBuf, Value), Failure> {
    let files = kubeconfig::files(&session.global, &session.environment);
    let Some(file) = files.into_iter().find(|f| f.exists()) else {
        return kubeconfig::load(&session.global, &session.environment).map(|_| Default::default());
    };
    let bytes = std::fs::read_to_string(&file)?;
    let config = serde_yaml::from_str(&bytes).map_err(|e| {
        Failure::message(format!("error loading config file {:?}: {e}", file.display()))
    })?;
    Ok((file, config))
}

/// Written beside and renamed, with the rights of the old one: it holds keys.
fn save(file: &Path, config: &Value) -> Result<(), Failure> {
    let beside = file.with_extension("tmp");
    std::fs::write(&beside, "")?;
    std::fs::set_permissions(&beside, std::fs::metadata(file)?.permissions())?;
    std::fs::write(&beside, to_yaml(config))?;
    Ok(std::fs::rename(&beside, file)?)
}

fn context<'a>(config: &'a mut Value, name: &str) -> Result<&'a mut Value, Failure> {
    let contexts = config["contexts"].as_array_mut();
    let found = contexts.into_iter().flatten().find(|c| text(c, "/name") == name);
    found
        .map(|c| &mut c["context"])
        .ok_or_else(|| Failure::message(format!("no context exists with the name: {name:?}")))
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

    #[test]
    fn an_unknown_context_is_refused() {
        let mut config = json!({"contexts": [{"name": "a", "context": {}}]});
        assert!(context(&mut config, "a").is_ok());
        assert!(context(&mut config, "b").is_err());
    }
}
