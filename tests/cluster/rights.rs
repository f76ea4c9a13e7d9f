//! What a pod may do, and what it may take.

use crate::harness::{Backing, Cluster, root, until};

/// `get pods` shows this status.
async fn shows(cluster: &Cluster, pod: &str, expected: &str) {
    until(&format!("{pod} to be {expected}"), async || {
        let row = cluster.stock_kubectl(&["get", "pod", pod, "--no-headers"]).stdout;
        if row.split_whitespace().nth(2) == Some(expected) {
            return Ok(());
        }
        Err(row + &cluster.kubectl(&["logs", pod]).stdout)
    })
    .await;
}

#[tokio::test]
async fn a_pod_has_the_rights_it_is_given_and_no_more_room_than_its_limit() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let file = root().join("tests/manifests/rights.yaml");
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    shows(&cluster, "somebody", "Completed").await;
    let address =
        cluster.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"]);
    let expected = format!(
        "user 1000 group 3000\nsecret hidden\nfile of 1000 2000\nsecret is read-only\n\
         service {}\nno server on loopback\n",
        address.expect_ok()
    );
    assert_eq!(cluster.kubectl(&["logs", "somebody"]).expect_ok(), expected);

    shows(&cluster, "robot", "Completed").await;
    let expected = "system:serviceaccount:default:robot robot\n\
                    secrets is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"secrets\" \
                    in API group \"\" in the namespace \"default\"\n";
    assert_eq!(cluster.kubectl(&["logs", "robot"]).expect_ok(), expected);
    shows(&cluster, "alone", "Completed").await;
    assert_eq!(cluster.kubectl(&["logs", "alone"]).expect_ok(), "no token\n");

    shows(&cluster, "root", "CreateContainerConfigError").await;
    let described = cluster.stock_kubectl(&["describe", "pod", "root"]).expect_ok();
    let why = "container has runAsNonRoot and image will run as root";
    assert!(described.contains(why), "{described}");

    // The table shows how its container ended, as Kubernetes' does.
    let status = ["get", "pod", "hoarder", "-o", "jsonpath={.status.phase} {.status.reason}"];
    until("hoarder to be evicted", async || match cluster.kubectl(&status).stdout.as_str() {
        "Failed Evicted" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
    let described = cluster.stock_kubectl(&["describe", "pod", "hoarder"]).expect_ok();
    let why = "Usage of EmptyDir volume \"work\" exceeds the limit \"1Mi\".";
    assert!(described.contains(why), "{described}");
}
