//! A listener against a real API server and a real Redis, which is made to lose things in all ways it can.
//! Each time, what the listener has told must add up to what the server has.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use api_types::api::core::v1::{Binding, ConfigMap, Node, ObjectReference, Pod};
use component::{RedisServer, Tasks};
use futures::{StreamExt, future::join_all};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::Event,
};
use listwatch::{ChangeMessage, ChangeType, Heartbeat, ListWatch, Scope, topics};
use serde::de::DeserializeOwned;
use testkit::{Authority, ControlPlane, Etcd, Proxy, Redis, node, pod, wait};
use tokio::task::JoinHandle;

/// Name and version of objects.
type State = BTreeMap<String, u64>;

/// What a listener has told so far.
struct Mirror {
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Told {
    state: State,
    listed: State,
    /// How many times it began anew.
    inits: usize,
    /// What a listener must not do.
    faults: Vec<String>,
}

impl Told {
    fn take<K: Resource>(&mut self, event: &Event<K>) {
        match event {
            Event::Init => {
                self.inits += 1;
                self.listed.clear();
            }
            Event::InitApply(object) => drop(self.listed.insert(key(object), version(object))),
            Event::InitDone => self.state = std::mem::take(&mut self.listed),
            Event::Apply(object) => {
                let before = self.state.insert(key(object), version(object));
                self.expect_newer("applied", object, before);
            }
            Event::Delete(object) => {
                let before = self.state.remove(&key(object));
                if before.is_none() {
                    self.faults.push(format!("deleted twice: {}", key(object)));
                }
                self.expect_newer("deleted", object, before);
            }
        }
    }

    fn expect_newer<K: Resource>(&mut self, what: &str, object: &K, before: Option<u64>) {
        if before >= Some(version(object)) {
            self.faults.push(format!(
                "{what} {} at {}, was at {before:?}",
                key(object),
                version(object)
            ));
        }
    }
}

impl Mirror {
    fn of<K>(listwatch: &ListWatch, scope: Scope) -> Self
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let told = Arc::new(Mutex::new(Told::default()));
        let (shared, mut events) = (told.clone(), listwatch.watch::<K>(scope).boxed());
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // Errors are told and got over.
                if let Ok(event) = event {
                    shared.lock().unwrap().take(&event);
                }
            }
        });
        Self { told, task }
    }

    fn inits(&self) -> usize {
        self.told.lock().unwrap().inits
    }

    /// Objects come, change and go, and the listener tells of it.
    async fn follows(&self, pods: &Api<Pod>, prefix: &str) {
        churn(pods, prefix).await;
        self.equals(pods, "").await;
    }

    /// Waits until the listener has told what the server has.
    async fn equals<K>(&self, api: &Api<K>, fields: &str)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        wait::until("the listener has what the server has", async || {
            let told = self.told.lock().unwrap().state.clone();
            let params = ListParams::default().fields(fields);
            let list = api.list(&params).await.map_err(|e| format!("{e}"))?;
            let server: State = list.iter().map(|o| (key(o), version(o))).collect();
            if told == server { Ok(()) } else { Err(format!("{told:?} instead of {server:?}")) }
        })
        .await;
        assert_eq!(self.told.lock().unwrap().faults, Vec::<String>::new());
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn key<K: Resource>(object: &K) -> String {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", meta.name.as_deref().unwrap_or_default())
}

fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_ref().unwrap().parse().unwrap()
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), "default")
}

async fn create(pods: &Api<Pod>, name: &str) -> Pod {
    pods.create(&PostParams::default(), &pod(name).build()).await.unwrap()
}

