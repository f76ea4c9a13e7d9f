//! Clients that everybody has, as they come: the Python client, and what of the stock kubectl no other test needs.

use crate::harness::{Backing, Cluster, root, run, until};

const PYTHON_CLIENT: &str = "kubernetes==37.0.2";

#[tokio::test]
async fn stock_clients_do_what_their_users_do() {
    let cluster = Cluster::start(Backing::Embedded).await;
    python(&cluster);
    debug(&cluster).await;
}

fn python(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    run("python3", &["-m", "venv", &place("")]).expect_ok();
    let pip = ["install", "--quiet", "--disable-pip-version-check", PYTHON_CLIENT];
    run(place("bin/pip"), &pip).expect_ok();
    let tour = root().join("tests/cluster/python_client.py");
    let kubeconfig = cluster.folder().join("config/admin.conf");
    let args = [tour, kubeconfig].map(|path| path.to_string_lossy().into_owned());
    let done = run(place("bin/python"), &args.each_ref().map(String::as_str));
    assert_eq!(done.expect_ok(), "done\n");
}

/// A container that is added sees the processes of the one that it is aimed at.
async fn debug(cluster: &Cluster) {
    let image = "--image=minik8s/busybox:0.1";
    let pod = ["run", "looked-at", image, "--", "sleep", "3599"];
    cluster.stock_kubectl(&pod).expect_ok();
    let ready = ["wait", "--for=condition=Ready", "pod/looked-at", "--timeout=60s"];
    cluster.stock_kubectl(&ready).expect_ok();
    let look = ["debug", "looked-at", image, "--target=looked-at", "-c", "debug", "--", "ps"];
    cluster.stock_kubectl(&look).expect_ok();
    until("the other container's process", async || {
        let logs = cluster.stock_kubectl(&["logs", "looked-at", "-c", "debug"]);
        if logs.stdout.contains("sleep 3599") { Ok(()) } else { Err(logs.stdout + &logs.stderr) }
    })
    .await;
    until("its end to be told", async || {
        let reason = "jsonpath={.status.ephemeralContainerStatuses[*].state.terminated.reason}";
        let reason = cluster.stock_kubectl(&["get", "pod", "looked-at", "-o", reason]).stdout;
        if reason == "Completed" { Ok(()) } else { Err(reason) }
    })
    .await;
}
