//! Two of a program: one works, and the other takes over when it dies.

use api_types::api::coordination::v1::Lease;
use kube::Api;

use crate::{
    harness::{Backing, Cluster, until},
    replicasets::{apply_web, ready_pods},
};

async fn holder(leases: &Api<Lease>, name: &str) -> String {
    let spec = leases.get(name).await.unwrap().spec.unwrap();
    spec.holder_identity.unwrap_or_default()
}

#[tokio::test]
async fn when_a_leader_is_killed_the_replica_beside_it_goes_on() {
    let cluster = Cluster::start(Backing::Embedded).await;
    apply_web(&cluster);
    let pods = ready_pods(&cluster, 3).await;
    let programs = ["controller-manager", "scheduler"];
    let leases = Api::<Lease>::namespaced(cluster.client(), "kube-system");
    let mut before = Vec::new();
    for program in programs {
        before.push(holder(&leases, program).await);
    }
    let _replicas = programs.map(|program| cluster.replica(program));
    let victim = pods.keys().next().unwrap();

    cluster.kill(&programs);
    cluster.kubectl(&["delete", "pod", victim, "--now"]).expect_ok();
    let healed = ready_pods(&cluster, 3).await;
    assert!(
        !healed.contains_key(victim),
        "made by the second controller-manager, bound by the second scheduler"
    );
    for (program, before) in programs.iter().zip(&before) {
        until("the lease to have another holder", async || {
            let holder = holder(&leases, program).await;
            if holder != *before && !holder.is_empty() { Ok(()) } else { Err(holder) }
        })
        .await;
    }
}
