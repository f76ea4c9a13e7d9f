//! Images, against an API server in process, with registries in memory.

use std::sync::Arc;

use api_machinery::RegistryLogin;
use api_types::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Event, Pod, Secret},
    },
    minik8s::Function,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    context::Context,
    fake_node::Node,
    images::ahead,
    runtime::{
        Runtime,
        fake::{ENDLESS_IMAGE, Fake},
    },
};

const IMAGE: &str = "10.0.0.1:5000/minik8s-functions/default/add:1";
const OTHER: &str = "10.0.0.1:5000/minik8s-functions/default/add:2";

/// The Secret `registry`.
async fn publish_login(client: &Client) -> RegistryLogin {
    let config = json!({"auths": {"10.0.0.1:5000": {"username": "me", "password": "secret"}}});
    let secret = json!({
        "metadata": {"name": "registry"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config.to_string()},
    });
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let api = Api::<Secret>::default_namespaced(client.clone());
    api.create(&PostParams::default(), &secret).await.unwrap();
    RegistryLogin { username: "me".to_owned(), password: "secret".to_owned() }
}

fn of_add(version: i64) -> Value {
    json!({Function::LABEL: "add", Function::VERSION_LABEL: version.to_string()})
}

async fn create_set(client: &Client, name: &str, labels: Value, image: &str) {
    let set = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"of": name}},
            "template": {
                "metadata": {"labels": {"of": name}},
                "spec": {
                    "containers": [{"name": "function", "image": image}],
                    "imagePullSecrets": [{"name": "registry"}],
                },
            },
        },
    });
    let set: ReplicaSet = serde_json::from_value(set).unwrap();
    let api = Api::<ReplicaSet>::default_namespaced(client.clone());
    api.create(&PostParams::default(), &set).await.unwrap();
}

/// A node that does nothing but fetch images ahead.
fn node(plane: &ControlPlane, runtime: &Arc<Fake>) -> AbortOnDropHandle<()> {
    let root = tempfile::tempdir().unwrap().keep();
    let context = Context::fake(plane.client(), runtime.clone(), root);
    let running = ahead::run(Arc::new(context), CancellationToken::new());
    AbortOnDropHandle::new(tokio::spawn(running))
}

#[tokio::test]
async fn nodes_have_the_image_of_a_version_before_any_instance_comes_and_ask_for_no_other() {
    let plane = ControlPlane::start().await;
    let login = publish_login(&plane.client()).await;
    let first = Arc::new(Fake::default());
    let second = Arc::new(Fake::with_images(&[IMAGE]));
    for runtime in [&first, &second] {
        runtime.publish_for(login.clone(), IMAGE);
        runtime.publish_for(login.clone(), OTHER);
        runtime.publish("web:1");
    }
    create_set(&plane.client(), "web", json!({"app": "web"}), "web:1").await;
    create_set(&plane.client(), "add-v1", of_add(1), IMAGE).await;
    let _nodes = [node(&plane, &first), node(&plane, &second)];
    let has = async |runtime: &Arc<Fake>, image: &str| {
        wait::until("the image is there", async || {
            let found = runtime.image(image).await.unwrap();
            found.map(drop).ok_or_else(|| runtime.calls())
        })
        .await;
    };
    has(&first, IMAGE).await;
    // A version that is built while the nodes run.
    create_set(&plane.client(), "add-v2", of_add(2), OTHER).await;
    has(&first, OTHER).await;
    has(&second, OTHER).await;
    assert_eq!(first.calls(), [format!("pull {IMAGE}"), format!("pull {OTHER}")]);
    assert_eq!(second.calls(), [format!("pull {OTHER}")]);
}

async fn until_called(runtime: &Fake, call: String) {
    let called = async || {
        let calls = runtime.calls();
        if calls.contains(&call) { Ok(()) } else { Err(calls) }
    };
    wait::until(&call, called).await;
}

