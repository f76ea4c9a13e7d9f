//! `scripts/up.sh` and `scripts/down.sh` as a new user runs them.

use std::{fs, os::unix::fs::MetadataExt};

use testkit::without_ages;

use crate::harness::{Backing, Cluster, NODE, containers, run};

#[tokio::test]
async fn up_shows_the_examples_running_and_may_be_run_again_and_purge_leaves_nothing() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let first = cluster.up(&[]);
    assert!(first.ok, "{}", first.stderr);
    for shown in [
        "pod/pod created",
        "replicaset.apps/web created",
        "service/web created",
        "export KUBECONFIG=",
    ] {
        assert!(first.stdout.contains(shown), "{shown:?} is not in\n{}", first.stdout);
    }
    assert_eq!(
        first.stdout.lines().filter(|l| l.contains("Running")).count(),
        4,
        "{}",
        first.stdout
    );

    let apiserver = cluster.pid("apiserver");
    let again = cluster.up(&[]);
    assert!(again.ok, "{}", again.stderr);
    assert!(again.stdout.contains("replicaset.apps/web unchanged"), "{}", again.stdout);
    assert_eq!(cluster.pid("apiserver"), apiserver);

    cluster.down(&[]).expect_ok();
    assert!(
        !containers(&[&format!("io.minik8s.node={NODE}")]).is_empty(),
        "containers stopped with the programs"
    );
    let found = containers(&[&format!("io.minik8s.node={NODE}")]);
    let other = cluster.up(&["--one-file"]);
    assert!(other.ok, "{}", other.stderr);
    let file = |program| fs::metadata(format!("/proc/{}/exe", cluster.pid(program))).unwrap().ino();
    assert_eq!(file("apiserver"), file("kubelet"));
    assert_eq!(containers(&[&format!("io.minik8s.node={NODE}")]), found);

    cluster.down(&["--purge"]).expect_ok();
    assert!(containers(&[&format!("io.minik8s.node={NODE}")]).is_empty());
    for range in ["10.245.0.0/16", "10.97.0.0/16"] {
        assert_eq!(run("ip", &["route", "show", "table", "all", "root", range]).expect_ok(), "");
    }
    let rules = run("iptables-save", &[]).expect_ok();
    assert!(!rules.contains("10.245.0.0/16"), "{rules}");
}

#[tokio::test]
async fn both_kubectls_print_the_same_tables() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let up = cluster.up(&[]);
    assert!(up.ok, "{}", up.stderr);
    for what in [
        "nodes",
        "pods",
        "rs",
        "services",
        "namespaces",
        "endpoints",
        "configmaps -A",
        "pods -A -o wide",
        "nodes -o wide",
        "rs -o name",
    ] {
        let args: Vec<&str> = std::iter::once("get").chain(what.split(' ')).collect();
        // AGE moves on between the two.
        let ours = without_ages(&cluster.kubectl(&args).expect_ok());
        let stock = without_ages(&cluster.stock_kubectl(&args).expect_ok());
        assert_eq!(ours, stock, "get {what}");
    }
    for (seed, kubernetes) in [("rss", "rs"), ("po", "pods")] {
        let seed = without_ages(&cluster.kubectl(&["get", seed]).expect_ok());
        assert_eq!(seed, without_ages(&cluster.stock_kubectl(&["get", kubernetes]).expect_ok()));
    }
}
