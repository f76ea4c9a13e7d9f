//! What pods use decides how many there are.

use std::{collections::BTreeSet, path::Path};

use tokio::task::block_in_place;

use crate::harness::{Backing, Cluster, fetch, kubectls, root, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn load_makes_a_set_larger_and_smaller_and_its_service_reaches_all_of_it() {
    let cluster = Cluster::start(Backing::Services).await;
    let up = block_in_place(|| cluster.up(&["--no-examples", "--nodes", "2"]));
    up.expect_ok();
    let [ours, stock] = kubectls();
    let run = |kubectl: &Path, args: &[&str]| {
        block_in_place(|| cluster.reading(kubectl, "/dev/null".as_ref(), args).expect_ok())
    };
    let ready = || -> BTreeSet<String> {
        let names = "jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name} {end}";
        let names = run(&ours, &["get", "pods", "-l", "app=load", "-o", names]);
        names.split_whitespace().map(|name| format!("nginx {name}\n")).collect()
    };
    let are_there = async |count: usize| {
        until(&format!("{count} pods"), async || {
            let pods = ready();
            if pods.len() == count {
                Ok(pods)
            } else {
                Err(run(&ours, &["describe", "hpa", "load"]))
            }
        })
        .await
    };
    let example = root().join("examples/autoscaling");
    run(&stock, &["apply", "-f", example.to_str().unwrap()]);
    let address = run(&ours, &["get", "service", "load", "-o", "jsonpath={.spec.clusterIP}"]);
    let answers_from = async |pods: &BTreeSet<String>| {
        until("the service to reach all pods and no other", async || {
            let mut answered = BTreeSet::new();
            for _ in 0..20 {
                answered.insert(fetch(&address, 80).await?);
            }
            if answered == *pods { Ok(()) } else { Err(format!("{answered:?} of {pods:?}")) }
        })
        .await;
    };

    let pods = are_there(3).await;
    answers_from(&pods).await;
    let nodes = "jsonpath={.items[*].spec.nodeName}";
    let nodes = run(&ours, &["get", "pods", "-l", "app=load", "-o", nodes]);
    assert_eq!(nodes.split(' ').collect::<BTreeSet<_>>().len(), 2, "{nodes}");
    for pod in &pods {
        let name = pod.trim().trim_start_matches("nginx ");
        run(&ours, &["exec", name, "--", "touch", "/tmp/idle"]);
    }
    let pods = are_there(1).await;
    answers_from(&pods).await;
    let events = run(&stock, &["describe", "hpa", "load"]);
    for told in [
        "New size: 3; reason: cpu resource utilization (percentage of request) above target",
        "New size: 1; reason: All metrics below target",
    ] {
        assert!(events.contains(told), "{events}");
    }
}
