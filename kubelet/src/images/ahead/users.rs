//! Who else may need an image here than the versions of functions.

use std::{collections::BTreeSet, fmt::Debug};

use api_types::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, PodSpec},
};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{context::Context, describe::describe};

/// How many objects are looked at at a time.
const PAGE: u32 = 500;

/// Those of the images that a pod of this node names, or what makes pods does, which may bring them here at any time.
pub(super) async fn of(
    context: &Context,
    images: &BTreeSet<String>,
) -> Result<BTreeSet<String>, String> {
    let here = ListParams::default().fields(&format!("spec.nodeName={}", context.node));
    let all = ListParams::default();
    let mut used = BTreeSet::new();
    let mut note =
        |pod: &PodSpec| used.extend(named(pod).filter(|image| images.contains(*image)).cloned());
    each(context, here, |pod: &Pod| pod.spec.iter().for_each(&mut note)).await?;
    each(context, all.clone(), |set: &ReplicaSet| {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        template.and_then(|template| template.spec.as_ref()).into_iter().for_each(&mut note);
    })
    .await?;
    each(context, all, |deployment: &Deployment| {
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        template.and_then(|template| template.spec.as_ref()).into_iter().for_each(&mut note);
    })
    .await?;
    Ok(used)
}

async fn each<K>(
    context: &Context,
    which: ListParams,
    mut see: impl FnMut(&K),
) -> Result<(), String>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::all(context.client.clone());
    let mut which = which.limit(PAGE);
    loop {
        let page = api.list(&which).await.map_err(|error| describe(&error))?;
        page.items.iter().for_each(&mut see);
        let Some(next) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
            return Ok(());
        };
        which = which.continue_token(&next);
    }
}

fn named(pod: &PodSpec) -> impl Iterator<Item = &String> {
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    containers.filter_map(|container| container.image.as_ref())
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
        let named = ["deployment:1", "main:1", "pod:1", "set:1"].map(str::to_owned);
        let others = ["elsewhere:1", "set:2"].map(str::to_owned);
        let used = of(&context, &named.iter().chain(&others).cloned().collect()).await.unwrap();
        assert_eq!(used, BTreeSet::from(named));
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
        let images = ["other:1", "other:2"].map(str::to_owned).into();
        assert!(of(&context, &images).await.unwrap().is_empty());
        let pods = plane.requests().into_iter().filter(|r| r.starts_with("GET /api/v1/pods?"));
        assert_eq!(pods.count(), 2);
    }
}
