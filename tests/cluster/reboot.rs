//! The host reboots: every process is gone, and everything that the kernel only had in memory.

use std::collections::BTreeSet;

use crate::{
    harness::{Backing, Cluster, NODE, containers, fetch, root, run, until},
    replicasets::{apply_web, ready_pods},
    restarts::PROGRAMS,
};

/// Takes away what a reboot does: processes, links, routes, addresses, rules, mounts, and `/run`.
const LOSE: &str = r#"
    docker ps -q --filter label=io.minik8s.node=$1 | xargs -r docker kill >/dev/null
    ip -o addr show dev lo to 10.97.0.0/16 | awk '{print $4}' | xargs -r -I{} ip addr del {} dev lo
    ip -o addr show to 10.245.0.0/16 | awk '{print $2}' | sort -u | xargs -r -n 1 ip link del
    for net in 10.245.0.0/16 10.97.0.0/16; do ip route del blackhole $net; ip route flush root $net; done
    for table in filter nat; do
        rules=$(iptables -w -t $table -S)
        for chain in $(echo "$rules" | grep -e 10.245.0.0/16 -e 10.97.0.0/16 | grep -o 'MINIK8S-[^ ]*' | sort -u); do
            echo "$rules" | grep -e "-j $chain\$" | while read -r _ jump; do iptables -w -t $table -D $jump; done
            iptables -w -t $table -F $chain
            iptables -w -t $table -X $chain
        done
    done
    findmnt -rno TARGET | grep "^$2/state/" | sort -r | xargs -r umount
    rm -rf "$2/run"
"#;

fn reboot(cluster: &Cluster) {
    cluster.kill(&PROGRAMS);
    let folder = cluster.folder().to_str().unwrap();
    run("sh", &["-ec", LOSE, "reboot", NODE, folder]).expect_ok();
    assert_eq!(containers(&[&format!("io.minik8s.node={NODE}")]), [""; 0]);
}

/// All pods answer through the service.
async fn served(cluster: &Cluster, pods: &BTreeSet<String>) {
    let address =
        cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).expect_ok();
    let mut answered = BTreeSet::new();
    until("every pod to answer through the service", async || {
        let answer = fetch(&address, 8080).await?;
        answered.extend(answer.trim().strip_prefix("nginx ").map(str::to_owned));
        if answered == *pods { Ok(()) } else { Err(format!("{answered:?}")) }
    })
    .await;
}

fn field(cluster: &Cluster, pod: &str, path: &str) -> String {
    cluster.kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")]).expect_ok()
}

/// A pod has one sandbox and one container that run, and its sandbox has the address that the API tells.
fn runs_once(cluster: &Cluster, pod: &str) {
    let uid = field(cluster, pod, ".metadata.uid");
    let running = containers(&[&format!("io.kubernetes.pod.uid={uid}")]);
    assert_eq!(running.len(), 2, "{pod}: {running:?}");
    let filter = format!("label=io.kubernetes.pod.uid={uid}");
    let format = "{{.Label \"io.minik8s.pod.address\"}}";
    let all = run("docker", &["ps", "-a", "--filter", &filter, "--format", format]).expect_ok();
    let addresses: Vec<&str> = all.split_whitespace().collect();
    assert_eq!(addresses, [field(cluster, pod, ".status.podIP")], "{pod}");
}

#[tokio::test]
async fn pods_and_services_come_back_when_the_host_was_rebooted() {
    let cluster = Cluster::start(Backing::Embedded).await;
    apply_web(&cluster);
    let file = root().join("tests/manifests/reboot.yaml");
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    let pods: BTreeSet<String> = ready_pods(&cluster, 3).await.into_keys().collect();
    served(&cluster, &pods).await;
    let kept = async |expected: &str| {
        until(&format!("the host port to answer {expected}"), async || {
            let body = fetch("127.0.0.1", 21990).await?;
            if body == expected { Ok(()) } else { Err(body) }
        })
        .await;
    };
    kept("hiddenhidden").await;
    until("the pod that runs once to run", async || {
        let phase = field(&cluster, "once", ".status.phase");
        if phase == "Running" { Ok(()) } else { Err(phase) }
    })
    .await;

    reboot(&cluster);
    let up = cluster.up(&["--no-examples"]);
    assert!(up.ok, "{}", up.stderr);

    until("each pod to be started again, once", async || {
        let found = ready_pods(&cluster, 3).await;
        let same = found.keys().eq(&pods) && found.values().all(|restarts| *restarts == 1);
        if same { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    served(&cluster, &pods).await;
    // What is on disk is there as before, what is in memory anew.
    kept("hiddenhiddenhiddenhidden").await;
    pods.iter().for_each(|pod| runs_once(&cluster, pod));
    runs_once(&cluster, "keeper");
    until("the pod that runs once to have failed", async || {
        let phase = field(&cluster, "once", ".status.phase");
        if phase == "Failed" { Ok(()) } else { Err(phase) }
    })
    .await;
    let restarts = field(&cluster, "once", ".status.containerStatuses[0].restartCount");
    assert_eq!(restarts, "0");
    cluster.until_checked().await;
    let rules = run("iptables-save", &[]).expect_ok();
    let mut jumps: Vec<&str> = rules.lines().filter(|rule| rule.contains("-j MINIK8S")).collect();
    let all = jumps.len();
    jumps.sort_unstable();
    jumps.dedup();
    assert_eq!(jumps.len(), all, "a rule is there twice: {rules}");
}
