//! Leader election over a `coordination.k8s.io` Lease, as Kubernetes' own programs do it, so that one
//! of several replicas works and another takes over when it dies.
//!
//! # Guarantees
//! A leader counts its [`RENEW_DEADLINE`] from the moment it *sent* the renewal; another replica counts
//! the lease's duration from the moment it *saw* the renewal, which is later. Both count by their own
//! monotonic clock; the times in the lease are for people. So a leader has stopped
//! `LEASE_DURATION - RENEW_DEADLINE` (1.5 s) before another may begin, as long as their clocks run at
//! rates that differ by less than `LEASE_DURATION / RENEW_DEADLINE` (1.6).
//!
//! A leader that was paused may wake up after its time. What it writes goes through a [`Fence`], which
//! lets nothing pass once the deadline is over, whichever task of the term sends it. A request
//! that left within the deadline may take effect up to 1.5 s later; one that is held up on the wire for
//! longer is beyond what a lease can promise, and is why writes are compare-and-swap besides.
//!
//! A leader that stops in order releases the lease after its last write, and the next one takes over at
//! its next look ([`RETRY_PERIOD`]). One that dies is followed within 5 s: a replica sees the last renewal
//! at most [`RETRY_PERIOD`] late, waits for [`LEASE_DURATION`], and does not sleep past its end. If the dead
//! process was on this same host, the kernel knows that it is gone, and nobody waits.

mod candidate;
mod fence;
mod holder;
mod lock;
mod timing;

use kube::Client;
use tokio_util::sync::CancellationToken;

use candidate::Candidate;
pub use fence::Fence;
pub use holder::identity;
use lock::KubeLock;
pub use timing::{LEASE_DURATION, RENEW_DEADLINE, RENEW_PERIOD, RETRY_PERIOD};

/// The flag of programs of which several may run.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct LeaderArgs {
    /// Work only while holding a Lease, so that several replicas can run
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub leader_elect: bool,
}

impl Default for LeaderArgs {
    fn default() -> Self {
        Self { leader_elect: true }
    }
}

/// The connections of a replica.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "a client has none")]
pub struct Clients {
    /// For what the leader does.
    pub work: Client,
    /// For the lease alone.
    pub lease: Client,
}

/// Waits until this replica is the leader, then runs `lead` while the lease can be renewed; when it is
/// lost, `lead` is dropped and the replica waits anew.
///
/// # Flow
/// The lease goes over `clients.lease`: renewals must not wait behind the work's own requests. `lead` is given
/// `clients.work`, whose writes end with the term. When `shutdown` comes before a term,
/// `None` is returned. Within a term, `lead` itself is expected to end on shutdown; whenever it ends, the
/// lease is released and its output returned.
pub async fn elect<F: Future>(
    clients: Clients,
    lease_name: &str,
    identity: &str,
    shutdown: &CancellationToken,
    mut lead: impl FnMut(Client) -> F,
) -> Option<F::Output> {
    let lock = KubeLock::new(clients.lease, lease_name);
    let lead = |fence: Fence| lead(fence.client(&clients.work));
    Candidate::new(lock, identity).run(shutdown, lead).await
}

/// [`elect`] if the flag says so, else `lead` at once.
pub async fn lead<F: Future>(
    args: LeaderArgs,
    clients: Clients,
    lease_name: &str,
    identity: &str,
    shutdown: &CancellationToken,
    mut lead: impl FnMut(Client) -> F,
) -> Option<F::Output> {
    match args.leader_elect {
        true => elect(clients, lease_name, identity, shutdown, lead).await,
        false => Some(lead(clients.work).await),
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
