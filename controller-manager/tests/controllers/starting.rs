//! How controllers begin.

use api_types::api::core::v1::ServiceAccount;
use testkit::{ControlPlane, wait};

use crate::Cluster;

/// Nodes can't be listed for a while; who does not need them works meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_cannot_be_listed_holds_up_those_who_read_it() {
    let plane = ControlPlane::start().await;
    let held = plane.hold(|request| request.uri().path() == "/api/v1/nodes");
    let cluster = Cluster::over(plane);
    let accounts = cluster.api::<ServiceAccount>();
    wait::until_is(&accounts, "default", "is made", |_| true).await;
    assert!(!cluster.health.is_ready());
    drop(held);
    wait::until("all controllers work", async || {
        cluster.health.is_ready().then_some(()).ok_or("not ready")
    })
    .await;
}