async fn label(pods: &Api<Pod>, name: &str, value: &str) -> Pod {
    let patch = serde_json::json!({"metadata": {"labels": {"v": value}}});
    pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

async fn delete(pods: &Api<Pod>, name: &str) {
    pods.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
}

/// Objects come, change and go.
async fn churn(pods: &Api<Pod>, prefix: &str) {
    for i in 0..5 {
        create(pods, &format!("{prefix}{i}")).await;
    }
    for i in 0..4 {
        label(pods, &format!("{prefix}{i}"), "1").await;
    }
    delete(pods, &format!("{prefix}0")).await;
    delete(pods, &format!("{prefix}4")).await;
}

/// Requests for the pods' list, and watches.
fn requests(plane: &ControlPlane, watches: bool) -> usize {
    let of = |request: &&String| request.starts_with("GET /api/v1/pods?");
    plane.requests().iter().filter(of).filter(|r| r.contains("watch=true") == watches).count()
}

/// Waits until the listener needs no HTTP watch (any more).
async fn no_watch_is_open(plane: &ControlPlane) {
    wait::until("no watch of pods is open", async || {
        let counted = watches_of_pods(plane).await;
        if counted.iter().all(|open| open == "0") { Ok(()) } else { Err(format!("{counted:?}")) }
    })
    .await;
}

/// How many are open, of each kind of which there has been one.
async fn watches_of_pods(plane: &ControlPlane) -> Vec<String> {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let metrics = plane.client().request_text(request).await.unwrap();
    let lines = metrics.lines().filter(|line| line.contains("resource=\"pods\""));
    let lines = lines.filter_map(|line| line.strip_prefix("apiserver_longrunning_requests{"));
    lines.filter_map(|line| Some(line.rsplit(' ').next()?.to_owned())).collect()
}

#[tokio::test]
async fn with_redis_no_watch_is_needed() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let pods = pods(&plane.client());
    create(&pods, "before").await;
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::All);
    mirror.equals(&pods, "").await;
    mirror.follows(&pods, "a").await;
    assert_eq!((requests(&plane, true), mirror.inits()), (0, 1));
}

#[tokio::test]
async fn without_redis_an_http_watch_does() {
    let plane = ControlPlane::start().await;
    let pods = pods(&plane.client());
    create(&pods, "before").await;
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::All);
    mirror.equals(&pods, "").await;
    mirror.follows(&pods, "a").await;
    assert_eq!((requests(&plane, true), mirror.inits()), (1, 1));
}

#[tokio::test]
async fn redis_may_die_and_return() {
    let mut redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let (pods, listwatch) = (pods(&plane.client()), plane.listwatch());
    let mirror = Mirror::of::<Pod>(&listwatch, Scope::All);
    mirror.follows(&pods, "a").await;
    redis.kill();
    mirror.follows(&pods, "b").await;
    assert!(!listwatch.redis_connected());
    assert!(watches_of_pods(&plane).await.contains(&"1".to_owned()));
    redis.restart().await;
    mirror.follows(&pods, "c").await;
    no_watch_is_open(&plane).await;
    assert!(listwatch.redis_connected());
    let watches = requests(&plane, true);
    mirror.follows(&pods, "d").await;
    assert_eq!((requests(&plane, true), mirror.inits()), (watches, 1));
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_found_when_it_comes() {
    let mut redis = Redis::spawn().await;
    redis.kill();
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let pods = pods(&plane.client());
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::All);
    mirror.follows(&pods, "a").await;
    redis.restart().await;
    no_watch_is_open(&plane).await;
    mirror.follows(&pods, "b").await;
    assert_eq!(mirror.inits(), 1);
}

#[tokio::test]
async fn over_tls_and_with_a_password_no_watch_is_needed_either() {
    let authority = Authority::new();
    let redis = Redis::spawn_secured(&authority).await;
    let server = RedisServer {
        password: Some(Redis::PASSWORD.into()),
        authorities: Some(std::fs::read(authority.authority()).unwrap()),
        ..redis.server()
    };
    let plane = ControlPlane::builder().redis_server(server).start().await;
    let pods = pods(&plane.client());
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::All);
    mirror.follows(&pods, "a").await;
    no_watch_is_open(&plane).await;
    mirror.follows(&pods, "b").await;
}

