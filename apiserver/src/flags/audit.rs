//! The flags of the audit log, as kube-apiserver calls them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use api_machinery::duration;
use clap::{Args, ValueEnum};

use crate::audit::{Audit, Batches, LogFile};

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
    /// Form of the audit log
    #[arg(long, value_enum, default_value_t = Format::Json)]
    audit_log_format: Format,
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

impl AuditFlags {
    fn batches(&self) -> Batches {
        Batches {
            buffer: self.audit_webhook_batch_buffer_size,
            most: self.audit_webhook_batch_max_size,
            wait: self.audit_webhook_batch_max_wait,
            backoff: self.audit_webhook_initial_backoff,
        }
    }

    /// What they say; nobody is told without a policy and a place.
    ///
    /// # Errors
    /// Files that can't be read or used.
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
            audit = audit.to_log(LogFile {
                path: path.clone(),
                max_size: self.audit_log_maxsize,
                max_backups: self.audit_log_maxbackup,
                max_age: self.audit_log_maxage,
            });
        }
        if let Some(kubeconfig) = &self.audit_webhook_config_file {
            audit = audit.to_webhook(kubeconfig, self.batches())?;
        }
        Ok(Some(Arc::new(audit)))
    }
}
