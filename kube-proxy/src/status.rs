//! What a Service's nginx goes by, asked of itself over the socket that its configuration names.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    time::{Instant, timeout_at},
};

use crate::nginx::Answer;

/// An nginx that serves answers within a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);

/// A configuration in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Which one.
    pub answer: Answer,
    /// The process id of the nginx master; none if it is out of this program's sight.
    pub master: Option<i32>,
}

/// Nothing if no nginx answers there: it has ended, is not up yet, or has no connections left.
pub async fn ask(socket: &Path) -> Option<InForce> {
    timeout_at(Instant::now() + PATIENCE, read(socket)).await.ok()?.ok()?
}

async fn read(socket: &Path) -> io::Result<Option<InForce>> {
    let mut stream = UnixStream::connect(socket).await?;
    // Of the process that listened first: workers inherit the socket.
    let master = stream.peer_cred()?.pid().filter(|pid| *pid > 0);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(Answer::read(&answer).map(|answer| InForce { answer, master }))
}
