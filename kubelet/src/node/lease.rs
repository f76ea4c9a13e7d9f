//! The node's Lease in `kube-node-lease`: renewed every ten seconds, so that a node's sign of life
//! costs little.

use std::{sync::Arc, time::Duration};

use api_types::{
    api::coordination::v1::{Lease, LeaseSpec},
    jiff::Timestamp,
    meta::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

const NAMESPACE: &str = "kube-node-lease";
const RENEW: Duration = Duration::from_secs(10);
/// After this the node counts as lost.
const DURATION_SECONDS: i32 = 40;
/// How long an attempt may take: there must be time for others before the node counts as lost.
const PATIENCE: Duration = RENEW;
/// Until an attempt that failed is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease until shutdown.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let api = api(&context.client);
    loop {
        let pause = attempt(&api, &context.node, PATIENCE).await;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Gives the time until the next attempt.
async fn attempt(api: &Api<Lease>, node: &str, patience: Duration) -> Duration {
    match timeout(patience, renew(api, node)).await {
        Ok(Ok(())) => return RENEW,
        Ok(Err(error)) => tracing::debug!(%error, "cannot renew the node's lease yet"),
        Err(_) => tracing::debug!("renewing the node's lease takes too long"),
    }
    RETRY
}

/// Where the leases of nodes are.
pub(super) fn api(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Renews a node's lease once.
pub(super) async fn renew(api: &Api<Lease>, node: &str) -> Result<(), kube::Error> {
    let spec = LeaseSpec {
        holder_identity: Some(node.to_owned()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(json!({"spec": spec}));
    match api.patch(node, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let metadata = ObjectMeta { name: Some(node.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            api.create(&PostParams::default(), &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    #[tokio::test]
    async fn a_renewal_that_hangs_is_given_up_and_soon_tried_again() {
        let hangs = |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>();
        let api = api(&Client::new(tower::service_fn(hangs), "default"));
        assert_eq!(attempt(&api, "n1", Duration::from_millis(1)).await, RETRY);
    }
}
