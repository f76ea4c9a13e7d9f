//! `kubectl run`: one pod of one image.

mod attached;

use std::time::Duration;

use api_machinery::duration;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::creation::Options;
use crate::{Failure, flags, session::Session};

/// Run an image in a pod
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl run web --image=nginx:1.28 --port=80\n  kubectl run once --image=busybox:1 --restart=Never -- wget -q -O - http://web\n  kubectl run sleep --image=busybox:1 --command -- sleep 3600\n  kubectl run -it --rm shell --image=busybox:1 --restart=Never"
)]
pub struct Run {
    /// The pod's name
    name: String,
    /// What its container runs
    #[arg(long)]
    image: String,
    /// The port on which the container listens
    #[arg(long)]
    port: Option<u16>,
    /// NAME=VALUE in the container's environment
    #[arg(long)]
    env: Vec<String>,
    /// The pod's labels, KEY=VALUE,…; usually run=NAME
    #[arg(short, long)]
    labels: Option<String>,
    /// What happens when the container ends
    #[arg(long, value_enum, default_value = "Always")]
    restart: Restart,
    /// Always, IfNotPresent or Never
    #[arg(long)]
    image_pull_policy: Option<String>,
    /// What is given after -- is the command, not its arguments
    #[arg(long)]
    command: bool,
    /// Pass standard input to the container, and attach
    #[arg(short = 'i', long)]
    stdin: bool,
    /// At a terminal
    #[arg(short, long)]
    tty: bool,
    /// Wait until the pod runs, and attach; usually with -i
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    attach: Option<bool>,
    /// Delete the pod when the session is over
    #[arg(long)]
    rm: bool,
    /// Leave the container's input open after the first session
    #[arg(long)]
    leave_stdin_open: bool,
    /// Say nothing but what the container does
    #[arg(short, long)]
    quiet: bool,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m", value_parser = duration::parse)]
    pod_running_timeout: Duration,
    /// The arguments of the image's command
    #[arg(last = true)]
    words: Vec<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Run {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        self.check()?;
        if self.attaches() {
            return self.run_attached(session).await;
        }
        self.options.create_one(session, self.pod()?, "created").await
    }

    fn attaches(&self) -> bool {
        self.attach.unwrap_or(self.stdin)
    }

    fn check(&self) -> Result<(), Failure> {
        let attaches = self.attaches();
        if self.tty && !self.stdin {
            return Err(Failure::message(
                "-i/--stdin is required for containers with -t/--tty=true",
            ));
        }
        if self.rm && !attaches {
            return Err(Failure::message("--rm should only be used for attached containers"));
        }
        if (attaches || self.stdin) && !self.options.dry_run().is_off() {
            return Err(Failure::message(
                "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
            ));
        }
        Ok(())
    }

    fn pod(&self) -> Result<Value, Failure> {
        let labels = match &self.labels {
            Some(labels) => flags::labels(labels)?,
            None => json!({"run": self.name}),
        };
        let mut container = json!({"name": self.name, "image": self.image});
        if let Some(policy) = &self.image_pull_policy {
            container["imagePullPolicy"] = json!(policy);
        }
        if let Some(port) = self.port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        let env = flags::assignments(&self.env)?.into_iter();
        let env = env.map(|(name, value)| json!({"name": name, "value": value}));
        let env: Vec<_> = env.collect();
        if !env.is_empty() {
            container["env"] = json!(env);
        }
        if self.stdin {
            container["stdin"] = json!(true);
            container["stdinOnce"] = json!(!self.leave_stdin_open);
            container["tty"] = json!(self.tty);
        }
        if !self.words.is_empty() {
            container[if self.command { "command" } else { "args" }] = json!(self.words);
        }
        let restart = self.restart.to_possible_value();
        Ok(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                "containers": [container],
                "restartPolicy": restart.as_ref().map(|restart| restart.get_name()),
            },
        }))
    }
}
