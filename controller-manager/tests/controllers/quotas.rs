//! ResourceQuotas: the API server adds, the controller counts.

use api_types::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use testkit::{pod, wait};

use crate::{Cluster, create, patch, patch_status};

async fn until_used(quotas: &Api<ResourceQuota>, expected: Value) {
    let is_used = |quota: &ResourceQuota| {
        let status = quota.status.as_ref();
        json!(status.and_then(|status| status.used.as_ref())) == expected
    };
    wait::until_is(quotas, "q", &format!("has used {expected}"), is_used).await;
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_of_a_quota_comes_and_goes_with_the_objects() {
    let cluster = Cluster::start().await;
    let (quotas, maps) = (cluster.api::<ResourceQuota>(), cluster.api::<ConfigMap>());
    create(&maps, &map("before")).await;
    wait::until_is(&maps, "kube-root-ca.crt", "is there", |_| true).await;
    let hard = json!({"configmaps": "3", "pods": "1", "count/secrets": "5", "persistentvolumeclaims": "1"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    create(&quotas, &serde_json::from_value(quota).unwrap()).await;
    let used = |maps: &str, pods: &str| json!({"configmaps": maps, "pods": pods, "count/secrets": "0", "persistentvolumeclaims": "0"});
    until_used(&quotas, used("2", "0")).await;

    create(&maps, &map("another")).await;
    let error = maps.create(&PostParams::default(), &map("more")).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    let why = "configmaps \"more\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=3, limited: configmaps=3";
    assert_eq!((status.code, status.message.as_str()), (403, why));
    maps.delete("before", &DeleteParams::default()).await.unwrap();
    until_used(&quotas, used("2", "0")).await;

    let pods = cluster.api::<Pod>();
    create(&pods, &pod("p").build()).await;
    until_used(&quotas, used("2", "1")).await;
    patch_status(&pods, "p", json!({"phase": "Succeeded"})).await;
    until_used(&quotas, used("2", "0")).await;

    patch(&quotas, "q", json!({"spec": {"hard": {"pods": null, "configmaps": "9"}}})).await;
    let less = json!({"configmaps": "2", "count/secrets": "0", "persistentvolumeclaims": "0"});
    until_used(&quotas, less).await;
}
