//! What is told to whom.

use std::{borrow::Cow, path::Path, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    event::Event,
    log,
    log_file::LogFile,
    policy::{Policy, PolicyError},
    sink::{self, Sink},
    truncate::Truncation,
    webhook::{self, Batches},
};
use crate::webhook_client::kubeconfig::{KubeconfigError, Remote};

/// What a stop leaves to a disk that does not take what is told; a webhook gives up before.
const LAST: Duration = webhook::FAREWELL.saturating_add(Duration::from_secs(1));

/// See the module.
#[derive(Debug)]
pub struct Audit {
    pub(super) policy: Policy,
    /// With how long events may be there.
    sinks: Vec<(Sink, Option<Truncation>)>,
    closing: CancellationToken,
    told: Counter,
    lost: Lost,
}

/// Events that somebody was not told, by the label `plugin`.
type Lost = Family<[(&'static str, &'static str); 1], Counter>;

impl Audit {
    /// Tells nobody yet what the policy in a file says.
    ///
    /// # Errors
    /// If the policy can't be read, or says what can't be done.
    pub fn new(policy: &Path) -> Result<Self, PolicyError> {
        Ok(Self {
            policy: Policy::read(policy)?,
            sinks: Vec::new(),
            closing: CancellationToken::new(),
            told: Counter::default(),
            lost: Lost::default(),
        })
    }

    /// The same, to a file as well.
    #[must_use]
    pub fn to_log(mut self, file: LogFile) -> Self {
        let (closing, lost) = (self.closing.clone(), self.lost("log"));
        let (losses, truncation) = (lost.clone(), file.truncation);
        let work = |events| log::write(file, events, losses, closing);
        self.sinks.push((Sink::begin("log", sink::BUFFER, lost, work), truncation));
        self
    }

    /// The same, to a server as well, which a kubeconfig names.
    ///
    /// # Errors
    /// If the file can't be read or used.
    pub fn to_webhook(
        mut self,
        kubeconfig: &Path,
        batches: Batches,
    ) -> Result<Self, KubeconfigError> {
        let server = Remote::of(kubeconfig, webhook::PATIENCE)?;
        let (closing, lost) = (self.closing.clone(), self.lost("webhook"));
        let losses = lost.clone();
        let work = move |events| webhook::send(server, events, batches, losses, closing);
        let sink = Sink::begin("webhook", batches.buffer, lost, work);
        self.sinks.push((sink, batches.truncation));
        Ok(self)
    }

    fn lost(&self, plugin: &'static str) -> Counter {
        self.lost.get_or_create_owned(&[("plugin", plugin)])
    }

    /// Shows how much is told, and how much of it is lost.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Counter of audit events generated and sent to the audit backend";
        registry.register("apiserver_audit_event", help, self.told.clone());
        let help = "Counter of audit events that failed to be audited properly";
        registry.register("apiserver_audit_error", help, self.lost.clone());
    }

    /// An event, to all for whom it is not too long.
    pub(super) fn tell(&self, event: &Event<'_>) {
        let Some(line) = event.line() else { return };
        self.told.inc();
        for (sink, truncation) in &self.sinks {
            let fitting = match truncation {
                Some(truncation) => truncation.fit(event, &line),
                None => Some(Cow::from(&*line)),
            };
            match fitting {
                Some(line) => sink.tell(&line),
                None => self.drop_long(),
            }
        }
    }

    /// Counts an event that somebody is not told, as Kubernetes' plugin does.
    fn drop_long(&self) {
        let lost = self.lost("truncate").inc() + 1;
        // Each time there are twice as many.
        if lost.is_power_of_two() {
            tracing::error!(lost, "audit events are dropped: truncated, they are still too long");
        }
    }

    /// Ends when all that was told is written, or nobody takes it in time.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        let all_end = async {
            for (sink, _) in &self.sinks {
                sink.ended().await;
            }
        };
        if timeout(LAST, all_end).await.is_err() {
            tracing::error!("audit events are lost: they are not written in time");
        }
    }
}
