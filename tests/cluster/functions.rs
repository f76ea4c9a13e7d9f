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

async fn until_status(functions: &Api<Function>, what: &str, is: impl Fn(&FunctionStatus) -> bool) {
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
    // Whether or not the gateway has heard of it.
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

    take_over_under_load(&functions, &client, json!({"source": add(6)}), 3).await;
    take_over_under_load(&functions, &client, json!({"rollbackTo": 1}), 1).await;
    // The next one from none.
    change(&functions, json!({"minScale": 0, "idleSeconds": 1})).await;
    until_instances_are_gone(&functions, 1).await;
    take_over_under_load(&functions, &client, json!({"rollbackTo": null}), 3).await;

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

async fn until_instances_are_gone(functions: &Api<Function>, version: i64) {
    until("the old instances to be gone", async || {
        let pods: Api<Pod> = Api::default_namespaced(functions.clone().into_client());
        let old = format!("minik8s.io/function-version={version}");
        let left =
            pods.list(&ListParams::default().labels(&old)).await.map_err(|e| e.to_string())?;
        let left = left.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are there")) }
    })
    .await;
}

/// Calls go on all the time while one of the versions 1 and 3 takes over from the other, and each is answered by one of them.
async fn take_over_under_load(
    functions: &Api<Function>,
    client: &reqwest::Client,
    spec: Value,
    version: i64,
) {
    let done = Arc::new(AtomicBool::default());
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                let (mut first, mut third) = (0, 0);
                while !done.load(Ordering::Relaxed) {
                    match call(&client).await.as_deref() {
                        Ok(r#"{"x": 105}"#) => first += 1,
                        Ok(r#"{"x": 106}"#) => third += 1,
                        other => panic!("after {first} and {third} answers: {other:?}"),
                    }
                }
                (first, third)
            })
        })
        .collect();
    until("a first answer", async || call(client).await.map(drop)).await;
    change(functions, spec).await;
    until_status(functions, "the version", |status| status.version == Some(version)).await;
    until_instances_are_gone(functions, 4 - version).await;
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        let (first, third) = caller.await.unwrap();
        assert!(first > 0 && third > 0, "{first} answers of version 1, {third} of version 3");
    }
}
