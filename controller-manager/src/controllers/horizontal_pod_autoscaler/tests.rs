//! The controller alone, over a control plane in process.

use std::time::Duration;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::{ConfigMap, Event};
use api_types::jiff::Timestamp;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use kube::api::{ListParams, PostParams};
use listwatch::ListWatch;
use listwatch::usage::{ContainerUsage, PodUsage, PodsUsage, Usage};
use serde::de::DeserializeOwned;
use serde_json::Value;
use testkit::{ControlPlane, Redis, pod, replica_set, wait};

use super::*;
use crate::controllers::tests::context;
use crate::frame;
use crate::workers::WorkersArgs;

/// A set `web` that is to have one pod, and has that: it runs on the node `n1`.
struct World {
    plane: ControlPlane,
    sets: Api<ReplicaSet>,
    autoscalers: Api<HorizontalPodAutoscaler>,
    listwatch: ListWatch,
    pod: Pod,
    tasks: JoinSet<()>,
}

impl World {
    async fn new(plane: ControlPlane, prometheus_url: Option<String>) -> Self {
        let (mut world, registered) = Self::with(plane, prometheus_url, register).await;
        frame::work(&registered, &mut world.tasks);
        world
    }

    /// Nothing is looked at but by the test.
    async fn at_rest(plane: ControlPlane, prometheus_url: Option<String>) -> (Self, Autoscalers) {
        Self::with(plane, prometheus_url, Autoscalers::new).await
    }

    async fn with<T>(
        plane: ControlPlane,
        prometheus_url: Option<String>,
        make: impl FnOnce(&Context, &mut JoinSet<()>) -> T,
    ) -> (Self, T) {
        let listwatch = plane.listwatch_as("kube-controller-manager");
        let mut context = context(listwatch.clone(), WorkersArgs::default());
        context.settings.prometheus_url = prometheus_url;
        let client = plane.client();
        let sets = Api::namespaced(client.clone(), "default");
        let params = PostParams::default();
        sets.create(&params, &replica_set("web").build()).await.unwrap();
        let pods = Api::<Pod>::namespaced(client.clone(), "default");
        let web = pod("web-0").label("app", "web").node("n1").request("cpu", "100m").build();
        pods.create(&params, &web).await.unwrap();
        let status = json!({"status": {"phase": "Running", "startTime": Timestamp::UNIX_EPOCH,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": Timestamp::UNIX_EPOCH}]}});
        let patch = Patch::Merge(status);
        let pod = pods.patch_status("web-0", &PatchParams::default(), &patch).await.unwrap();
        let mut tasks = JoinSet::new();
        let made = make(&context, &mut tasks);
        context.informers.start(&context.listwatch, &mut tasks);
        let autoscalers = Api::namespaced(client, "default");
        (Self { plane, sets, autoscalers, listwatch, pod, tasks }, made)
    }

    async fn autoscale(&self, name: &str, more: Value) {
        let mut spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"},
            "maxReplicas": 3, "behavior": {"scaleUp": rules(), "scaleDown": rules()}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name}, "spec": spec});
        let autoscaler = serde_json::from_value(autoscaler).unwrap();
        self.autoscalers.create(&PostParams::default(), &autoscaler).await.unwrap();
    }

