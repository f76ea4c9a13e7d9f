//! Who else may need an image here than the versions of functions.

use std::fmt::Debug;

use api_types::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, PodSpec},
};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use crate::context::Context;

/// How many objects are looked at at a time.
const PAGE: u32 = 500;

/// Whether a pod of this node names the image, or what makes pods does, which may bring it here at any time.
pub(super) async fn has_users(context: &Context, image: &str) -> kube::Result<bool> {
    let here = ListParams::default().fields(&format!("spec.nodeName={}", context.node));
    let all = ListParams::default();
    Ok(any(context, here, image, |pod: &Pod| pod.spec.as_ref()).await?
        || any(context, all.clone(), image, |set: &ReplicaSet| {
            set.spec.as_ref()?.template.as_ref()?.spec.as_ref()
        })
        .await?
        || any(context, all, image, |deployment: &Deployment| {
            deployment.spec.as_ref()?.template.spec.as_ref()
        })
        .await?)
}

async fn any<K>(
    context: &Context,
    which: ListParams,
    image: &str,
    pod: impl Fn(&K) -> Option<&PodSpec>,
) -> kube::Result<bool>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::all(context.client.clone());
    let mut which = which.limit(PAGE);
    loop {
        let page = api.list(&which).await?;
        if page.items.iter().filter_map(&pod).any(|pod| names(pod, image)) {
            return Ok(true);
        }
        let Some(next) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
            return Ok(false);
        };
        which = which.continue_token(&next);
    }
}

fn names(pod: &PodSpec, image: &str) -> bool {
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    containers.into_iter().any(|container| container.image.as_deref() == Some(image))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::{Client, api::PostParams};
    use serde_json::{Value, json};
    use testkit::ControlPlane;

    use super::*;
    use crate::runtime::fake::Fake;

    async fn create<K>(client: &Client, object: Value)
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + serde::Serialize
            + DeserializeOwned,
    {
        let api = Api::<K>::default_namespaced(client.clone());
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    fn pod(node: &str, image: &str) -> Value {
        let container = json!({"name": "c", "image": image});
        json!({
            "metadata": {"generateName": "p"},
            "spec": {"nodeName": node, "containers": [container]},
        })
    }

    fn of_pods(image: &str) -> Value {
        let container = |name: &str, image: &str| json!({"name": name, "image": image});
        let pod = json!({
            "initContainers": [container("i", image)],
            "containers": [container("c", "main:1")],
        });
        let labels = json!({"app": image.replace(':', "-")});
        json!({
            "metadata": {"generateName": "s"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        })
    }

    #[tokio::test]
    async fn users_are_pods_of_the_node_and_what_makes_pods() {
        let plane = ControlPlane::start().await;
        let client = plane.client();
        create::<Pod>(&client, pod("n1", "pod:1")).await;
        create::<Pod>(&client, pod("n2", "elsewhere:1")).await;
        create::<ReplicaSet>(&client, of_pods("set:1")).await;
        create::<Deployment>(&client, of_pods("deployment:1")).await;
        let root = tempfile::tempdir().unwrap();
        let context = Context::fake(client, Arc::new(Fake::default()), root.path().to_owned());
        for image in ["pod:1", "set:1", "deployment:1", "main:1"] {
            assert!(has_users(&context, image).await.unwrap(), "{image}");
        }
        for image in ["elsewhere:1", "set:2"] {
            assert!(!has_users(&context, image).await.unwrap(), "{image}");
        }
    }

    #[tokio::test]
    async fn all_pages_are_looked_at() {
        let plane = ControlPlane::start().await;
        for _ in 0..=PAGE {
            create::<Pod>(&plane.client(), pod("n1", "pod:1")).await;
        }
        let root = tempfile::tempdir().unwrap();
        let context =
            Context::fake(plane.client(), Arc::new(Fake::default()), root.path().to_owned());
        assert!(!has_users(&context, "other:1").await.unwrap());
        let pods = plane.requests().into_iter().filter(|r| r.starts_with("GET /api/v1/pods?"));
        assert_eq!(pods.count(), 2);
    }
}
