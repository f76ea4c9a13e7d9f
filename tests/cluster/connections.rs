//! Commands in containers, by the kubectl that everybody has.

use std::fs;

use api_types::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use testkit::{pod, wait};

use crate::harness::{Backing, Cluster};

#[tokio::test]
async fn commands_run_in_containers_with_input_output_and_terminal() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let sleeper = pod("sleeper").image("minik8s/busybox:0.1").command(&["sleep", "1000000"]);
    pods.create(&PostParams::default(), &sleeper.build()).await.unwrap();
    let runs = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
    wait::until_is(&pods, "sleeper", "runs", runs).await;

    let script = "echo out; echo err >&2; exit 3";
    let done = cluster.stock_kubectl(&["exec", "sleeper", "--", "sh", "-c", script]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(3), "out\n"), "{}", done.stderr);
    assert_eq!(done.stderr, "err\ncommand terminated with exit code 3\n");

    // More than fits into any buffer on the way, back and forth.
    let text = "0123456789abcde\n".repeat(1 << 16);
    let file = cluster.folder().join("input");
    fs::write(&file, &text).unwrap();
    let echoed = cluster.stock_kubectl_reading(&file, &["exec", "-i", "sleeper", "--", "cat"]);
    assert!(echoed.expect_ok() == text);

    // The size comes after the command has begun; until then there is none to tell, which is no failure to stty.
    let size = "'until stty size | grep .; do sleep 0.1; done'";
    let size = ["exec", "-it", "sleeper", "--", "sh", "-c", size];
    let shown = cluster.stock_kubectl_at_terminal(31, 97, &size).expect_ok();
    assert!(shown.contains("31 97"), "{shown}");

    let refused = cluster.stock_kubectl(&["exec", "sleeper", "-c", "other", "--", "id"]);
    assert!(refused.stderr.contains("container other is not valid for pod sleeper"), "{refused:?}");
}
