//! Runs of workflows on a control plane in process, with functions that the tests make up.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use api_types::{
    jiff::Timestamp,
    minik8s::{RunPhase, Workflow, WorkflowRun, WorkflowRunStatus},
};
use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, Request, Response, StatusCode},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use serverless_gateway::{
    Access, Calls, Limits,
    workflows::{CallFunction, FunctionCall, NoAnswer, Runs, router},
};
use testkit::{ControlPlane, Obstacle, wait};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::rig::{Options, Rig, address, echo, instance};

/// Functions that note what they are called with.
struct Functions {
    calls: Mutex<Vec<(String, String)>>,
    /// Which are expected, in order.
    expected: Mutex<Vec<String>>,
    /// How often `slow` may return.
    permits: Semaphore,
}

impl Functions {
    fn new() -> Arc<Self> {
        let (calls, expected) = (Mutex::default(), Mutex::default());
        Arc::new(Self { calls, expected, permits: Semaphore::new(0) })
    }

    /// How often each function was called with each key.
    fn calls(&self) -> BTreeMap<(String, String), usize> {
        let mut calls = BTreeMap::new();
        for call in self.calls.lock().iter() {
            *calls.entry(call.clone()).or_default() += 1;
        }
        calls
    }

    fn called(&self, function: &str) -> Vec<usize> {
        self.calls().into_iter().filter(|((f, _), _)| f == function).map(|(_, n)| n).collect()
    }
}

#[async_trait::async_trait]
impl CallFunction for Functions {
    fn expect(&self, namespace: &str, function: &str) {
        self.expected.lock().push(format!("{namespace}/{function}"));
    }

    async fn call(&self, call: FunctionCall) -> Result<Response<Body>, NoAnswer> {
        let key = call.headers["idempotency-key"].to_str().unwrap().to_owned();
        self.calls.lock().push((call.function.clone(), key));
        let input: Value = serde_json::from_slice(&call.body).unwrap();
        let (code, output) = match call.function.as_str() {
            "add-five" => (200, json!({"x": input["x"].as_i64().unwrap() + 5})),
            "slow" => {
                self.permits.acquire().await.unwrap().forget();
                (200, input)
            }
            "fail" => (500, json!({"error": {"type": "ValueError", "message": "no"}})),
            other => {
                let why = format!("functions.minik8s.io {other:?} not found");
                return Err(NoAnswer { code: StatusCode::NOT_FOUND, why, not_taken: false });
            }
        };
        let body = Body::from(output.to_string());
        Ok(Response::builder().status(code).body(body).unwrap())
    }
}

struct Cluster {
    plane: ControlPlane,
    functions: Arc<Functions>,
}

/// A gateway that drives runs.
struct Gateway {
    runs: Runs,
    metrics: component::Metrics,
    shutdown: CancellationToken,
    driving: tokio::task::JoinHandle<()>,
}

impl Cluster {
    async fn start() -> Self {
        Self { plane: ControlPlane::start().await, functions: Functions::new() }
    }

    fn gateway(&self, identity: &str) -> Gateway {
        let (alive, shutdown) = (CancellationToken::new(), CancellationToken::new());
        alive.cancel();
        let listwatch = self.plane.listwatch_as("serverless-gateway");
        let client = listwatch.client().clone();
        let metrics = component::Metrics::default();
        let ending = (&metrics, shutdown.clone());
        let runs = Runs::new(client, self.functions.clone(), identity, ending);
        let driven = runs.clone();
        let driving = tokio::spawn(async move { driven.drive(&listwatch, &alive).await });
        Gateway { runs, metrics, shutdown, driving }
    }

    fn runs(&self) -> Api<WorkflowRun> {
        Api::default_namespaced(self.plane.client())
    }

    async fn workflow(&self, name: &str, spec: Value) {
        let api: Api<Workflow> = Api::default_namespaced(self.plane.client());
        let workflow = json!({
            "apiVersion": "minik8s.io/v1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec,
        });
        let workflow = serde_json::from_value(workflow).unwrap();
        api.create(&PostParams::default(), &workflow).await.unwrap();
    }

