//! `/exec/…` and `/attach/…`: a process of a container whose streams are the client's.
//! (Kubernetes: `k8s.io/cri-streaming/pkg/streaming/remotecommand`.)

use std::{pin::Pin, sync::Arc};

use api_types::api::core::v1::Pod;
use axum::{
    extract::{Path, Query, State, ws::WebSocket},
    http::StatusCode,
    response::Response,
};
use futures::{TryStreamExt, stream::BoxStream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    channels::{self, Frame, Protocol, REMOTE_COMMAND, Receiver, Sender, Upgrade},
    refusal::Refusal,
    shared::Shared,
};
use crate::{
    runtime::{
        Runtime, RuntimeError,
        process::{Command, Output, Streams, Terminal},
    },
    spec,
};

// The channels.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// The container that is meant.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    namespace: String,
    pod: String,
    uid: Option<String>,
    container: String,
}

type Parameters = Query<Vec<(String, String)>>;

pub(super) async fn exec(
    State(shared): State<Shared>,
    Path(place): Path<Place>,
    Query(parameters): Parameters,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let wanted = Wanted::read(&parameters, is_set(&parameters, "tty"))?;
    let pod = shared.find(&place.namespace, &place.pod, place.uid.as_deref())?;
    let running = shared.running(&pod, &place.container).await?;
    let container = running
        .ok_or_else(|| Refusal::internal(format!("container not found ({:?})", place.container)))?;
    let words = parameters.into_iter().filter(|(name, _)| name == "command");
    let words = words.map(|(_, word)| word).collect();
    let command = Command { words, stdin: wanted.stdin, tty: wanted.tty };
    serve(shared, pod, container.id, Some(command), wanted, upgrade)
}

pub(super) async fn attach(
    State(shared): State<Shared>,
    Path(place): Path<Place>,
    Query(parameters): Parameters,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let Place { namespace, pod: name, uid, container } = place;
    let pod = shared.find(&namespace, &name, uid.as_deref())?;
    // The process has a terminal or not since its start.
    let tty = spec::container(&pod, &container).is_some_and(|wanted| wanted.tty == Some(true));
    let wanted = Wanted::read(&parameters, tty)?;
    let running = shared.running(&pod, &container).await?;
    let running = running.ok_or_else(|| {
        Refusal::internal(format!("container {container} not found in pod {name}_{namespace}"))
    })?;
    serve(shared, pod, running.id, None, wanted, upgrade)
}

fn serve(
    shared: Shared,
    pod: Arc<Pod>,
    container: String,
    command: Option<Command>,
    wanted: Wanted,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let (upgrade, protocol) = channels::negotiate(upgrade, REMOTE_COMMAND)?;
    let runtime = shared.runtime.clone();
    let session = Session { runtime, container, command, wanted, protocol };
    Ok(upgrade.on_upgrade(async move |socket| {
        shared.while_there(&pod, session.serve(socket)).await;
    }))
}

fn is_set(parameters: &[(String, String)], name: &str) -> bool {
    let value = parameters.iter().find(|(known, _)| known == name);
    value.is_some_and(|(_, value)| value == "1")
}

/// What the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn read(parameters: &[(String, String)], tty: bool) -> Result<Self, Refusal> {
        let is_set = |name| is_set(parameters, name);
        let (stdin, stdout) = (is_set("input"), is_set("output"));
        // A terminal is one stream.
        let stderr = is_set("error") && !tty;
        if !(stdin || stdout || stderr) {
            let why = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(Refusal(StatusCode::BAD_REQUEST, why.to_owned()));
        }
        Ok(Self { stdin, stdout, stderr, tty })
    }

    /// The channel on which the client hears first that it is connected.
    fn first(self) -> u8 {
        match self {
            Self { stdout: true, .. } => STDOUT,
            Self { stderr: true, .. } => STDERR,
            _ => ERROR,
        }
    }

    fn includes(self, part: &Output) -> bool {
        match part {
            Output::Stdout(_) => self.stdout,
            Output::Stderr(_) => self.stderr,
        }
    }
}

/// One client and one process.
struct Session {
    runtime: Arc<dyn Runtime>,
    container: String,
    /// `None` is the container's own process.
    command: Option<Command>,
    wanted: Wanted,
    protocol: Protocol,
}

/// How a session ends.
enum End {
    /// With the process, which had this exit status.
    Exited(i64),
    /// The client has gone.
    Left,
}

impl Session {
    async fn serve(self, socket: WebSocket) {
        let (sender, mut receiver) = channels::split(socket, self.protocol);
        let status = match self.run(&sender, &mut receiver).await {
            Ok(End::Left) => return,
            Ok(End::Exited(code)) => exited(code),
            Err(error) => failed(self.failure(), &error),
        };
        let report = report(&status, self.protocol);
        channels::close(&sender, receiver, report.map(|report| (ERROR, report))).await;
    }

