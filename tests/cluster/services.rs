//! Services: one address, every ready pod behind it.

use std::collections::BTreeSet;

use crate::{
    harness::{Backing, Cluster, NODE, containers, fetch, root, until},
    replicasets::{apply_web, ready_pods},
};

fn service_address(cluster: &Cluster) -> String {
    cluster
        .stock_kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])
        .expect_ok()
}

/// The nginx of a service on the cluster's node: other suites have services, too.
fn nginx_of(service: &str) -> Vec<String> {
    let of = format!("io.minik8s.service=default/{service}");
    containers(&[&of, &format!("io.minik8s.node={NODE}")])
}

/// Waits until the service's address is this machine's: before, there is no way to it.
async fn held(service: &str) {
    until("nginx to hold the service's address", async || match nginx_of(service).len() {
        1 => Ok(()),
        n => Err(format!("{n} containers")),
    })
    .await;
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
    held("web").await;
    until("the service to answer", async || fetch(&address, 8080).await).await;
    reaches(&address, &pods).await;
    reached_from_a_pod(&cluster, &address, &pods).await;

    // One pod goes; its replacement comes in. nginx itself is only reloaded.
    let nginx = nginx_of("web");
    let victim = pods.first().unwrap();
    cluster.kubectl(&["delete", "pod", victim, "--now"]).expect_ok();
    let pods: BTreeSet<String> = ready_pods(&cluster, 3).await.into_keys().collect();
    assert!(!pods.contains(victim));
    reaches(&address, &pods).await;
    assert_eq!(nginx_of("web"), nginx);

    cluster.kubectl(&["delete", "service", "web"]).expect_ok();
    until("nginx to go with the service", async || match nginx_of("web") {
        none if none.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
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

/// Web servers within 32 MiB, one of which asks for more than that as soon as a file is there.
const SMALL: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "small"}, "spec": {
    "replicas": 2,
    "selector": {"matchLabels": {"app": "small"}},
    "template": {"metadata": {"labels": {"app": "small"}}, "spec": {
      "terminationGracePeriodSeconds": 1,
      "containers": [{
        "name": "nginx",
        "image": "minik8s/nginx:0.1",
        "command": ["sh", "-c", "nginx; until [ -e /tmp/more ]; do sleep 0.1; done; exec dd if=/dev/zero of=/dev/null bs=512M"],
        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1},
        "resources": {"limits": {"memory": "32Mi"}}}]}}}},
  {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "small"}, "spec": {
    "selector": {"app": "small"}, "ports": [{"port": 80}]}}]}
"#;

#[tokio::test]
async fn a_container_that_ran_out_of_memory_comes_back_and_rejoins_its_service() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let manifest = cluster.folder().join("small.json");
    std::fs::write(&manifest, SMALL).unwrap();
    cluster.kubectl(&["apply", "-f", manifest.to_str().unwrap()]).expect_ok();
    let get = |what: &[&str]| cluster.kubectl(&[&["get"], what].concat()).expect_ok();
    let address = get(&["service", "small", "-o", "jsonpath={.spec.clusterIP}"]);
    held("small").await;
    let pods = until("two pods", async || {
        let names = get(&["pods", "-l", "app=small", "-o", "jsonpath={.items[*].metadata.name}"]);
        let pods: BTreeSet<_> = names.split(' ').map(str::to_owned).collect();
        if pods.len() == 2 { Ok(pods) } else { Err(names) }
    })
    .await;
    let reaches = async |pods: &BTreeSet<String>| {
        until(&format!("the service to reach {pods:?}"), async || {
            let mut answers = BTreeSet::new();
            for _ in 0..20 {
                let answer = fetch(&address, 80).await?;
                answers.insert(answer.trim().trim_start_matches("nginx ").to_owned());
            }
            if answers == *pods { Ok(()) } else { Err(format!("reached {answers:?}")) }
        })
        .await;
    };
    reaches(&pods).await;

    let greedy = pods.first().unwrap();
    // It may be killed with the others.
    let _ = cluster.kubectl(&["exec", greedy, "--", "touch", "/tmp/more"]);
    let last = "jsonpath={.status.containerStatuses[0].lastState.terminated}";
    let (mut answered, mut failed) = (0, Vec::new());
    until("the container to be killed and started again", async || {
        match fetch(&address, 80).await {
            Ok(_) => answered += 1,
            Err(failure) => failed.push(failure),
        }
        let last = get(&["pod", greedy, "-o", last]);
        if last.contains("OOMKilled") && last.contains("137") { Ok(()) } else { Err(last) }
    })
    .await;
    assert!(failed.len() <= 1, "beside {answered} answers: {failed:?}");
    reaches(&pods).await;
    let status = "jsonpath={.status.containerStatuses[0].restartCount} {.status.phase}";
    assert_eq!(get(&["pod", greedy, "-o", status]), "1 Running");
}