    async fn run(&self, name: &str, workflow: &str, input: Value) {
        let run = json!({
            "apiVersion": "minik8s.io/v1", "kind": "WorkflowRun", "metadata": {"name": name},
            "spec": {"workflow": workflow, "input": input},
        });
        let run = serde_json::from_value(run).unwrap();
        self.runs().create(&PostParams::default(), &run).await.unwrap();
    }

    async fn ended(&self, name: &str) -> WorkflowRunStatus {
        let has_ended = |run: Option<&WorkflowRun>| {
            run.and_then(|run| run.status.as_ref()).is_some_and(|s| s.phase.has_ended())
        };
        let run = wait::until_object(&self.runs(), name, "the run has ended", has_ended).await;
        run.unwrap().status.unwrap()
    }

    async fn cancel(&self, name: &str) {
        let wish = Patch::Merge(json!({"spec": {"cancel": true}}));
        self.runs().patch(name, &PatchParams::default(), &wish).await.unwrap();
    }

    /// How often a status of the run was sent.
    fn writes(&self, name: &str) -> usize {
        let (requests, status) = (self.plane.requests(), format!("/{name}/status"));
        requests.iter().filter(|r| r.starts_with("PUT") && r.contains(&status)).count()
    }

    async fn written(&self, name: &str, times: usize) {
        let written = async || match self.writes(name) {
            writes if writes >= times => Ok(()),
            fewer => Err(fewer),
        };
        wait::until(&format!("a status of {name} is sent"), written).await;
    }

    async fn called(&self, function: &str, expected: &[usize]) {
        let called = async || match self.functions.called(function) {
            calls if calls == expected => Ok(()),
            other => Err(other),
        };
        wait::until(&format!("{function} is called"), called).await;
    }
}

/// `function` and then what is next.
fn line(functions: &[&str]) -> Value {
    let mut nodes = json!({});
    for (i, function) in functions.iter().enumerate() {
        nodes[format!("n{i}")] = json!({"type": "Task", "function": function});
        if i + 1 < functions.len() {
            nodes[format!("n{i}")]["next"] = json!(format!("n{}", i + 1));
        }
    }
    json!({"startAt": "n0", "nodes": nodes, "params": {"x": 1}})
}

#[tokio::test]
async fn a_run_takes_a_write_for_each_call_and_two_more() {
    let cluster = Cluster::start().await;
    cluster.workflow("add", line(&["addFive", "addFive", "addFive"])).await;
    cluster.run("r", "add", json!({"x": 100})).await;
    let _gateway = cluster.gateway("a");
    let status = cluster.ended("r").await;
    assert_eq!((status.phase, status.output), (RunPhase::Succeeded, Some(json!({"x": 115}))));
    let told: Vec<_> = status.steps.iter().map(|s| (s.state.as_str(), s.input.clone())).collect();
    assert_eq!(told, [("n0", Some(json!({"x": 100}))), ("n1", None), ("n2", None)]);
    assert_eq!((status.holder, status.execution), (None, None));
    let writes = cluster.plane.requests();
    let writes = writes.iter().filter(|r| !r.starts_with("GET") && r.contains("/workflowruns"));
    assert_eq!(writes.count(), 3 + 2);
}

#[tokio::test]
async fn a_run_without_input_has_the_workflows_and_one_without_a_workflow_fails() {
    let cluster = Cluster::start().await;
    cluster.workflow("add", line(&["addFive"])).await;
    let run = json!({
        "apiVersion": "minik8s.io/v1", "kind": "WorkflowRun", "metadata": {"name": "r"}, "spec": {"workflow": "add"},
    });
    let run = serde_json::from_value(run).unwrap();
    cluster.runs().create(&PostParams::default(), &run).await.unwrap();
    cluster.run("lost", "none", json!({})).await;
    let _gateway = cluster.gateway("a");
    assert_eq!(cluster.ended("r").await.output, Some(json!({"x": 6})));
    let lost = cluster.ended("lost").await;
    assert_eq!((lost.phase, lost.error.as_deref()), (RunPhase::Failed, Some("Workflow.NotFound")));
}

#[tokio::test]
async fn an_exception_ends_a_run_with_its_type_and_message() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["addFive", "fail", "addFive"])).await;
    cluster.run("r", "w", json!({"x": 1})).await;
    let _gateway = cluster.gateway("a");
    let status = cluster.ended("r").await;
    assert_eq!(
        (status.error.as_deref(), status.message.as_deref()),
        (Some("ValueError"), Some("no"))
    );
    assert_eq!(status.steps.len(), 2);
    assert_eq!(status.steps[1].error.as_deref(), Some("ValueError"));
}

