//! Rules for connections to virtual IPs, which are local addresses of the host: a server that listens
//! on all addresses, such as sshd, would answer there on every port that the Service does not have.
//!
//! There is one rule for all, and none to be changed with a Service: what decides is whether a server
//! has bound itself to that very address. Replies are not looked at: the host's own clients of a virtual
//! IP have that IP for a source.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use ipnet::Ipv4Net;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// The tools wait for one another's lock, without end if it is never released. Services must not.
const PATIENCE: Duration = Duration::from_secs(5);

/// What went wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The tool could not be run.
    #[error("running {0}")]
    Run(&'static str, #[source] std::io::Error),
    /// The tool did not end.
    #[error("{0} did not end within {PATIENCE:?}")]
    Timeout(&'static str),
    /// The tool refused.
    #[error("{command}: {message}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
}

/// Has connections to addresses of the range refused on ports that no server has bound there.
pub async fn refuse_unserved(range: Ipv4Net) -> Result<(), FirewallError> {
    // The last stands for all: they come in one go, and go in one.
    if !is_there(&chain(range), rules()[3]).await? {
        run("iptables-restore", &words("-w --noflush"), &text(range)).await?;
    }
    let jump = jump(range);
    if is_there("INPUT", &jump).await? {
        return Ok(());
    }
    // In front: whatever else is let in to the host is not let in here.
    run("iptables", &words(&format!("-w -I INPUT 1 {jump}")), "").await
}

/// Several clusters of a host have their own; a name has at most 28 bytes.
fn chain(range: Ipv4Net) -> String {
    format!("MINIK8S-VIP-{:08x}-{}", range.network().to_bits(), range.prefix_len())
}

/// `socket` does not count servers that listen on all addresses.
fn rules() -> [&'static str; 4] {
    [
        "-m socket -j RETURN",
        "-p icmp -j RETURN",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "-j REJECT --reject-with icmp-port-unreachable",
    ]
}

/// The chain in the format of `iptables-restore`, which replaces it in one go.
fn text(range: Ipv4Net) -> String {
    let chain = chain(range);
    let rules: String = rules().map(|rule| format!("-A {chain} {rule}\n")).concat();
    format!("*filter\n:{chain} - [0:0]\n{rules}COMMIT\n")
}

fn jump(range: Ipv4Net) -> String {
    format!("-d {range} -m conntrack --ctstate NEW -j {}", chain(range))
}

async fn is_there(chain: &str, rule: &str) -> Result<bool, FirewallError> {
    match run("iptables", &words(&format!("-w -C {chain} {rule}")), "").await {
        Ok(()) => Ok(true),
        Err(FirewallError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

async fn run(program: &'static str, args: &[&str], input: &str) -> Result<(), FirewallError> {
    let output = timeout(PATIENCE, output(program, args, input)).await;
    let output = output
        .map_err(|_| FirewallError::Timeout(program))?
        .map_err(|error| FirewallError::Run(program, error))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(FirewallError::Refused { command: format!("{program} {}", args.join(" ")), message })
}

async fn output(program: &str, args: &[&str], input: &str) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    child.wait_with_output().await
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tool_that_never_ends_is_not_waited_for() {
        let ended = run("sleep", &["1000"], "").await;
        assert!(matches!(ended, Err(FirewallError::Timeout("sleep"))), "{ended:?}");
    }

    #[test]
    fn what_no_server_has_bound_is_refused_in_a_chain_of_the_range() {
        let range: Ipv4Net = "10.96.0.0/16".parse().unwrap();
        expect![[r"
            *filter
            :MINIK8S-VIP-0a600000-16 - [0:0]
            -A MINIK8S-VIP-0a600000-16 -m socket -j RETURN
            -A MINIK8S-VIP-0a600000-16 -p icmp -j RETURN
            -A MINIK8S-VIP-0a600000-16 -p tcp -j REJECT --reject-with tcp-reset
            -A MINIK8S-VIP-0a600000-16 -j REJECT --reject-with icmp-port-unreachable
            COMMIT
        "]]
        .assert_eq(&text(range));
        expect!["-d 10.96.0.0/16 -m conntrack --ctstate NEW -j MINIK8S-VIP-0a600000-16"]
            .assert_eq(&jump(range));
    }
}