#[tokio::test]
async fn what_the_publisher_could_not_send_is_noticed() {
    let redis = Redis::spawn().await;
    let proxy = Proxy::before(redis.address()).await;
    let url = format!("redis://{}", proxy.address());
    let plane = ControlPlane::builder().redis_url(&url).start().await;
    let listwatch =
        ListWatch::new(plane.client(), Some(&redis.server()), &Tasks::default()).unwrap();
    let pods = pods(&plane.client());
    let mirror = Mirror::of::<Pod>(&listwatch, Scope::All);
    for (round, silence) in [Proxy::cut, Proxy::freeze].into_iter().enumerate() {
        mirror.follows(&pods, &format!("a{round}")).await;
        silence(&proxy);
        churn(&pods, &format!("b{round}")).await;
        proxy.open();
        // Nothing follows: the bookmark alone has to show it.
        mirror.equals(&pods, "").await;
        no_watch_is_open(&plane).await;
    }
    assert_eq!(mirror.inits(), 1);
}

#[tokio::test]
async fn a_listeners_connection_that_is_dead_without_a_word_is_noticed() {
    let redis = Redis::spawn().await;
    let proxy = Proxy::before(redis.address()).await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let url = format!("redis://{}", proxy.address());
    let listwatch =
        ListWatch::new(plane.client(), Some(&url.as_str().into()), &Tasks::default()).unwrap();
    let pods = pods(&plane.client());
    let mirror = Mirror::of::<Pod>(&listwatch, Scope::All);
    mirror.equals(&pods, "").await;
    proxy.freeze();
    mirror.follows(&pods, "a").await;
    wait::until("the dead connection is given up", async || {
        if listwatch.redis_connected() { Err("connected") } else { Ok(()) }
    })
    .await;
    proxy.open();
    mirror.follows(&pods, "b").await;
    no_watch_is_open(&plane).await;
    assert_eq!(mirror.inits(), 1);
}

#[tokio::test]
async fn the_api_server_may_be_restarted() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let pods = pods(&plane.client());
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::All);
    mirror.follows(&pods, "a").await;
    plane.stop_server().await;
    plane.start_server().await;
    mirror.follows(&pods, "b").await;
    no_watch_is_open(&plane).await;
    assert_eq!(mirror.inits(), 1);
}

/// What arrives on the topic of pods, once the first message has.
async fn messages(listwatch: &ListWatch) -> Arc<Mutex<Vec<ChangeMessage>>> {
    let all: Arc<Mutex<Vec<ChangeMessage>>> = Arc::default();
    let topic = topics::changes("", "pods");
    let (heard, messages) = (all.clone(), listwatch.follow::<ChangeMessage>(&topic).unwrap());
    tokio::spawn(messages.for_each(move |message| {
        heard.lock().unwrap().push(message);
        std::future::ready(())
    }));
    wait::until("the topic is heard", async || match all.lock().unwrap().len() {
        0 => Err(0),
        count => Ok(count),
    })
    .await;
    all
}

#[tokio::test]
async fn a_server_that_begins_knows_the_last_change_of_a_topic_and_tells_it_again() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let messages = messages(&plane.listwatch()).await;
    let last = version(&create(&pods(&plane.client()), "a").await);
    let heard = |is_it: &dyn Fn(&ChangeMessage) -> bool| {
        let messages = messages.lock().unwrap();
        match messages.iter().find(|message| is_it(message)) {
            Some(message) => Ok(message.history.clone()),
            None => Err(messages.clone()),
        }
    };
    let is_change = |message: &ChangeMessage| message.resource_version == last;
    let history = wait::until("the change is told", async || heard(&is_change)).await;
    plane.stop_server().await;
    plane.start_server().await;
    let is_next =
        |message: &ChangeMessage| message.resource_version > last && message.history != history;
    wait::until("the next server speaks of its own history", async || heard(&is_next)).await;
    let messages = messages.lock().unwrap();
    let (bookmarks, changes): (Vec<_>, Vec<_>) =
        messages.iter().partition(|message| message.type_ == ChangeType::Bookmark);
    let mut later = bookmarks.iter().filter(|message| message.resource_version > last);
    assert!(later.all(|message| message.previous == last), "{bookmarks:?}");
    assert_eq!(changes.len(), 2, "{changes:?}");
}

