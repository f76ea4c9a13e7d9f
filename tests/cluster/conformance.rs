//! Kubernetes' own end-to-end suite: `scripts/test.sh --conformance`.

use std::{env, path::PathBuf, process::Command};

use tokio::task::block_in_place;

use crate::harness::{Backing, Cluster, STOCK_KUBECTL};

/// The conformance specs of what an API server is accepted by.
const FOCUS: &str = r"\[sig-(api-machinery|auth|cli|architecture)\].*\[Conformance\]";

/// The suite, with what it is told of every cluster. It prints what it finds.
fn suite(focus: &str) -> Command {
    let folder = env::var_os("MINIK8S_CONFORMANCE").expect("a folder with bin/e2e");
    let mut suite = Command::new(PathBuf::from(folder).join("bin/e2e"));
    suite.args(["--provider=skeleton", "--disable-log-dump=true", "--ginkgo.no-color"]);
    suite.args(["--allowed-not-ready-nodes=-1", "--minStartupPods=0", "--ginkgo.timeout=12h"]);
    // A focus that is the name of nothing would pass, and the first kubectl of the path may be ours.
    suite.args(["--ginkgo.fail-on-empty".into(), format!("--kubectl-path={STOCK_KUBECTL}")]);
    suite.arg(format!("--ginkgo.focus={focus}"));
    suite
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kubernetes' suite: scripts/test.sh --conformance"]
async fn specs_of_kubernetes_pass() {
    let cluster = Cluster::start(Backing::Services).await;
    // One of the specs asks for two nodes, others use both.
    let up = block_in_place(|| cluster.up(&["--no-examples", "--nodes", "2"]));
    up.expect_ok();
    let focus = env::var("MINIK8S_CONFORMANCE_FOCUS").unwrap_or_else(|_| FOCUS.to_owned());
    let kubeconfig = cluster.folder().join("config/admin.conf");
    let status = suite(&focus).arg("--kubeconfig").arg(kubeconfig).status().unwrap();
    assert!(status.success(), "{status}");
}
