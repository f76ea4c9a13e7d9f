//! Scheduling: a pod that fits nowhere waits, says why, and runs as soon as a node is there for it.

use crate::harness::{Backing, Cluster, NODE, root, until};

#[tokio::test]
async fn a_pod_that_fits_no_node_waits_for_one() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let file = root().join("tests/manifests/second-node-pod.yaml");
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    until("the pod to say why it waits", async || {
        let row = cluster.kubectl(&["get", "pod", "waiting", "--no-headers"]).stdout;
        let events = cluster
            .stock_kubectl(&["get", "events", "--field-selector", "involvedObject.name=waiting"])
            .stdout;
        let why = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector";
        if row.contains("Pending") && events.contains(why) { Ok(()) } else { Err(row + &events) }
    })
    .await;

    let up = cluster.up(&["--no-examples", "--nodes", "2"]);
    assert!(up.ok, "{}", up.stderr);
    until("the pod to run on the second node", async || {
        let row = cluster.kubectl(&["get", "pod", "waiting", "-o", "wide", "--no-headers"]).stdout;
        if row.contains("Running") && row.contains(&format!("{NODE}-2")) {
            Ok(())
        } else {
            Err(row)
        }
    })
    .await;
    both_nodes_pods_reach_each_other(&cluster).await;
    the_strategy_is_switched_while_the_scheduler_runs(&cluster).await;
}

/// Kills the scheduler in between: what was chosen is kept in the API.
async fn the_strategy_is_switched_while_the_scheduler_runs(cluster: &Cluster) {
    assert_eq!(cluster.kubectl(&["cfg", "sched=round-robin"]).expect_ok(), "sched=round-robin\n");
    let placed = deployed(cluster, "turns", "round-robin").await;
    assert_eq!(placed, [2, 2], "each node in turn");
    cluster.kill(&["scheduler"]);
    cluster.up(&["--no-examples", "--nodes", "2"]);
    let placed = deployed(cluster, "again", "round-robin").await;
    assert_eq!(placed, [2, 2], "each node in turn");
    assert!(!cluster.kubectl(&["cfg", "sched=fastest"]).ok);
    cluster.kubectl(&["cfg", "sched=max-pods"]).expect_ok();
    let placed = deployed(cluster, "one", "max-pods").await;
    assert!(placed == [4, 0] || placed == [0, 4], "{placed:?}");
}

/// Four pods of a new Deployment: how many the nodes have, once the events of all say that this strategy has chosen.
async fn deployed(cluster: &Cluster, name: &str, strategy: &str) -> [usize; 2] {
    cluster
        .kubectl(&["create", "deployment", name, "--image=minik8s/nginx:0.1", "--replicas=4"])
        .expect_ok();
    let text = r#"jsonpath={range .items[*]}{.message}{"\n"}{end}"#;
    until("the pods to be scheduled by the strategy", async || {
        let selector = "--field-selector=reason=Scheduled";
        let events = cluster.stock_kubectl(&["get", "events", selector, "-o", text]).expect_ok();
        let on = |node: &str| {
            let pod = format!("Successfully assigned default/{name}-");
            let why = format!(" to {node} ({strategy}");
            events.lines().filter(|line| line.starts_with(&pod) && line.contains(&why)).count()
        };
        let counts = [on(NODE), on(&format!("{NODE}-2"))];
        if counts.iter().sum::<usize>() == 4 { Ok(counts) } else { Err(events) }
    })
    .await
}

/// Pods of one node and of another: one bridge and one pod CIDR each.
async fn both_nodes_pods_reach_each_other(cluster: &Cluster) {
    let address =
        cluster.kubectl(&["get", "pod", "waiting", "-o", "jsonpath={.status.podIP}"]).expect_ok();
    let file = std::env::temp_dir().join("minik8s-first-node-pod.yaml");
    let manifest =
        std::fs::read_to_string(root().join("tests/manifests/first-node-pod.yaml")).unwrap();
    std::fs::write(&file, manifest.replace("ADDRESS", &address).replace("NODE", NODE)).unwrap();
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    until("a pod of the first node to reach one of the second", async || {
        let logs = cluster.kubectl(&["logs", "asking"]);
        if logs.stdout.contains("nginx waiting") { Ok(()) } else { Err(logs.stdout + &logs.stderr) }
    })
    .await;
}
