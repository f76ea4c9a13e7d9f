//! The command line of minik8s: kubectl's commands, flags, output and errors, plus the seed's dialect.
//! It speaks only the public API and works against any Kubernetes server.
//!
//! [`run`] is the whole program over given arguments, streams and environment, so that a test can run it
//! in process; a command is one file in [`commands`] and one line in its list.

pub mod api;
pub mod commands;
pub mod describe;
pub mod dialect;
pub mod discovery;
mod environment;
pub mod failure;
pub mod flags;
mod function_source;
pub mod history;
pub mod io;
pub mod kubeconfig;
pub mod manifest;
pub mod object;
pub mod output;
mod patience;
pub mod selection;
pub mod session;
mod terminal;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};

pub use environment::Environment;
pub use failure::Failure;
pub use io::Io;

use session::Session;

/// The program. One thread is enough for a command that mostly waits, and starts faster.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    run(std::env::args_os(), Io::process(), Environment::process()).await
}

/// Runs one command line; the first argument is the program's name.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    io: Io,
    environment: Environment,
) -> ExitCode {
    let cli = match Cli::try_parse_from(without_switch_values(arguments)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &io),
    };
    let Some(command) = cli.command else {
        let _ = io.line(Cli::command().render_help());
        return ExitCode::SUCCESS;
    };
    let session = Session::new(cli.global, io.clone(), environment, Cli::command);
    match command.run(&session).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, &io),
    }
}

/// kubectl: control a minik8s (or any Kubernetes) cluster.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl",
    disable_version_flag = true,
    after_help = "Examples:\n  kubectl apply -f examples/pod\n  kubectl get pods -o wide\n  kubectl describe pod nginx\n\nUse \"kubectl <command> -h\" for the flags and examples of a command."
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: flags::Global,
    /// What to do; without it the help is shown.
    #[command(subcommand)]
    pub command: Option<commands::Command>,
}

/// Go's switches take a value (`--no-headers=true`): with it set they stand alone, unset they go.
fn without_switch_values(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut switches = Vec::new();
    collect_switches(&Cli::command(), &mut switches);
    let mut ours = true;
    let one = |argument: OsString| {
        // What follows is another program's.
        ours &= argument != "--";
        if !ours {
            return Some(argument);
        }
        let parts = argument.to_str().and_then(|a| a.strip_prefix("--")?.split_once('='));
        match parts {
            Some((flag, value)) if switches.iter().any(|s| s == flag) => match value {
                "true" => Some(format!("--{flag}").into()),
                "false" => None,
                _ => Some(argument),
            },
            _ => Some(argument),
        }
    };
    arguments.into_iter().filter_map(one).collect()
}

fn collect_switches(command: &clap::Command, switches: &mut Vec<String>) {
    let is_switch = |a: &&clap::Arg| matches!(a.get_action(), clap::ArgAction::SetTrue);
    switches.extend(
        command.get_arguments().filter(is_switch).filter_map(|a| Some(a.get_long()?.to_owned())),
    );
    command.get_subcommands().for_each(|sub| collect_switches(sub, switches));
}

/// Usage errors end with 1, as kubectl's do; help is no error.
fn usage(error: &clap::Error, io: &Io) -> ExitCode {
    if !error.use_stderr() {
        let _ = io.line(error.render().to_string().trim_end());
        return ExitCode::SUCCESS;
    }
    match (error.kind(), error.get(clap::error::ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(name)) => {
            io.note(format_args!("error: unknown command \"{name}\" for \"kubectl\""));
            if let Some(near) = error.get(clap::error::ContextKind::SuggestedSubcommand) {
                io.note(format_args!("\nDid you mean this?\n\t{near}"));
            }
        }
        _ => io.note(error.render().to_string().trim_end()),
    }
    ExitCode::FAILURE
}

fn report(failure: &Failure, io: &Io) -> ExitCode {
    if failure.is_closed_output() {
        return ExitCode::SUCCESS;
    }
    if !matches!(failure, Failure::Reported) {
        io.note(failure);
    }
    if let Some(hint) = failure.hint() {
        io.note(hint);
    }
    match failure {
        Failure::Exited(code) => ExitCode::from(*code),
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_two_dashes_is_another_programs() {
        let line = "kubectl exec web --stdin=true --tty=false -- sh --tty=false --stdin=true";
        let kept = without_switch_values(line.split(' ').map(OsString::from));
        assert_eq!(
            kept.join(" ".as_ref()),
            "kubectl exec web --stdin -- sh --tty=false --stdin=true"
        );
    }

    /// Else its value would be taken away where it has one.
    #[test]
    fn no_flag_is_a_switch_of_one_command_and_takes_a_value_of_another() {
        fn others(command: &clap::Command, switches: &[String]) -> Vec<String> {
            let flags = command.get_arguments();
            let valued =
                flags.filter(|flag| !matches!(flag.get_action(), clap::ArgAction::SetTrue));
            let names = valued.filter_map(|flag| flag.get_long().map(str::to_owned));
            let mut found: Vec<_> = names.filter(|name| switches.contains(name)).collect();
            command.get_subcommands().for_each(|sub| found.extend(others(sub, switches)));
            found
        }
        let mut switches = Vec::new();
        collect_switches(&Cli::command(), &mut switches);
        assert_eq!(others(&Cli::command(), &switches), Vec::<String>::new());
    }
}