#[tokio::test]
async fn gateways_share_the_runs_and_make_each_call_once() {
    let cluster = Cluster::start().await;
    cluster.workflow("add", line(&["addFive", "addFive", "addFive"])).await;
    let _gateways = [cluster.gateway("a"), cluster.gateway("b")];
    for n in 0..20 {
        cluster.run(&format!("r{n}"), "add", json!({"x": n})).await;
    }
    for n in 0..20 {
        assert_eq!(cluster.ended(&format!("r{n}")).await.output, Some(json!({"x": n + 15})));
    }
    let calls = cluster.functions.calls();
    assert_eq!((calls.len(), calls.values().max()), (60, Some(&1)));
}

#[tokio::test]
async fn writes_whose_answers_are_lost_are_not_made_twice() {
    let cluster = Cluster::start().await;
    cluster.workflow("add", line(&["addFive", "slow", "addFive"])).await;
    let _gateway = cluster.gateway("a");
    let lost = cluster.plane.lose_answers(|request| request.uri().path().ends_with("/r/status"));
    cluster.run("r", "add", json!({"x": 0})).await;
    cluster.written("r", 2).await;
    drop(lost);
    cluster.called("slow", &[1]).await;
    cluster.functions.permits.add_permits(1);
    assert_eq!(cluster.ended("r").await.output, Some(json!({"x": 10})));
    assert_eq!(cluster.functions.calls().values().max(), Some(&1));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_disturbs_no_other_call() {
    let cluster = Cluster::start().await;
    let task = json!({"Type": "Task", "Resource": "slow", "End": true});
    let branch = |name: &str| json!({"StartAt": name, "States": {name: task}});
    let both = json!({"Type": "Parallel", "Branches": [branch("a"), branch("b")], "End": true});
    let definition = json!({"StartAt": "both", "States": {"both": both}});
    cluster.workflow("w", json!({"definition": definition})).await;
    cluster.run("r", "w", json!({"x": 0})).await;
    let _gateway = cluster.gateway("a");
    cluster.called("slow", &[1, 1]).await;
    let lost = cluster.plane.lose_answers(|request| request.uri().path().ends_with("/r/status"));
    let before = cluster.writes("r");
    cluster.functions.permits.add_permits(1);
    cluster.written("r", before + 2).await;
    drop(lost);
    // The next one follows from the one that was stored.
    cluster.written("r", before + 3).await;
    cluster.functions.permits.add_permits(3);
    assert_eq!(cluster.ended("r").await.output, Some(json!([{"x": 0}, {"x": 0}])));
    assert_eq!(cluster.functions.called("slow"), [1, 1]);
}

#[tokio::test]
async fn a_run_whose_results_cannot_be_stored_ends() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["addFive", "slow", "addFive"])).await;
    cluster.run("r", "w", json!({"x": 0})).await;
    let _gateway = cluster.gateway("a");
    cluster.called("slow", &[1]).await;
    let full = |request: &Request<kube::client::Body>| {
        let length = HttpBody::size_hint(request.body()).exact();
        request.method() == "PUT" && length.is_some_and(|length| length > 1000)
    };
    let _full = cluster.plane.answer(StatusCode::PAYLOAD_TOO_LARGE, full);
    cluster.functions.permits.add_permits(3);
    let status = cluster.ended("r").await;
    assert_eq!(
        (status.phase, status.error.as_deref()),
        (RunPhase::Failed, Some("States.DataLimitExceeded"))
    );
    assert_eq!((status.execution, status.input, status.steps_dropped), (None, None, 2));
    assert!(status.start_time.is_some());
    assert_eq!(cluster.functions.calls().values().max(), Some(&1));
}

/// A run `r` whose first step, `slow`, is being called, while its status is answered so.
async fn refused_at_a_step(status: StatusCode) -> (Cluster, Gateway, Obstacle) {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow"])).await;
    cluster.run("r", "w", json!({"x": 0})).await;
    let gateway = cluster.gateway("a");
    cluster.called("slow", &[1]).await;
    let of_the_run =
        |request: &Request<kube::client::Body>| request.uri().path().ends_with("/r/status");
    let refused = cluster.plane.answer(status, of_the_run);
    (cluster, gateway, refused)
}

