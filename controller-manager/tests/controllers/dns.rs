//! What is told of DNS objects, and the Service that their hosts lead to.

use api_types::api::core::v1::{Event, Service};
use api_types::minik8s::Dns;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};

use crate::{Cluster, create, example};

fn dns(name: &str, paths: &[(&str, &str)]) -> Dns {
    let path = |(path, service): &(&str, &str)| json!({"path": path, "service": {"name": service}});
    let paths: Vec<_> = paths.iter().map(path).collect();
    serde_json::from_value(json!({
        "apiVersion": "minik8s.io/v1", "kind": "DNS", "metadata": {"name": name},
        "spec": {"host": "shop.test", "paths": paths},
    }))
    .unwrap()
}

fn service(name: &str) -> Service {
    let spec: Value = json!({"ports": [{"port": 80}]});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

/// Whether the object's condition has this reason.
fn has(dns: Option<&Dns>, type_: &str, reason: &str) -> bool {
    let conditions = dns.iter().filter_map(|dns| dns.status.as_ref()).flat_map(|s| &s.conditions);
    conditions.into_iter().any(|c| c.type_ == type_ && c.reason == reason)
}

async fn until(api: &Api<Dns>, name: &str, type_: &str, reason: &str) -> Dns {
    let what = format!("its {type_} is {reason}");
    let found = wait::until_object(api, name, &what, |dns| has(dns, type_, reason)).await;
    found.unwrap()
}

#[tokio::test]
async fn objects_are_told_of_their_services_and_of_each_other() {
    let cluster = Cluster::start().await;
    let (dnses, services) = (cluster.api::<Dns>(), cluster.api::<Service>());
    create(&services, &service("web")).await;
    create(&dnses, &dns("older", &[("/web/", "web"), ("/late", "late")])).await;
    until(&dnses, "older", "Ready", "ServiceNotFound").await;
    create(&services, &service("late")).await;
    let ready = until(&dnses, "older", "Ready", "Ready").await;

    let routers = Api::<Service>::namespaced(cluster.plane.client(), "kube-system");
    let router = routers.get("dns-router").await.unwrap();
    assert_eq!(ready.status.unwrap().address, router.spec.unwrap().cluster_ip);

    // Another one of a later second: times are whole ones.
    let created = ready.metadata.creation_timestamp.unwrap().0;
    let later = async || match api_types::jiff::Timestamp::now() {
        now if now.as_second() > created.as_second() => Ok(()),
        now => Err(now),
    };
    wait::until("the next second", later).await;
    create(&dnses, &dns("a-younger", &[("/web", "web"), ("/more", "web")])).await;
    until(&dnses, "a-younger", "Accepted", "PathConflict").await;
    dnses.delete("older", &DeleteParams::default()).await.unwrap();
    until(&dnses, "a-younger", "Ready", "Ready").await;

    services.delete("web", &DeleteParams::default()).await.unwrap();
    until(&dnses, "a-younger", "ResolvedRefs", "ServiceNotFound").await;
    let events = cluster.api::<Event>();
    let told = async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let about = |e: &Event| e.involved_object.name.as_deref() == Some("a-younger");
        let reasons = events.into_iter().filter(about).filter_map(|event| event.reason);
        let mut reasons: Vec<_> = reasons.collect();
        reasons.sort();
        if reasons == ["PathConflict", "Ready", "ServiceNotFound"] { Ok(()) } else { Err(reasons) }
    };
    wait::until("it is told in events", told).await;

    dnses.delete("a-younger", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&routers, "dns-router").await;
}

#[tokio::test]
async fn the_router_is_there_again_after_somebody_has_deleted_it() {
    let cluster = Cluster::start().await;
    let dnses = cluster.api::<Dns>();
    create(&cluster.api::<Service>(), &service("web")).await;
    create(&dnses, &dns("shop", &[("/", "web")])).await;
    until(&dnses, "shop", "Ready", "Ready").await;
    let routers = Api::<Service>::namespaced(cluster.plane.client(), "kube-system");
    let before = routers.get("dns-router").await.unwrap().metadata.uid;
    routers.delete("dns-router", &DeleteParams::default()).await.unwrap();
    let is_new = |router: Option<&Service>| router.is_some_and(|it| it.metadata.uid != before);
    wait::until_object(&routers, "dns-router", "is made anew", is_new).await;
    until(&dnses, "shop", "Ready", "Ready").await;
}

#[tokio::test]
async fn the_router_has_an_address_of_each_family_that_there_is() {
    let ranges = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap();
    let plane = ControlPlane::builder().config(|config| config.service_cidr = ranges);
    let cluster = Cluster::over(plane.start().await);
    let dnses = cluster.api::<Dns>();
    create(&cluster.api::<Service>(), &service("web")).await;
    create(&dnses, &dns("shop", &[("/", "web")])).await;
    let routers = Api::<Service>::namespaced(cluster.plane.client(), "kube-system");
    let addresses = |router: &Service| {
        let spec = router.spec.as_ref();
        spec.and_then(|spec| spec.cluster_ips.as_ref()).map_or(0, Vec::len)
    };
    let has_both = |router: Option<&Service>| router.is_some_and(|it| addresses(it) == 2);
    wait::until_object(&routers, "dns-router", "has an address of each family", has_both).await;

    // One of before.
    let single = Patch::Merge(json!({"spec": {"ipFamilyPolicy": "SingleStack"}}));
    let single = routers.patch("dns-router", &PatchParams::default(), &single).await.unwrap();
    assert_eq!(addresses(&single), 1);
    wait::until_object(&routers, "dns-router", "has both again", has_both).await;
}

#[tokio::test]
async fn the_example_leads_to_its_services() {
    let cluster = Cluster::start().await;
    for dns in example::<Dns>("dns/dns.yaml") {
        create(&cluster.api(), &dns).await;
    }
    until(&cluster.api(), "dns", "Ready", "ServiceNotFound").await;
    for service in example::<Service>("dns/services.yaml") {
        create(&cluster.api(), &service).await;
    }
    until(&cluster.api(), "dns", "Ready", "Ready").await;
}
