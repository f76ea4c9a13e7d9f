//! Gateways, as the programs that they are, are killed in the middle of many runs. Each run ends exactly as it must, and
//! what its functions are asked for, and when, shows that nothing was lost or done again on the way.
//!
//! `RUNS=100 cargo test -p serverless-gateway --test durability` does it with fewer.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use api_types::{
    api::{coordination::v1::Lease, core::v1::Pod},
    minik8s::{Function, RunPhase, Workflow, WorkflowRun, WorkflowRunStatus},
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::Event,
};
use listwatch::{
    Scope,
    demand::{LEASE_NAMESPACE, LEASE_PREFIX},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};
use tokio::{net::TcpListener, sync::Semaphore};

/// How many, if nothing is said.
const RUNS: usize = 1000;
/// Runs at a time.
const ACTIVE: usize = 100;
/// How often a gateway, or both, are killed, in equal parts of the runs.
const DEATHS: usize = 4;
/// At this one it is told to stop, and finishes what it has begun.
const STOP: usize = 2;
/// Longer than this the whole takes only if a run is lost.
const PATIENCE: Duration = Duration::from_secs(600);
/// The states of the workflow in their order, and the functions that they call.
const STATES: [&str; 4] = ["first", "flaky", "judge", "last"];

/// Fails at the first attempt.
fn is_flaky(run: usize) -> bool {
    run.is_multiple_of(5)
}

/// Is refused for good.
fn is_refused(run: usize) -> bool {
    run.is_multiple_of(7)
}

/// What the functions were asked for.
#[derive(Default)]
struct Book {
    /// By run, the keys of its steps.
    keys: BTreeMap<usize, BTreeSet<String>>,
    /// By key and attempt.
    attempts: BTreeMap<(String, u32), Attempt>,
    /// Gateways that were killed.
    dead: BTreeSet<String>,
    repeated: usize,
    faults: Vec<String>,
}

/// The last time that an attempt was made.
struct Attempt {
    gateway: String,
    failed: bool,
}

impl Book {
    /// A function is asked for something, while these states' results are stored.
    fn begin(&mut self, call: &Call, state: &str, stored: &[String]) {
        let Call { run, key, attempt, gateway } = call;
        let position = STATES.iter().position(|name| *name == state).unwrap();
        if stored != &STATES[..position] {
            self.faults.push(format!("run {run}: {state} is called with {stored:?} stored"));
        }
        self.keys.entry(*run).or_default().insert(key.clone());
        let before = self.attempts.get(&(key.clone(), attempt - 1));
        if *attempt > 1 && !before.is_some_and(|attempt| attempt.failed) {
            self.faults.push(format!("run {run}: {state} is called again though it did not fail"));
        }
        let this = Attempt { gateway: gateway.clone(), failed: false };
        if let Some(before) = self.attempts.insert((key.clone(), *attempt), this) {
            self.repeated += 1;
            if !self.dead.contains(&before.gateway) {
                let gateways = [&before.gateway, gateway];
                self.faults.push(format!("run {run}: {state} is called twice, by {gateways:?}"));
            }
        }
    }
}

/// A call of a function.
struct Call {
    run: usize,
    key: String,
    attempt: u32,
    gateway: String,
}

/// All functions, each on an address of its own.
#[derive(Clone)]
struct Functions {
    runs: Api<WorkflowRun>,
    leases: Api<Lease>,
    book: Arc<Mutex<Book>>,
}

