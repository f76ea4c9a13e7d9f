//! What goes on for longer than a question and its answer: events and logs.

use std::collections::HashMap;

use bollard::{
    container::LogOutput,
    errors::Error as EngineError,
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
