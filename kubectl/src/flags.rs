//! Flags that several commands share.

use std::{path::PathBuf, time::Duration};

use api_machinery::duration;
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::Failure;

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Path to the kubeconfig file; default: $KUBECONFIG, ~/.kube/config, /etc/minik8s/admin.conf
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The namespace of this request
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// The address and port of the API server
    #[arg(short, long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Don't check the server's certificate
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// How long to wait for one answer of the server, e.g. 1s, 2m; 0 waits for ever
    #[arg(long, global = true, default_value = "0", value_parser = duration::parse, value_name = "TIME")]
    pub request_timeout: Duration,
    /// Verbosity of what is said about requests (6: paths, 8: bodies)
    #[arg(short = 'v', long = "v", global = true, default_value_t = 0, value_name = "LEVEL")]
    pub verbosity: u8,
}

/// Whether a change is only tried out.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct DryRun {
    /// Only try it out: here (client) or up to storing it (server)
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: DryRunMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DryRunMode {
    /// The change is made.
    #[default]
    None,
    /// Nothing is sent.
    Client,
    /// The server does everything but store it.
    Server,
}

impl DryRun {
    /// Whether the change is made.
    #[must_use]
    pub fn is_off(self) -> bool {
        self.dry_run == DryRunMode::None
    }

    /// Whether nothing is sent.
    #[must_use]
    pub fn is_local(self) -> bool {
        self.dry_run == DryRunMode::Client
    }

    /// What follows a line such as `pod/x created`.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self.dry_run {
            DryRunMode::None => "",
            DryRunMode::Client => " (dry run)",
            DryRunMode::Server => " (server dry run)",
        }
    }

    /// The value of the `dryRun` query parameter.
    #[must_use]
    pub fn query(self) -> &'static str {
        if self.dry_run == DryRunMode::Server { "All" } else { "" }
    }
}

/// What the server does about fields it does not know.
#[derive(Args, Clone, Debug)]
pub struct Validation {
    /// Unknown fields: strict (true) refuses, warn says so, ignore (false) drops them
    #[arg(long, default_value = "strict", num_args = 0..=1, default_missing_value = "strict", require_equals = true, value_parser = ["strict", "true", "warn", "ignore", "false"])]
    validate: String,
}

impl Validation {
    /// The value of the `fieldValidation` query parameter.
    #[must_use]
    pub fn query(&self) -> &'static str {
        match self.validate.as_str() {
            "warn" => "Warn",
            "ignore" | "false" => "Ignore",
            _ => "Strict",
        }
    }
}

/// Manifests named on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct Files {
    /// Files, folders or URLs with manifests, or - for standard input
    #[arg(
        short,
        long = "filename",
        alias = "filePath",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub filename: Vec<String>,
    /// Go into the folders of folders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// Splits `key=value` and `key-` arguments, as `label` and `annotate` take them.
pub fn pairs(arguments: &[String]) -> Result<Vec<(String, Option<String>)>, Failure> {
    let one = |argument: &String| match (argument.split_once('='), argument.strip_suffix('-')) {
        (Some((key, value)), _) if !key.is_empty() => Ok((key.to_owned(), Some(value.to_owned()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => Err(Failure::message(format!("{argument:?} is neither KEY=VALUE nor KEY-"))),
    };
    arguments.iter().map(one).collect()
}

/// Splits `key=value` arguments of which nothing can be removed.
pub fn assignments(arguments: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let one = |argument: &String| {
        let pair = argument.split_once('=').filter(|(key, _)| !key.is_empty());
        let pair = pair.map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Failure::message(format!("{argument:?} is no KEY=VALUE")))
    };
    arguments.iter().map(one).collect()
}

/// Labels as one argument: `a=b,c=d`.
pub fn labels(argument: &str) -> Result<Value, Failure> {
    let words = argument.split(',').filter(|word| !word.is_empty()).map(str::to_owned);
    let labels = assignments(&words.collect::<Vec<_>>())?;
    Ok(labels.into_iter().map(|(key, value)| (key, Value::String(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_set_and_remove() {
        let given = ["a=b".to_owned(), "c-".to_owned(), "d=e=f".to_owned()];
        let expected = [("a", Some("b")), ("c", None), ("d", Some("e=f"))]
            .map(|(k, v)| (k.to_owned(), v.map(str::to_owned)));
        assert_eq!(pairs(&given).unwrap(), expected);
        assert!(pairs(&["x".to_owned()]).is_err());
    }
}
