//! Logs: to stderr, as text for people or as JSON for machines.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// What the libraries below log by themselves and our programs say better: the client of the API server
/// writes an error for each failed request, several a second from each program while the server is away; the DNS
/// server two lines for each question.
const QUIET: &str = "kube_client::client::builder=off,hickory_server=error,hickory_net=error,hickory_resolver=error";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// Starts logging; once per process.
pub fn init(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"));
    filter.with_context(|| format!("wrong log level {level:?}"))
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(level).unwrap())
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .with_target(false);
        tracing::subscriber::with_default(subscriber.finish(), || {
            tracing::error!(target: "kube_client::client::builder", "failed with error");
            tracing::info!("ours");
        });
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_client_does_not_flood_the_log_unless_asked_to() {
        assert_eq!(logged("info"), " INFO ours\n");
        assert_eq!(logged("warn"), "");
        assert_eq!(logged("warn,kube_client::client::builder=error"), "ERROR failed with error\n");
        assert!(filter("kubelet=loud").is_err());
    }
}