/// The store goes back to a backup, and then on beyond where it was: the numbers look like before.
async fn go_on_from_a_backup(plane: &ControlPlane, pods: &Api<Pod>, backup: u64, last: u64) {
    plane.stop_server().await;
    plane.restore(backup).await;
    plane.start_server().await;
    while version(&label(pods, "kept", &uuid()).await) <= last {}
}

/// Until the listeners of the pods' topic know to which history of the store it belongs.
async fn hear_bookmarks(listwatch: &ListWatch) {
    let topic = topics::changes("", "pods");
    let messages = listwatch.follow::<ChangeMessage>(&topic).unwrap();
    let bookmarks = messages.filter(|message| {
        let is_bookmark = message.type_ == ChangeType::Bookmark && !message.history.is_empty();
        std::future::ready(is_bookmark)
    });
    assert_eq!(bookmarks.take(2).count().await, 2);
}

/// A client before each of whose further pages of a list history is forgotten.
fn forgetful(plane: &ControlPlane) -> Client {
    let (client, store, pods) = (plane.client(), plane.store(), pods(&plane.client()));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (client, store, pods) = (client.clone(), store.clone(), pods.clone());
        async move {
            if request.uri().query().is_some_and(|query| query.contains("continue=")) {
                label(&pods, "p0", &uuid()).await;
                store.compact(store.revision().await.unwrap()).await.unwrap();
            }
            client.send(request).await
        }
    });
    Client::new(service, "default")
}

/// History is forgotten faster than pages can be listed: the list is finished all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_finished_though_history_is_short() {
    let plane = ControlPlane::start().await;
    let pods = pods(&plane.client());
    let names: Vec<String> = (0..1200).map(|i| format!("p{i}")).collect();
    for some in names.chunks(100) {
        join_all(some.iter().map(|name| create(&pods, name))).await;
    }
    let listwatch = ListWatch::new(forgetful(&plane), None, &Tasks::default()).unwrap();
    let mut events = listwatch.watch::<Pod>(Scope::All).boxed();
    let mut listed = 0;
    let listing = async {
        loop {
            match events.next().await.unwrap() {
                Ok(Event::Init) => listed = 0,
                Ok(Event::InitApply(_)) => listed += 1,
                Ok(Event::InitDone) => return listed,
                _ => {}
            }
        }
    };
    assert_eq!(tokio::time::timeout(wait::DEADLINE, listing).await, Ok(1200));
}

fn uuid() -> String {
    format!("{:x}", rand::random::<u64>())
}

/// The listener hears nothing until the store is beyond the version that it knows.
#[tokio::test]
async fn a_store_that_was_restored_is_listed_anew() {
    let redis = Redis::spawn().await;
    let proxy = Proxy::before(redis.address()).await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let url = format!("redis://{}", proxy.address());
    let listwatch =
        ListWatch::new(plane.client(), Some(&url.as_str().into()), &Tasks::default()).unwrap();
    let pods = pods(&plane.client());
    let mirror = Mirror::of::<Pod>(&listwatch, Scope::All);
    mirror.follows(&pods, "a").await;
    hear_bookmarks(&listwatch).await;
    let backup = version(&create(&pods, "kept").await);
    churn(&pods, "lost").await;
    let last = version(&create(&pods, "last").await);
    mirror.equals(&pods, "").await;
    proxy.freeze();
    go_on_from_a_backup(&plane, &pods, backup, last).await;
    proxy.open();
    mirror.equals(&pods, "").await;
    no_watch_is_open(&plane).await;
    mirror.follows(&pods, "b").await;
}

#[tokio::test]
async fn without_redis_a_store_that_was_set_back_is_listed_anew() {
    let plane = ControlPlane::start().await;
    let pods = pods(&plane.client());
    let backup = version(&create(&pods, "kept").await);
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::All);
    mirror.follows(&pods, "lost").await;
    plane.stop_server().await;
    plane.restore(backup).await;
    plane.start_server().await;
    mirror.equals(&pods, "").await;
    assert_eq!(mirror.inits(), 2);
    mirror.follows(&pods, "b").await;
}

