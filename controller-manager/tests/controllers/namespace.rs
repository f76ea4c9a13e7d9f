//! Namespaces that are deleted with what is in them.

use api_types::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use testkit::{pod, wait};

use crate::{Cluster, create, patch};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_a_service_account_and_takes_its_contents_along() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.cluster_api::<Namespace>();
    create(&namespaces, &serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap())
        .await;
    let client = cluster.plane.client();
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "team");
    wait::until_is(&accounts, "default", "is there", |_| true).await;

    let pods = Api::<Pod>::namespaced(client.clone(), "team");
    let maps = Api::<ConfigMap>::namespaced(client, "team");
    create(&pods, &pod("a").namespace("team").build()).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    create(&maps, &serde_json::from_value(held).unwrap()).await;

    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&pods, "a").await;
    wait::until_is(&namespaces, "team", "says what is left", |namespace| {
        let conditions = namespace.status.as_ref().and_then(|status| status.conditions.as_deref());
        conditions.unwrap_or_default().iter().any(|condition| {
            condition
                .message
                .as_deref()
                .is_some_and(|message| message.contains("configmaps. has 1"))
        })
    })
    .await;
    patch(&maps, "held", json!({"metadata": {"finalizers": []}})).await;
    wait::until_gone(&namespaces, "team").await;
}
