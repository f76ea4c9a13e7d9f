//! Where a command reads and writes: the process' own streams, or a test's buffers.

use std::{
    fmt,
    io::{self, IsTerminal, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// What is read of standard input at a time.
const PART: usize = 32 << 10;

/// Standard input, output and error of one run. Cheap to clone; writers are shared.
#[derive(Clone)]
pub struct Io {
    input: Arc<Mutex<dyn Read + Send>>,
    out: Arc<Mutex<dyn Write + Send>>,
    err: Arc<Mutex<dyn Write + Send>>,
    terminal: bool,
}

impl Io {
    /// Streams of the caller's choice.
    pub fn new(
        input: impl Read + Send + 'static,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            input: Arc::new(Mutex::new(input)),
            out: Arc::new(Mutex::new(out)),
            err: Arc::new(Mutex::new(err)),
            terminal: false,
        }
    }

    /// The streams of this process.
    #[must_use]
    pub fn process() -> Self {
        let terminal = io::stdin().is_terminal();
        Self { terminal, ..Self::new(io::stdin(), io::stdout(), io::stderr()) }
    }

    /// Whether somebody types the input at this process' terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes a line of the result.
    pub fn line(&self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(lock(&self.out), "{text}")
    }

    /// Writes part of the result, as it is, and shows it at once.
    pub fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = lock(&self.out);
        out.write_all(bytes)?;
        out.flush()
    }

    /// The same beside the result.
    pub fn raw_error(&self, bytes: &[u8]) -> io::Result<()> {
        let mut err = lock(&self.err);
        err.write_all(bytes)?;
        err.flush()
    }

    /// Writes a line that is not part of the result (warnings, progress, errors). Nobody can be told if that fails.
    pub fn note(&self, text: impl fmt::Display) {
        let _ = writeln!(lock(&self.err), "{text}");
    }

    /// What comes on standard input, as it comes. A thread reads it, and goes on after it is wanted no more.
    pub fn parts(&self) -> mpsc::Receiver<Bytes> {
        let (parts, read) = mpsc::channel(1);
        let input = self.input.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; PART];
            while let Ok(length @ 1..) = lock(&input).read(&mut buffer) {
                if parts.blocking_send(Bytes::copy_from_slice(&buffer[..length])).is_err() {
                    return;
                }
            }
        });
        read
    }

    /// One line of standard input, and nothing of what follows it.
    pub fn read_line(&self) -> io::Result<String> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while byte != *b"\n" && lock(&self.input).read(&mut byte)? > 0 {
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// All of standard input.
    pub fn read_all(&self) -> io::Result<String> {
        let mut text = String::new();
        lock(&self.input).read_to_string(&mut text)?;
        Ok(text)
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Io")
    }
}

/// A panic while writing leaves nothing half-done that the next line could not follow.
fn lock<T: ?Sized>(stream: &Mutex<T>) -> MutexGuard<'_, T> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
