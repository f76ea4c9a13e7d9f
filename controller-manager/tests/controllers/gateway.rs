//! What is told of Gateways and HTTPRoutes, and the Service that a Gateway has.

use std::fmt::Debug;

use api_types::api::core::v1::{Event, Service};
use api_types::apiextensions::CustomResourceDefinition;
use api_types::gateway::{Gateway, GatewayClass, HttpRoute};
use api_types::meta::Condition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testkit::wait;

use crate::{Cluster, create, patch};

/// The objects of a file.
fn objects(file: &str) -> Vec<Value> {
    let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let all = serde_yaml::Deserializer::from_str(&text);
    all.map(|it| Value::deserialize(it).unwrap()).collect()
}

/// The kinds as users install them, once they are served.
async fn with_kinds() -> Cluster {
    let cluster = Cluster::start().await;
    for definition in objects("deploy/gateway-api/definitions.yaml") {
        let definition = serde_json::from_value(definition).unwrap();
        create(&cluster.cluster_api::<CustomResourceDefinition>(), &definition).await;
    }
    let [class, ..] = &objects("deploy/gateway-api/class.yaml")[..] else { panic!("no class") };
    until_served(&cluster.cluster_api::<GatewayClass>()).await;
    until_served(&cluster.api::<Gateway>()).await;
    until_served(&cluster.api::<HttpRoute>()).await;
    create_any(&cluster, class).await;
    cluster
}

async fn until_served<K: Clone + Debug + DeserializeOwned>(api: &Api<K>) {
    let list = async || api.list(&ListParams::default()).await.map(drop);
    wait::until("the kind is served", list).await;
}

/// An object of a kind of the Gateway API.
async fn create_any(cluster: &Cluster, object: &Value) {
    let kind = object["kind"].as_str().unwrap();
    let (version, plural) = match kind {
        "ReferenceGrant" => ("v1beta1", "referencegrants"),
        "GatewayClass" => ("v1", "gatewayclasses"),
        other => ("v1", if other == "Gateway" { "gateways" } else { "httproutes" }),
    };
    let group = "gateway.networking.k8s.io";
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    let client = cluster.plane.client();
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let api: Api<DynamicObject> = match kind {
        "GatewayClass" => Api::all_with(client, &resource),
        _ => Api::namespaced_with(client, "default", &resource),
    };
    create(&api, &object).await;
}

fn said(conditions: &[Condition]) -> Vec<String> {
    let all = conditions.iter().map(|it| format!("{} {} {}", it.type_, it.status, it.reason));
    all.collect()
}

async fn until_route(cluster: &Cluster, name: &str, expected: &[&str]) -> HttpRoute {
    let is_said = |route: &HttpRoute| {
        let parents = route.status.as_ref().map_or(&[][..], |status| &status.parents);
        let all = parents.iter().flat_map(|parent| said(&parent.conditions));
        all.collect::<Vec<_>>() == expected
    };
    wait::until_is(&cluster.api(), name, "is told of so", is_said).await
}

async fn until_told(cluster: &Cluster, name: &str, reason: &str) {
    let events = cluster.api::<Event>();
    wait::until("it is told in an event", async || {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let mut about = all.iter().filter(|it| it.involved_object.name.as_deref() == Some(name));
        let found = about.any(|it| it.reason.as_deref() == Some(reason));
        if found { Ok(()) } else { Err(all.len()) }
    })
    .await;
}

