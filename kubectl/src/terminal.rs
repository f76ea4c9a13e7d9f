//! The terminal of this process.

use std::io;

use futures::future::select_all;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The terminal while all that is typed goes elsewhere, keys with a meaning here (Ctrl-C) included. It is as
/// it was when this is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
    resized: Signal,
}

impl Raw {
    pub(crate) fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        let resized = signal(SignalKind::window_change())?;
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before, resized })
    }

    /// Waits until it has another size.
    pub(crate) async fn resized(&mut self) {
        self.resized.recv().await;
    }

    /// Columns and lines.
    #[expect(clippy::unused_self, reason = "only a terminal has a size")]
    pub(crate) fn size(&self) -> io::Result<(u16, u16)> {
        let size = tcgetwinsize(io::stdin())?;
        Ok((size.ws_col, size.ws_row))
    }
}

/// Until a signal comes that would end this process and leave the terminal raw. None is missed from now on.
pub(crate) fn ended() -> io::Result<impl Future<Output = ()>> {
    let kinds = [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
    ];
    let mut signals = kinds.into_iter().map(signal).collect::<io::Result<Vec<_>>>()?;
    Ok(async move {
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    })
}

impl Drop for Raw {
    fn drop(&mut self) {
        // One that has gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use testkit::wait;

    use super::*;

    #[tokio::test]
    async fn signals_that_would_end_the_process_are_heard() {
        for name in ["HUP", "INT", "QUIT", "TERM"] {
            let ended = ended().unwrap();
            let kill = Command::new("kill").args(["-s", name, &process::id().to_string()]).status();
            assert!(kill.unwrap().success());
            wait::within(name, ended).await;
        }
    }
}
