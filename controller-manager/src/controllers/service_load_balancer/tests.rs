//! With a real API server; stores that lag behind are filled by hand.

use api_machinery::load_balancer::ADDRESS_ANNOTATION;
use api_types::api::core::v1::Event;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::watcher;
use testkit::{ControlPlane, wait};
use tokio::task::JoinSet;

use super::*;
use crate::controllers::tests::context;
use crate::frame;
use crate::load_balancer_pool::tests::pool;
use crate::workers::WorkersArgs;

const POOL: &str = "192.0.2.1-192.0.2.2";

/// A control plane in which this controller works.
struct World {
    services: Api<Service>,
    events: Api<Event>,
    tasks: JoinSet<()>,
    plane: ControlPlane,
}

impl World {
    fn begin(plane: ControlPlane, of: Pool) -> Self {
        let listwatch = plane.listwatch_as("kube-controller-manager");
        let mut context = context(listwatch, WorkersArgs::default());
        context.settings.load_balancer_pool = of;
        let mut tasks = JoinSet::new();
        frame::work(&register(&context), &mut tasks);
        context.informers.start(&context.listwatch, &mut tasks);
        let (services, events) = (api(&plane), Api::namespaced(plane.client(), "default"));
        Self { services, events, tasks, plane }
    }

    /// Another controller instead.
    fn restart(self, of: Pool) -> Self {
        drop(self.tasks);
        Self::begin(self.plane, of)
    }

    async fn until(&self, name: &str, ip: Option<&str>) -> Service {
        let what = format!("{name} has {ip:?}");
        let is_so = |it: &Service| addresses(it).next().map(|it| it.to_string()).as_deref() == ip;
        let marked = |it: &Service| is_so(it) && pool_of(it).is_some() == ip.is_some();
        wait::until_is(&self.services, name, &what, marked).await
    }

    async fn until_told(&self, name: &str, reason: &str) -> String {
        wait::until("it is told", async || {
            let events = self.events.list(&ListParams::default()).await.unwrap().items;
            let is_it = |event: &&Event| {
                event.involved_object.name.as_deref() == Some(name)
                    && event.reason.as_deref() == Some(reason)
            };
            let found = events.iter().find(is_it).and_then(|event| event.message.clone());
            found.ok_or_else(|| events.into_iter().filter_map(|it| it.reason).collect::<Vec<_>>())
        })
        .await
    }
}

fn api(plane: &ControlPlane) -> Api<Service> {
    Api::namespaced(plane.client(), "default")
}

async fn create(services: &Api<Service>, name: &str, spec: Value) -> Service {
    let mut spec = spec;
    spec["ports"] = json!([{"port": 80}]);
    let service = json!({"metadata": {"name": name}, "spec": spec});
    let service = serde_json::from_value(service).unwrap();
    services.create(&PostParams::default(), &service).await.unwrap()
}

fn balanced() -> Value {
    json!({"type": "LoadBalancer"})
}

async fn change(services: &Api<Service>, name: &str, patch: Value) -> Service {
    services.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

#[tokio::test]
async fn services_get_the_addresses_that_others_have_given_back() {
    let world = World::begin(ControlPlane::start().await, pool(POOL));
    let services = &world.services;
    create(services, "plain", json!({})).await;
    create(services, "theirs", json!({"type": "LoadBalancer", "loadBalancerClass": "a.b/c"})).await;
    create(services, "a", json!({"type": "LoadBalancer", "loadBalancerIP": "192.0.2.2"})).await;
    let a = world.until("a", Some("192.0.2.2")).await;
    assert_eq!(a.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
    assert_eq!(pool_of(&a), Some(POOL));
    assert!(is_said(&a, &["192.0.2.2".parse().unwrap()]));
    world.until_told("a", "EnsuredLoadBalancer").await;
    create(services, "b", balanced()).await;
    world.until("b", Some("192.0.2.1")).await;

    create(services, "c", balanced()).await;
    let told = world.until_told("c", "SyncLoadBalancerFailed").await;
    let expected =
        "Error syncing load balancer: no address of the pool 192.0.2.1-192.0.2.2 is free";
    assert_eq!(told, expected);
    services.delete("a", &DeleteParams::default()).await.unwrap();
    wait::until_gone(services, "a").await;
    world.until("c", Some("192.0.2.2")).await;

    create(services, "d", balanced()).await;
    change(services, "b", json!({"spec": {"type": "ClusterIP"}})).await;
    let b = world.until("b", None).await;
    assert_eq!(b.metadata.finalizers, None);
    world.until("d", Some("192.0.2.1")).await;
    // Whoever writes another address there has it put right.
    let scribbled = json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}});
    let params = PatchParams::default();
    services.patch_status("d", &params, &Patch::Merge(scribbled)).await.unwrap();
    world.until("d", Some("192.0.2.1")).await;
    for other in ["plain", "theirs"] {
        let other = services.get(other).await.unwrap();
        assert_eq!((other.metadata.finalizers, other.metadata.annotations), (None, None));
    }
}

