//! Keeps the node's side of the pod network: others of the host, such as an administrator's
//! `iptables -F` or a reload of firewalld, take away what it needs.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{context::Context, pod::describe};

/// How often it is looked after.
const LOOK: Duration = Duration::from_secs(5);
/// How soon again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Reconciles until shutdown.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut pause = LOOK;
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = match context.network.reconcile().await {
            Ok(()) => LOOK,
            Err(error) => {
                let error = describe(&error);
                tracing::warn!(error, "cannot put the pod network in order yet");
                RETRY
            }
        };
    }
}
