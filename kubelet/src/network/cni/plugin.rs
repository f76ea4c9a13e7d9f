//! Plugins, as programs.

use std::path::PathBuf;

use serde_json::{Map, Value};
use tokio::process::Command;

use super::{attachments::Attached, configuration::kind};
use crate::network::{CniError, tool};

/// The pod's link.
const LINK: &str = "eth0";

/// What a plugin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Check,
    Del,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
        }
    }
}

/// The folders with the plugins.
#[derive(Debug)]
pub(super) struct Plugins(pub(super) Vec<PathBuf>);

impl Plugins {
    /// Whether there is one of that name.
    pub(super) fn has(&self, name: &str) -> Result<(), CniError> {
        self.path(name).map(drop)
    }

    fn path(&self, name: &str) -> Result<PathBuf, CniError> {
        let mut paths = self.0.iter().map(|folder| folder.join(name));
        paths.find(|path| path.is_file()).ok_or_else(|| CniError::NoPlugin {
            plugin: name.to_owned(),
            folders: self.folders(" "),
        })
    }

    fn folders(&self, between: &str) -> String {
        let folders: Vec<_> = self.0.iter().map(|folder| folder.to_string_lossy()).collect();
        folders.join(between)
    }

    /// Asks one, with what it is told; gives its answer, if it has one.
    pub(super) async fn call(
        &self,
        verb: Verb,
        pod: &Attached,
        told: &Map<String, Value>,
    ) -> Result<Option<Value>, CniError> {
        let (plugin, name) = (kind(told).to_owned(), verb.name());
        // One that is deleted may have no namespace any more.
        let namespace = match (pod.namespace(), verb) {
            (None, Verb::Add | Verb::Check) => return Err(CniError::NoNamespace),
            (namespace, _) => namespace.unwrap_or_default(),
        };
        let mut command = Command::new(self.path(&plugin)?);
        command
            .env("CNI_COMMAND", name)
            .env("CNI_CONTAINERID", &pod.sandbox)
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", LINK)
            .env("CNI_ARGS", pod.arguments())
            .env("CNI_PATH", self.folders(":"));
        let told = Value::Object(told.clone()).to_string();
        let output = tool::output(&mut command, told.as_bytes())
            .await
            .map_err(|source| CniError::Run { plugin: plugin.clone(), source })?;
        let answer = serde_json::from_slice::<Value>(&output.stdout);
        if output.status.success() {
            return answer_of(verb, answer, &output.stdout).map_err(|said| CniError::Plugin {
                plugin,
                verb: name,
                said,
            });
        }
        let said = answer.ok().and_then(|answer| refusal(&answer));
        let said = said.unwrap_or_else(|| {
            let said = [&output.stderr, &output.stdout].map(|text| tool::said(text));
            said.into_iter().find(|said| !said.is_empty()).unwrap_or_else(|| {
                format!("netplugin failed with no error message: {}", output.status)
            })
        });
        Err(CniError::Plugin { plugin, verb: name, said })
    }
}

/// Only what was added has a result.
fn answer_of(
    verb: Verb,
    answer: serde_json::Result<Value>,
    text: &[u8],
) -> Result<Option<Value>, String> {
    match answer {
        Ok(answer) if verb == Verb::Add => Ok(Some(answer)),
        Err(error) if verb == Verb::Add && !text.trim_ascii().is_empty() => {
            Err(format!("its answer can't be read: {error}"))
        }
        _ => Ok(None),
    }
}

/// What the specification calls an error.
fn refusal(answer: &Value) -> Option<String> {
    let message = answer["msg"].as_str()?;
    match answer["details"].as_str().filter(|details| !details.is_empty()) {
        Some(details) => Some(format!("{message}; {details}")),
        None => Some(message.to_owned()),
    }
}
