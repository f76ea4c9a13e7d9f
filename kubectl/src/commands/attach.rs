//! `kubectl attach`: the streams of a container's own process.

use clap::Args;
use serde_json::Value;

use super::{
    pods,
    process::{self, Wanted},
};
use crate::{
    Failure,
    api::Call,
    object::{list, name_of},
    session::Session,
};

/// Attach to a process that is already running inside a container
///
/// Shows what it writes from now on.
#[derive(Args, Debug)]
#[command(
    override_usage = "kubectl attach (POD | TYPE/NAME) [-c CONTAINER] [flags]",
    after_help = "Examples:\n  kubectl attach web\n  kubectl attach web -c viewer\n  kubectl attach -it web                 # if its manifest says stdin: true and tty: true\n  kubectl attach rs/web                  # to one of its pods"
)]
pub struct Attach {
    /// POD or TYPE/NAME
    pub(super) word: Option<String>,
    /// The container; else the pod's first
    #[arg(short, long)]
    pub(super) container: Option<String>,
    /// Pass standard input to the process
    #[arg(short = 'i', long)]
    pub(super) stdin: bool,
    /// At its terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Only the process' own output
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl Attach {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(word) = &self.word else {
            return Err(Failure::message(
                "at least 1 argument is required for attach\nSee 'kubectl attach -h' for help and examples",
            ));
        };
        let pod = pods::running(session, word, "attach").await?;
        self.connect(session, &pod).await
    }

    /// The streams of a pod's container are those of this process until it has ended.
    pub(super) async fn connect(&self, session: &Session, pod: &Value) -> Result<(), Failure> {
        let container = pods::container(session, pod, self.container.as_ref())?.unwrap_or_default();
        let has_terminal = has_terminal(pod, &container);
        if self.tty && !has_terminal && !self.quiet {
            session.io.note(format_args!(
                "error: Unable to use a TTY - container {container} did not allocate one"
            ));
        }
        let tty = self.tty && has_terminal;
        let wanted = Wanted { stdin: self.stdin, tty }.at(&session.io, self.quiet);
        if wanted.stdin && wanted.tty && !self.quiet {
            session.io.note("If you don't see a command prompt, try pressing enter.");
        }
        let call = Call::get(pods::path(pod, "attach")).query("container", container);
        process::run(session, call, wanted).await
    }
}

fn has_terminal(pod: &Value, container: &str) -> bool {
    let found = list(pod, "/spec/containers").iter().find(|c| name_of(c) == container);
    found.is_some_and(|container| container["tty"] == true)
}
