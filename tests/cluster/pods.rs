//! Pods: what runs in them shares what a pod shares.

use api_types::api::core::v1::Pod;
use kube::Api;

use crate::harness::{Backing, Cluster, Done, containers, until};

/// The logs of the example's downloader, once it has fetched the file.
async fn downloaded(cluster: &Cluster) -> String {
    until("the downloader to fetch the file", async || {
        let logs = cluster.kubectl(&["logs", "pod", "-c", "downloader"]);
        if logs.stdout.contains("123") { Ok(logs.stdout) } else { Err(logs.stdout + &logs.stderr) }
    })
    .await
}

async fn gone(cluster: &Cluster, uid: &str) {
    until("the pod and its containers to be gone", async || {
        let pods: Api<Pod> = Api::default_namespaced(cluster.client());
        match pods.get_opt("pod").await {
            Ok(None) => {}
            other => return Err(format!("{other:?}")),
        }
        let left = containers(&[&format!("io.kubernetes.pod.uid={uid}")]);
        if left.is_empty() { Ok(()) } else { Err(format!("containers are left: {left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn the_seeds_pod_shares_a_volume_and_localhost_from_either_kubectl() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let file = "examples/pod/pod.yaml";
    let path = crate::harness::root().join(file);
    let path = path.to_str().unwrap();
    // Stock's says so for a patch that only orders the volumes: there is one more, of the pod's token.
    type Kubectl = fn(&Cluster, &[&str]) -> Done;
    let kubectls: [(Kubectl, &str); 2] =
        [(Cluster::kubectl, "unchanged"), (Cluster::stock_kubectl, "configured")];
    for (apply, again) in kubectls {
        // What an earlier round left in the volume proves nothing.
        let _ = std::fs::remove_dir_all("/var/lib/minik8s-examples/pod");
        assert_eq!(apply(&cluster, &["apply", "-f", path]).expect_ok(), "pod/pod created\n");
        assert_eq!(downloaded(&cluster).await.trim(), "123");
        let wanted = || {
            let wanted = "jsonpath={.metadata.generation} {.metadata.annotations} {.spec}";
            cluster.kubectl(&["get", "pod", "pod", "-o", wanted]).expect_ok()
        };
        let before = wanted();
        assert_eq!(
            apply(&cluster, &["apply", "-f", path]).expect_ok(),
            format!("pod/pod {again}\n")
        );
        assert_eq!(wanted(), before);

        let row = apply(&cluster, &["get", "pod", "pod", "--no-headers"]).expect_ok();
        assert_eq!(
            row.split_whitespace().take(4).collect::<Vec<_>>(),
            ["pod", "2/2", "Running", "0"]
        );
        let uid =
            apply(&cluster, &["get", "pod", "pod", "-o", "jsonpath={.metadata.uid}"]).expect_ok();
        assert_eq!(
            apply(&cluster, &["delete", "-f", path, "--now"]).expect_ok(),
            "pod \"pod\" deleted\n"
        );
        gone(&cluster, &uid).await;
    }
}

#[tokio::test]
async fn a_pod_that_cannot_start_says_why() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let file = crate::harness::root().join("tests/manifests/failing-pods.yaml");
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    let cases = [
        ("no-image", &["ErrImagePull"][..], "Failed to pull image"),
        ("no-image", &["ImagePullBackOff"][..], "Back-off pulling image"),
        ("crashing", &["CrashLoopBackOff"][..], "Back-off restarting failed container"),
        ("no-command", &["RunContainerError", "CrashLoopBackOff"][..], "no-such-program"),
        ("no-configmap", &["CreateContainerConfigError"][..], "configmap \"absent\" not found"),
        ("bad-directory", &["CreateContainerError"][..], "working directory"),
    ];
    for (pod, statuses, event) in cases {
        until(&format!("{pod} to say {statuses:?}"), async || {
            let row = cluster.stock_kubectl(&["get", "pod", pod, "--no-headers"]).stdout;
            let shown = row.split_whitespace().nth(2).unwrap_or_default().to_owned();
            let events = cluster
                .kubectl(&[
                    "get",
                    "events",
                    "--field-selector",
                    &format!("involvedObject.name={pod}"),
                ])
                .stdout;
            if statuses.contains(&shown.as_str()) && events.contains(event) {
                Ok(())
            } else {
                Err(row + &events)
            }
        })
        .await;
        let described = cluster.kubectl(&["describe", "pod", pod]).expect_ok();
        assert!(described.contains(event), "{described}");
    }
    until("the last words to be reported", async || {
        let words = "jsonpath={.status.containerStatuses[0].state.terminated.message}";
        let said = cluster.kubectl(&["get", "pod", "last-words", "-o", words]).stdout;
        if said == "out of ideas\n" { Ok(()) } else { Err(said) }
    })
    .await;
}
