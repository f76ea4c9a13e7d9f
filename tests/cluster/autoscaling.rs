//! What pods use decides how many there are.

use std::{collections::BTreeSet, path::Path, time::Duration};

use tokio::task::block_in_place;

use crate::harness::{Backing, Cluster, fetch_path, kubectls, root, until};

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
        names.split_whitespace().map(|name| format!("{name}\n")).collect()
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
    let all_do = async |path: &str, pods: &BTreeSet<String>| {
        until("the service to reach all pods and no other", async || {
            let mut answered = BTreeSet::new();
            for _ in 0..20 {
                answered.insert(fetch_path(&address, 80, path).await?);
            }
            if answered == *pods { Ok(()) } else { Err(format!("{answered:?} of {pods:?}")) }
        })
        .await;
    };

    let pods = are_there(1).await;
    all_do("/busy", &pods).await;
    let pods = are_there(3).await;
    all_do("/", &pods).await;
    let nodes = "jsonpath={.items[*].spec.nodeName}";
    let nodes = run(&ours, &["get", "pods", "-l", "app=load", "-o", nodes]);
    assert_eq!(nodes.split(' ').collect::<BTreeSet<_>>().len(), 2, "{nodes}");
    all_do("/idle", &pods).await;
    let pods = are_there(1).await;
    all_do("/", &pods).await;
    let events = run(&stock, &["describe", "hpa", "load"]);
    assert!(events.contains(LAST), "{events}");
    let selector = "--field-selector=reason=SuccessfulRescale,involvedObject.name=load";
    let events = r#"jsonpath={range .items[*]}{.metadata.name} {.message}{"\n"}{end}"#;
    assert_pace(&run(&stock, &["get", "events", selector, "-o", events]));
}

const ABOVE: &str = "cpu resource utilization (percentage of request) above target";
const LAST: &str = "New size: 1; reason: All metrics below target";

/// One pod more or less in each of the example's 5 s, and looked at as often, not every 15 s. An event's name ends with
/// its nanosecond.
fn assert_pace(events: &str) {
    let event = |line: &str| {
        let (name, message) = line.split_once(' ').unwrap();
        let at = u64::from_str_radix(name.rsplit_once('.').unwrap().1, 16).unwrap();
        (Duration::from_nanos(at), message.to_owned())
    };
    let mut all: Vec<_> = events.lines().map(event).collect();
    all.sort();
    let (times, messages): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let [up, further, down, last] = [
        format!("New size: 2; reason: {ABOVE}"),
        format!("New size: 3; reason: {ABOVE}"),
        "New size: 2; reason: All metrics below target".to_owned(),
        LAST.to_owned(),
    ];
    assert_eq!(messages, [up, further, down, last]);
    for pair in [&times[..2], &times[2..]] {
        let pace = (pair[1] - pair[0]).as_secs_f64();
        assert!((4.0..10.0).contains(&pace), "{pace} s\n{events}");
    }
}
