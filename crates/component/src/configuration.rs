//! Flags over environment over file. The file's keys are the flags' names, so there is one list of
//! settings per program: its flags. File values become flags that stand before the given ones, and clap
//! checks them like any other.

use std::{ffi::OsString, fs, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, error::ErrorKind, parser::ValueSource};
use serde_yaml::Value;

use crate::logging::LogFormat;

/// The flags of every program.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// A YAML file whose keys are names of flags; flags and environment win over it
    #[arg(long, value_name = "FILE", env = "MINIK8S_CONFIG", hide_env = true)]
    pub config: Option<std::path::PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,kube=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "RUST_LOG")]
    pub log_level: String,
    /// How to write the log to stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Adds the common flags and the environment variables to a program's command.
pub(crate) fn extend(command: Command) -> Command {
    // The description of the common flags must not take the place of the program's.
    let about = command.get_about().cloned().unwrap_or_default();
    let long_about = command.get_long_about().cloned();
    let command = CommonArgs::augment_args(command).args_override_self(true).about(about);
    let command = match long_about {
        Some(long_about) => command.long_about(long_about),
        None => command,
    };
    let command = match command.get_version() {
        Some(_) => command,
        None => command.version(env!("CARGO_PKG_VERSION")),
    };
    command.mut_args(|arg| match (arg.get_long(), arg.get_env()) {
        (Some(long), None) => {
            let variable = variable(long);
            arg.env(variable).hide_env(true)
        }
        _ => arg,
    })
}

/// `MINIK8S_NODE_NAME` for `node-name`. Leaked, because clap keeps names for the process's life.
fn variable(long: &str) -> &'static str {
    format!("MINIK8S_{}", long.replace('-', "_").to_uppercase()).leak()
}

/// Parses the command line, with the values of the configuration file where it gives nothing.
pub(crate) fn matches(command: Command, argv: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    // What is required may be in the file: the first look only finds out what is given.
    let given = command.clone().ignore_errors(true).try_get_matches_from(&argv);
    let Some(given) = given.ok() else { return command.try_get_matches_from(argv) };
    let Ok(Some(path)) = given.try_get_one::<std::path::PathBuf>("config") else {
        return command.try_get_matches_from(argv);
    };
    let from_file = flags_of_file(&command, &given, path)
        .map_err(|message| command.clone().error(ErrorKind::InvalidValue, message))?;
    let mut argv = argv.into_iter();
    let program = argv.next().unwrap_or_default();
    let argv = std::iter::once(program).chain(from_file).chain(argv);
    command.try_get_matches_from(argv)
}

fn flags_of_file(
    command: &Command,
    given: &ArgMatches,
    path: &Path,
) -> Result<Vec<OsString>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let value = serde_yaml::from_str(&text).map_err(|e| format!("{shown} is not YAML: {e}"))?;
    let mapping = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Mapping(mapping) => mapping,
        _ => return Err(format!("{shown} must map names of flags to values")),
    };
    let mut flags = Vec::new();
    for (key, value) in &mapping {
        let key = scalar(key).unwrap_or_default();
        let arg = argument(command, &key)
            .ok_or_else(|| format!("unknown key \"{key}\" in {shown}: no flag has this name"))?;
        if !is_given(given, arg) {
            let values = flag(arg, &key, value).ok_or_else(|| {
                format!("key \"{key}\" in {shown} must be a scalar or a list of scalars")
            })?;
            flags.extend(values);
        }
    }
    Ok(flags)
}

fn argument<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let not_settings = ["config", "help", "version"];
    command.get_arguments().find(|arg| arg.get_long() == Some(key) && !not_settings.contains(&key))
}

fn is_given(given: &ArgMatches, arg: &Arg) -> bool {
    let source = given.value_source(arg.get_id().as_str());
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn flag(arg: &Arg, key: &str, value: &Value) -> Option<Vec<OsString>> {
    if matches!(arg.get_action(), ArgAction::SetTrue) && value.is_bool() {
        let set = value.as_bool() == Some(true);
        return Some(set.then(|| format!("--{key}").into()).into_iter().collect());
    }
    let values = match value {
        Value::Sequence(values) => values.as_slice(),
        single => std::slice::from_ref(single),
    };
    values.iter().map(|value| Some(format!("--{key}={}", scalar(value)?).into())).collect()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