async fn answer(
    State((functions, state)): State<(Functions, &'static str)>,
    headers: HeaderMap,
    Json(mut input): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (key, id) = (text("idempotency-key"), text("x-request-id"));
    let attempt = id.strip_prefix(&format!("{key}-")).unwrap().parse().unwrap();
    let run = usize::try_from(input["run"].as_u64().unwrap()).unwrap();
    let status = functions.runs.get(&name(run)).await.unwrap().status.unwrap();
    let call = Call { run, key, attempt, gateway: status.holder.unwrap() };
    let lease = format!("{LEASE_PREFIX}{}", call.gateway);
    functions.leases.get(&lease).await.unwrap();
    let stored: Vec<_> = status.steps.into_iter().map(|step| step.state).collect();
    functions.book.lock().begin(&call, state, &stored);
    tokio::time::sleep(Duration::from_millis(20)).await;
    if let Err(error) = functions.leases.get(&lease).await {
        let fault = format!("run {run}: {state} goes on without a Lease: {error}");
        functions.book.lock().faults.push(fault);
    }
    let error = match state {
        "flaky" if is_flaky(run) && attempt == 1 => Some("Flaky"),
        "judge" if is_refused(run) => Some("Refused"),
        _ => None,
    };
    if let Some(error) = error {
        functions.book.lock().attempts.get_mut(&(call.key, attempt)).unwrap().failed = true;
        let error = json!({"error": {"type": error, "message": "no"}});
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(error));
    }
    input["sum"] = json!(input["sum"].as_u64().unwrap() + 1);
    (StatusCode::OK, Json(input))
}

