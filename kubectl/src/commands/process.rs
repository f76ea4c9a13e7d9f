//! A process in a container whose streams are those of this one.
//! (Kubernetes: `client-go/tools/remotecommand`.)

use std::{fmt::Display, future::pending};

use api_types::meta::Status;
use bytes::Bytes;
use futures::{Sink, SinkExt, StreamExt, future::OptionFuture};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::heard::{Heard, pings};
use crate::{
    Failure, Io,
    api::Call,
    session::Session,
    terminal::{Raw, ended},
};

// The channels.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// In the place of a channel: the next byte names one that is at its end.
const CLOSE: u8 = 255;

/// What is wanted of a process besides its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) stdin: bool,
    pub(super) tty: bool,
}

impl Wanted {
    /// A terminal there needs one here, whose keys go there.
    pub(super) fn at(self, io: &Io, quiet: bool) -> Self {
        let wanted = self.tty && self.stdin;
        let tty = wanted && io.is_terminal();
        if wanted && !tty && !quiet {
            io.note("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        Self { tty, ..self }
    }

    /// The same, of a request.
    pub(super) fn ask(self, call: Call) -> Call {
        let flag = |set: bool| if set { "true" } else { "" };
        call.query("stdin", flag(self.stdin))
            .query("stdout", "true")
            .query("stderr", flag(!self.tty))
            .query("tty", flag(self.tty))
    }
}

/// Connects the streams until the process has ended.
pub(super) async fn run(session: &Session, call: Call, wanted: Wanted) -> Result<(), Failure> {
    let connection = session.api().await?.connect(wanted.ask(call)).await?;
    let (ended, raw) = match wanted.tty {
        true => (Some(ended()?), Some(Raw::begin()?)),
        false => (None, None),
    };
    let closes = connection.supports_stream_close();
    let (sink, mut messages) = connection.into_stream().split();
    let heard = Heard::new();
    let listen = async {
        while let Some(Ok(message)) = messages.next().await {
            let bytes = message.into_data();
            match bytes.split_first() {
                Some((&STDOUT, data)) => session.io.raw(data)?,
                Some((&STDERR, data)) => session.io.raw_error(data)?,
                Some((&STATUS, status)) => return outcome(status),
                _ => {}
            }
            heard.now();
        }
        Err(lost("it was closed"))
    };
    let input = wanted.stdin.then(|| session.io.parts());
    tokio::select! {
        biased;
        Some(()) = OptionFuture::from(ended) => Err(Failure::message("ended by a signal")),
        outcome = listen => outcome,
        failure = speak(sink, input, raw, closes, &heard) => Err(failure),
        () = heard.lost() => Err(lost("the server does not answer")),
    }
}

fn lost(why: impl Display) -> Failure {
    Failure::message(format!("the connection to the container was lost: {why}"))
}

/// Says what is typed and how large the terminal is, until the server hears no more: what it has said last
/// is listened to then. `closes` tells whether it understands that there is no more input.
async fn speak(
    mut sink: impl Sink<Message, Error: Display> + Unpin,
    mut input: Option<mpsc::Receiver<Bytes>>,
    mut raw: Option<Raw>,
    closes: bool,
    heard: &Heard,
) -> Failure {
    let mut pings = pings();
    let mut next = raw.as_ref().and_then(size);
    loop {
        if let Some(message) = next.take()
            && let Err(error) = sink.send(message).await
        {
            heard.last().await;
            return lost(error);
        }
        next = tokio::select! {
            part = read(&mut input) => Some(match part {
                Some(part) => part,
                None if closes => message(CLOSE, &[STDIN]),
                None => Message::Close(None),
            }),
            () = resized(&mut raw) => raw.as_ref().and_then(size),
            _ = pings.tick() => Some(Message::Ping(Bytes::new())),
        };
    }
}

/// The end comes once.
async fn read(input: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Message> {
    let Some(parts) = input else { return pending().await };
    let part = parts.recv().await;
    if part.is_none() {
        *input = None;
    }
    part.map(|part| message(STDIN, &part))
}

async fn resized(raw: &mut Option<Raw>) {
    match raw {
        Some(raw) => raw.resized().await,
        None => pending().await,
    }
}

fn size(raw: &Raw) -> Option<Message> {
    let (width, height) = raw.size().ok()?;
    let size = json!({"Width": width, "Height": height});
    Some(message(RESIZE, size.to_string().as_bytes()))
}

fn message(channel: u8, data: &[u8]) -> Message {
    Message::binary([&[channel], data].concat())
}

/// What a process came to.
fn outcome(status: &[u8]) -> Result<(), Failure> {
    let status: Status = serde_json::from_slice(status).map_err(|error| {
        Failure::message(format!("the server's status makes no sense: {error}"))
    })?;
    if status.status.as_deref() == Some("Success") {
        return Ok(());
    }
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = code.and_then(|cause| cause.message.as_deref()?.parse::<i64>().ok());
    match code {
        // As a shell has it: the last byte, and a failure is none of 0.
        Some(code) => Err(Failure::Exited(code.to_le_bytes()[0].max(1))),
        None => Err(Failure::message(status.message.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_of_a_command_is_ours() {
        let outcome = |status: serde_json::Value| outcome(status.to_string().as_bytes());
        assert!(outcome(json!({"status": "Success"})).is_ok());
        let exited = |code: &str| {
            let causes = json!([{"reason": "ExitCode", "message": code}]);
            let details = json!({"causes": causes});
            let status =
                json!({"status": "Failure", "reason": "NonZeroExitCode", "details": details});
            outcome(status).unwrap_err()
        };
        assert!(matches!(exited("3"), Failure::Exited(3)));
        assert!(matches!(exited("256"), Failure::Exited(1)));
        assert_eq!(exited("137").to_string(), "command terminated with exit code 137");
        let failed = outcome(json!({"status": "Failure", "message": "no such container"}));
        assert_eq!(failed.unwrap_err().to_string(), "error: no such container");
    }

    #[tokio::test]
    async fn input_is_told_to_its_end_and_then_no_more() {
        let (parts, input) = mpsc::channel(4);
        let (sink, mut said) = futures::channel::mpsc::channel(4);
        parts.send("typed".into()).await.unwrap();
        drop(parts);
        let heard = Heard::new();
        let speak = speak(sink, Some(input), None, true, &heard);
        let told = async { [said.next().await.unwrap(), said.next().await.unwrap()] };
        let told = tokio::select! {
            told = told => told,
            failure = speak => panic!("{failure}"),
        };
        assert_eq!(told, [Message::binary(&b"\x00typed"[..]), Message::binary(&b"\xff\x00"[..])]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_asked_and_one_that_takes_no_input_is_a_failure() {
        let (sink, mut said) = futures::channel::mpsc::channel(4);
        let heard = Heard::new();
        let speak = speak(sink, None, None, true, &heard);
        let hang_up = async {
            assert_eq!(said.next().await, Some(Message::Ping(Bytes::new())));
            drop(said);
            pending::<()>().await;
        };
        let failure = tokio::select! {
            failure = speak => failure,
            () = hang_up => unreachable!(),
            () = heard.lost() => panic!("nobody was told"),
        };
        let why = failure.to_string();
        assert!(why.starts_with("error: the connection to the container was lost: "), "{why}");
    }
}
