//! Calls that wait for an instance, and which of several instances takes one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use api_types::{api::core::v1::Pod, minik8s::Function};
use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use futures::future::join_all;
use kube::runtime::watcher::Event;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::rig::{Options, Rig, address, echo, function, instance, pod, pod_of, serving};

/// An instance whose calls end when the test says so, or at once. It knows how many it had at a time.
#[derive(Clone)]
struct Held {
    release: Arc<Semaphore>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Held {
    fn new(released: usize) -> Self {
        let release = Arc::new(Semaphore::new(released));
        Held { release, now: Arc::default(), most: Arc::default() }
    }

    fn router(&self, name: &'static str) -> Router {
        let held = self.clone();
        let answer = async move || {
            let now = held.now.fetch_add(1, Ordering::SeqCst) + 1;
            held.most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            held.release.acquire().await.unwrap().forget();
            held.now.fetch_sub(1, Ordering::SeqCst);
            name
        };
        Router::new().route("/", post(answer))
    }

    async fn holds(&self, calls: usize) {
        let reached = async {
            while self.now.load(Ordering::SeqCst) != calls {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("never so many calls");
    }
}

impl Rig {
    fn call(&self, path: &str) -> tokio::task::JoinHandle<Response> {
        let call = self.client.post(format!("{}{path}", self.url)).send();
        tokio::spawn(async { call.await.unwrap() })
    }

    fn add(&self, spec: &Value) {
        self.functions.function(Event::Apply(function("add", spec)));
    }
}

#[tokio::test]
async fn a_call_that_waits_until_its_instance_takes_connections_again_is_no_cold_start() {
    let port = TcpListener::bind((address(1), 0)).await.unwrap().local_addr().unwrap().port();
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let call = rig.call("/add");
    rig.queued(1).await;
    instance(address(1), port, echo("a")).await;
    assert_eq!(call.await.unwrap().status(), 201);
    assert_eq!(rig.metric("function_cold_starts_total"), Some(0));
}

#[tokio::test]
async fn a_call_of_a_function_without_instances_waits_for_one_and_is_told_why_it_took_long() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[]).await;
    let call = rig.client.post(format!("{}/add", rig.url));
    let call = tokio::spawn(call.header("x-minik8s-trace", "cold-start").send());
    rig.queued(1).await;
    rig.functions.pod(Event::Apply(pod_of("add", "1", address(1), false)));
    rig.functions.pod(Event::Apply(pod("add", address(1))));
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.status(), 201);
    let timing = answer.headers()["server-timing"].to_str().unwrap();
    let phases: Vec<_> =
        timing.split(", ").map(|part| part.split_once(";dur=").unwrap().0).collect();
    assert_eq!(phases, ["queued", "scheduled", "image", "sandbox", "container", "server"]);
    rig.queued(0).await;
    assert_eq!(rig.metric("function_cold_starts_total"), Some(1));
    // A warm call is not a cold start, and nobody is told who does not ask.
    let warm = rig.post("/add", "").await;
    assert_eq!((warm.status().as_u16(), warm.headers().get("server-timing")), (201, None));
    assert_eq!(rig.metric("function_cold_starts_total"), Some(1));
}

#[tokio::test]
async fn a_burst_at_zero_loses_no_call_and_no_instance_gets_more_than_it_may() {
    let instances = [Held::new(1000), Held::new(1000)];
    let port = instance(address(1), 0, instances[0].router("a")).await;
    instance(address(2), port, instances[1].router("b")).await;
    let rig = Rig::start(port, &[]).await;
    rig.add(&json!({"containerConcurrency": 3}));
    let calls: Vec<_> = (0..300).map(|_| rig.call("/add")).collect();
    rig.queued(300).await;
    rig.functions.pod(Event::Apply(pod("add", address(1))));
    rig.functions.pod(Event::Apply(pod("add", address(2))));
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    for instance in &instances {
        let most = instance.most.load(Ordering::SeqCst);
        assert!((1..=3).contains(&most), "{most} calls at a time");
    }
    rig.in_flight(0).await;
}

