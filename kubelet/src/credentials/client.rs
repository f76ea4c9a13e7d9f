//! Renewing the kubelet's certificate as a client, in its kubeconfig: the clients that were made of that file follow it.

use std::{path::PathBuf, time::Duration};

use api_types::jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::{
    files,
    issue::{Wanted, issue},
    renewal,
};

/// How often the time is looked at: a machine may sleep.
const LOOK: Duration = Duration::from_secs(30);

/// Renews it whenever it is due, until shutdown.
pub(crate) async fn keep_client(
    client: Client,
    kubeconfig: PathBuf,
    node: String,
    shutdown: CancellationToken,
) {
    let keep = async {
        loop {
            let validity = files::validity(&kubeconfig);
            let due = validity.map_or(i64::MAX, |validity| renewal::due(validity, &node));
            if Timestamp::now().as_second() >= due
                && let Err(error) = renew(&client, &kubeconfig, &node).await
            {
                tracing::warn!(%error, "cannot renew the kubelet's certificate yet");
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    shutdown.run_until_cancelled(keep).await;
}

async fn renew(client: &Client, kubeconfig: &std::path::Path, node: &str) -> anyhow::Result<()> {
    let wanted = Wanted::client(node);
    let issued = issue(client, &wanted).await?;
    let made = files::kubeconfig(&files::cluster(kubeconfig)?, &wanted.user(), &issued);
    files::write(kubeconfig, &format!("{made:#}\n"))?;
    tracing::info!("the kubelet's certificate is renewed");
    Ok(())
}
