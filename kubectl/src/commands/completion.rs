//! `kubectl completion`: scripts that complete commands and flags in a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, Failure, session::Session};

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  source <(kubectl completion bash)\n  kubectl completion zsh > ~/.zfunc/_kubectl\n  kubectl completion fish | source"
)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kubectl", &mut script);
        Ok(session.io.raw(&script)?)
    }
}