#[tokio::test]
async fn that_a_runs_results_cannot_be_stored_is_stored_as_soon_as_it_can_be() {
    let (cluster, _gateway, refused) = refused_at_a_step(StatusCode::UNPROCESSABLE_ENTITY).await;
    let before = cluster.writes("r");
    cluster.functions.permits.add_permits(1);
    cluster.written("r", before + 3).await;
    drop(refused);
    let status = cluster.ended("r").await;
    assert_eq!(
        (status.phase, status.error.as_deref()),
        (RunPhase::Failed, Some("States.DataLimitExceeded"))
    );
    assert!(status.message.unwrap().starts_with("the run cannot be stored: "));
    assert_eq!(cluster.functions.called("slow"), [1]);
}

#[tokio::test]
async fn what_a_gateway_may_not_store_for_a_while_is_stored_after_it() {
    let (cluster, _gateway, forbidden) = refused_at_a_step(StatusCode::FORBIDDEN).await;
    let before = cluster.writes("r");
    cluster.functions.permits.add_permits(3);
    cluster.written("r", before + 2).await;
    drop(forbidden);
    assert_eq!(cluster.ended("r").await.output, Some(json!({"x": 0})));
    assert_eq!(cluster.functions.called("slow"), [1]);
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_is_taken_calls_nothing() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow", "slow"])).await;
    cluster.run("running", "w", json!({"x": 0})).await;
    let first = cluster.gateway("first");
    cluster.called("slow", &[1]).await;
    first.shutdown.cancel();
    cluster.functions.permits.add_permits(1);
    first.driving.await.unwrap();
    cluster.run("pending", "w", json!({"x": 0})).await;
    cluster.cancel("running").await;
    cluster.cancel("pending").await;
    let _second = cluster.gateway("second");
    for run in ["pending", "running"] {
        assert_eq!(cluster.ended(run).await.phase, RunPhase::Cancelled);
    }
    assert_eq!(cluster.functions.called("slow"), [1]);
}

#[test]
fn after_the_death_of_a_gateway_only_what_was_being_called_is_called_again() {
    let living = tokio::runtime::Runtime::new().unwrap();
    let dying = tokio::runtime::Runtime::new().unwrap();
    living.block_on(async {
        let cluster = Arc::new(Cluster::start().await);
        cluster.workflow("w", line(&["addFive", "slow", "addFive"])).await;
        cluster.run("r", "w", json!({"x": 1})).await;
        let dead = cluster.clone();
        let _dead = dying.spawn(async move { dead.gateway("dead") }).await.unwrap();
        cluster.called("slow", &[1]).await;
        dying.shutdown_background();
        let _gateway = cluster.gateway("living");
        cluster.called("slow", &[2]).await;
        cluster.functions.permits.add_permits(2);
        let status = cluster.ended("r").await;
        assert_eq!((status.output, status.steps.len()), (Some(json!({"x": 11})), 3));
        assert_eq!(cluster.functions.called("add-five"), [1, 1]);
    });
}