/// Puts a message on the topic of pods by hand.
async fn publish(connection: &mut redis::aio::MultiplexedConnection, object: &Pod, previous: u64) {
    let message = ChangeMessage {
        resource_version: version(object),
        previous,
        type_: ChangeType::Modified,
        object: Some(serde_json::value::to_raw_value(object).unwrap()),
        partial: false,
        history: String::new(),
        predecessors: Vec::new(),
    };
    let payload = serde_json::to_vec(&message).unwrap();
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(topics::changes("", "pods")).arg(payload);
    publish.query_async::<()>(connection).await.unwrap();
}

#[tokio::test]
async fn a_hole_is_filled_and_repetitions_and_garbage_do_no_harm() {
    let redis = Redis::spawn().await;
    // The API server does not publish: every message is made here.
    let plane = ControlPlane::start().await;
    let pods = pods(&plane.client());
    let first = create(&pods, "first").await;
    let listwatch =
        ListWatch::new(plane.client(), Some(&redis.server()), &Tasks::default()).unwrap();
    let mirror = Mirror::of::<Pod>(&listwatch, Scope::All);
    mirror.equals(&pods, "").await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let lost = create(&pods, "lost").await;
    let after = create(&pods, "after").await;
    publish(&mut connection, &after, version(&lost)).await;
    mirror.equals(&pods, "").await;
    let changed = label(&pods, "first", "2").await;
    for object in [&first, &after, &changed, &lost, &changed] {
        publish(&mut connection, object, version(&after)).await;
    }
    let mut garbage = redis::cmd("PUBLISH");
    garbage.arg(topics::changes("", "pods")).arg("garbage");
    garbage.query_async::<()>(&mut connection).await.unwrap();
    mirror.equals(&pods, "").await;
    delete(&pods, "lost").await;
    mirror.equals(&pods, "").await;
    assert_eq!(mirror.inits(), 1);
}

#[tokio::test]
async fn who_lags_behind_does_not_show_that_all_is_well() {
    let redis = Redis::spawn().await;
    // As above.
    let plane = ControlPlane::start().await;
    let pods = pods(&plane.client());
    let (old, _) = (create(&pods, "old").await, create(&pods, "new").await);
    let listwatch =
        ListWatch::new(plane.client(), Some(&redis.server()), &Tasks::default()).unwrap();
    let mirror = Mirror::of::<Pod>(&listwatch, Scope::All);
    mirror.equals(&pods, "").await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let late = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            publish(&mut connection, &old, version(&old) - 1).await;
        }
    });
    mirror.follows(&pods, "a").await;
    late.abort();
    assert_eq!(mirror.inits(), 1);
}

/// Of two servers, only one publishes, and that one is cut off from the store.
#[tokio::test]
async fn a_server_that_hears_nothing_does_not_say_that_all_is_well() {
    let (etcd, redis) = tokio::join!(Etcd::spawn(), Redis::spawn());
    let proxy = Proxy::before(etcd.address()).await;
    let url = format!("http://{}", proxy.address());
    let _publishing = ControlPlane::builder().etcd_url(&url).redis(&redis).start().await;
    let other = ControlPlane::builder().etcd(&etcd).start().await;
    let pods = pods(&other.client());
    let listwatch =
        ListWatch::new(other.client(), Some(&redis.server()), &Tasks::default()).unwrap();
    let mirror = Mirror::of::<Pod>(&listwatch, Scope::All);
    mirror.follows(&pods, "a").await;
    assert_eq!(requests(&other, true), 0);
    proxy.cut();
    mirror.follows(&pods, "b").await;
    proxy.open();
    no_watch_is_open(&other).await;
    mirror.follows(&pods, "c").await;
    assert_eq!(mirror.inits(), 1);
}

