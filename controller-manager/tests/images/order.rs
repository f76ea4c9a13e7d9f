//! What goes first when a function is deleted.

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::minik8s::Function;
use controller_manager::functions::FunctionArgs;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use testkit::wait;

use crate::Rig;

const HELD: &[&str] = &["example.org/held"];

/// A function with an image, and one instance.
async fn start(name: &'static str) -> (Rig, String) {
    let rig = Rig::start(name, FunctionArgs::default()).await;
    rig.create(json!({"source": {"files": {"a.py": "def main(params):\n    return 1\n"}}})).await;
    let image = rig.until_built(1).await;
    rig.until_serves(1).await;
    (rig, image)
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_go_before_images() {
    let (rig, image) = start("images-held").await;
    let pods: Api<Pod> = rig.api("default");
    let pod = pods.list(&ListParams::default()).await.unwrap().items.remove(0);
    let pod = pod.metadata.name.unwrap();
    hold(&pods, &pod, HELD).await;
    rig.delete().await;
    wait::until_gone(&rig.api::<ReplicaSet>("default"), "images-held-v1").await;
    until_another_is_gone(&rig).await;
    assert_eq!(rig.images(), [image], "an instance may still run");
    hold(&pods, &pod, &[]).await;
    rig.until_gone().await;
    assert_eq!(rig.images(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_go_before_images() {
    let (rig, image) = start("images-kept").await;
    let (sets, pods): (Api<ReplicaSet>, Api<Pod>) = (rig.api("default"), rig.api("default"));
    hold(&sets, "images-kept-v1", HELD).await;
    rig.delete().await;
    let is_going = |set: &ReplicaSet| set.metadata.deletion_timestamp.is_some();
    wait::until_is(&sets, "images-kept-v1", "going", is_going).await;
    let all = ListParams::default();
    pods.delete_collection(&DeleteParams::default(), &all).await.unwrap();
    wait::until("no pods", async || {
        let left = pods.list(&all).await.unwrap().items.len();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    until_another_is_gone(&rig).await;
    assert_eq!(rig.images(), [image], "an instance may still be made");
    hold(&sets, "images-kept-v1", &[]).await;
    rig.until_gone().await;
    assert_eq!(rig.images(), [""; 0]);
}

/// By these finalizers.
async fn hold<K>(api: &Api<K>, name: &str, finalizers: &[&str])
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

/// The controller has looked at all that happened before.
async fn until_another_is_gone(rig: &Rig) {
    let another = json!({
        "metadata": {"name": "another", "finalizers": ["minik8s.io/function-images"]},
        "spec": {"runtime": "container", "image": "minik8s/busybox:0.1"},
    });
    let another: Function = serde_json::from_value(another).unwrap();
    rig.functions.create(&PostParams::default(), &another).await.unwrap();
    rig.functions.delete("another", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&rig.functions, "another").await;
}
