//! The first certificate: a kubelet that has none yet shows what the bootstrap kubeconfig has, usually a token.

use std::{path::Path, time::Duration};

use anyhow::Context;
use api_types::jiff::Timestamp;
use component::ClientArgs;
use tokio_util::sync::CancellationToken;

use super::{
    files,
    issue::{Wanted, issue},
    renewal,
};

/// Until the API server is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// Makes the kubeconfig of a kubelet of this name, unless there is one whose certificate is good. False if shutdown came
/// before.
///
/// # Errors
/// If files can't be read or written. What the API server has to say is waited for.
pub(crate) async fn bootstrap(
    from: &Path,
    kubeconfig: &Path,
    node: &str,
    shutdown: &CancellationToken,
) -> anyhow::Result<bool> {
    let now = Timestamp::now().as_second();
    if files::validity(kubeconfig).is_some_and(|validity| validity.not_after > now) {
        return Ok(true);
    }
    let args = ClientArgs { kubeconfig: Some(from.to_owned()), ..ClientArgs::default() };
    let client = component::client(&args).await?;
    let wanted = Wanted::client(node);
    let asking = async {
        let mut fruitless = 0;
        loop {
            let error = match issue(&client, &wanted).await {
                Ok(issued) => return issued,
                Err(error) => error,
            };
            tracing::warn!(error = crate::describe::describe(&error), "no certificate yet");
            fruitless += u32::from(error.is_fruitless());
            let pause = if error.is_fruitless() { renewal::pause(fruitless) } else { RETRY };
            tokio::time::sleep(pause).await;
        }
    };
    let Some(issued) = shutdown.run_until_cancelled(asking).await else { return Ok(false) };
    let made = files::kubeconfig(&files::cluster(from)?, &wanted.user(), &issued);
    files::write(kubeconfig, &format!("{made:#}\n"))
        .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
    tracing::info!(node, kubeconfig = %kubeconfig.display(), "joined");
    Ok(true)
}
