//! Crashes: what runs goes on running, and afterwards everything is visible and manageable again.

use crate::{
    harness::{Backing, Cluster, NODE, containers, fetch, until},
    replicasets::{apply_probed_web, apply_web, ready_pods, ready_since},
};

pub(crate) const PROGRAMS: [&str; 6] =
    ["apiserver", "scheduler", "controller-manager", "kubelet", "kube-proxy", "serverless-gateway"];

async fn survives(backing: Backing, killed: &[&str]) {
    let cluster = Cluster::start(backing).await;
    apply_probed_web(&cluster);
    let pods = ready_pods(&cluster, 3).await;
    let since = ready_since(&cluster).await;
    let address =
        cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).expect_ok();
    until("the service to answer", async || fetch(&address, 8080).await).await;
    let running = containers(&[&format!("io.minik8s.node={NODE}")]);

    cluster.kill(killed);
    assert_eq!(
        containers(&[&format!("io.minik8s.node={NODE}")]),
        running,
        "containers stopped with the programs"
    );
    fetch(&address, 8080).await.expect("the service goes on serving");

    let up = cluster.up(&["--no-examples"]);
    assert!(up.ok, "{}", up.stderr);
    assert_eq!(ready_pods(&cluster, 3).await, pods, "the same pods, none restarted");
    assert_eq!(containers(&[&format!("io.minik8s.node={NODE}")]), running, "the same containers");
    let row = cluster.stock_kubectl(&["get", "service", "web", "--no-headers"]).expect_ok();
    assert!(row.contains(&address), "{row}");

    let victim = pods.keys().next().unwrap();
    let uid =
        cluster.kubectl(&["get", "pod", victim, "-o", "jsonpath={.metadata.uid}"]).expect_ok();
    let of_victim = containers(&[&format!("io.kubernetes.pod.uid={uid}")]);
    cluster.kubectl(&["delete", "pod", victim, "--now"]).expect_ok();
    let healed = ready_pods(&cluster, 3).await;
    assert!(!healed.contains_key(victim));
    until("as many containers as before, the others' the same", async || {
        let now = containers(&[&format!("io.minik8s.node={NODE}")]);
        let kept = running.iter().filter(|id| !of_victim.contains(id)).all(|id| now.contains(id));
        if kept && now.len() == running.len() { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    // The kubelet has acted since, so it has looked at the others too.
    let (restarts, now) = (healed, ready_since(&cluster).await);
    for pod in pods.keys().filter(|pod| *pod != victim) {
        assert_eq!(restarts.get(pod), pods.get(pod), "{pod} was restarted");
        assert_eq!(now.get(pod), since.get(pod), "{pod} was not ready for a while");
    }
    cluster.until_checked().await;
}

#[tokio::test]
async fn a_cluster_in_the_embedded_store_survives_the_death_of_every_program() {
    survives(Backing::Embedded, &PROGRAMS).await;
}

#[tokio::test]
async fn a_cluster_in_etcd_survives_the_death_of_every_program() {
    survives(Backing::Services, &PROGRAMS).await;
}

#[tokio::test]
async fn a_cluster_survives_the_death_of_every_program_and_of_etcd_and_redis() {
    let all: Vec<_> = PROGRAMS.into_iter().chain(["etcd", "redis"]).collect();
    survives(Backing::Services, &all).await;
}

#[tokio::test]
async fn the_programs_go_on_when_etcd_and_redis_come_back() {
    let cluster = Cluster::start(Backing::Services).await;
    apply_web(&cluster);
    let pods = ready_pods(&cluster, 3).await;
    let before = PROGRAMS.map(|p| cluster.pid(p));

    cluster.kill(&["etcd", "redis"]);
    let up = cluster.up(&["--no-examples"]);
    assert!(up.ok, "{}", up.stderr);
    assert_eq!(PROGRAMS.map(|p| cluster.pid(p)), before, "no program had to be started again");

    let victim = pods.keys().next().unwrap();
    until("the API to take writes again", async || {
        let done = cluster.kubectl(&["delete", "pod", victim, "--now", "--ignore-not-found"]);
        if done.ok { Ok(()) } else { Err(done.stderr) }
    })
    .await;
    assert!(!ready_pods(&cluster, 3).await.contains_key(victim));
}