#[tokio::test]
async fn a_nodes_listener_hears_of_its_pods_from_binding_to_deletion() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let pods = pods(&plane.client());
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::PodsOfNode("n1".to_owned()));
    let mine = "spec.nodeName=n1";
    mirror.equals(&pods, mine).await;
    for name in ["a", "b", "c"] {
        create(&pods, name).await;
    }
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        bind(&pods, name, node).await;
    }
    mirror.equals(&pods, mine).await;
    label(&pods, "a", "1").await;
    delete(&pods, "c").await;
    mirror.equals(&pods, mine).await;
    assert_eq!(mirror.told.lock().unwrap().state.len(), 1);
}

async fn bind(pods: &Api<Pod>, name: &str, node: &str) {
    let mut binding = Binding {
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
        ..Binding::default()
    };
    binding.metadata.name = Some(name.to_owned());
    let params = PostParams::default();
    let bound = pods.create_subresource::<_, serde_json::Value>("binding", name, &params, &binding);
    bound.await.unwrap();
}

/// Its kubelet would watch over HTTP until a pod of its changes.
#[tokio::test]
async fn the_topic_of_a_node_goes_on_after_a_restart_of_the_server() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let nodes: Api<Node> = Api::all(plane.client());
    nodes.create(&PostParams::default(), &node("n1").build()).await.unwrap();
    plane.stop_server().await;
    let topic = topics::pods_of_node("n1");
    let mut messages = plane.listwatch().follow::<ChangeMessage>(&topic).unwrap().boxed();
    plane.start_server().await;
    let bookmark = tokio::time::timeout(wait::DEADLINE, messages.next()).await.unwrap().unwrap();
    assert_eq!(bookmark.type_, ChangeType::Bookmark);
}

#[tokio::test]
async fn contents_that_are_not_on_the_topic_arrive() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), "default");
    let (store, touched) = plane.listwatch().reflect::<ConfigMap>(Scope::All);
    let task = tokio::spawn(touched.for_each(async |_| {}));
    store.wait_until_ready().await.unwrap();
    let mut map = ConfigMap::default();
    map.metadata.name = Some("settings".to_owned());
    for value in ["one", "two"] {
        map.data = Some(BTreeMap::from([("key".to_owned(), value.to_owned())]));
        match maps.get_opt("settings").await.unwrap() {
            None => drop(maps.create(&PostParams::default(), &map).await.unwrap()),
            Some(_) => drop(maps.replace("settings", &PostParams::default(), &map).await.unwrap()),
        }
        wait::until("the contents have arrived", async || {
            let state = store.state();
            let found = state.iter().find(|m| m.name_any() == "settings");
            let data = found.and_then(|m| m.data.clone()).unwrap_or_default();
            if data.get("key").map(String::as_str) == Some(value) { Ok(()) } else { Err(data) }
        })
        .await;
    }
    task.abort();
}

#[tokio::test]
async fn a_namespaces_listener_hears_of_no_other() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let here = pods(&plane.client());
    let there: Api<Pod> = Api::namespaced(plane.client(), "kube-system");
    let mirror = Mirror::of::<Pod>(&plane.listwatch(), Scope::Namespace("default".to_owned()));
    mirror.equals(&here, "").await;
    let other = pod("other").namespace("kube-system").build();
    there.create(&PostParams::default(), &other).await.unwrap();
    churn(&here, "a").await;
    mirror.equals(&here, "").await;
}

#[tokio::test]
async fn heartbeats_reach_whoever_listens() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let (node, controller) = (plane.listwatch(), plane.listwatch());
    let mut heartbeats = controller.heartbeats().unwrap().boxed();
    let sent = Heartbeat {
        node: "n1".to_owned(),
        cpu_percent: 12.5,
        memory_percent: 40.0,
        pods: 3,
        usage: None,
    };
    // What is sent before anybody listens is lost, as it may be.
    let received = wait::until("a heartbeat arrives", async || {
        node.beat(&sent).await;
        let soon = Duration::from_millis(100);
        tokio::time::timeout(soon, heartbeats.next()).await
    });
    assert_eq!(received.await, Some(sent.clone()));
    assert!(
        ListWatch::new(plane.client(), None, &Tasks::default()).unwrap().heartbeats().is_none()
    );
}