async fn scale(client: &Client, name: &str, replicas: i32) {
    let api = Api::<ReplicaSet>::default_namespaced(client.clone());
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn only_images_of_versions_with_instances_to_be_are_fetched_and_removed_when_the_version_is_gone()
 {
    let plane = ControlPlane::start().await;
    let (client, runtime) = (plane.client(), Arc::new(Fake::with_images(&["local:1"])));
    for image in ["old:1", "served:1", "next:1"] {
        runtime.publish(image);
    }
    for (version, image) in [(1, "old:1"), (2, "served:1"), (3, "local:1")] {
        create_set(&client, &format!("add-v{version}"), of_add(version), image).await;
    }
    scale(&client, "add-v2", 1).await;
    scale(&client, "add-v3", 1).await;
    let root = tempfile::tempdir().unwrap();
    let begin = || {
        let context = Context::fake(plane.client(), runtime.clone(), root.path().to_owned());
        let running = ahead::run(Arc::new(context), CancellationToken::new());
        AbortOnDropHandle::new(tokio::spawn(running))
    };
    let node = begin();
    until_called(&runtime, "pull served:1".to_owned()).await;
    scale(&client, "add-v3", 0).await;
    // It sleeps, and is still the one that serves.
    scale(&client, "add-v2", 0).await;
    create_set(&client, "add-v4", of_add(4), "next:1").await;
    scale(&client, "add-v4", 1).await;
    until_called(&runtime, "pull next:1".to_owned()).await;
    // An old one serves again.
    scale(&client, "add-v4", 0).await;
    scale(&client, "add-v1", 1).await;
    until_called(&runtime, "pull old:1".to_owned()).await;
    assert_eq!(runtime.calls(), ["pull served:1", "pull next:1", "pull old:1"]);

    let api = Api::<ReplicaSet>::default_namespaced(client.clone());
    api.delete("add-v2", &DeleteParams::default()).await.unwrap();
    until_called(&runtime, "remove image served:1".to_owned()).await;
    // While the kubelet is away. What it had not fetched stays.
    drop(node);
    for name in ["add-v3", "add-v4"] {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let _node = begin();
    until_called(&runtime, "remove image next:1".to_owned()).await;
    let removals = runtime.calls().into_iter().filter(|call| call.starts_with("remove")).count();
    assert_eq!(removals, 2, "{:?}", runtime.calls());
}

#[tokio::test]
async fn an_image_that_was_being_fetched_when_the_kubelet_ended_goes_with_its_version() {
    let plane = ControlPlane::start().await;
    let (client, runtime) = (plane.client(), Arc::new(Fake::default()));
    create_set(&client, "add-v1", of_add(1), ENDLESS_IMAGE).await;
    let root = tempfile::tempdir().unwrap();
    let begin = || {
        let context = Context::fake(plane.client(), runtime.clone(), root.path().to_owned());
        let running = ahead::run(Arc::new(context), CancellationToken::new());
        AbortOnDropHandle::new(tokio::spawn(running))
    };
    let node = begin();
    until_called(&runtime, format!("pull {ENDLESS_IMAGE}")).await;
    drop(node);
    let api = Api::<ReplicaSet>::default_namespaced(client);
    api.delete("add-v1", &DeleteParams::default()).await.unwrap();
    let _node = begin();
    until_called(&runtime, format!("remove image {ENDLESS_IMAGE}")).await;
}

#[tokio::test]
async fn an_image_that_does_not_come_holds_up_no_other() {
    let plane = ControlPlane::start().await;
    let runtime = Arc::new(Fake::default());
    runtime.publish(IMAGE);
    let slow = json!({Function::LABEL: "slow", Function::VERSION_LABEL: "1"});
    create_set(&plane.client(), "a-slow-v1", slow, ENDLESS_IMAGE).await;
    let _node = node(&plane, &runtime);
    until_called(&runtime, format!("pull {ENDLESS_IMAGE}")).await;
    create_set(&plane.client(), "add-v1", of_add(1), IMAGE).await;
    until_called(&runtime, format!("pull {IMAGE}")).await;
}

fn pod(image: &str, secrets: &[&str]) -> Pod {
    let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    let pod = json!({
        "metadata": {"name": "add", "namespace": "default"},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "function", "image": image}],
            "imagePullSecrets": secrets,
        },
    });
    serde_json::from_value(pod).unwrap()
}

#[tokio::test]
async fn a_private_image_is_pulled_as_the_pods_secret_says() {
    let node = Node::start().await;
    let client = node.control_plane.client();
    node.runtime.publish_for(publish_login(&client).await, IMAGE);
    node.create(&pod(IMAGE, &["missing", "registry"])).await;
    node.until_called("start function").await;
    let events = Api::<Event>::default_namespaced(client);
    wait::until("an event about the missing Secret", async || {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let told = |event: &Event| {
            event.reason.as_deref() == Some("FailedToRetrieveImagePullSecret")
                && event.message.as_deref().is_some_and(|m| m.contains("secrets (missing);"))
        };
        if all.iter().any(told) { Ok(()) } else { Err(all.len()) }
    })
    .await;
}

#[tokio::test]
async fn a_private_image_without_a_secret_is_refused() {
    let node = Node::start().await;
    node.runtime.publish_for(publish_login(&node.control_plane.client()).await, IMAGE);
    node.create(&pod(IMAGE, &[])).await;
    node.until_status("add", "waits", |status| {
        let containers = status.container_statuses.iter().flatten();
        let mut waiting = containers.filter_map(|c| c.state.as_ref()?.waiting.as_ref());
        waiting.any(|waiting| waiting.message.as_deref() == Some("unauthorized"))
    })
    .await;
}
