//! What goes on for longer than a question and its answer: events, logs, commands.

use std::{collections::HashMap, fmt};

use bollard::{
    container::LogOutput,
    errors::Error as EngineError,
    exec::{CreateExecOptions, StartExecResults},
    query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder},
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::{Docker, Error, models::EventMessage, version};

/// Which part of a container's output is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether to go on with what is written later.
    pub follow: bool,
    /// Only this many lines from the end.
    pub tail: Option<u64>,
    /// Only what was written from this second on, of Unix time.
    pub since: i64,
    /// Whether each line starts with the time it was written.
    pub timestamps: bool,
}

/// A command that runs in a container.
pub struct Exec {
    id: String,
    /// What it writes, standard output and error interleaved. Unless somebody reads it, the command
    /// waits; its end is that of the command.
    pub output: BoxStream<'static, Result<Bytes, Error>>,
}

impl Docker {
    /// What happens from now on to containers with all of these labels (`KEY` or `KEY=VALUE`): only
    /// these actions (`start`, `die`, …), or all if none is named. Ends when the connection does.
    pub fn events(
        &self,
        labels: &[String],
        actions: &[&str],
    ) -> BoxStream<'static, Result<EventMessage, Error>> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", labels.to_vec()),
            ("event", actions.iter().map(|&action| action.to_owned()).collect()),
        ]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        self.stream(move |engine| engine.events(Some(options)))
    }

    /// A container's output, standard output and error interleaved.
    pub fn logs(&self, id: &str, options: &LogOptions) -> BoxStream<'static, Result<Bytes, Error>> {
        let id = id.to_owned();
        let tail = options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(options.follow)
            .since(i32::try_from(options.since).unwrap_or(i32::MAX))
            .timestamps(options.timestamps)
            .tail(&tail)
            .build();
        self.stream(move |engine| engine.logs(&id, Some(options)).map_ok(LogOutput::into_bytes))
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the container does not run.
    pub async fn exec(&self, id: &str, command: &[String]) -> Result<Exec, Error> {
        let made = self.ask(|engine| async move { engine.create_exec(id, options(command)).await });
        let exec = &made.await?.id;
        let started = self.ask(|engine| async move { engine.start_exec(exec, None).await }).await?;
        let output = match started {
            StartExecResults::Attached { output, .. } => {
                output.map_ok(LogOutput::into_bytes).map_err(Error::from).boxed()
            }
            StartExecResults::Detached => stream::empty().boxed(),
        };
        Ok(Exec { id: exec.clone(), output })
    }

    /// The status with which a command has ended whose output was read; nothing while it runs.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the container has gone meanwhile.
    pub async fn exit_code(&self, exec: Exec) -> Result<Option<i64>, Error> {
        let Exec { id, .. } = exec;
        let id = &id;
        let state = self.ask(|engine| async move { engine.inspect_exec(id).await }).await?;
        Ok(state.exit_code)
    }

    /// One that the daemon refuses for its version is to be begun anew by whoever reads it.
    pub(crate) fn stream<T, S>(
        &self,
        begin: impl FnOnce(bollard::Docker) -> S + Send + 'static,
    ) -> BoxStream<'static, Result<T, Error>>
    where
        S: Stream<Item = Result<T, EngineError>> + Send + 'static,
        T: Send + 'static,
    {
        let this = self.clone();
        let begun = async move {
            let engine = this.ask(|engine| async { Ok(engine) }).await?;
            Ok::<_, Error>(begin(engine).map_err(move |error| {
                if version::is_refused(&error) {
                    this.forget_version();
                }
                Error::from(error)
            }))
        };
        stream::once(begun).try_flatten().boxed()
    }
}

fn options(command: &[String]) -> CreateExecOptions<String> {
    CreateExecOptions {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("id", &self.id).finish_non_exhaustive()
    }
}
