//! The connection to the login node: made when it is needed, made again when it is lost, at a pace that harms nobody.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{args::SshArgs, driver, login, remote::Remote, ssh::Error};

/// How long after a refusal the same login is tried again: it may be the login node that has been changed.
pub(crate) const AFTER_REFUSAL: Duration = Duration::from_secs(60);
/// How often is looked whether the Secret has been changed since.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Link {
    args: SshArgs,
    remote: Option<Arc<Remote>>,
    failures: u32,
    /// Nothing is tried before.
    pause: Option<Pause>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    /// The credentials that were refused; others are tried at once.
    refused: Option<u64>,
}

impl Link {
    pub(crate) fn new(args: SshArgs) -> Self {
        Self { args, remote: None, failures: 0, pause: None }
    }

    /// The connection, made if there is none.
    pub(crate) async fn remote(&mut self) -> Result<Arc<Remote>, Error> {
        if let Some(remote) = self.remote.as_ref().filter(|remote| !remote.is_closed()) {
            return Ok(remote.clone());
        }
        let target = login::target(&self.args)?;
        let remote = Arc::new(Remote::connect(&target).await?);
        self.remote = Some(remote.clone());
        Ok(remote)
    }

    /// What was wanted has been done.
    pub(crate) fn works(&mut self) {
        self.failures = 0;
        self.pause = None;
    }

    /// It has not.
    pub(crate) fn failed(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        let refused = matches!(error, Error::Refused(_)).then(|| login::mark(&self.args));
        let wait = if refused.is_some() { AFTER_REFUSAL } else { driver::back_off(self.failures) };
        self.pause = Some(Pause { until: Instant::now() + wait, refused });
        if !matches!(error, Error::Local { .. }) {
            self.remote = None;
        }
    }

    /// The connection may be broken, though it does not say so.
    pub(crate) fn lost(&mut self) {
        self.remote = None;
    }

    /// For how long nothing is to be tried.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let pause = self.pause?;
        let others = pause.refused.is_some_and(|refused| refused != login::mark(&self.args));
        let left = pause.until.saturating_duration_since(Instant::now());
        let left = if pause.refused.is_some() { left.min(LOOK) } else { left };
        (!others && !left.is_zero()).then_some(left)
    }

    /// It is not needed for the time being.
    pub(crate) async fn close(&mut self) {
        if let Some(remote) = self.remote.take() {
            remote.close().await;
        }
    }
}
