//! Processes in the words of the Docker Engine, and back. Pure.

use futures::{StreamExt, TryStreamExt};

use crate::runtime::{
    RuntimeError,
    process::{Command, Exec, Output, Streams},
};

pub(super) fn command(wanted: &Command) -> docker::Command {
    let Command { words, stdin, tty } = wanted.clone();
    docker::Command { words, stdin, tty }
}

impl From<docker::Exec> for Exec {
    fn from(exec: docker::Exec) -> Self {
        Self { id: exec.id, streams: exec.streams.into() }
    }
}

impl From<docker::Streams> for Streams {
    fn from(streams: docker::Streams) -> Self {
        let output = streams.output.map_ok(Output::from).map_err(RuntimeError::from);
        Self { input: streams.input, output: output.boxed() }
    }
}

impl From<docker::Output> for Output {
    fn from(part: docker::Output) -> Self {
        match part {
            docker::Output::Stdout(bytes) => Self::Stdout(bytes),
            docker::Output::Stderr(bytes) => Self::Stderr(bytes),
        }
    }
}
