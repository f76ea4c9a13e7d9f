//! A server program as a child process with a folder of its own, killed when the test is over.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio, id},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// A child process, perhaps dead, that can be started again on its data.
#[derive(Debug)]
pub(crate) struct Process {
    program: String,
    arguments: Vec<String>,
    child: Option<Child>,
    folder: TempDir,
}

impl Process {
    /// A program that is not running yet; `arguments` are given its folder.
    pub(crate) fn new(program: &str, arguments: impl FnOnce(&str) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for a server's data can be made");
        let arguments = arguments(&folder.path().display().to_string());
        Self { program: program.to_owned(), arguments, child: None, folder }
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&mut self) {
        if self.is_running() {
            return;
        }
        let program = &self.program;
        let spawned = self.command().and_then(|mut command| command.spawn());
        self.child = Some(spawned.unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}; tests need it to be installed")
        }));
    }

    /// Kills it like a power cut.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Has it end in order, and waits until it has.
    pub(crate) fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        let ended = self.child.take().map(|mut child| child.wait());
        ended.expect("it was started").expect("the process runs");
    }

    /// Stops it where it is, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.id().try_into().expect("a process id"));
        kill(id, signal).expect("the process runs");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// A size that `/proc` tells of it, in bytes.
    pub(crate) fn status(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let kib = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = kib.and_then(|words| words.split_whitespace().next()).expect("a size");
        kib.parse::<u64>().expect("a number") * 1024
    }

    /// The time that it was at work, to a hundredth of a second.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // Behind the name, which may have spaces.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(10 * ticks)
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.id());
        std::fs::read_to_string(path).expect("the process runs")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self) -> io::Result<Command> {
        let path = self.folder.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(path)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address of this host that nobody else has: ports of 127.0.0.1 are taken by who connects from there.
pub(crate) fn own_address(port: u16) -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = (id() << 4).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        let [_, a, b, c] = number.to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, a, b, c), port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A port of the loopback address that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("there is a free port")
}
