//! `kubectl` as a function, against a whole control plane in process.

use std::{
    io::{self, Cursor, Write},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use kubectl::{Environment, Io};
use testkit::ControlPlane;
use tokio::sync::Notify;

/// What a command wrote, readable while it runs.
#[derive(Clone, Default)]
pub(crate) struct Buffer(Arc<Inner>);

#[derive(Default)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    written: Notify,
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes.lock().unwrap().extend(bytes);
        self.0.written.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.bytes.lock().unwrap().clone()).unwrap()
    }

    /// Waits until the command has written this.
    pub(crate) async fn contains(&self, text: &str) {
        let seen = async {
            while !self.text().contains(text) {
                self.0.written.notified().await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, seen)
            .await
            .unwrap_or_else(|_| panic!("{text:?} was never written, but: {}", self.text()));
    }
}

pub(crate) struct Output {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct Kubectl {
    pub(crate) plane: ControlPlane,
}

impl Kubectl {
    pub(crate) async fn new() -> Self {
        Self { plane: ControlPlane::start().await }
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment { client: Some(self.plane.client()), ..Environment::default() }
    }

    pub(crate) async fn run_with(&self, line: &str, input: &str) -> Output {
        self.run_in(self.environment(), line, input).await
    }

    pub(crate) async fn run_in(&self, environment: Environment, line: &str, input: &str) -> Output {
        let (out, err) = (Buffer::default(), Buffer::default());
        let io = Io::new(Cursor::new(input.to_owned()), out.clone(), err.clone());
        let code = kubectl::run(words(line), io, environment).await;
        let ok = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
        Output { ok, out: out.text(), err: err.text() }
    }

    /// The output of a command that succeeds.
    pub(crate) async fn ok(&self, line: &str) -> String {
        self.ok_with(line, "").await
    }

    pub(crate) async fn ok_with(&self, line: &str, input: &str) -> String {
        let output = self.run_with(line, input).await;
        assert!(output.ok, "kubectl {line}: {}", output.err);
        output.out
    }

    /// The message of a command that fails.
    pub(crate) async fn fails(&self, line: &str, input: &str) -> String {
        let output = self.run_with(line, input).await;
        assert!(!output.ok, "kubectl {line} succeeded: {}", output.out);
        output.err.trim_end().to_owned()
    }
}

pub(crate) fn words(line: &str) -> Vec<std::ffi::OsString> {
    std::iter::once("kubectl").chain(line.split_whitespace()).map(Into::into).collect()
}