#[tokio::test]
async fn a_run_is_left_to_its_holder_until_its_lease_ends() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow"])).await;
    cluster.run("held", "w", json!({})).await;
    let until = Timestamp::now().checked_add(std::time::Duration::from_secs(3600)).unwrap();
    let held = json!({"status": {"holder": "other", "leaseUntil": format!("{until:.6}")}});
    cluster
        .runs()
        .patch_status("held", &PatchParams::default(), &Patch::Merge(&held))
        .await
        .unwrap();
    let _gateway = cluster.gateway("a");
    cluster.run("free", "w", json!({})).await;
    cluster.functions.permits.add_permits(5);
    cluster.ended("free").await;
    assert_eq!(cluster.functions.called("slow"), [1]);
    let status = cluster.runs().get("held").await.unwrap().status.unwrap();
    assert_eq!(status.holder.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_gateway_takes_no_run_before_it_has_a_lease() {
    let cluster = Cluster::start().await;
    let (metrics, shutdown) = (component::Metrics::default(), CancellationToken::new());
    let (client, functions) = (cluster.plane.client(), cluster.functions.clone());
    let runs = Runs::new(client, functions, "a", (&metrics, shutdown.clone()));
    let (alive, listwatch) = (CancellationToken::new(), cluster.plane.listwatch());
    let mut driving = std::pin::pin!(runs.drive(&listwatch, &alive));
    let asked = || cluster.plane.requests().iter().any(|r| r.contains("/workflowruns"));
    for _ in 0..100 {
        assert!(futures::poll!(&mut driving).is_pending() && !asked());
        tokio::task::yield_now().await;
    }
    alive.cancel();
    while !asked() {
        assert!(futures::poll!(&mut driving).is_pending());
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    driving.await;
}

#[tokio::test]
async fn a_gateway_that_stops_waits_for_what_it_calls_and_begins_nothing_more() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow", "addFive"])).await;
    cluster.run("r", "w", json!({"x": 1})).await;
    let first = cluster.gateway("first");
    cluster.called("slow", &[1]).await;
    first.shutdown.cancel();
    // As long as it has not ended, its runs are nobody else's.
    let second = cluster.gateway("second");
    cluster.functions.permits.add_permits(1);
    first.driving.await.unwrap();
    assert_eq!(cluster.ended("r").await.output, Some(json!({"x": 6})));
    assert_eq!(cluster.functions.calls().values().max(), Some(&1));
    drop(second);
}

#[tokio::test]
async fn a_gateway_that_stops_hands_its_runs_over_when_they_take_long() {
    let cluster = Cluster::start().await;
    let wait = json!({"Type": "Wait", "Seconds": 3600, "End": true});
    let waits = json!({"StartAt": "wait", "States": {"wait": wait}});
    cluster.workflow("waits", json!({"definition": waits})).await;
    cluster.workflow("slow", line(&["slow"])).await;
    cluster.run("waits", "waits", json!({})).await;
    cluster.run("slow", "slow", json!({})).await;
    let first = cluster.gateway("first");
    cluster.called("slow", &[1]).await;
    let running = |run: Option<&WorkflowRun>| {
        run.and_then(|run| run.status.as_ref()).is_some_and(|s| s.phase == RunPhase::Running)
    };
    wait::until_object(&cluster.runs(), "waits", "the run waits", running).await;
    first.shutdown.cancel();
    let free = |run: Option<&WorkflowRun>| {
        run.and_then(|run| run.status.as_ref()).is_some_and(|s| s.holder.is_none())
    };
    wait::until_object(&cluster.runs(), "waits", "the run is handed over", free).await;
    assert!(!first.driving.is_finished(), "it waits for what it has called");
    first.driving.await.unwrap();
    let status = cluster.runs().get("slow").await.unwrap().status.unwrap();
    assert_eq!((status.phase, status.holder), (RunPhase::Running, None));
    let _second = cluster.gateway("second");
    cluster.called("slow", &[2]).await;
}

#[tokio::test]
async fn a_gateway_stops_though_the_api_server_does_not_answer() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow"])).await;
    cluster.run("r", "w", json!({})).await;
    let gateway = cluster.gateway("a");
    cluster.called("slow", &[1]).await;
    let _refused = cluster.plane.refuse(|_| true);
    gateway.shutdown.cancel();
    tokio::time::timeout(wait::DEADLINE, gateway.driving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_run_that_has_ended_is_left_alone_by_those_who_have_not_heard() {
    let cluster = Cluster::start().await;
    let wait = json!({"Type": "Wait", "Seconds": 3, "End": true});
    let waits = json!({"StartAt": "wait", "States": {"wait": wait}});
    cluster.workflow("waits", json!({"definition": waits})).await;
    cluster.run("r", "waits", json!({})).await;
    cluster.run("clock", "waits", json!({})).await;
    let path = |request: &Request<kube::client::Body>| request.uri().to_string();
    let _deaf = cluster
        .plane
        .hold(move |r| path(r).contains("/workflowruns") && path(r).contains("watch="));
    let held = cluster
        .plane
        .hold(move |r| path(r).contains("/workflowruns/r/status") && r.method() == "PUT");
    let _gateway = cluster.gateway("a");
    cluster.written("r", 1).await;
    let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    cluster.runs().patch_status("r", &PatchParams::default(), &ended).await.unwrap();
    drop(held);
    // The test hears nothing either.
    wait::until("some seconds have gone by", async || {
        let phase = cluster.runs().get("clock").await.unwrap().status.unwrap().phase;
        phase.has_ended().then_some(()).ok_or(phase)
    })
    .await;
    assert_eq!(cluster.writes("r"), 1);
}

#[tokio::test]
async fn a_gateway_that_has_just_begun_does_not_miss_the_functions_of_a_run() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::without_lists(port, Options::default()).await;
    let limits = Limits { request_bytes: 100, queue_time: Duration::from_secs(60) };
    let functions = Calls::new(rig.functions.clone(), limits);
    let (namespace, function) = ("default".to_owned(), "add".to_owned());
    let call = FunctionCall { namespace, function, headers: HeaderMap::new(), body: Vec::new() };
    let mut call = CallFunction::call(&functions, call);
    assert!(futures::poll!(&mut call).is_pending());
    rig.list(&[("add", address(1))]);
    assert_eq!(call.await.unwrap().status(), 201);
}

#[tokio::test]
async fn the_functions_of_a_run_are_woken_before_the_first_is_called() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow", "addFive", "fail"])).await;
    cluster.run("r", "w", json!({"x": 1})).await;
    let _gateway = cluster.gateway("a");
    cluster.called("slow", &[1]).await;
    assert_eq!(cluster.functions.expected.lock()[..2], ["default/add-five", "default/fail"]);
    cluster.functions.permits.add_permits(1);
    cluster.ended("r").await;
    assert_eq!(cluster.functions.expected.lock().last().unwrap(), "default/fail");
}

