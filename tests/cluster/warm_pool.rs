//! Instances that wait for a function: taken by its first call, replaced, and gone when it is idle.

use api_types::{api::core::v1::Pod, minik8s::Function};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::harness::{Backing, Cluster, until};

const GATEWAY: &str = "http://127.0.0.1:29081";

/// The pods with a label that are not on their way out, ready or not.
async fn pods(cluster: &Cluster, label: &str) -> Vec<Pod> {
    let api: Api<Pod> = Api::default_namespaced(cluster.client());
    let mut pods = api.list(&ListParams::default().labels(label)).await.unwrap().items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    pods
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn until_one_waits(cluster: &Cluster) -> Pod {
    until("an instance that waits", async || {
        match pods(cluster, Function::POOL_LABEL).await.as_slice() {
            [pod] if is_ready(pod) => Ok(pod.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

async fn until_idle(cluster: &Cluster) {
    until("no instance", async || {
        let left = pods(cluster, &format!("{}=add-five", Function::LABEL)).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// The first call of the function that has no instance: what was answered, and what it waited for.
async fn call(path: &str) -> (u16, String, String) {
    let request = reqwest::Client::new().post(format!("{GATEWAY}/{path}")).body(r#"{"x": 100}"#);
    let answer = request.header("x-minik8s-trace", "cold-start").send().await.unwrap();
    let timing = answer.headers().get("server-timing").cloned();
    let timing = timing.map(|timing| timing.to_str().unwrap().to_owned());
    (answer.status().as_u16(), answer.text().await.unwrap(), timing.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_is_answered_by_an_instance_that_waited() {
    let cluster = Cluster::start(Backing::Services).await;
    cluster.down(&[]).expect_ok();
    cluster.up(&["--warm-pool", "1"]).expect_ok();
    let functions: Api<Function> = Api::default_namespaced(cluster.client());
    let function = json!({
        "apiVersion": "minik8s.io/v1", "kind": "Function", "metadata": {"name": "add-five"},
        "spec": {
            "source": {"files": {"add.py": "import os\ndef main(p):\n    print('called')\n    return {'x': p['x'] + int(os.environ['N'])}\n"}},
            "env": [{"name": "N", "value": "5"}],
            "idleSeconds": 2,
        },
    });
    let function = serde_json::from_value(function).unwrap();
    functions.create(&PostParams::default(), &function).await.unwrap();
    assert_eq!(call("add-five").await.1, r#"{"x": 105}"#, "its image is built");
    until_idle(&cluster).await;
    let waiting = until_one_waits(&cluster).await;
    let name = waiting.metadata.name.as_deref().unwrap();

    assert_eq!(call("default/add-five/_minik8s/load").await.0, 404);
    let (status, answer, timing) = call("add-five").await;
    assert_eq!((status, answer.as_str()), (200, r#"{"x": 105}"#));
    assert!(timing.starts_with("pool;dur="), "{timing}");
    println!("{timing}");
    let instances = pods(&cluster, &format!("{}=add-five", Function::LABEL)).await;
    let uids: Vec<_> = instances.iter().map(|pod| pod.metadata.uid.as_ref()).collect();
    assert_eq!(uids, [waiting.metadata.uid.as_ref()], "the one that waited, and no other");
    let described = cluster.stock_kubectl(&["describe", "pod", name]).expect_ok();
    for part in ["minik8s.io/function=add-five", "Controlled By:  ReplicaSet/add-five-v1"] {
        assert!(described.contains(part), "{described}");
    }
    assert!(cluster.kubectl(&["func", "logs", "add-five"]).expect_ok().contains("called"));

    let next = until_one_waits(&cluster).await;
    assert_ne!(next.metadata.uid, waiting.metadata.uid, "it is replaced");
    until_idle(&cluster).await;
    functions.delete("add-five", &DeleteParams::default()).await.unwrap();
    until("no pool", async || {
        let left = pods(&cluster, Function::POOL_LABEL).await.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} wait")) }
    })
    .await;
}