fn name(run: usize) -> String {
    format!("r{run}")
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    let (version, metadata) = ("minik8s.io/v1", json!({"name": name}));
    let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

impl Functions {
    /// Serves them, and has the API know them and their instances.
    async fn start(client: Client) -> Self {
        let functions = Self {
            runs: Api::default_namespaced(client.clone()),
            leases: Api::namespaced(client.clone(), LEASE_NAMESPACE),
            book: Arc::default(),
        };
        let [_, _, a, b] = std::process::id().to_be_bytes();
        for (number, state) in (1..).zip(STATES) {
            let address = Ipv4Addr::new(127, a | 128, b, number);
            let listener = TcpListener::bind((address, Function::PORT)).await.unwrap();
            let routes =
                Router::new().route("/", post(answer)).with_state((functions.clone(), state));
            tokio::spawn(async { axum::serve(listener, routes).await });
            create(&client, state, address).await;
        }
        functions
    }
}

async fn create(client: &Client, name: &str, address: Ipv4Addr) {
    let (create, patch) = (PostParams::default(), PatchParams::default());
    let functions: Api<Function> = Api::default_namespaced(client.clone());
    let source = json!({"source": {"files": {"main.py": "def main(params): return params"}}});
    functions.create(&create, &object("Function", name, &source)).await.unwrap();
    let serves = Patch::Merge(json!({"status": {"version": 1}}));
    functions.patch_status(name, &patch, &serves).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = json!({
        "metadata": {"name": name, "labels": {
            "minik8s.io/function": name, "minik8s.io/function-version": "1"}},
        "spec": {"containers": [{"name": "function", "image": "minik8s/python:0.1"}]},
    });
    pods.create(&create, &serde_json::from_value(pod).unwrap()).await.unwrap();
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let ready = Patch::Merge(json!({"status": {"podIP": address, "conditions": ready}}));
    pods.patch_status(name, &patch, &ready).await.unwrap();
}

fn workflow() -> Workflow {
    let task = |name: &str| json!({"Type": "Task", "Resource": name});
    let mut states: BTreeMap<_, _> = STATES.into_iter().map(|name| (name, task(name))).collect();
    for pair in STATES.windows(2) {
        states.get_mut(pair[0]).unwrap()["Next"] = json!(pair[1]);
    }
    states.get_mut("last").unwrap()["End"] = json!(true);
    states.get_mut("flaky").unwrap()["Retry"] =
        json!([{"ErrorEquals": ["Flaky"], "IntervalSeconds": 1, "MaxAttempts": 1}]);
    object("Workflow", "w", &json!({"definition": {"StartAt": "first", "States": states}}))
}

/// A gateway as a program.
struct Gateway {
    process: Child,
    identity: String,
}

impl Gateway {
    /// Starts it, and waits for its Lease.
    async fn start(kubeconfig: &Path, leases: &Api<Lease>) -> Self {
        let known = names(leases).await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_serverless-gateway"));
        command.arg("--kubeconfig").arg(kubeconfig).args(["--port", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let its = async || names(leases).await.difference(&known).next().cloned().ok_or(());
        let name = wait::until("the gateway has a Lease", its).await;
        Self { process, identity: name.strip_prefix(LEASE_PREFIX).unwrap().to_owned() }
    }

    async fn stop(&mut self) {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
        let ended = async || self.process.try_wait().unwrap().ok_or("it runs");
        wait::until("the gateway has stopped", ended).await;
    }
}

async fn names(leases: &Api<Lease>) -> BTreeSet<String> {
    let leases = leases.list(&ListParams::default()).await.unwrap().items;
    leases.iter().map(ResourceExt::name_any).filter(|name| name.starts_with(LEASE_PREFIX)).collect()
}

impl Drop for Gateway {
    /// SIGKILL.
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Creates runs, so many at a time as there are permits.
async fn create_runs(count: usize, runs: Api<WorkflowRun>, permits: Arc<Semaphore>) {
    for run in 0..count {
        permits.acquire().await.unwrap().forget();
        let spec = json!({"workflow": "w", "input": {"run": run, "sum": run}});
        let run = object("WorkflowRun", &name(run), &spec);
        runs.create(&PostParams::default(), &run).await.unwrap();
    }
}

/// How each run ended. Gateways die meanwhile, at last both, and others take their places.
async fn ends(
    count: usize,
    plane: &ControlPlane,
    functions: &Functions,
) -> BTreeMap<String, WorkflowRunStatus> {
    let kubeconfig = plane.kubeconfig("system:serverless-gateway", &[], &[]);
    let start = async || Gateway::start(&kubeconfig, &functions.leases).await;
    let mut gateways = [start().await, start().await];
    let permits = Arc::new(Semaphore::new(ACTIVE));
    let creating = tokio::spawn(create_runs(count, functions.runs.clone(), permits.clone()));
    let mut ended = BTreeMap::new();
    let listwatch = plane.listwatch();
    let mut events = std::pin::pin!(listwatch.watch::<WorkflowRun>(Scope::All));
    let part = count / (DEATHS + 1);
    while ended.len() < count {
        let (Event::Apply(run) | Event::InitApply(run)) = events.next().await.unwrap().unwrap()
        else {
            continue;
        };
        let (name, status) = (run.name_any(), run.status.unwrap_or_default());
        if !status.phase.has_ended() {
            continue;
        }
        if ended.insert(name.clone(), status).is_some() {
            functions.book.lock().faults.push(format!("{name} was written after its end"));
            continue;
        }
        permits.add_permits(1);
        let death = ended.len() / part;
        if ended.len().is_multiple_of(part) && death <= DEATHS {
            let dying = if death == DEATHS { 0..2 } else { death % 2..death % 2 + 1 };
            for gateway in &mut gateways[dying] {
                let next = start().await;
                if death == STOP {
                    gateway.stop().await;
                } else {
                    functions.book.lock().dead.insert(gateway.identity.clone());
                }
                *gateway = next;
            }
        }
    }
    creating.await.unwrap();
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_end_as_they_must_though_gateways_are_killed_in_their_middle() {
    let count = std::env::var("RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let plane = ControlPlane::builder().listen().start().await;
    let functions = Functions::start(plane.client()).await;
    let workflows: Api<Workflow> = Api::default_namespaced(plane.client());
    workflows.create(&PostParams::default(), &workflow()).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, ends(count, &plane, &functions)).await;
    let book = functions.book.lock();
    let ended = ended.unwrap_or_else(|_| panic!("runs are lost; {:?}", book.faults));
    assert_eq!(book.faults, Vec::<String>::new());
    assert!(book.repeated > 0, "no gateway died with a call in hand");
    for run in 0..count {
        check_end(run, &ended[&name(run)], &book.keys[&run]);
    }
}

fn check_end(run: usize, status: &WorkflowRunStatus, keys: &BTreeSet<String>) {
    let (phase, output, error, steps) = if is_refused(run) {
        (RunPhase::Failed, None, Some("Refused"), 3)
    } else {
        (RunPhase::Succeeded, Some(json!({"run": run, "sum": run + 4})), None, 4)
    };
    assert_eq!((status.phase, &status.output, status.error.as_deref()), (phase, &output, error));
    let attempts: Vec<_> = status.steps.iter().map(|step| step.attempts).collect();
    let flaky = if is_flaky(run) { 2 } else { 1 };
    assert_eq!(attempts, [1, flaky, 1, 1][..steps], "run {run}");
    assert_eq!(keys.len(), steps, "run {run}: each step has one key");
}