    fn failure(&self) -> &'static str {
        match self.command {
            Some(_) => "error executing command in container",
            None => "error attaching to container",
        }
    }

    async fn run(&self, sender: &Sender, receiver: &mut Receiver) -> Result<End, RuntimeError> {
        if sender.send(self.wanted.first(), b"").await.is_err() {
            return Ok(End::Left);
        }
        let (Streams { input, output }, terminal) = self.begin().await?;
        // Side by side: a process that waits until its output is read does not read its input.
        tokio::select! {
            () = self.listen(sender, receiver, input, &terminal) => Ok(End::Left),
            () = sender.idle() => Ok(End::Left),
            end = self.tell(sender, output, &terminal) => end,
        }
    }

    async fn begin(&self) -> Result<(Streams, Terminal), RuntimeError> {
        let Some(command) = &self.command else {
            let streams = self.runtime.attach(&self.container, self.wanted.stdin).await?;
            return Ok((streams, Terminal::Container(self.container.clone())));
        };
        let exec = self.runtime.exec(&self.container, command).await?;
        Ok((exec.streams, Terminal::Exec(exec.id)))
    }

    /// Hears what the client says until it has gone.
    async fn listen(
        &self,
        sender: &Sender,
        receiver: &mut Receiver,
        mut input: Pin<Box<dyn AsyncWrite + Send>>,
        terminal: &Terminal,
    ) {
        while let Some(frame) = receiver.next().await {
            // A process need not read its input, nor is it told when it resizes a terminal it has not.
            let heard = match frame {
                Frame::Data(STDIN, data) if self.wanted.stdin => {
                    match sender.while_deaf(input.write_all(&data)).await {
                        Some(written) => written.is_ok(),
                        None => return,
                    }
                }
                Frame::Close(STDIN) => input.shutdown().await.is_ok(),
                Frame::Data(RESIZE, size) => self.resize(terminal, &size).await,
                _ => true,
            };
            if !heard {
                tracing::debug!(container = self.container, "the process did not hear its client");
            }
        }
    }

    async fn resize(&self, terminal: &Terminal, size: &[u8]) -> bool {
        let Ok(size) = serde_json::from_slice(size) else { return false };
        self.runtime.resize(terminal, size).await.is_ok()
    }

    /// Tells the client what the process writes until that has ended.
    async fn tell(
        &self,
        sender: &Sender,
        mut output: BoxStream<'static, Result<Output, RuntimeError>>,
        process: &Terminal,
    ) -> Result<End, RuntimeError> {
        while let Some(part) = output.try_next().await? {
            if !self.wanted.includes(&part) {
                continue;
            }
            let (Output::Stdout(data) | Output::Stderr(data)) = &part;
            let channel = if matches!(part, Output::Stdout(_)) { STDOUT } else { STDERR };
            if sender.send(channel, data).await.is_err() {
                return Ok(End::Left);
            }
        }
        match process {
            Terminal::Exec(id) => self.runtime.exec_status(id).await.map(End::Exited),
            // How a container ends is told by its pod.
            Terminal::Container(_) => Ok(End::Exited(0)),
        }
    }
}

// === Outcomes ===

fn exited(code: i64) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    let message = format!(
        "command terminated with non-zero exit code: command terminated with exit code {code}"
    );
    let causes = json!([{"reason": "ExitCode", "message": code.to_string()}]);
    json!({"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode",
        "details": {"causes": causes}})
}

fn failed(what: &str, error: &RuntimeError) -> Value {
    let message = format!("Internal error occurred: {what}: {error}");
    json!({"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
        "code": 500})
}

/// What the client is told at the end; nothing, if it understands only failures and there was none.
fn report(status: &Value, protocol: Protocol) -> Option<String> {
    if protocol.status {
        return Some(status.to_string());
    }
    status["message"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Wanted, Refusal> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        Wanted::read(&pairs, is_set(&pairs, "tty"))
    }

    #[test]
    fn the_streams_are_those_that_are_asked_for() {
        let all = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
        assert_eq!(read("input=1&output=1&error=1").unwrap(), all);
        let terminal = Wanted { stderr: false, tty: true, ..all };
        assert_eq!(read("input=1&output=1&error=1&tty=1").unwrap(), terminal);
        for nothing in ["", "tty=1", "input=0&output=true", "tty=1&error=1"] {
            let Refusal(code, why) = read(nothing).unwrap_err();
            assert_eq!(
                (code, &*why),
                (StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr")
            );
        }
    }

    #[test]
    fn old_clients_hear_only_of_failures() {
        let [.., v1, _] = REMOTE_COMMAND else { panic!("{REMOTE_COMMAND:?}") };
        assert_eq!(report(&exited(0), *v1), None);
        let heard = report(&exited(7), *v1).unwrap();
        assert!(heard.ends_with("command terminated with exit code 7"), "{heard}");
    }
}