    /// The kubelet says over and over how much the pod uses.
    fn uses(&mut self, milli: u64) -> tokio::task::AbortHandle {
        let (listwatch, uid) = (self.listwatch.clone(), self.pod.metadata.uid.clone().unwrap());
        self.tasks.spawn(async move {
            loop {
                let usage = Usage {
                    timestamp: Timestamp::UNIX_EPOCH,
                    window_seconds: Some(1.0),
                    cpu_nano_cores: Some(milli * 1_000_000),
                    ..Usage::default()
                };
                let containers =
                    vec![ContainerUsage { name: "main".to_owned(), usage: usage.clone() }];
                let (namespace, name) = ("default".to_owned(), "web-0".to_owned());
                let pod = PodUsage { namespace, name, uid: uid.clone(), usage, containers };
                let usage = PodsUsage { node: "n1".to_owned(), pods: vec![pod] };
                listwatch.announce_pods_usage(&usage);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    }

    async fn until_replicas(&self, replicas: i32) {
        let what = format!("is to have {replicas}");
        wait::until_is(&self.sets, "web", &what, |set| {
            set.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas)
        })
        .await;
    }

    /// What the condition says when it has this reason.
    async fn told(&self, name: &str, condition: &str, reason: &str) -> String {
        let find = |it: &HorizontalPodAutoscaler| {
            let conditions = it.status.as_ref()?.conditions.as_ref()?;
            let found = conditions.iter().find(|it| it.type_ == condition)?;
            (found.reason.as_deref() == Some(reason)).then(|| {
                format!("{} {}", found.status, found.message.as_deref().unwrap_or_default())
            })
        };
        let what = format!("{condition} is to be {reason}");
        let is_it = |it: &HorizontalPodAutoscaler| find(it).is_some();
        find(&wait::until_is(&self.autoscalers, name, &what, is_it).await).unwrap()
    }

    async fn event(&self, reason: &str) -> String {
        let events = self.list::<Event>();
        wait::until(&format!("an event {reason}"), async || {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let found = all.into_iter().find(|it| it.reason.as_deref() == Some(reason));
            found.and_then(|it| it.message).ok_or("none")
        })
        .await
    }

    fn list<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        Api::namespaced(self.plane.client(), "default")
    }
}

/// One pod in each second.
fn rules() -> Value {
    json!({"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}]})
}

fn cpu(value: &str) -> Value {
    json!({"metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "AverageValue", "averageValue": value}}}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubelets_tell_over_redis_makes_a_set_larger_and_smaller() {
    let redis = Redis::spawn().await;
    let mut world = World::new(ControlPlane::builder().redis(&redis).start().await, None).await;
    let mut wanted = Box::pin(world.listwatch.usage_wanted().unwrap());
    let load = world.uses(500);
    world.autoscale("web", cpu("100m")).await;
    let asked = wait::within("samples to be asked for", wanted.next()).await.unwrap();
    assert_eq!((asked.nodes, asked.period_seconds), (vec!["n1".to_owned()], 1));
    world.until_replicas(3).await;
    let message = world.event("SuccessfulRescale").await;
    assert!(message.ends_with("; reason: cpu resource above target"), "{message}");
    world.told("web", "ScalingLimited", "TooManyReplicas").await;
    let found = world.told("web", "ScalingActive", "ValidMetricFound").await;
    let expected =
        "True the HPA was able to successfully calculate a replica count from cpu resource";
    assert_eq!(found, expected);
    let status = world.autoscalers.get("web").await.unwrap().status.unwrap();
    let current = status.current_metrics.unwrap()[0].resource.clone().unwrap();
    assert_eq!(
        (current.name.as_str(), current.current.average_value.unwrap().0.as_str()),
        ("cpu", "500m")
    );
    assert!(status.last_scale_time.is_some());
    load.abort();
    world.uses(10);
    world.until_replicas(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_and_nothing_gets_smaller() {
    let world = World::new(ControlPlane::start().await, None).await;
    let scaled = json!({"spec": {"replicas": 2}});
    let patch = Patch::Merge(scaled);
    world.sets.patch("web", &PatchParams::default(), &patch).await.unwrap();
    world.autoscale("web", cpu("100m")).await;
    let told = world.told("web", "ScalingActive", "FailedGetResourceMetric").await;
    let expected = "False the HPA was unable to compute the replica count: failed to get cpu usage: \
        unable to get metrics for resource cpu: ";
    assert!(told.starts_with(expected), "{told}");
    let event = world.event("FailedComputeMetricsReplicas").await;
    assert!(event.starts_with("invalid metrics (1 invalid out of 1), first error is: "), "{event}");
    world.event("FailedGetResourceMetric").await;
    let set = world.sets.get("web").await.unwrap();
    assert_eq!(set.spec.unwrap().replicas, Some(2));
    let gone =
        json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gone"}});
    world.autoscale("other", gone).await;
    let told = world.told("other", "AbleToScale", "FailedGetScale").await;
    let expected = "False the HPA controller was unable to get the target's current scale: \
        replicasets.apps \"gone\" not found";
    assert_eq!(told, expected);
    let none = json!({"scaleTargetRef": {"apiVersion": "x.io/v1", "kind": "Thing", "name": "a"}});
    world.autoscale("none", none).await;
    let told = world.told("none", "AbleToScale", "FailedGetScale").await;
    assert!(told.ends_with("no matches for kind \"Thing\" in group \"x.io\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_autoscalers_of_the_same_pods_do_nothing_but_say_so() {
    let redis = Redis::spawn().await;
    let mut world = World::new(ControlPlane::builder().redis(&redis).start().await, None).await;
    world.autoscale("a", cpu("100m")).await;
    world.told("a", "AbleToScale", "SucceededGetScale").await;
    world.autoscale("b", cpu("100m")).await;
    for name in ["a", "b"] {
        let told = world.told(name, "ScalingActive", "AmbiguousSelector").await;
        let expected = "False pods by selector app=web are controlled by multiple HPAs: [{a default} {b default}]";
        assert_eq!(told, expected);
    }
    world.uses(500);
    world.autoscalers.delete("b", &kube::api::DeleteParams::default()).await.unwrap();
    world.until_replicas(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_s_change_is_undone() {
    let world = World::new(ControlPlane::start().await, None).await;
    let client = world.plane.client();
    let discovery = Discovery::new(client.clone());
    let reference = serde_json::from_value(
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"}),
    )
    .unwrap();
    let find = async || {
        let found = Target::find(client.clone(), &discovery, "default", &reference).await;
        found.map_err(|unknown| unknown.message)
    };
    let found = find().await.unwrap();
    let patch = Patch::Merge(json!({"status": {"replicas": 1}}));
    world.sets.patch_status("web", &PatchParams::default(), &patch).await.unwrap();
    found.rescale(2).await.unwrap();
    let found = find().await.unwrap();
    assert_eq!((found.wanted(), found.there(), found.selector()), (2, 1, "app=web"));
    let patch = Patch::Merge(json!({"spec": {"replicas": 7}}));
    world.sets.patch("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(found.rescale(3).await, Err("somebody else has scaled it".to_owned()));
    assert_eq!(find().await.unwrap().wanted(), 7);
}

/// A Prometheus that knows one answer, and what it is asked.
fn answering(asked: tokio::sync::mpsc::UnboundedSender<String>) -> Router {
    let answer = move |Query(query): Query<BTreeMap<String, String>>| {
        asked.send(query["query"].clone()).ok();
        let result = json!([{"metric": {"pod": "web-0"}, "value": [1.0, "95.5"]}]);
        let answer =
            json!({"status": "success", "data": {"resultType": "vector", "result": result}});
        std::future::ready(answer.to_string())
    };
    Router::new().route("/api/v1/query", get(answer))
}

async fn serve(router: Router, address: &str) -> String {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_utilization_of_gpus_comes_from_a_query() {
    let (asked, mut queries) = tokio::sync::mpsc::unbounded_channel();
    let url = serve(answering(asked), "127.0.0.1:0").await;
    let world = World::new(ControlPlane::start().await, Some(url)).await;
    let gpu = json!({"metrics": [{"type": "Pods", "pods": {
        "metric": {"name": "gpu_utilization", "selector": {"matchLabels": {"model": "a"}}},
        "target": {"type": "AverageValue", "averageValue": "40"}}}]});
    world.autoscale("web", gpu).await;
    let told = world.told("web", "ScalingActive", "FailedGetPodsMetric").await;
    let missing =
        "ConfigMap kube-system/horizontal-pod-autoscaler-queries has no query for gpu_utilization";
    assert!(told.ends_with(missing), "{told}");
    let query = "avg by (pod) (gpu{namespace=\"$namespace\",$labels})";
    let map = json!({"metadata": {"name": "horizontal-pod-autoscaler-queries", "namespace": "kube-system"},
        "data": {"gpu_utilization": query}});
    let maps = Api::<ConfigMap>::namespaced(world.plane.client(), "kube-system");
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    world.until_replicas(3).await;
    let query = queries.recv().await.unwrap();
    assert_eq!(query, "avg by (pod) (gpu{namespace=\"default\",model=\"a\"})");
    let message = world.event("SuccessfulRescale").await;
    assert!(message.ends_with("; reason: pods metric gpu_utilization above target"), "{message}");
}

/// The client, except that what `fails` answers with 500.
fn failing(
    client: kube::Client,
    fails: impl Fn(&http::Request<kube::client::Body>) -> bool + Clone + Send + 'static,
) -> kube::Client {
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (client, fails) = (client.clone(), fails(&request));
        async move {
            if fails {
                let response = http::Response::builder().status(500);
                return response.body(kube::client::Body::empty()).map_err(tower::BoxError::from);
            }
            client.send(request).await.map_err(tower::BoxError::from)
        }
    });
    kube::Client::new(service, "default")
}

/// A look at an autoscaler once it and the pod are known.
async fn look(controller: &Autoscalers, name: &str) -> Result<Next, Error> {
    let key = ObjectKey::new("default", name);
    wait::until("the informers to know all", async || {
        let Informers { horizontal_pod_autoscalers: autoscalers, pods, .. } = &controller.informers;
        let pod = pods.get(&ObjectKey::new("default", "web-0"));
        let pod = pod.filter(|pod| pods::is_ready(pod));
        autoscalers.get(&key).and(pod).ok_or("not yet")
    })
    .await;
    controller.reconcile(&key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_can_t_be_written_waits_for_the_next_look() {
    let (world, mut controller) = World::at_rest(ControlPlane::start().await, None).await;
    controller.client = failing(world.plane.client(), |request| request.method() == "PATCH");
    world.autoscale("web", cpu("100m")).await;
    let next = look(&controller, "web").await;
    assert!(matches!(next, Ok(Next::After(_))), "{next:?}");
    assert_eq!(world.autoscalers.get("web").await.unwrap().status.unwrap().conditions, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_not_repeated_at_every_look() {
    let (world, controller) = World::at_rest(ControlPlane::start().await, None).await;
    let target = |name: &str| json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name}});
    world.autoscale("first", target("gone")).await;
    world.autoscale("second", target("lost")).await;
    for name in ["first", "first", "first", "second"] {
        look(&controller, name).await.unwrap();
    }
    let events = world.list::<Event>();
    let told = wait::until("the last event", async || {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let of = |name: &str| {
            all.iter().find(|it| it.involved_object.name.as_deref() == Some(name)).cloned()
        };
        of("second").and(of("first")).ok_or("not yet")
    })
    .await;
    assert_eq!(told.count, Some(1));
}

fn externals() -> Value {
    let metric = |name: &str| {
        json!({"type": "External", "external": {"metric": {"name": name},
            "target": {"type": "AverageValue", "averageValue": "1"}}})
    };
    json!({"metrics": [metric("first"), metric("second")]})
}

async fn make_queries(plane: &ControlPlane) {
    let map = json!({"metadata": {"name": "horizontal-pod-autoscaler-queries", "namespace": "kube-system"},
        "data": {"first": "first", "second": "second"}});
    let maps = Api::<ConfigMap>::namespaced(plane.client(), "kube-system");
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_of_a_look_are_read_once_and_asked_at_once() {
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let answer = move || {
        let both = both.clone();
        async move {
            both.wait().await;
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "2"]}})
                .to_string()
        }
    };
    let router = Router::new().route("/api/v1/query", get(answer));
    let url = Some(serve(router, "127.0.0.1:0").await);
    let (world, mut controller) = World::at_rest(ControlPlane::start().await, url.clone()).await;
    make_queries(&world.plane).await;
    let reads = Arc::<std::sync::atomic::AtomicU32>::default();
    let counted = reads.clone();
    let client = failing(world.plane.client(), move |request| {
        let is_read = request.uri().path().ends_with("/horizontal-pod-autoscaler-queries");
        counted.fetch_add(is_read.into(), std::sync::atomic::Ordering::Relaxed);
        false
    });
    controller.prometheus = Prometheus::new(client, url);
    world.autoscale("web", externals()).await;
    look(&controller, "web").await.unwrap();
    let current = world.autoscalers.get("web").await.unwrap().status.unwrap().current_metrics;
    let known = current.iter().flatten().filter(|metric| metric.external.is_some());
    assert_eq!(known.count(), 2);
    assert_eq!(reads.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_was_not_there_is_not_asked_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let url = Some(format!("http://{address}"));
    let (world, controller) = World::at_rest(ControlPlane::start().await, url).await;
    make_queries(&world.plane).await;
    world.autoscale("web", externals()).await;
    look(&controller, "web").await.unwrap();
    let (asked, mut queries) = tokio::sync::mpsc::unbounded_channel();
    serve(answering(asked), &address).await;
    look(&controller, "web").await.unwrap();
    assert!(queries.try_recv().is_err());
    world.told("web", "ScalingActive", "FailedGetExternalMetric").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rival_whose_target_can_t_be_asked_for_is_still_one() {
    let (world, mut controller) = World::at_rest(ControlPlane::start().await, None).await;
    world.autoscale("a", cpu("100m")).await;
    look(&controller, "a").await.unwrap();
    assert_eq!(controller.wanted.nodes(), ["n1".to_owned()].into());
    world.autoscale("b", cpu("100m")).await;
    look(&controller, "b").await.unwrap();
    world.told("b", "ScalingActive", "AmbiguousSelector").await;
    look(&controller, "a").await.unwrap();
    world.told("a", "ScalingActive", "AmbiguousSelector").await;
    assert_eq!(controller.wanted.nodes(), [].into(), "nobody acts upon samples");
    let client = controller.client.clone();
    let fails = |request: &http::Request<kube::client::Body>| {
        request.method() == "GET" && request.uri().path().ends_with("/scale")
    };
    controller.client = failing(client.clone(), fails);
    look(&controller, "a").await.unwrap();
    world.told("a", "AbleToScale", "FailedGetScale").await;
    controller.client = client;
    look(&controller, "b").await.unwrap();
    world.told("b", "ScalingActive", "AmbiguousSelector").await;
}