#[tokio::test]
async fn a_service_that_gets_a_second_family_gets_a_second_address_and_gives_it_back() {
    let ranges = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap();
    let plane = ControlPlane::builder().config(|config| config.service_cidr = ranges);
    let both = || pool("192.0.2.1-192.0.2.2,fd00::1-fd00::2");
    let world = World::begin(plane.start().await, both());
    create(&world.services, "a", balanced()).await;
    world.until("a", Some("192.0.2.1")).await;
    let policy = async |services: &Api<Service>, policy: &str| {
        change(services, "a", json!({"spec": {"ipFamilyPolicy": policy}})).await;
    };
    let until = async |services: &Api<Service>, expected: &[&str]| {
        let has =
            |it: &Service| addresses(it).map(|ip| ip.to_string()).eq(expected.iter().copied());
        wait::until_is(services, "a", &format!("it has {expected:?}"), has).await
    };
    let asked = json!({"metadata": {"annotations": {ADDRESS_ANNOTATION: "fd00::2"}}});
    change(&world.services, "a", asked).await;
    policy(&world.services, "PreferDualStack").await;
    let a = until(&world.services, &["192.0.2.1", "fd00::2"]).await;
    assert_eq!(pool_of(&a), Some("192.0.2.1-192.0.2.2,fd00::1-fd00::2"));
    create(&world.services, "v6", json!({"type": "LoadBalancer", "ipFamilies": ["IPv6"]})).await;
    world.until("v6", Some("fd00::1")).await;

    // What both have they keep, whoever begins; what one gives up the other may have.
    let world = world.restart(both());
    change(&world.services, "v6", json!({"spec": {"loadBalancerIP": "fd00::2"}})).await;
    world.until_told("v6", "SyncLoadBalancerFailed").await;
    until(&world.services, &["192.0.2.1", "fd00::2"]).await;
    policy(&world.services, "SingleStack").await;
    until(&world.services, &["192.0.2.1"]).await;
    world.until("v6", Some("fd00::2")).await;
}

#[tokio::test]
async fn addresses_are_kept_over_a_restart_and_taken_back_without_a_pool() {
    let plane = ControlPlane::start().await;
    let world = World::begin(plane, pool(POOL));
    for (name, ip) in [("a", "192.0.2.1"), ("b", "192.0.2.2")] {
        create(&world.services, name, balanced()).await;
        world.until(name, Some(ip)).await;
    }
    world.services.delete("a", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&world.services, "a").await;
    // "b" keeps its own, though a lower one is free.
    let world = world.restart(pool(POOL));
    create(&world.services, "c", balanced()).await;
    world.until("c", Some("192.0.2.1")).await;
    world.until("b", Some("192.0.2.2")).await;

    let world = world.restart(Pool::default());
    let services = &world.services;
    create(services, "theirs", balanced()).await;
    change(services, "theirs", json!({"metadata": {"finalizers": [FINALIZER]}})).await;
    for name in ["b", "c"] {
        let service = world.until(name, None).await;
        assert_eq!(service.metadata.finalizers, None);
    }
    // It is that of a cloud.
    let theirs = services.get("theirs").await.unwrap();
    assert_eq!(theirs.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
}

#[tokio::test]
async fn of_a_service_with_a_class_nothing_but_the_mark_is_taken_away() {
    let plane = ControlPlane::start().await;
    let (controller, services) = (at_rest(&plane), api(&plane));
    create(&services, "theirs", json!({"type": "LoadBalancer", "loadBalancerClass": "a.b/c"}))
        .await;
    let theirs = json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}});
    let params = PatchParams::default();
    services.patch_status("theirs", &params, &Patch::Merge(theirs)).await.unwrap();
    let metadata = json!({"finalizers": [FINALIZER], "annotations": {POOL_ANNOTATION: POOL}});
    let marked = change(&services, "theirs", json!({"metadata": metadata})).await;
    controller.services.take_in(watcher::Event::Apply(marked));
    controller.reconcile(&key("theirs")).await.unwrap();
    let service = services.get("theirs").await.unwrap();
    assert_eq!(pool_of(&service), None);
    assert_eq!(service.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
    assert_eq!(given(&services, "theirs").await.as_deref(), Some("198.51.100.1"));
}

fn at_rest(plane: &ControlPlane) -> LoadBalancers {
    LoadBalancers {
        client: plane.client(),
        recorder: Recorder::new(&component::Tasks::default(), plane.client(), NAME, ""),
        pool: pool(POOL),
        services: Arc::default(),
        nodes: Arc::default(),
        promised: Mutex::default(),
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

async fn given(services: &Api<Service>, name: &str) -> Option<String> {
    let service = services.get(name).await.unwrap();
    addresses(&service).next().map(|ip| ip.to_string())
}

#[tokio::test]
async fn an_address_that_the_store_does_not_show_yet_is_given_to_nobody_else() {
    let plane = ControlPlane::start().await;
    let (controller, services) = (at_rest(&plane), api(&plane));
    for name in ["a", "b"] {
        let service = create(&services, name, balanced()).await;
        controller.services.take_in(watcher::Event::Apply(service));
    }
    let cut = plane.refuse(|request| request.uri().path().ends_with("/services/a/status"));
    controller.reconcile(&key("a")).await.unwrap_err();
    drop(cut);
    controller.reconcile(&key("b")).await.unwrap();
    assert_eq!(given(&services, "b").await.as_deref(), Some("192.0.2.2"));
    // Of "a" the store shows what was before it was marked.
    let seen = services.get("a").await.unwrap();
    controller.services.take_in(watcher::Event::Apply(seen));
    controller.reconcile(&key("a")).await.unwrap();
    assert_eq!(given(&services, "a").await.as_deref(), Some("192.0.2.1"));
}
