//! Functions: built, called, updated under load, and gone without trace.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api_types::{
    api::core::v1::Pod,
    minik8s::{Function, FunctionStatus, FunctionVersionPhase},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::harness::{Backing, Cluster, run, until};

/// The gateway's port and the offset of the cluster's ports.
const GATEWAY: &str = "http://127.0.0.1:29081";

/// Adds a number to `x`.
fn add(number: i32) -> Value {
    let code = format!("def main(params):\n    return {{'x': params['x'] + {number}}}\n");
    json!({"files": {"add.py": code}})
}

async fn call(client: &reqwest::Client) -> Result<String, String> {
    let request = client.post(format!("{GATEWAY}/add-five")).body(r#"{"x": 100}"#);
    let response = request.send().await.map_err(|e| format!("{e:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|e| format!("{e:?}"))?;
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
}

async fn change(functions: &Api<Function>, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    functions.patch("add-five", &PatchParams::default(), &patch).await.unwrap();
}

async fn until_status(functions: &Api<Function>, what: &str, is: fn(&FunctionStatus) -> bool) {
    until(what, async || {
        let status = functions.get("add-five").await.map_err(|e| e.to_string())?.status;
        let status = status.unwrap_or_default();
        if is(&status) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

/// Those of these images that there are.
fn existing(images: &BTreeSet<String>) -> BTreeSet<String> {
    let listed = run("docker", &["images", "--format", "{{.Repository}}:{{.Tag}}"]).expect_ok();
    let listed = listed.lines().map(str::to_owned).collect();
    images.intersection(&listed).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_built_called_updated_under_load_and_removed() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let functions: Api<Function> = Api::default_namespaced(cluster.client());
    let client = reqwest::Client::new();
    let function = json!({
        "apiVersion": "minik8s.io/v1",
        "kind": "Function",
        "metadata": {"name": "add-five"},
        "spec": {"source": add(5), "minScale": 2},
    });
    let function = serde_json::from_value(function).unwrap();
    functions.create(&PostParams::default(), &function).await.unwrap();
    assert_eq!(call(&client).await.as_deref(), Ok(r#"{"x": 105}"#), "it waits for its image");
    until_status(&functions, "ready", |status| {
        status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
    })
    .await;

    change(&functions, json!({"source": {"files": {"add.py": "def main(params:\n"}}})).await;
    until_status(&functions, "a failed build", |status| {
        let failed = status.versions.last();
        failed.is_some_and(|version| {
            version.phase == FunctionVersionPhase::Failed
                && version.build_log.as_ref().is_some_and(|log| log.contains("SyntaxError"))
        })
    })
    .await;
    let events = cluster.kubectl(&["get", "events", "-o", "wide"]).expect_ok();
    assert!(events.contains("BuildFailed"), "{events}");
    assert_eq!(call(&client).await.as_deref(), Ok(r#"{"x": 105}"#), "the old version serves on");

    update_under_load(&functions, &client).await;
    change(&functions, json!({"rollbackTo": 1})).await;
    until_status(&functions, "version 1 again", |status| status.version == Some(1)).await;
    until("the old answer", async || match call(&client).await {
        Ok(answer) if answer == r#"{"x": 105}"# => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    let status = functions.get("add-five").await.unwrap().status.unwrap();
    let images = status.versions.into_iter().filter_map(|version| version.image).collect();
    assert_eq!(existing(&images).len(), 2, "one of each version that was built");
    functions.delete("add-five", &DeleteParams::default()).await.unwrap();
    until("nothing left", async || {
        let gone = functions.get_opt("add-five").await.map_err(|e| e.to_string())?.is_none();
        let pods: Api<Pod> = Api::default_namespaced(cluster.client());
        let pods = pods.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let left = (gone, pods.len(), existing(&images));
        if left == (true, 0, BTreeSet::new()) { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// Calls go on all the time while version 3 takes over, and each is answered by one version or the other.
async fn update_under_load(functions: &Api<Function>, client: &reqwest::Client) {
    let done = Arc::new(AtomicBool::default());
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                let (mut old, mut new) = (0, 0);
                while !done.load(Ordering::Relaxed) {
                    match call(&client).await.as_deref() {
                        Ok(r#"{"x": 105}"#) => old += 1,
                        Ok(r#"{"x": 106}"#) => new += 1,
                        other => panic!("after {old} and {new} answers: {other:?}"),
                    }
                }
                (old, new)
            })
        })
        .collect();
    change(functions, json!({"source": add(6)})).await;
    until_status(functions, "version 3", |status| status.version == Some(3)).await;
    until("the old instances to be gone", async || {
        let pods: Api<Pod> = Api::default_namespaced(functions.clone().into_client());
        let old = ListParams::default().labels("minik8s.io/function-version=1");
        let left = pods.list(&old).await.map_err(|e| e.to_string())?.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are there")) }
    })
    .await;
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        let (old, new) = caller.await.unwrap();
        assert!(old > 0 && new > 0, "{old} answers of the old version, {new} of the new one");
    }
}
