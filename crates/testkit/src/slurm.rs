//! A Slurm cluster with its login node.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::process::free_address;

/// How many other ports are tried, when one has been taken by somebody else.
const ATTEMPTS: u32 = 5;

/// All of Slurm, on free ports and in a folder of its own, until it is dropped. `scripts/slurm.sh` makes it, as root.
#[derive(Debug)]
pub struct Slurm {
    folder: TempDir,
    port: u16,
    address: String,
}

impl Slurm {
    /// With accounting: `sacct` knows what has been.
    ///
    /// # Panics
    /// If it cannot be started, with what to do.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Where `sacct` knows nothing.
    ///
    /// # Panics
    /// If it cannot be started, with what to do.
    #[must_use]
    pub fn without_accounting() -> Self {
        Self::with(&["--no-accounting"])
    }

    /// As [`Self::start`], with further arguments of `scripts/slurm.sh`, such as `--address` and one that pods reach.
    ///
    /// # Panics
    /// If it cannot be started, with what to do.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        let mut words = String::new();
        let address = arguments.windows(2).find(|pair| pair[0] == "--address");
        let address = address.map_or("127.0.0.1", |pair| pair[1]);
        for _ in 0..ATTEMPTS {
            let slurm = Self { folder: folder(), port: free_ports(), address: address.to_owned() };
            let output =
                slurm.script("up", &[&["--port", &slurm.port.to_string()], arguments].concat());
            if output.status.success() {
                return slurm;
            }
            words = text(&output);
        }
        panic!("cannot start Slurm, which needs root and what scripts/test.sh installs:\n{words}");
    }

    /// The address of the login node.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.address
    }

    /// The port of its sshd.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who logs in.
    #[must_use]
    pub fn user(&self) -> String {
        format!("slurm-{}", self.port)
    }

    /// The user's password.
    #[must_use]
    pub fn password(&self) -> String {
        self.read("password")
    }

    /// The user's private key.
    #[must_use]
    pub fn key(&self) -> String {
        self.read("key")
    }

    /// The login node's public key, as `ssh-ed25519 AAAA…`.
    #[must_use]
    pub fn host_key(&self) -> String {
        let line = self.read("ssh/host_key.pub");
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// The login node's line for `known_hosts`.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        self.read("known_hosts")
    }

    /// The user's home directory, which is on this machine, too.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.place().join("home")
    }

    /// One of Slurm's commands, as root; what it says.
    ///
    /// # Panics
    /// If it fails.
    pub fn command(&self, program: &str, arguments: &[&str]) -> String {
        let configuration = self.place().join("etc/slurm.conf");
        let output =
            Command::new(program).args(arguments).env("SLURM_CONF", configuration).output();
        let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Changes a line of `slurm.conf` while all go on.
    ///
    /// # Panics
    /// If there is no such line.
    pub fn configure(&self, name: &str, value: &str) {
        let path = self.place().join("etc/slurm.conf");
        let old = fs::read_to_string(&path).expect("slurm.conf can be read");
        let change = |line: &str| match line.split_once('=') {
            Some((before, _)) if before == name => format!("{name}={value}\n"),
            _ => format!("{line}\n"),
        };
        let new: String = old.lines().map(change).collect();
        assert_ne!(old, new, "slurm.conf has no {name}, or has that value");
        fs::write(path, new).expect("slurm.conf can be written");
        self.command("scontrol", &["reconfigure"]);
    }

    /// Stops `sshd`, with its connections, or `slurmdbd`, `slurmctld` or `slurmd`.
    ///
    /// # Panics
    /// If it cannot be stopped.
    pub fn stop(&self, server: &str) {
        self.succeed("stop", server);
    }

    /// Starts again what was stopped.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_again(&self, server: &str) {
        self.succeed("start", server);
    }

    fn succeed(&self, command: &str, server: &str) {
        let output = self.script(command, &[server]);
        assert!(output.status.success(), "{command} {server}: {}", text(&output));
    }

    fn script(&self, command: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/slurm.sh");
        let mut words = Command::new(script);
        words.arg(command).args(arguments).arg("--dir").arg(self.place());
        words.output().expect("scripts/slurm.sh can be run")
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("slurm")
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.place().join(file)).expect("the cluster is up")
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let output = self.script("down", &[]);
        // Where it never came up, there is nothing to take down.
        if !output.status.success() && self.place().exists() {
            eprintln!("scripts/slurm.sh down: {}", text(&output));
        }
    }
}

/// The user's home will be in it, and paths of sockets, which are short.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("slurm").permissions(fs::Permissions::from_mode(0o755));
    builder.tempdir_in("/tmp").expect("a folder can be made")
}

/// The first of four that nobody listens on.
fn free_ports() -> u16 {
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let port = free_address().port();
        if port < u16::MAX - 3 && (1..4).all(|next| free(port + next)) {
            return port;
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
