//! `kubectl exec`: a command in a container.

use clap::Args;

use super::{
    pods,
    process::{self, Wanted},
};
use crate::{Failure, api::Call, session::Session};

/// Execute a command in a container
///
/// Its exit code becomes that of kubectl.
#[derive(Args, Debug)]
#[command(
    override_usage = "kubectl exec (POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
    after_help = "Examples:\n  kubectl exec web -- date\n  kubectl exec web -c viewer -- ls /\n  kubectl exec -it web -- sh             # at a terminal\n  kubectl exec rs/web -- date            # in one of its pods\n  tar c . | kubectl exec -i web -- tar x -C /tmp"
)]
pub struct Exec {
    /// POD or TYPE/NAME
    words: Vec<String>,
    /// The command and its arguments
    #[arg(last = true)]
    command: Vec<String>,
    /// The container; else the pod's first
    #[arg(short, long)]
    container: Option<String>,
    /// Pass standard input to the command
    #[arg(short = 'i', long)]
    stdin: bool,
    /// At a terminal
    #[arg(short, long)]
    tty: bool,
    /// Only the command's own output
    #[arg(short, long)]
    quiet: bool,
}

impl Exec {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let [word] = self.words.as_slice() else {
            return Err(Failure::message(match self.words.len() {
                0 => "pod, type/name or --filename must be specified",
                _ => {
                    "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec -h' for help and examples"
                }
            }));
        };
        if self.command.is_empty() {
            return Err(Failure::message(
                "you must specify at least one command for the container",
            ));
        }
        let pod = pods::running(session, word, "exec into").await?;
        let container = pods::container(session, &pod, self.container.as_ref())?;
        let call =
            Call::get(pods::path(&pod, "exec")).query("container", container.unwrap_or_default());
        let command = self.command.into_iter();
        let call = command.fold(call, |call, word| call.word("command", word));
        let wanted = Wanted { stdin: self.stdin, tty: self.tty }.at(&session.io, self.quiet);
        process::run(session, call, wanted).await
    }
}
