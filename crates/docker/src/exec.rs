//! Processes with their streams: commands that run in a container, and a container's own process.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bollard::{
    exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions},
    query_parameters::ResizeContainerTTYOptionsBuilder,
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use tokio::{
    io::{AsyncWrite, WriteHalf, split},
    time::sleep,
};
use tokio_util::{codec::FramedRead, io::ReaderStream};

use crate::{
    Docker, Error,
    frames::{Frames, Output},
    upgrade::Connection,
};

/// The daemon takes its usual keys for leaving a terminal (`ctrl-p ctrl-q`) out of the input. Nobody types
/// these. The first of them waits for the next key: one that is rarely the last.
const DETACH_KEYS: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_";
/// Between two looks whether a command has ended: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// A command to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Whether it reads what is written to its input; otherwise there is none.
    pub stdin: bool,
    /// Whether it has a terminal.
    pub tty: bool,
}

/// A command that runs.
#[derive(Debug)]
pub struct Exec {
    /// Names it to the daemon.
    pub id: String,
    /// Its streams.
    pub streams: Streams,
}

/// A process by the numbers of the daemon's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number, which is another's once it has ended.
    pub pid: i32,
    /// The container that it runs in, by its whole id.
    pub container: String,
}

/// The standard streams of a process.
pub struct Streams {
    /// Its input. Shut down, it is at its end for the process; that of a terminal has no end.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// What it writes. Unless somebody reads it, the process waits.
    pub output: BoxStream<'static, Result<Output, Error>>,
}

impl Docker {
    /// Runs a command in a container.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the container does not run.
    pub async fn exec(&self, container: &str, command: &Command) -> Result<Exec, Error> {
        let options = exec_options(command);
        let made = self.ask(|engine| {
            let options = options.clone();
            async move { engine.create_exec(container, options).await }
        });
        let id = made.await?.id;
        let options = StartExecOptions { tty: command.tty, ..Default::default() };
        let options = serde_json::to_string(&options).expect("it has only numbers and words");
        let connection = self.upgrade(&format!("/exec/{id}/start"), options).await?;
        Ok(Exec { id, streams: Streams::new(connection, command.tty) })
    }

    /// Waits for the end of a command; gives its exit status. Its streams may end before it does, and even
    /// if it ends first, the daemon hears of them sooner.
    ///
    /// # Errors
    /// [`Error::NotFound`]: its container is gone.
    pub async fn exec_status(&self, exec: &str) -> Result<i64, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let state = self.ask(|engine| async move { engine.inspect_exec(exec).await }).await?;
            match state.exit_code {
                Some(code) => return Ok(code),
                None => sleep(pause).await,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// The process of a command, once there is one: the daemon hands the streams out before it begins. Nothing if
    /// it has ended.
    ///
    /// # Errors
    /// [`Error::NotFound`]: its container is gone.
    pub async fn exec_process(&self, exec: &str) -> Result<Option<Process>, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let state = self.ask(|engine| async move { engine.inspect_exec(exec).await }).await?;
            let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
            match (state.exit_code, pid, state.container_id) {
                (Some(_), ..) => return Ok(None),
                (None, Some(pid), Some(container)) => return Ok(Some(Process { pid, container })),
                _ => sleep(pause).await,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// The streams of a container's own process, from now on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it is paused.
    pub async fn attach(&self, container: &str, stdin: bool) -> Result<Streams, Error> {
        let config = self.container(container).await?.config;
        let tty = config.and_then(|config| config.tty).unwrap_or_default();
        let wanted = format!("stream=true&stdin={stdin}&stdout=true&stderr=true");
        let keys = DETACH_KEYS.replace('^', "%5E");
        let path = format!("/containers/{container}/attach?{wanted}&detachKeys={keys}");
        Ok(Streams::new(self.upgrade(&path, String::new()).await?, tty))
    }

    /// Sets the size of a command's terminal, in characters.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] if it has none, or does not run.
    pub async fn resize_exec(&self, exec: &str, width: u16, height: u16) -> Result<(), Error> {
        let size = ResizeExecOptions { height, width };
        self.ask(|engine| async move { engine.resize_exec(exec, size).await }).await
    }

    /// Sets the size of a container's terminal, in characters.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] or [`Error::Refused`] if it does not run.
    pub async fn resize(&self, container: &str, width: u16, height: u16) -> Result<(), Error> {
        self.ask(|engine| async move {
            let size = ResizeContainerTTYOptionsBuilder::default().w(width.into()).h(height.into());
            engine.resize_container_tty(container, size.build()).await
        })
        .await
    }
}

fn exec_options(command: &Command) -> CreateExecOptions<String> {
    CreateExecOptions {
        cmd: Some(command.words.clone()),
        attach_stdin: Some(command.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(command.tty),
        detach_keys: Some(DETACH_KEYS.to_owned()),
        ..CreateExecOptions::default()
    }
}

impl Streams {
    fn new(connection: Connection, tty: bool) -> Self {
        let (output, input) = split(connection);
        let broken = |error: io::Error| Error::Unavailable(error.into());
        if tty {
            let output = ReaderStream::new(output).map_ok(Output::Stdout).map_err(broken);
            return Streams { input: Box::pin(Keyboard(input)), output: output.boxed() };
        }
        let output = FramedRead::new(output, Frames::default()).map_err(broken);
        Streams { input: Box::pin(input), output: output.boxed() }
    }
}

/// The input of a terminal. To the daemon the end of a connection's input is that of the terminal, of which
/// it then tells no more; who has nothing more to type still reads.
struct Keyboard(WriteHalf<Connection>);

impl AsyncWrite for Keyboard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        typed: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, typed)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}
