//! Images, against an API server in process, with registries in memory.

use std::{path::Path, sync::Arc, time::Duration};

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
    images::ahead::{self, Patience},
    runtime::{
        Container, Runtime,
        fake::{ENDLESS_IMAGE, Fake, blank},
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

/// Removes what nobody needs at once.
const IMPATIENT: Patience = Patience {
    slow: Duration::from_secs(600),
    unused: Duration::ZERO,
    retry: Duration::from_millis(50),
};

/// A node that does nothing but fetch images ahead.
fn node(plane: &ControlPlane, runtime: &Arc<Fake>) -> AbortOnDropHandle<()> {
    node_at(&tempfile::tempdir().unwrap().keep(), plane, runtime, IMPATIENT)
}

fn node_at(
    root: &Path,
    plane: &ControlPlane,
    runtime: &Arc<Fake>,
    patience: Patience,
) -> AbortOnDropHandle<()> {
    let context = Context::fake(plane.client(), runtime.clone(), root.to_owned());
    let running = ahead::run(Arc::new(context), patience, CancellationToken::new());
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
    let begin = || node_at(root.path(), &plane, &runtime, IMPATIENT);
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

    delete_set(&client, "add-v2").await;
    until_called(&runtime, "remove image served:1".to_owned()).await;
    // While the kubelet is away. What it had not fetched stays.
    drop(node);
    for name in ["add-v3", "add-v4"] {
        delete_set(&client, name).await;
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
    let begin = || node_at(root.path(), &plane, &runtime, IMPATIENT);
    let node = begin();
    until_called(&runtime, format!("pull {ENDLESS_IMAGE}")).await;
    drop(node);
    delete_set(&client, "add-v1").await;
    let _node = begin();
    until_called(&runtime, format!("remove image {ENDLESS_IMAGE}")).await;
}

#[tokio::test]
async fn images_go_a_few_at_a_time() {
    let (plane, runtime) = (ControlPlane::start().await, Arc::new(Fake::default()));
    let root = tempfile::tempdir().unwrap();
    let fetched: String = (0..9).map(|image| format!("{ENDLESS_IMAGE}{image}\n")).collect();
    std::fs::write(root.path().join("images-fetched-ahead"), fetched).unwrap();
    let _node = node_at(root.path(), &plane, &runtime, IMPATIENT);
    wait::until("some are being removed", async || {
        let calls = runtime.calls().len();
        if calls == 0 { Err("none is") } else { Ok(()) }
    })
    .await;
    let calls = runtime.calls();
    assert_eq!(calls.len(), 3, "{calls:?}");
}

/// Somebody may bring it here from elsewhere.
#[tokio::test]
async fn an_image_that_could_not_be_fetched_is_not_the_kubelets_to_remove() {
    let plane = ControlPlane::start().await;
    let runtime = Arc::new(Fake::default());
    create_set(&plane.client(), "add-v1", of_add(1), IMAGE).await;
    let root = tempfile::tempdir().unwrap();
    let _node = node_at(root.path(), &plane, &runtime, IMPATIENT);
    until_called(&runtime, format!("pull {IMAGE}")).await;
    wait::until("it is not noted", async || {
        let noted = std::fs::read_to_string(root.path().join("images-fetched-ahead"));
        noted.ok().filter(String::is_empty).map(drop).ok_or("it is")
    })
    .await;
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

#[tokio::test]
async fn images_that_do_not_come_hold_up_others_for_a_moment_only() {
    let plane = ControlPlane::start().await;
    let runtime = Arc::new(Fake::default());
    runtime.publish(IMAGE);
    let patience = Patience { slow: Duration::from_millis(50), ..IMPATIENT };
    let _node = node_at(&tempfile::tempdir().unwrap().keep(), &plane, &runtime, patience);
    let endless = |number| format!("example.org/endless:{number}");
    for number in 0..3 {
        let name = format!("slow-{number}");
        let labels = json!({Function::LABEL: name, Function::VERSION_LABEL: "1"});
        create_set(&plane.client(), &name, labels, &endless(number)).await;
        until_called(&runtime, format!("pull {}", endless(number))).await;
    }
    create_set(&plane.client(), "add-v1", of_add(1), IMAGE).await;
    until_called(&runtime, format!("pull {IMAGE}")).await;
    assert_eq!(runtime.pulls(), 3, "they go on");
}

async fn delete_set(client: &Client, name: &str) {
    let api = Api::<ReplicaSet>::default_namespaced(client.clone());
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// How often it was asked which pods the node has.
fn looks_for_pods(plane: &ControlPlane) -> usize {
    let requests = plane.requests();
    requests.iter().filter(|request| request.starts_with("GET /api/v1/pods?")).count()
}

#[tokio::test]
async fn an_image_that_a_pod_names_stays_as_long_as_the_pod() {
    let plane = ControlPlane::start().await;
    let (client, runtime) = (plane.client(), Arc::new(Fake::default()));
    runtime.publish(IMAGE);
    create_set(&client, "add-v1", of_add(1), IMAGE).await;
    let pods = Api::<Pod>::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &pod(IMAGE, &[])).await.unwrap();
    let _node = node(&plane, &runtime);
    until_called(&runtime, format!("pull {IMAGE}")).await;
    delete_set(&client, "add-v1").await;
    wait::until("the image is to be removed twice", async || {
        let looks = looks_for_pods(&plane);
        if looks < 2 { Err(looks) } else { Ok(()) }
    })
    .await;
    assert_eq!(runtime.calls(), [format!("pull {IMAGE}")]);
    pods.delete("add", &DeleteParams::default().grace_period(0)).await.unwrap();
    until_called(&runtime, format!("remove image {IMAGE}")).await;
}

#[tokio::test]
async fn an_image_that_a_container_is_made_of_goes_after_the_container() {
    let plane = ControlPlane::start().await;
    let (client, runtime) = (plane.client(), Arc::new(Fake::default()));
    runtime.publish(IMAGE);
    create_set(&client, "add-v1", of_add(1), IMAGE).await;
    let _node = node(&plane, &runtime);
    until_called(&runtime, format!("pull {IMAGE}")).await;
    runtime.adopt(Container { image: IMAGE.to_owned(), ..blank("function") });
    delete_set(&client, "add-v1").await;
    until_called(&runtime, format!("remove image {IMAGE}")).await;
    assert!(runtime.image(IMAGE).await.unwrap().is_some());
    let id = runtime.list(None).await.unwrap().remove(0).id;
    runtime.remove(&id).await.unwrap();
    wait::until("the image is gone", async || {
        let found = runtime.image(IMAGE).await.unwrap();
        found.map_or(Ok(()), |_| Err(runtime.calls()))
    })
    .await;
}

#[tokio::test]
async fn an_image_stays_for_a_while_when_its_version_is_gone() {
    let plane = ControlPlane::start().await;
    let (client, runtime) = (plane.client(), Arc::new(Fake::default()));
    for image in [IMAGE, OTHER] {
        runtime.publish(image);
    }
    let root = tempfile::tempdir().unwrap();
    let _node = node_at(root.path(), &plane, &runtime, Patience::default());
    create_set(&client, "add-v1", of_add(1), IMAGE).await;
    until_called(&runtime, format!("pull {IMAGE}")).await;
    delete_set(&client, "add-v1").await;
    create_set(&client, "add-v2", of_add(2), OTHER).await;
    until_called(&runtime, format!("pull {OTHER}")).await;
    assert_eq!(looks_for_pods(&plane), 0, "nobody was about to remove it");
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
