//! Keeps the node's side of the pod network: others of the host, such as an administrator's
//! `iptables -F` or a reload of firewalld, take away what it needs.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::PodNetwork;
use crate::describe::describe;

/// How often it is looked after.
const LOOK: Duration = Duration::from_secs(5);
/// How soon again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Reconciles until shutdown.
pub async fn run(network: Arc<dyn PodNetwork>, shutdown: CancellationToken) {
    keep(network, LOOK, RETRY, shutdown).await;
}

async fn keep(
    network: Arc<dyn PodNetwork>,
    look: Duration,
    retry: Duration,
    shutdown: CancellationToken,
) {
    let mut pause = retry;
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let reconciled = shutdown.run_until_cancelled(network.reconcile()).await;
        let Some(reconciled) = reconciled else { return };
        pause = match reconciled {
            Ok(()) => look,
            Err(error) => {
                let error = describe(&error);
                tracing::warn!(error, "cannot put the pod network in order yet");
                retry
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use testkit::wait;

    use super::*;
    use crate::network::fake::Fake;

    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(1_000_000);

    /// The network is looked after again and again.
    async fn check(up: bool, look: Duration, retry: Duration) {
        let (network, shutdown) = (Arc::new(Fake::ready()), CancellationToken::new());
        network.set_up(up);
        let keeper = tokio::spawn(keep(network.clone(), look, retry, shutdown.clone()));
        wait::until("three looks", async || match network.reconciled() {
            0..3 => Err("fewer"),
            _ => Ok(()),
        })
        .await;
        shutdown.cancel();
        keeper.await.unwrap();
    }

    #[tokio::test]
    async fn a_network_in_order_is_looked_after_now_and_then_and_another_soon() {
        check(true, SOON, SOON).await;
        check(false, NEVER, SOON).await;
    }

    #[tokio::test]
    async fn a_look_that_does_not_end_is_not_waited_for_at_shutdown() {
        let (network, shutdown) = (Arc::new(Fake::ready()), CancellationToken::new());
        network.hold("reconcile", true);
        let keeper = tokio::spawn(keep(network.clone(), SOON, SOON, shutdown.clone()));
        wait::until("a look", async || match network.reconciled() {
            0 => Err("none"),
            _ => Ok(()),
        })
        .await;
        shutdown.cancel();
        keeper.await.unwrap();
    }
}
