//! Deployments: another template takes over while clients go on calling.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::task::block_in_place;

use crate::harness::{Backing, Cluster, fetch, kubectls, root, until};

/// Calls without a pause, a connection each, until told to stop.
struct Load {
    address: String,
    is_over: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    async fn run(self: Arc<Self>) -> Vec<String> {
        let mut failures = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            match fetch(&self.address, 80).await {
                Ok(_) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(failure) => failures.push(failure),
            }
        }
        failures
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolling_update_and_its_undoing_lose_no_request() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let [ours, stock] = kubectls();
    let run = |kubectl: &Path, args: &[&str]| {
        block_in_place(|| cluster.reading(kubectl, "/dev/null".as_ref(), args).expect_ok())
    };
    let example = root().join("examples/deployment");
    run(&stock, &["apply", "-f", example.to_str().unwrap()]);
    let status = ["rollout", "status", "deployment/shop", "--timeout=60s"];
    let done = run(&stock, &status);
    assert!(done.ends_with("deployment \"shop\" successfully rolled out\n"), "{done}");
    let address = run(&ours, &["get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}"]);
    until("the service to answer", async || fetch(&address, 80).await).await;

    let load = Load { address, is_over: AtomicBool::new(false), answered: AtomicUsize::new(0) };
    let load = Arc::new(load);
    let clients: Vec<_> = (0..3).map(|_| tokio::spawn(load.clone().run())).collect();
    run(&stock, &["set", "env", "deployment/shop", "EDITION=2"]);
    run(&ours, &status);
    let editions = "jsonpath={.items[*].spec.containers[0].env[*].value}";
    let second = run(&ours, &["get", "pods", "-l", "app=shop", "-o", editions]);
    assert_eq!(second, "2 2 2");
    run(&stock, &["rollout", "undo", "deployment/shop"]);
    run(&stock, &status);
    load.is_over.store(true, Ordering::Relaxed);
    let answered = load.answered.load(Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.await.unwrap(), Vec::<String>::new(), "beside {answered} answers");
    }
    assert!(answered > 100, "{answered}");
    let history = ["rollout", "history", "deployment/shop"];
    let told = run(&ours, &history);
    assert_eq!(told, run(&stock, &history));
    assert!(told.contains("\n3 "), "{told}");
}

#[tokio::test]
async fn a_cluster_without_its_users_objects_works_on() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let example = root().join("examples/deployment");
    let apply = ["apply", "-f", example.to_str().unwrap()];
    let status = ["rollout", "status", "deployment/shop", "--timeout=60s"];
    let all =
        ["get", "nodes,namespaces,services,endpointslices,deployments,pods", "-A", "-o", "name"];
    let before = cluster.kubectl(&all).expect_ok();
    for _ in 0..2 {
        cluster.kubectl(&["create", "namespace", "team"]).expect_ok();
        for namespace in ["team", "default"] {
            let within =
                |args: &[&'static str]| cluster.kubectl(&[args, &["-n", namespace]].concat());
            cluster.kubectl(&[&apply[..], &["-n", namespace]].concat()).expect_ok();
            within(&status).expect_ok();
        }
        let address = ["get", "service", "shop", "-o", "jsonpath={.spec.clusterIP}"];
        let address = cluster.kubectl(&address).expect_ok();
        until("the service to answer", async || fetch(&address, 80).await).await;
        let done = cluster.kubectl(&["reset", "--yes"]).expect_ok();
        for deleted in ["namespace/team", "deployment.apps/shop", "service/shop"] {
            assert!(done.contains(&format!("{deleted} deleted\n")), "{done}");
        }
        assert!(!done.contains("pod/"), "they go with their owners: {done}");
        assert_eq!(cluster.kubectl(&all).expect_ok(), before);
    }
}
