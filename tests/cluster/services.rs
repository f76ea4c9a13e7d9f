//! Services: one address, every ready pod behind it.

use std::collections::BTreeSet;

use crate::{
    harness::{Backing, Cluster, containers, fetch, root, until},
    replicasets::{apply_web, ready_pods},
};

fn service_address(cluster: &Cluster) -> String {
    cluster
        .stock_kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])
        .expect_ok()
}

/// Waits until connections to the service reach exactly these pods.
async fn reaches(address: &str, pods: &BTreeSet<String>) {
    until(&format!("the service to reach {pods:?}"), async || {
        let mut seen = BTreeSet::new();
        for _ in 0..4 * pods.len() {
            let answer = fetch(address, 8080).await?;
            seen.insert(answer.trim().trim_start_matches("nginx ").to_owned());
        }
        if &seen == pods { Ok(()) } else { Err(format!("reached {seen:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_service_is_balanced_over_the_ready_pods_from_the_host_and_from_a_pod() {
    let cluster = Cluster::start(Backing::Embedded).await;
    apply_web(&cluster);
    let pods: BTreeSet<String> = ready_pods(&cluster, 3).await.into_keys().collect();
    let address = service_address(&cluster);
    until("nginx to hold the service's address", async || {
        match containers(&["io.minik8s.service=default/web"]).len() {
            1 => Ok(()),
            n => Err(format!("{n} containers")),
        }
    })
    .await;
    until("the service to answer", async || fetch(&address, 8080).await).await;
    reaches(&address, &pods).await;
    reached_from_a_pod(&cluster, &address, &pods).await;

    // One pod goes; its replacement comes in. nginx itself is only reloaded.
    let nginx = containers(&["io.minik8s.service=default/web"]);
    let victim = pods.first().unwrap();
    cluster.kubectl(&["delete", "pod", victim, "--now"]).expect_ok();
    let pods: BTreeSet<String> = ready_pods(&cluster, 3).await.into_keys().collect();
    assert!(!pods.contains(victim));
    reaches(&address, &pods).await;
    assert_eq!(containers(&["io.minik8s.service=default/web"]), nginx);

    cluster.kubectl(&["delete", "service", "web"]).expect_ok();
    until("nginx to go with the service", async || {
        match containers(&["io.minik8s.service=default/web"]) {
            none if none.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
}

async fn reached_from_a_pod(cluster: &Cluster, address: &str, pods: &BTreeSet<String>) {
    let manifest = std::fs::read_to_string(root().join("tests/manifests/client-pod.yaml")).unwrap();
    let file = std::env::temp_dir().join("minik8s-client-pod.yaml");
    std::fs::write(&file, manifest.replace("ADDRESS", address)).unwrap();
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    until("the client pod to reach every pod through the service", async || {
        let logs = cluster.kubectl(&["logs", "client"]);
        let seen: BTreeSet<String> = logs
            .stdout
            .lines()
            .filter_map(|l| l.strip_prefix("nginx "))
            .map(str::to_owned)
            .collect();
        if &seen == pods { Ok(()) } else { Err(logs.stdout + &logs.stderr) }
    })
    .await;
    cluster.kubectl(&["delete", "pod", "client", "--now"]).expect_ok();
}

#[tokio::test]
async fn a_service_carries_datagrams_to_a_named_port() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let file = root().join("tests/manifests/udp.yaml");
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    until("a datagram to come back through the service", async || {
        let logs = cluster.kubectl(&["logs", "asking"]);
        if logs.stdout == "echo hello\n" { Ok(()) } else { Err(logs.stdout + &logs.stderr) }
    })
    .await;
}
