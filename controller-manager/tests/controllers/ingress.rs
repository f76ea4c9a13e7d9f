//! What is told of Ingresses, and the Service that their hosts lead to.

use api_types::api::core::v1::{Event, Secret, Service};
use api_types::api::networking::v1::{Ingress, IngressClass};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use testkit::wait;

use crate::{Cluster, create, example};

fn ingress(name: &str, class: &str, spec: Value) -> Ingress {
    let mut spec = spec;
    spec["ingressClassName"] = json!(class);
    let metadata = json!({"name": name});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn rule(host: &str, service: &str) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": 80}}});
    json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}})
}

fn address(ingress: &Ingress) -> Option<String> {
    let balancer = ingress.status.as_ref()?.load_balancer.as_ref()?;
    balancer.ingress.as_ref()?.first()?.ip.clone()
}

/// Until exactly these reasons were told of it.
async fn until_told(events: &Api<Event>, name: &str, expected: &[&str]) {
    let told = async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let about = |e: &Event| e.involved_object.name.as_deref() == Some(name);
        let reasons = events.into_iter().filter(about).filter_map(|event| event.reason);
        let mut reasons: Vec<_> = reasons.collect();
        reasons.sort();
        if reasons == expected { Ok(()) } else { Err(reasons) }
    };
    wait::until("it is told in events", told).await;
}

#[tokio::test]
async fn an_ingress_gets_the_routers_address_and_is_told_what_of_it_leads_nowhere() {
    let cluster = Cluster::start().await;
    let (ingresses, events) = (cluster.api::<Ingress>(), cluster.api::<Event>());
    let others =
        json!({"metadata": {"name": "other"}, "spec": {"controller": "example.com/other"}});
    let others: IngressClass = serde_json::from_value(others).unwrap();
    create(&Api::all(cluster.plane.client()), &others).await;
    create(&ingresses, &ingress("theirs", "other", json!({"rules": [rule("a.test", "web")]})))
        .await;
    let spec = json!({"rules": [rule("shop.test", "web")], "tls": [{"secretName": "shop-tls"}]});
    create(&ingresses, &ingress("shop", "minik8s", spec)).await;
    let has_address = |it: Option<&Ingress>| it.is_some_and(|it| address(it).is_some());
    let shop = wait::until_object(&ingresses, "shop", "it has an address", has_address).await;
    let routers = Api::<Service>::namespaced(cluster.plane.client(), "kube-system");
    let router = routers.get("dns-router").await.unwrap().spec.unwrap();
    assert_eq!(address(&shop.unwrap()), router.cluster_ip);
    let ports: Vec<_> = router.ports.unwrap().iter().map(|port| port.port).collect();
    assert_eq!(ports, [80, 443]);
    until_told(&events, "shop", &["SecretNotFound", "ServiceNotFound"]).await;

    // Both come, one of them of no use.
    let web = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    create(&cluster.api::<Service>(), &serde_json::from_value(web).unwrap()).await;
    let secret = json!({
        "metadata": {"name": "shop-tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": "x", "tls.key": "y"},
    });
    create(&cluster.api::<Secret>(), &serde_json::from_value(secret).unwrap()).await;
    let expected = ["InvalidCertificate", "SecretNotFound", "ServiceNotFound"];
    until_told(&events, "shop", &expected).await;
    assert_eq!(address(&ingresses.get("theirs").await.unwrap()), None);

    ingresses.delete("shop", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&routers, "dns-router").await;
}

#[tokio::test]
async fn the_example_leads_to_its_service_and_lacks_but_its_certificate() {
    let cluster = Cluster::start().await;
    for service in example::<Service>("service/service.yaml") {
        create(&cluster.api(), &service).await;
    }
    for ingress in example::<Ingress>("ingress/ingress.yaml") {
        create(&cluster.api(), &ingress).await;
    }
    until_told(&cluster.api(), "shop", &["SecretNotFound"]).await;
}