fn programmed(gateway: &Gateway) -> bool {
    let status = gateway.status.as_ref();
    status.is_some_and(|it| said(&it.conditions).contains(&"Programmed True Programmed".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_is_served_once_its_services_are_there() {
    let cluster = with_kinds().await;
    let accepted = |class: &GatewayClass| {
        class.status.as_ref().is_some_and(|it| said(&it.conditions)[0] == "Accepted True Accepted")
    };
    wait::until_is(&cluster.cluster_api(), "minik8s", "is accepted", accepted).await;
    let all = objects("examples/canary/canary.yaml");
    let of = |kind: &str| all.iter().filter(|it| it["kind"] == kind).collect::<Vec<_>>();
    for object in of("Gateway").into_iter().chain(of("HTTPRoute")) {
        create_any(&cluster, object).await;
    }
    let gateway = wait::until_is(&cluster.api(), "web", "is in force", programmed).await;
    let service = cluster.api::<Service>().get("gateway-web").await.unwrap();
    let spec = service.spec.as_ref().unwrap();
    let status = gateway.status.unwrap();
    assert_eq!(Some(&status.addresses[0].value), spec.cluster_ip.as_ref());
    assert_eq!(spec.ports.as_ref().unwrap()[0].port, 80);
    assert_eq!(status.conditions[0].observed_generation, gateway.metadata.generation);
    until_route(
        &cluster,
        "shop",
        &["Accepted True Accepted", "ResolvedRefs False BackendNotFound"],
    )
    .await;
    until_told(&cluster, "shop", "BackendNotFound").await;
    for service in of("Service") {
        create(&cluster.api::<Service>(), &serde_json::from_value(service.clone()).unwrap()).await;
    }
    let well = ["Accepted True Accepted", "ResolvedRefs True ResolvedRefs"];
    until_route(&cluster, "shop", &well).await;
    let attached = |it: &Gateway| {
        it.status.as_ref().is_some_and(|status| status.listeners[0].attached_routes == 1)
    };
    wait::until_is(&cluster.api::<Gateway>(), "web", "has its route", attached).await;

    // Another port is the Service's, too; and with the Gateway it goes.
    let listeners = json!([{"name": "http", "port": 8080, "protocol": "HTTP"}]);
    patch(&cluster.api::<Gateway>(), "web", json!({"spec": {"listeners": listeners}})).await;
    let moved = |it: &Service| it.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port == 8080;
    wait::until_is(&cluster.api::<Service>(), "gateway-web", "has the port", moved).await;
    cluster.api::<Gateway>().delete("web", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&cluster.api::<Service>(), "gateway-web").await;
    until_route(&cluster, "shop", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_told_of_routes_and_listeners() {
    let cluster = with_kinds().await;
    let tls = json!({"certificateRefs": [{"name": "none"}]});
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web"},
        "spec": {"gatewayClassName": "minik8s", "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP"},
            {"name": "tcp", "port": 81, "protocol": "TCP"},
            {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls},
        ]},
    });
    create_any(&cluster, &gateway).await;
    let route = |name: &str, section: &str, rule: Value| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
            "spec": {"parentRefs": [{"name": "web", "sectionName": section}], "rules": [rule]},
        })
    };
    let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "x", "port": 80}}});
    create_any(&cluster, &route("mirrored", "http", json!({"filters": [mirror]}))).await;
    let broken = json!({"matches": [{"path": {"type": "RegularExpression", "value": "/("}}]});
    create_any(&cluster, &route("broken", "http", broken)).await;
    create_any(&cluster, &route("elsewhere", "none", json!({}))).await;
    create_any(&cluster, &route("tcp", "tcp", json!({}))).await;
    for (name, reason) in [
        ("mirrored", "UnsupportedValue"),
        ("broken", "UnsupportedValue"),
        ("elsewhere", "NoMatchingParent"),
        ("tcp", "NotAllowedByListeners"),
    ] {
        let expected = [&format!("Accepted False {reason}"), "ResolvedRefs True ResolvedRefs"];
        until_route(&cluster, name, &expected).await;
        until_told(&cluster, name, reason).await;
    }
    let told = |gateway: &Gateway| {
        let all = gateway.status.as_ref().map_or(&[][..], |status| &status.listeners);
        let said = |name: &str| {
            let its = all.iter().find(|it| it.name == name);
            its.map(|it| said(&it.conditions)).unwrap_or_default()
        };
        said("tcp").contains(&"Accepted False UnsupportedProtocol".to_owned())
            && said("https").contains(&"ResolvedRefs False InvalidCertificateRef".to_owned())
            && said("http").contains(&"Programmed True Programmed".to_owned())
    };
    let web = wait::until_is(&cluster.api(), "web", "its listeners are told of", told).await;
    assert!(programmed(&web), "{:?}", web.status);
    assert_eq!(web.name_any(), "web");

    // Without its class, which may be for a moment, it keeps its address. Of a class of somebody else's it is somebody
    // else's business, but for what was made for it.
    let uid = cluster.api::<Service>().get("gateway-web").await.unwrap().metadata.uid;
    let classes = cluster.cluster_api::<GatewayClass>();
    classes.delete("minik8s", &DeleteParams::default()).await.unwrap();
    create_any(&cluster, &route("later", "http", json!({}))).await;
    until_route(&cluster, "elsewhere", &[]).await;
    let [class, ..] = &objects("deploy/gateway-api/class.yaml")[..] else { panic!("no class") };
    create_any(&cluster, class).await;
    let expected = ["Accepted True Accepted", "ResolvedRefs True ResolvedRefs"];
    until_route(&cluster, "later", &expected).await;
    assert_eq!(cluster.api::<Service>().get("gateway-web").await.unwrap().metadata.uid, uid);
    let other = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "other"},
        "spec": {"controllerName": "example.test/controller"},
    });
    create_any(&cluster, &other).await;
    patch(&cluster.api::<Gateway>(), "web", json!({"spec": {"gatewayClassName": "other"}})).await;
    wait::until_gone(&cluster.api::<Service>(), "gateway-web").await;
}
