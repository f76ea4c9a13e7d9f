//! The commands that bring the rules into the kernel.

use std::{fs::File, path::Path, process::Stdio};

use nix::fcntl::{Flock, FlockArg};
use tokio::io::AsyncWriteExt;

use super::{
    NetworkError,
    rules::{self, Table},
};

/// Kubelets of one host take turns: between looking and writing, nobody else writes.
const LOCK: &str = "/run/minik8s-firewall.lock";

/// Makes the rules what they should be, all at once per table; tells whether they were not.
pub(super) async fn apply(wanted: &[Table]) -> Result<bool, NetworkError> {
    let _turn = turn().await?;
    match rules::repair(wanted, &saved().await?) {
        None => Ok(false),
        Some(text) => {
            run("iptables-restore", &["-w", "--noflush"], &text).await?;
            Ok(true)
        }
    }
}

/// The rules that are there, as text.
pub(super) async fn saved() -> Result<String, NetworkError> {
    run("iptables-save", &[], "").await
}

async fn turn() -> Result<Flock<File>, NetworkError> {
    let lock = || {
        let file = File::create(Path::new(LOCK))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    };
    let failed = |source| NetworkError::Io { step: "lock the packet filter's rules", source };
    let taken: std::io::Result<_> =
        tokio::task::spawn_blocking(lock).await.unwrap_or_else(|lost| Err(lost.into()));
    taken.map_err(failed)
}

/// Gives what the command prints.
async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, NetworkError> {
    let command = || [&[program], arguments].concat().join(" ");
    let failed = |message: String| NetworkError::Firewall { command: command(), message };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