#[tokio::test]
async fn what_a_choice_may_pass_by_is_woken_once_and_not_kept_awake() {
    let cluster = Cluster::start().await;
    let task =
        |function: &str, next: &str| json!({"Type": "Task", "Resource": function, "Next": next});
    let rule = json!({"Variable": "$.x", "NumericEquals": 1, "Next": "one"});
    let states = json!({
        "first": task("slow", "second"), "second": task("slow", "choice"),
        "choice": {"Type": "Choice", "Choices": [rule], "Default": "other"},
        "one": task("addFive", "end"), "other": task("fail", "end"), "end": {"Type": "Succeed"}});
    let definition = json!({"StartAt": "first", "States": states});
    cluster.workflow("w", json!({"definition": definition})).await;
    cluster.run("r", "w", json!({"x": 1})).await;
    let _gateway = cluster.gateway("a");
    // Each is taken, and its lease renewed.
    cluster.written("r", 2).await;
    cluster.functions.permits.add_permits(1);
    cluster.called("slow", &[1, 1]).await;
    cluster.written("r", cluster.writes("r") + 2).await;
    let expected = cluster.functions.expected.lock().clone();
    let (second, branches): (Vec<_>, Vec<_>) =
        expected.iter().map(String::as_str).partition(|function| *function == "default/slow");
    assert!(second.len() > 1, "what comes for certain is kept awake: {expected:?}");
    let both = ["default/add-five", "default/fail"];
    assert_eq!(branches, [both, both].concat());
}

/// The samples of a text in the format of Prometheus; each belongs to a metric whose type and help are told.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let mut told = (None, None);
    let mut samples = BTreeMap::new();
    let body = text.strip_suffix("# EOF\n").unwrap();
    for line in body.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, _] => told = (Some(name), None),
            ["#", "TYPE", name, kind] if told.0 == Some(name) => told.1 = Some(kind),
            _ => {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                let suffixes: &[&str] = match told.1.unwrap() {
                    "counter" => &["_total"],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                let name = sample.split('{').next().unwrap();
                let rest = name.strip_prefix(told.0.unwrap()).unwrap();
                assert!(suffixes.contains(&rest), "{line}");
                assert_eq!(samples.insert(sample, value), None, "{line}");
            }
        }
    }
    samples
}

