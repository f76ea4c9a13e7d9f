//! The flags of the audit log, as kube-apiserver calls them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use api_machinery::duration;
use clap::{Args, ValueEnum};

use crate::audit::{Audit, Batches, LogFile, Truncation};

/// Kubernetes' (`NewAuditTruncateOptions`).
const MAX_EVENT_SIZE: usize = 100 << 10;
const MAX_BATCH_SIZE: usize = 10 << 20;

/// See the module.
#[derive(Debug, Args)]
pub(super) struct AuditFlags {
    /// What of which request is told to the audit log: a Policy of audit.k8s.io/v1
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// File of the audit log; "-" is the standard output
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    audit_log_path: Option<PathBuf>,
    /// Megabytes after which another file of the audit log is begun; 0: never
    #[arg(long, value_name = "MB", default_value_t = 100)]
    audit_log_maxsize: u64,
    /// How many old files of the audit log are kept; 0: all
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    audit_log_maxbackup: usize,
    /// For how many days old files of the audit log are kept; 0: for ever
    #[arg(long, value_name = "DAYS", default_value_t = 366)]
    audit_log_maxage: u32,
    /// Compress old files of the audit log with gzip
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    audit_log_compress: bool,
    /// Form of the audit log
    #[arg(long, value_enum, default_value_t = Format::Json)]
    audit_log_format: Format,
    /// Have events that are too long lose what was brought and answered
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    audit_log_truncate_enabled: bool,
    /// How many bytes an event may have: one that has more without what was brought and answered, too, is dropped
    #[arg(long, value_name = "BYTES", default_value_t = MAX_EVENT_SIZE, value_parser = number)]
    audit_log_truncate_max_event_size: usize,
    /// How many bytes of events are written at once, at most, if they are truncated
    #[arg(long, value_name = "BYTES", default_value_t = MAX_BATCH_SIZE, value_parser = number)]
    audit_log_truncate_max_batch_size: usize,
    /// kubeconfig of a server that the events of the audit log are sent to
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    audit_webhook_config_file: Option<PathBuf>,
    /// How they are sent: many at once, while no request waits for it
    #[arg(long, value_enum, default_value_t = Mode::Batch)]
    audit_webhook_mode: Mode,
    /// How many events wait for being sent, at most
    #[arg(long, value_name = "NUMBER", default_value_t = Batches::default().buffer, value_parser = number)]
    audit_webhook_batch_buffer_size: usize,
    /// How many events are sent at once, at most
    #[arg(long, value_name = "NUMBER", default_value_t = Batches::default().most, value_parser = number)]
    audit_webhook_batch_max_size: usize,
    /// For how long an event waits for others
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    audit_webhook_batch_max_wait: Duration,
    /// After how long events are sent again that were not taken
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    audit_webhook_initial_backoff: Duration,
    /// Have events that are too long lose what was brought and answered
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    audit_webhook_truncate_enabled: bool,
    /// How many bytes an event may have: one that has more without what was brought and answered, too, is dropped
    #[arg(long, value_name = "BYTES", default_value_t = MAX_EVENT_SIZE, value_parser = number)]
    audit_webhook_truncate_max_event_size: usize,
    /// How many bytes of events are sent at once, at most, if they are truncated
    #[arg(long, value_name = "BYTES", default_value_t = MAX_BATCH_SIZE, value_parser = number)]
    audit_webhook_truncate_max_batch_size: usize,
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be a positive number".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// Whether requests wait for a server that is sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Batch,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
}

/// As with Kubernetes, sizes have to make sense even if nothing is truncated.
fn truncation(
    backend: &str,
    is_enabled: bool,
    event: usize,
    batch: usize,
) -> anyhow::Result<Option<Truncation>> {
    let truncation = Truncation::new(event, batch)
        .with_context(|| format!("invalid --audit-{backend}-truncate-max-batch-size"))?;
    Ok(is_enabled.then_some(truncation))
}