#[tokio::test]
async fn the_first_instance_of_a_burst_gets_no_more_than_it_works_on() {
    let first = Held::new(0);
    let port = instance(address(1), 0, first.router("a")).await;
    let rig = Rig::start(port, &[]).await;
    let calls: Vec<_> = (0..30).map(|_| rig.call("/add")).collect();
    rig.queued(30).await;
    rig.functions.pod(Event::Apply(pod("add", address(1))));
    first.holds(20).await;
    rig.queued(10).await;
    first.release.add_permits(30);
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_wait_for_an_instance_is_not_the_functions_time() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[]).await;
    rig.add(&json!({"timeoutSeconds": 1}));
    let call = rig.call("/add");
    rig.queued(1).await;
    // As long as the function may take, and more.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    rig.functions.pod(Event::Apply(pod("add", address(1))));
    assert_eq!(call.await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_full_queue_refuses_calls() {
    let options = Options { queue_length: 2, ..Options::default() };
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::with(port, &[], options).await;
    let waiting = [rig.call("/add"), rig.call("/add")];
    rig.queued(2).await;
    let message = rig.refused("/add", 429, "TooManyRequests").await;
    assert_eq!(message, "too many calls of function default/add wait for an instance");
    rig.functions.pod(Event::Apply(pod("add", address(1))));
    for call in waiting {
        assert_eq!(call.await.unwrap().status(), 201);
    }
}

#[tokio::test]
async fn a_call_that_waited_too_long_is_told_what_keeps_instances_from_starting() {
    let queue_time = Duration::from_millis(100);
    let rig = Rig::with(1, &[], Options { queue_time, ..Options::default() }).await;
    let message = rig.refused("/add", 503, "ServiceUnavailable").await;
    assert_eq!(message, "function default/add has no instance that is ready: none within 0 s");
    let mut stuck = pod_of("add", "1", address(1), false);
    let waiting = json!({"reason": "ImagePullBackOff", "message": "back-off"});
    let container = json!({"name": "function", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": waiting}});
    stuck.status.as_mut().unwrap().container_statuses =
        serde_json::from_value(json!([container])).unwrap();
    rig.functions.pod(Event::Apply(stuck));
    let message = rig.refused("/add", 503, "ServiceUnavailable").await;
    assert!(message.ends_with("ready: ImagePullBackOff: back-off"), "{message}");
}

#[tokio::test]
async fn a_function_of_which_no_version_could_be_made_refuses_at_once() {
    let rig = Rig::start(1, &[]).await;
    let waiting = rig.call("/add");
    rig.queued(1).await;
    let mut broken = serving("add", &json!({}), &Value::Null);
    let version = json!({"version": 1, "digest": "", "phase": "Failed", "message": "bad syntax"});
    broken.status.as_mut().unwrap().versions = vec![serde_json::from_value(version).unwrap()];
    rig.functions.function(Event::Apply(broken));
    let message = rig.refused("/add", 503, "ServiceUnavailable").await;
    assert!(message.ends_with("ready: version 1: bad syntax"), "{message}");
    let status: Value = waiting.await.unwrap().json().await.unwrap();
    assert_eq!(status["message"], message, "one that has come before is told, too");
    rig.queued(0).await;
}

/// The function `add`, whose versions have these phases; the first serves.
fn in_phases(phases: &[&str]) -> Function {
    let mut function = serving("add", &json!({}), &json!(1));
    let version = |(number, phase): (usize, &&str)| json!({"version": number + 1, "digest": "", "phase": phase});
    let versions = json!(phases.iter().enumerate().map(version).collect::<Vec<_>>());
    function.status.as_mut().unwrap().versions = serde_json::from_value(versions).unwrap();
    function
}

/// A pod of version 1 whose container waits for this reason.
fn stuck(last: u8, reason: &str) -> Pod {
    let mut stuck = pod_of("add", "1", address(last), false);
    let waiting = json!({"waiting": {"reason": reason, "message": "why"}});
    let container = json!([{"name": "function", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": waiting}]);
    stuck.status.as_mut().unwrap().container_statuses = serde_json::from_value(container).unwrap();
    stuck
}

/// An instance that takes a call, and does as it does when its client goes: it works on, or ends the call.
pub(crate) async fn takes_a_call(listener: &TcpListener) -> TcpStream {
    let accepted = tokio::time::timeout(Duration::from_secs(30), listener.accept()).await;
    let (mut stream, _) = accepted.expect("no connection").unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    stream
}

#[tokio::test]
async fn the_place_of_a_call_that_is_given_up_is_taken_until_the_instance_has_ended_it() {
    let listener = TcpListener::bind((address(1), 0)).await.unwrap();
    let rig = Rig::start(listener.local_addr().unwrap().port(), &[("add", address(1))]).await;
    rig.add(&json!({"containerConcurrency": 1}));
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegin"] {
        let given_up = rig.call("/add");
        let mut instance = takes_a_call(&listener).await;
        instance.write_all(begun.as_bytes()).await.unwrap();
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        rig.in_flight(0).await;
        let next = rig.call("/add");
        rig.queued(1).await;
        // The client is gone, as far as the instance can see.
        assert_eq!(instance.read(&mut [0]).await.unwrap(), 0);
        rig.queued(1).await;
        drop(instance);
        let mut instance = takes_a_call(&listener).await;
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        instance.write_all(answer).await.unwrap();
        assert_eq!(next.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_holds_its_place_no_longer_than_it_may_take() {
    let listener = TcpListener::bind((address(1), 0)).await.unwrap();
    let rig = Rig::start(listener.local_addr().unwrap().port(), &[("add", address(1))]).await;
    rig.add(&json!({"containerConcurrency": 1, "timeoutSeconds": 1}));
    let given_up = rig.call("/add");
    let _works_on = takes_a_call(&listener).await;
    given_up.abort();
    let _next = rig.call("/add");
    takes_a_call(&listener).await;
}

/// Such a server notices that its client is gone only when it cannot write.
#[tokio::test]
async fn an_instance_that_goes_on_answering_a_call_that_is_given_up_is_told_so_by_its_connection() {
    let listener = TcpListener::bind((address(1), 0)).await.unwrap();
    let rig = Rig::start(listener.local_addr().unwrap().port(), &[("add", address(1))]).await;
    rig.add(&json!({"containerConcurrency": 1}));
    for (piece, pause) in [(&[b'x'; 1 << 14][..], 0), (b"x", 100)] {
        let given_up = rig.call("/add");
        let mut instance = takes_a_call(&listener).await;
        instance.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        rig.in_flight(1).await;
        given_up.abort();
        let answering = async {
            while instance.write_all(piece).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answering).await.expect("not told");
        // The place is free.
        let next = rig.call("/add");
        let mut instance = takes_a_call(&listener).await;
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        instance.write_all(answer).await.unwrap();
        assert_eq!(next.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_first_version_that_cannot_start_refuses_as_soon_as_that_is_known() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[]).await;
    rig.functions.function(Event::Apply(in_phases(&["Building"])));
    rig.functions.pod(Event::Apply(stuck(1, "ContainerCreating")));
    let waiting = rig.call("/add");
    rig.queued(1).await;
    rig.functions.pod(Event::Apply(stuck(1, "CreateContainerConfigError")));
    let status: Value = waiting.await.unwrap().json().await.unwrap();
    let message = rig.refused("/add", 503, "ServiceUnavailable").await;
    assert!(message.ends_with("ready: CreateContainerConfigError: why"), "{message}");
    assert_eq!(status["message"], message, "one that has come before is told, too");
    rig.functions.function(Event::Apply(in_phases(&["Failed"])));
    rig.refused("/add", 503, "ServiceUnavailable").await;

    // It is tried once more, and does better.
    rig.functions.pod(Event::Apply(stuck(1, "ContainerCreating")));
    let waiting = rig.call("/add");
    rig.queued(1).await;
    rig.functions.pod(Event::Apply(pod("add", address(1))));
    assert_eq!(waiting.await.unwrap().status(), 201);
}

#[tokio::test]
async fn calls_wait_while_anything_may_still_become_ready() {
    let check = async |phases: &[&str], pods: &[Pod]| {
        let rig = Rig::start(1, &[]).await;
        rig.functions.function(Event::Apply(in_phases(phases)));
        pods.iter().for_each(|pod| rig.functions.pod(Event::Apply(pod.clone())));
        let _waiting = rig.call("/add");
        rig.queued(1).await;
    };
    let failing = || stuck(1, "ImagePullBackOff");
    let mut leaving = failing();
    leaving.metadata.deletion_timestamp = Some(api_types::meta::Time(Default::default()));
    check(&["Failed"], &[]).await;
    check(&["Failed"], &[leaving]).await;
    check(&["Failed"], &[failing(), stuck(2, "ContainerCreating")]).await;
    check(&["Failed", "Building"], &[failing()]).await;
    check(&["Ready"], &[failing()]).await;
}

#[tokio::test]
async fn a_call_that_finds_all_instances_busy_for_too_long_is_refused() {
    let held = Held::new(0);
    let port = instance(address(1), 0, held.router("a")).await;
    let queue_time = Duration::from_millis(100);
    let rig =
        Rig::with(port, &[("add", address(1))], Options { queue_time, ..Options::default() }).await;
    rig.add(&json!({"containerConcurrency": 1}));
    let first = rig.call("/add");
    held.holds(1).await;
    let message = rig.refused("/add", 429, "TooManyRequests").await;
    assert_eq!(message, "all instances of function default/add were busy for 0 s");
    held.release.add_permits(1);
    assert_eq!(first.await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_instance_that_goes_gets_no_new_calls_and_finishes_those_in_hand() {
    let held = Held::new(0);
    let port = instance(address(1), 0, held.router("a")).await;
    instance(address(2), port, echo("b")).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let first = rig.call("/add");
    held.holds(1).await;
    rig.functions.pod(Event::Apply(pod("add", address(2))));
    rig.functions.pod(Event::Delete(pod("add", address(1))));
    for _ in 0..8 {
        assert_eq!(rig.post("/add", "").await.headers()["x-from"], "b");
    }
    held.release.add_permits(1);
    assert_eq!(first.await.unwrap().text().await.unwrap(), "a");
}

#[tokio::test]
async fn calls_go_to_the_version_that_serves() {
    let port = instance(address(1), 0, echo("one")).await;
    instance(address(2), port, echo("two")).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    rig.functions.pod(Event::Apply(pod_of("add", "2", address(2), true)));
    for (version, expected) in [(1, "one"), (2, "two"), (1, "one")] {
        rig.functions.function(Event::Apply(serving("add", &json!({}), &json!(version))));
        for _ in 0..4 {
            assert_eq!(rig.post("/add", "").await.headers()["x-from"], expected);
        }
    }
}

#[tokio::test]
async fn a_call_that_waits_for_a_function_that_is_deleted_is_told_so() {
    let rig = Rig::start(1, &[]).await;
    let call = rig.call("/add");
    rig.queued(1).await;
    rig.functions.function(Event::Delete(function("add", &json!({}))));
    assert_eq!(call.await.unwrap().status(), 404);
    assert_eq!(rig.metric("function_calls_queued"), None, "it is not counted any more");
    assert_eq!(rig.metric("function_calls_total"), None, "nor is how it ended");
}

#[tokio::test]
async fn a_caller_that_gives_up_waits_no_longer() {
    let rig = Rig::start(1, &[]).await;
    let call = rig.call("/add");
    rig.queued(1).await;
    call.abort();
    rig.queued(0).await;
    rig.in_flight(0).await;
}

#[tokio::test]
async fn an_instance_that_does_not_listen_yet_is_tried_again() {
    // A port that nobody listens on.
    let port = instance(address(9), 0, Router::new()).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let call = rig.call("/add");
    rig.queued(1).await;
    instance(address(1), port, echo("a")).await;
    assert_eq!(call.await.unwrap().status(), 201);
}

/// Like one that dies: what was not yet on its way is not to be lost with it.
#[tokio::test]
async fn an_instance_that_breaks_a_call_off_gets_no_other_for_a_moment() {
    let listener = TcpListener::bind((address(1), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let rig = Rig::start(port, &[("add", address(1))]).await;
    rig.add(&json!({"containerConcurrency": 1}));
    let (first, second) = (rig.call("/add"), rig.call("/add"));
    let (mut connection, _) = listener.accept().await.unwrap();
    assert!(connection.read(&mut [0; 1024]).await.unwrap() > 0);
    rig.queued(1).await;
    let broken = Instant::now();
    drop(connection);
    listener.accept().await.unwrap();
    assert!(broken.elapsed() >= Duration::from_millis(200), "{:?}", broken.elapsed());
    for call in [first, second] {
        call.abort();
    }
}

/// What is written to a host that is gone is not answered for long.
#[tokio::test]
async fn a_connection_that_was_silent_is_not_used_before_the_instance_has_shown_that_it_is_there() {
    let listener = TcpListener::bind((address(1), 0)).await.unwrap();
    let rig = Rig::start(listener.local_addr().unwrap().port(), &[("add", address(1))]).await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let mut used = None;
    for _ in 0..3 {
        let call = rig.call("/add");
        let mut instance = takes_a_call(&listener).await;
        instance.write_all(answer).await.unwrap();
        assert_eq!(call.await.unwrap().status(), 200);
        if let Some(mut before) = used.replace(instance) {
            assert_eq!(before.read(&mut [0]).await.unwrap(), 0, "the new one takes its place");
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

/// Works on a call at a time, and says of others that it has not begun them, if they can be repeated. How often it did.
fn one_at_a_time(held: &Held, refused: &Arc<AtomicUsize>) -> Router {
    let (held, refused, place) = (held.clone(), refused.clone(), Arc::new(Semaphore::new(1)));
    let answer = async move |headers: HeaderMap, body: String| {
        assert!(headers.contains_key("x-minik8s-repeatable"), "{headers:?}");
        let Ok(_place) = place.try_acquire() else {
            refused.fetch_add(1, Ordering::SeqCst);
            let not_started = [("x-minik8s-not-started", "busy")];
            return (StatusCode::SERVICE_UNAVAILABLE, not_started).into_response();
        };
        held.now.fetch_add(1, Ordering::SeqCst);
        held.release.acquire().await.unwrap().forget();
        held.now.fetch_sub(1, Ordering::SeqCst);
        body.into_response()
    };
    Router::new().route("/", post(answer))
}

#[tokio::test]
async fn two_gateways_give_an_instance_no_more_than_it_may_have() {
    let (held, refused) = (Held::new(0), Arc::default());
    let port = instance(address(1), 0, one_at_a_time(&held, &refused)).await;
    let gateways = [
        Rig::start(port, &[("add", address(1))]).await,
        Rig::start(port, &[("add", address(1))]).await,
    ];
    gateways.iter().for_each(|rig| rig.add(&json!({"containerConcurrency": 1})));
    let call = |n: usize| {
        let rig = &gateways[n % 2];
        let call = rig.client.post(format!("{}/add", rig.url)).body(n.to_string()).send();
        tokio::spawn(async move { call.await.unwrap().text().await.unwrap() })
    };
    let calls: Vec<_> = (0..6).map(call).collect();
    held.holds(1).await;
    let is_refused = async {
        while refused.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_refused).await.unwrap();
    held.release.add_permits(6);
    for (n, answer) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), n.to_string());
    }
}

/// Takes calls that cannot be sent elsewhere, if it takes any, and says of all others, after a moment, that it has not begun them.
fn busy(takes: bool, moment: Duration) -> Router {
    let answer = async move |headers: HeaderMap| {
        if takes && !headers.contains_key("x-minik8s-repeatable") {
            return StatusCode::OK.into_response();
        }
        tokio::time::sleep(moment).await;
        (StatusCode::SERVICE_UNAVAILABLE, [("x-minik8s-not-started", "busy")]).into_response()
    };
    Router::new().route("/", post(answer))
}

async fn two_that_are_busy(takes: bool, moment: Duration) -> Rig {
    let port = instance(address(1), 0, busy(takes, moment)).await;
    instance(address(2), port, busy(takes, moment)).await;
    let options = Options { queue_time: Duration::from_secs(2), ..Options::default() };
    Rig::with(port, &[("add", address(1)), ("add", address(2))], options).await
}

#[tokio::test]
async fn a_call_that_no_instance_takes_goes_round_no_longer_than_it_may_wait() {
    // One of them may have room again when the other says that it has none.
    let rig = two_that_are_busy(false, Duration::from_millis(100)).await;
    let message = rig.refused("/add", 429, "TooManyRequests").await;
    assert_eq!(message, "all instances of function default/add were busy for 2 s");
}

#[tokio::test]
async fn a_call_that_instances_refuse_waits_at_one_of_them_in_the_end() {
    let rig = two_that_are_busy(true, Duration::ZERO).await;
    assert_eq!(rig.post("/add", "").await.status(), 200);
}

#[tokio::test]
async fn a_503_of_the_function_itself_is_its_answer() {
    let refuses = |marked: &'static str| {
        post(async move || (StatusCode::SERVICE_UNAVAILABLE, [("x-minik8s-not-started", marked)]))
    };
    let routes = Router::new().route("/", refuses("")).route("/marked", refuses("busy"));
    let port = instance(address(1), 0, routes).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let answer = rig.post("/add", "").await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (503, String::new()));
    // Nor is it sent again if it is too long to be kept.
    let call = rig.client.post(format!("{}/default/add/marked", rig.url));
    let answer = call.body("x".repeat(70_000)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (503, String::new()));
}