#[tokio::test]
async fn runs_and_their_steps_are_counted() {
    let cluster = Cluster::start().await;
    cluster.workflow("good", line(&["addFive", "addFive"])).await;
    cluster.workflow("bad", line(&["addFive", "fail"])).await;
    cluster.workflow("slow", line(&["slow"])).await;
    let gateway = cluster.gateway("a");
    for (run, workflow) in [("r1", "good"), ("r2", "good"), ("r3", "bad"), ("r4", "none")] {
        cluster.run(run, workflow, json!({"x": 1})).await;
        cluster.ended(run).await;
    }
    cluster.run("r5", "slow", json!({"x": 1})).await;
    cluster.called("slow", &[1]).await;
    let counted = async || {
        let text = gateway.metrics.encode().unwrap();
        let samples = samples(&text);
        let found = [
            "workflow_runs_total{phase=\"Succeeded\"}",
            "workflow_runs_total{phase=\"Failed\"}",
            "workflow_steps_total{result=\"succeeded\"}",
            "workflow_steps_total{result=\"failed\"}",
            "workflow_run_duration_seconds_count",
            "workflow_runs_running",
        ]
        .map(|sample| samples.get(sample).copied().unwrap_or("none").to_owned());
        if found == ["2", "2", "5", "1", "3", "1"] { Ok(()) } else { Err(found) }
    };
    wait::until("all is counted", counted).await;
}

#[tokio::test]
async fn a_run_is_cancelled_while_it_waits_for_a_function() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow"])).await;
    cluster.run("r", "w", json!({})).await;
    let _gateway = cluster.gateway("a");
    cluster.called("slow", &[1]).await;
    cluster.cancel("r").await;
    let status = cluster.ended("r").await;
    assert_eq!((status.phase, status.execution), (RunPhase::Cancelled, None));
}

#[tokio::test]
async fn a_change_of_the_workflow_does_not_disturb_its_runs() {
    let cluster = Cluster::start().await;
    cluster.workflow("w", line(&["slow", "addFive"])).await;
    cluster.run("r", "w", json!({"x": 1})).await;
    let _gateway = cluster.gateway("a");
    cluster.called("slow", &[1]).await;
    let api: Api<Workflow> = Api::default_namespaced(cluster.plane.client());
    let other = Patch::Merge(json!({"spec": {"nodes": {"n1": {"function": "fail"}}}}));
    api.patch("w", &PatchParams::default(), &other).await.unwrap();
    cluster.functions.permits.add_permits(1);
    assert_eq!(cluster.ended("r").await.output, Some(json!({"x": 6})));
}

#[tokio::test]
async fn a_run_is_started_over_http_and_its_end_waited_for() {
    let cluster = Cluster::start().await;
    cluster.workflow("add", line(&["addFive"])).await;
    cluster.workflow("fail", line(&["fail"])).await;
    cluster.workflow("slow", line(&["slow"])).await;
    let gateway = cluster.gateway("a");
    let routes = router(gateway.runs.clone(), Arc::new(Access::Networks(Vec::new())));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/workflows/default", listener.local_addr().unwrap());
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let client = reqwest::Client::new();
    let post = async |path: &str, body: &str| {
        let answer =
            client.post(format!("{url}/{path}")).body(body.to_owned()).send().await.unwrap();
        let run =
            answer.headers().get("x-minik8s-run").map(|name| name.to_str().unwrap().to_owned());
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap(), run)
    };
    let (code, body, run) = post("add", "{\"x\": 7}").await;
    let run = run.unwrap();
    assert_eq!((code, &body), (202, &json!({"run": run})));
    assert_eq!(cluster.ended(&run).await.output, Some(json!({"x": 12})));
    let (code, body, _) = post("add?wait=true", "").await;
    assert_eq!((code, body), (200, json!({"x": 6})), "the workflow's own params");
    let (code, body, _) = post("fail?wait=true", "").await;
    assert_eq!((code, body), (500, json!({"error": {"type": "ValueError", "message": "no"}})));
    let (code, body, run) = post("slow?wait=true&timeoutSeconds=0", "").await;
    assert_eq!((code, body["error"]["type"].as_str()), (504, Some("Timeout")));
    let owners = cluster.runs().get(&run.unwrap()).await.unwrap().metadata.owner_references;
    assert_eq!(owners.unwrap()[0].name, "slow");
    let long = format!("{}.b", "a".repeat(51));
    cluster.workflow(&long, line(&["addFive"])).await;
    assert_eq!(post(&long, "").await.0, 202);
    assert_eq!(post("none", "").await.0, 404);
    assert_eq!(post("add%3Flimit=1", "").await.0, 404);
    assert_eq!(post(&format!("add%3F{}", "é".repeat(30)), "").await.0, 404);
    assert_eq!(post("add", "{").await.0, 400);
}
