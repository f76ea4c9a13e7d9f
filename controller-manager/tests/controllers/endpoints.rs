//! Endpoints and slices of services.

use api_types::api::core::v1::{Endpoints, Node, Pod, Service};
use api_types::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use testkit::{ControlPlane, node, pod, service, wait};

use crate::{Cluster, create, list, patch_status};

fn running(ip: &str, ready: &str) -> Value {
    json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
           "conditions": [{"type": "Ready", "status": ready}]})
}

/// The addresses in the service's slices, ready ones first.
async fn until_addresses(slices: &Api<EndpointSlice>, expected: &[(&str, bool)]) {
    let mut expected: Vec<(String, bool)> =
        expected.iter().map(|(ip, ready)| ((*ip).to_owned(), *ready)).collect();
    expected.sort();
    wait::until(&format!("the slices hold {expected:?}"), async || {
        let endpoints = list(slices)
            .await
            .into_iter()
            .filter(|slice| slice.metadata.name.as_deref() != Some("kubernetes"));
        let endpoints = endpoints.flat_map(|slice| slice.endpoints.unwrap_or_default());
        let mut found: Vec<(String, bool)> = endpoints
            .map(|e| {
                (e.addresses[0].clone(), e.conditions.and_then(|c| c.ready).unwrap_or_default())
            })
            .collect();
        found.sort();
        if found == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_are_of_each_family_that_the_service_has() {
    let ranges = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap();
    let plane = ControlPlane::builder().config(|config| config.service_cidr = ranges);
    let cluster = Cluster::over(plane.start().await);
    let (services, pods) = (cluster.api::<Service>(), cluster.api::<Pod>());
    let (slices, endpoints) = (cluster.api::<EndpointSlice>(), cluster.api::<Endpoints>());
    create(&cluster.cluster_api::<Node>(), &node("n1").build()).await;
    create(&pods, &pod("a").label("app", "web").node("n1").build()).await;
    let mut status = running("10.1.0.1", "True");
    status["podIPs"] = json!([{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]);
    patch_status(&pods, "a", status).await;
    create(&services, &service("web").port(80, 8080).build()).await;
    until_addresses(&slices, &[("10.1.0.1", true)]).await;

    let policy = async |policy: &str| {
        let patch = Patch::Merge(json!({"spec": {"ipFamilyPolicy": policy}}));
        services.patch("web", &PatchParams::default(), &patch).await.unwrap();
    };
    policy("PreferDualStack").await;
    until_addresses(&slices, &[("10.1.0.1", true), ("fd00::1", true)]).await;
    let of_primary = |object: &Endpoints| {
        let addresses =
            object.subsets.iter().flatten().flat_map(|it| it.addresses.iter().flatten());
        addresses.map(|it| it.ip.as_str()).eq(["10.1.0.1"])
    };
    wait::until_is(&endpoints, "web", "has addresses of the primary family", of_primary).await;
    policy("SingleStack").await;
    until_addresses(&slices, &[("10.1.0.1", true)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_follow_readiness_and_go_with_the_service() {
    let cluster = Cluster::start().await;
    let (services, pods) = (cluster.api::<Service>(), cluster.api::<Pod>());
    let (slices, endpoints) = (cluster.api::<EndpointSlice>(), cluster.api::<Endpoints>());
    create(&cluster.cluster_api::<Node>(), &node("n1").build()).await;
    create(&services, &service("web").port(80, 8080).build()).await;
    create(&pods, &pod("a").label("app", "web").node("n1").build()).await;
    create(&pods, &pod("other").label("app", "db").node("n1").build()).await;
    patch_status(&pods, "a", running("10.1.0.1", "False")).await;
    patch_status(&pods, "other", running("10.1.0.9", "True")).await;
    until_addresses(&slices, &[("10.1.0.1", false)]).await;

    patch_status(&pods, "a", running("10.1.0.1", "True")).await;
    until_addresses(&slices, &[("10.1.0.1", true)]).await;
    let ready = |object: &Endpoints| {
        let subset = object.subsets.as_ref().and_then(|subsets| subsets.first());
        subset.is_some_and(|subset| {
            subset.addresses.as_ref().is_some_and(|addresses| addresses[0].ip == "10.1.0.1")
        })
    };
    let object = wait::until_is(&endpoints, "web", "has the ready address", ready).await;
    assert_eq!(object.subsets.unwrap()[0].ports.as_ref().unwrap()[0].port, 8080);

    services.delete("web", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&endpoints, "web").await;
    until_addresses(&slices, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_somebody_has_made_are_mirrored_where_the_service_selects_nothing() {
    let cluster = Cluster::start().await;
    let (slices, endpoints) = (cluster.api::<EndpointSlice>(), cluster.api::<Endpoints>());
    let mut db = service("db").port(5432, 5432).build();
    db.spec.as_mut().unwrap().selector = None;
    create(&cluster.api::<Service>(), &db).await;
    let subset = |kind: &str, ip: &str| json!([{kind: [{"ip": ip}], "ports": [{"port": 5432}]}]);
    let made = json!({"metadata": {"name": "db"}, "subsets": subset("addresses", "10.9.0.1")});
    create(&endpoints, &serde_json::from_value(made).unwrap()).await;
    until_addresses(&slices, &[("10.9.0.1", true)]).await;
    let change = json!({"subsets": subset("notReadyAddresses", "10.9.0.2")});
    let how = PatchParams::default();
    endpoints.patch("db", &how, &Patch::Merge(change)).await.unwrap();
    until_addresses(&slices, &[("10.9.0.2", false)]).await;
    endpoints.delete("db", &DeleteParams::default()).await.unwrap();
    until_addresses(&slices, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_made_anew_keeps_its_addresses() {
    let cluster = Cluster::start().await;
    let (services, pods) = (cluster.api::<Service>(), cluster.api::<Pod>());
    let slices = cluster.api::<EndpointSlice>();
    create(&cluster.cluster_api::<Node>(), &node("n1").build()).await;
    create(&pods, &pod("a").label("app", "web").node("n1").build()).await;
    patch_status(&pods, "a", running("10.1.0.1", "True")).await;
    let web = service("web").port(80, 8080).build();
    create(&services, &web).await;
    until_addresses(&slices, &[("10.1.0.1", true)]).await;
    services.delete("web", &DeleteParams::default()).await.unwrap();
    let uid = create(&services, &web).await.metadata.uid.unwrap();
    wait::until("the new service alone owns slices", async || {
        let all = list(&slices).await;
        let owners: Vec<_> = all
            .iter()
            .flat_map(|slice| slice.metadata.owner_references.iter().flatten())
            .map(|owner| owner.uid.clone())
            .collect();
        if owners == [uid.clone()] { Ok(()) } else { Err(owners) }
    })
    .await;
    until_addresses(&slices, &[("10.1.0.1", true)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pods_are_spread_over_slices_of_a_hundred() {
    let cluster = Cluster::start().await;
    let (services, pods, slices) =
        (cluster.api::<Service>(), cluster.api::<Pod>(), cluster.api::<EndpointSlice>());
    create(&cluster.cluster_api::<Node>(), &node("n1").build()).await;
    create(&services, &service("web").port(80, 80).build()).await;
    let ips: Vec<String> = (0..120).map(|n| format!("10.1.0.{n}")).collect();
    for (index, ip) in ips.iter().enumerate() {
        let name = format!("p{index}");
        create(&pods, &pod(&name).label("app", "web").node("n1").build()).await;
        patch_status(&pods, &name, running(ip, "True")).await;
    }
    let expected: Vec<(&str, bool)> = ips.iter().map(|ip| (ip.as_str(), true)).collect();
    until_addresses(&slices, &expected).await;
    let mine = list(&slices)
        .await
        .into_iter()
        .filter(|slice| slice.metadata.name.as_deref() != Some("kubernetes"));
    let sizes: Vec<usize> =
        mine.map(|slice| slice.endpoints.map_or(0, |endpoints| endpoints.len())).collect();
    assert_eq!(sizes.len(), 2, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
}
