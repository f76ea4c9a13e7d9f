//! The flags about how many requests are served at once and how long they may take, as kube-apiserver calls them.

use std::time::Duration;

use api_machinery::duration as text;
use clap::Args;

use crate::RequestLimits;

/// See the module.
#[derive(Debug, Args)]
pub(super) struct RequestFlags {
    /// Have FlowSchemas and PriorityLevelConfigurations say which requests wait for others; they share out both numbers
    /// of requests below together
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    enable_priority_and_fairness: bool,
    /// How many requests that read are served at once; without priority and fairness 0 means any number
    #[arg(long, value_name = "NUMBER", default_value_t = 400)]
    max_requests_inflight: u32,
    /// How many requests that write are served at once; without priority and fairness 0 means any number
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    max_mutating_requests_inflight: u32,
    /// How long a request may take that is no watch and no stream
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    request_timeout: Duration,
    /// How long to serve on when the server is to stop, while /readyz says so already
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = text::parse)]
    shutdown_delay_duration: Duration,
}

impl RequestFlags {
    /// How many requests are served at once.
    pub(super) fn limits(&self) -> anyhow::Result<RequestLimits> {
        let &Self {
            enable_priority_and_fairness: fair,
            max_requests_inflight: reads,
            max_mutating_requests_inflight: writes,
            ..
        } = self;
        anyhow::ensure!(
            !fair || reads.saturating_add(writes) > 0,
            "invalid configuration: --max-requests-inflight={reads} and --max-mutating-requests-inflight={writes}; \
             they must add up to something positive"
        );
        Ok(RequestLimits { fair, reads, writes })
    }

    /// How long a server that is to stop serves on.
    pub(super) fn shutdown_delay(&self) -> Duration {
        self.shutdown_delay_duration
    }

    /// How long a request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.request_timeout
    }
}

fn duration(given: &str) -> Result<Duration, String> {
    let duration = text::parse(given).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        return Err("--request-timeout can not be 0".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        requests: RequestFlags,
    }

    fn flags(given: &[&str]) -> Result<RequestFlags, clap::Error> {
        let arguments = std::iter::once("apiserver").chain(given.iter().copied());
        Flags::try_parse_from(arguments).map(|flags| flags.requests)
    }

    #[test]
    fn they_say_how_many_and_how_long() {
        let usual = flags(&[]).unwrap();
        assert_eq!(usual.limits().unwrap(), RequestLimits::default());
        assert_eq!(usual.timeout(), Duration::from_secs(60));
        let given = flags(&[
            "--enable-priority-and-fairness=false",
            "--max-requests-inflight=0",
            "--max-mutating-requests-inflight=0",
            "--request-timeout=90s",
            "--shutdown-delay-duration=15s",
        ]);
        let given = given.unwrap();
        assert_eq!(given.shutdown_delay(), Duration::from_secs(15));
        let limits = RequestLimits { fair: false, reads: 0, writes: 0 };
        assert_eq!((given.limits().unwrap(), given.timeout()), (limits, Duration::from_secs(90)));
        flags(&["--request-timeout=0"]).unwrap_err();
        flags(&["--request-timeout=-1s"]).unwrap_err();
        let none = flags(&["--max-requests-inflight=0", "--max-mutating-requests-inflight=0"]);
        none.unwrap().limits().unwrap_err();
    }
}