impl AuditFlags {
    fn log_file(&self, path: &Path) -> anyhow::Result<LogFile> {
        let truncation = truncation(
            "log",
            self.audit_log_truncate_enabled,
            self.audit_log_truncate_max_event_size,
            self.audit_log_truncate_max_batch_size,
        );
        Ok(LogFile {
            path: path.to_owned(),
            max_size: self.audit_log_maxsize,
            max_backups: self.audit_log_maxbackup,
            max_age: self.audit_log_maxage,
            compress: self.audit_log_compress,
            truncation: truncation?,
        })
    }

    fn batches(&self) -> anyhow::Result<Batches> {
        let truncation = truncation(
            "webhook",
            self.audit_webhook_truncate_enabled,
            self.audit_webhook_truncate_max_event_size,
            self.audit_webhook_truncate_max_batch_size,
        );
        Ok(Batches {
            buffer: self.audit_webhook_batch_buffer_size,
            most: self.audit_webhook_batch_max_size,
            wait: self.audit_webhook_batch_max_wait,
            backoff: self.audit_webhook_initial_backoff,
            truncation: truncation?,
        })
    }

    /// What they say; nobody is told without a policy and a place.
    ///
    /// # Errors
    /// Files that can't be read or used, and batches that would have no room for an event.
    pub(super) fn audit(&self) -> anyhow::Result<Option<Arc<Audit>>> {
        let Some(policy) = &self.audit_policy_file else { return Ok(None) };
        if self.audit_log_path.is_none() && self.audit_webhook_config_file.is_none() {
            tracing::warn!(
                "nobody is told what --audit-policy-file says: there is no --audit-log-path"
            );
            return Ok(None);
        }
        let mut audit = Audit::new(policy)?;
        if let Some(path) = &self.audit_log_path {
            audit = audit.to_log(self.log_file(path)?);
        }
        if let Some(kubeconfig) = &self.audit_webhook_config_file {
            audit = audit.to_webhook(kubeconfig, self.batches()?)?;
        }
        Ok(Some(Arc::new(audit)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        audit: AuditFlags,
    }

    fn flags(given: &[&str]) -> Result<AuditFlags, clap::Error> {
        let arguments = std::iter::once("apiserver").chain(given.iter().copied());
        Flags::try_parse_from(arguments).map(|flags| flags.audit)
    }

    #[test]
    fn they_say_how_long_events_are_and_whether_old_files_are_compressed() {
        let path = Path::new("audit.log");
        let usual = flags(&[]).unwrap();
        let expected = LogFile {
            path: path.to_owned(),
            max_size: 100,
            max_backups: 100,
            max_age: 366,
            compress: false,
            truncation: None,
        };
        assert_eq!(usual.log_file(path).unwrap(), expected);
        assert_eq!(usual.batches().unwrap(), Batches::default());
        let given = flags(&[
            "--audit-log-compress",
            "--audit-log-truncate-enabled",
            "--audit-log-truncate-max-event-size=1000",
            "--audit-webhook-truncate-enabled=true",
            "--audit-webhook-truncate-max-batch-size=200000",
        ]);
        let given = given.unwrap();
        let truncation = Truncation::new(1000, 10_485_760).ok();
        let expected = LogFile { compress: true, truncation, ..expected };
        assert_eq!(given.log_file(path).unwrap(), expected);
        let truncation = Truncation::new(102_400, 200_000).ok();
        assert_eq!(given.batches().unwrap(), Batches { truncation, ..Batches::default() });
    }

    #[test]
    fn a_batch_has_room_for_the_longest_event() {
        flags(&["--audit-log-truncate-max-event-size=0"]).unwrap_err();
        let short = flags(&[
            "--audit-log-truncate-max-batch-size=1",
            "--audit-webhook-truncate-max-batch-size=1",
        ]);
        let short = short.unwrap();
        let told = |error: anyhow::Error| format!("{error:#}");
        let why = "max batch size 1 must not be less than max event size 102400";
        assert_eq!(
            told(short.log_file(Path::new("audit.log")).unwrap_err()),
            format!("invalid --audit-log-truncate-max-batch-size: {why}")
        );
        assert_eq!(
            told(short.batches().unwrap_err()),
            format!("invalid --audit-webhook-truncate-max-batch-size: {why}")
        );
    }
}
