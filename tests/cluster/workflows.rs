//! The examples of workflows, with real functions in real pods, and what people are told of their runs.

use std::{collections::BTreeSet, fs, path::PathBuf};

use api_types::{
    api::coordination::v1::Lease,
    minik8s::{WorkflowRun, WorkflowRunStatus},
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::harness::{Backing, Cluster, root, until};

const SECOND_GATEWAY_PORT: &str = "29083";

fn example(path: &str) -> String {
    let path: PathBuf = root().join("examples").join(path);
    path.to_str().unwrap().to_owned()
}

/// A cluster with functions of the examples.
struct Examples(Cluster);

impl Examples {
    async fn start() -> Self {
        Self(Cluster::start(Backing::Embedded).await)
    }

    fn functions(&self, folder: &str, names: &[&str]) {
        for name in names {
            let file = example(&format!("{folder}/{name}.py"));
            self.0.kubectl(&["func", "add", "-f", name, "-p", &file]).expect_ok();
        }
    }

    /// Defines a workflow and runs it once; gives the run's output.
    fn apply(&self, file: &str) -> String {
        let applied = self.0.kubectl(&["wf", "apply", "-f", &example(file)]);
        let (said, _) = applied.stderr.split_once(" created").unwrap();
        let run = said.rsplit('/').next().unwrap().to_owned();
        applied.expect_ok();
        let ended = "--for=jsonpath={.status.completionTime}";
        let run = format!("workflowrun/{run}");
        self.0.stock_kubectl(&["wait", ended, "--timeout=120s", &run]).expect_ok();
        self.0.kubectl(&["get", &run, "-o", "jsonpath={.status.output}"]).expect_ok()
    }

    /// Runs a workflow with an input, and waits; gives the run's name, and its output or what went wrong.
    fn run(&self, workflow: &str, input: &str) -> (String, Result<String, String>) {
        let done = self.0.kubectl(&["wf", "run", workflow, "--wait", "-d", input]);
        let (created, rest) = done.stderr.split_once(" created\n").unwrap();
        let run = created.rsplit('/').next().unwrap().to_owned();
        (run, if done.ok { Ok(done.stdout) } else { Err(rest.to_owned()) })
    }

    /// State, function, attempts and error of each step, from the lines that people see.
    fn history(&self, run: &str) -> Vec<[String; 3]> {
        let shown = self.0.kubectl(&["wf", "history", run]).expect_ok();
        let lines = shown.lines().skip(1).take_while(|line| !line.is_empty());
        // Of attempts that failed there are lines of their own.
        let lines = lines.filter(|line| !line.starts_with(' '));
        lines
            .map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                [(); 3].map(|()| words.next().unwrap())
            })
            .collect()
    }
}

fn steps(expected: &[[&str; 3]]) -> Vec<[String; 3]> {
    expected.iter().map(|step| step.map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_do_what_they_say() {
    let examples = Examples::start().await;
    let functions = ["func", "addFive", "addString", "printEquals", "printNotEquals"];
    examples.functions("functions", &functions);
    let said = examples.apply("workflows/hello.json");
    assert_eq!(said, r#"{"sentence":"minik8s says that 1 and 2 make 3."}"#);
    assert_eq!(examples.apply("workflows/print.json"), "Equals");
    assert_eq!(examples.apply("workflows/print-string.json"), "Equals");
    let (run, output) = examples.run("print", r#"{"x": 6}"#);
    assert_eq!(output.as_deref(), Ok("\"Not equals\"\n"));
    let expected = [
        ["addFive", "add-five", "1"],
        ["judge", "<none>", "1"],
        ["printNotEquals", "print-not-equals", "1"],
    ];
    assert_eq!(examples.history(&run), steps(&expected));
    let file = example("workflows/add-all.asl.json");
    examples.0.kubectl(&["wf", "apply", "--no-run", "-f", &file]).expect_ok();
    let (_, output) = examples.run("add-all", r#"{"numbers": [5, 1, 2, 3]}"#);
    let expected = r#"{"sums":[10,6,7,8],"text":"4 numbers were added"}"#;
    assert_eq!(output.as_deref().map(str::trim_end), Ok(expected));
    let (_, output) = examples.run("add-all", r#"{"numbers": ["five"]}"#);
    assert!(output.as_ref().unwrap_err().contains("TypeError"), "{output:?}");

    examples.functions("order-pipeline", &["price", "reserve", "charge", "release", "ship"]);
    let file = example("order-pipeline/order.asl.json");
    examples.0.kubectl(&["wf", "apply", "--no-run", "-f", &file]).expect_ok();
    orders(&examples);
    runs_outlive_programs(&examples).await;
}

fn orders(examples: &Examples) {
    let order = |more: &str, items: &str| format!(r#"{{"id": "o1", "items": [{items}], {more}}}"#);
    let pens = r#"{"product": "pen", "count": 3}"#;
    let (_, output) = examples.run("order", &order(r#""card": "4242""#, pens));
    let output = output.unwrap();
    assert!(output.contains("Order o1 is on its way as parcel-o1: 6"), "{output}");
    assert!(!output.contains("bookmark"), "{output}");

    let (run, output) = examples.run("order", &order(r#""card": "0000""#, pens));
    assert!(
        output.as_ref().unwrap_err().contains("CardDeclined: the bank declines 6"),
        "{output:?}"
    );
    let history = examples.history(&run);
    let states: Vec<_> = history.iter().map(|[state, ..]| state.as_str()).collect();
    assert_eq!(states[0], "Price");
    assert_eq!(states[states.len() - 3..], ["ReserveAndCharge", "Release", "Declined"]);

    let books = r#"{"product": "book", "count": 4}"#;
    let snail = r#""card": "4242", "carrier": "snail""#;
    let (run, output) = examples.run("order", &order(snail, books));
    assert!(output.as_ref().unwrap().contains(r#""gift":"bookmark""#), "{output:?}");
    let ship = examples.history(&run).into_iter().find(|[state, ..]| state == "Ship");
    assert_eq!(ship.unwrap(), ["Ship", "ship", "2"]);
}

/// A workflow of three steps that take two seconds each. The function's one instance notes each call by its id.
fn naps(examples: &Examples) {
    let cluster = &examples.0;
    let file = |name: &str, text: String| {
        let path = cluster.folder().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let code = "import time\n\ndef main(params):\n    print('called')\n    time.sleep(2)\n    return {'n': params['n'] + 1}\n";
    let nap = file("nap.py", code.to_owned());
    let scale = ["--min-scale=1", "--max-scale=1"];
    cluster.kubectl(&[&["func", "add", "-f", "nap", "-p", &nap], &scale[..]].concat()).expect_ok();
    let task = |field: &str, value: Value| json!({"Type": "Task", "Resource": "nap", field: value});
    let states = json!({"a": task("Next", json!("b")), "b": task("Next", json!("c")), "c": task("End", json!(true))});
    let naps = json!({"StartAt": "a", "States": states});
    let naps = file("naps.asl.json", naps.to_string());
    cluster.kubectl(&["wf", "apply", "--no-run", "-f", &naps]).expect_ok();
    assert_eq!(examples.run("naps", r#"{"n": 0}"#).1.as_deref(), Ok("{\"n\":3}\n"));
}

/// The gateways that hold a Lease.
async fn gateways(leases: &Api<Lease>) -> BTreeSet<String> {
    let leases = leases.list(&ListParams::default()).await.unwrap().items;
    let names = leases.into_iter().filter_map(|lease| lease.metadata.name);
    names.filter_map(|name| name.strip_prefix("serverless-gateway-").map(str::to_owned)).collect()
}

/// Begins runs until each of two gateways has some, and this one the last; their names.
async fn begun(cluster: &Cluster, runs: &Api<WorkflowRun>, first: &str) -> Vec<String> {
    let (mut names, mut holders) = (Vec::new(), Vec::new());
    while !(holders.last().is_some_and(|last| last == first)
        && holders.iter().any(|holder| holder != first))
    {
        let input = format!(r#"{{"n": {}}}"#, names.len());
        let created = cluster.kubectl(&["wf", "run", "naps", "-d", &input]);
        let (name, _) = created.stderr.split_once(" created").unwrap();
        let name = name.rsplit('/').next().unwrap();
        let holder = async || {
            let status = runs.get(name).await.unwrap().status.unwrap_or_default();
            status.holder.ok_or_else(|| format!("{:?}", status.phase))
        };
        holders.push(until("a gateway takes the run", holder).await);
        names.push(name.to_owned());
    }
    names
}

/// One of two gateways and the controller manager are killed while an instance works on steps of runs.
async fn runs_outlive_programs(examples: &Examples) {
    let cluster = &examples.0;
    naps(examples);
    let leases = Api::<Lease>::namespaced(cluster.client(), "kube-system");
    let first = gateways(&leases).await.pop_first().unwrap();
    let _second = cluster.another("serverless-gateway", &["--port", SECOND_GATEWAY_PORT]);
    until("two gateways", async || match gateways(&leases).await {
        both if both.len() == 2 => Ok(()),
        others => Err(format!("{others:?}")),
    })
    .await;
    let runs = Api::<WorkflowRun>::default_namespaced(cluster.client());
    let status = async |run: &str| runs.get(run).await.unwrap().status.unwrap_or_default();
    let names = begun(cluster, &runs, &first).await;
    cluster.kill(&["controller-manager", "serverless-gateway"]);
    let mut orphans = BTreeSet::new();
    for name in &names {
        let WorkflowRunStatus { holder, phase, .. } = status(name).await;
        if holder.as_ref() == Some(&first) && !phase.has_ended() {
            orphans.insert(name);
        }
    }
    assert!(orphans.contains(names.last().unwrap()), "{orphans:?}");
    for (number, name) in names.iter().enumerate() {
        let ended = async || match status(name).await {
            status if status.phase.has_ended() => Ok(status),
            other => Err(format!("{other:?}")),
        };
        let status = until("the run ends", ended).await;
        assert_eq!(status.output, Some(json!({"n": number + 3})), "{status:?}");
        let steps: Vec<_> = status.steps.iter().map(|s| (s.state.as_str(), s.attempts)).collect();
        assert_eq!(steps, [("a", 1), ("b", 1), ("c", 1)]);
    }
    let log = cluster.kubectl(&["func", "logs", "nap"]).expect_ok();
    for name in &names {
        let id = runs.get(name).await.unwrap().uid().unwrap();
        let calls = [1, 2, 3].map(|step| log.matches(&format!("[{id}-{step}-1] called")).count());
        // What was being called when its gateway died is called again.
        let most = 3 + usize::from(orphans.contains(name));
        let called = calls.iter().sum::<usize>();
        assert!(calls.iter().all(|times| *times > 0) && called <= most, "{calls:?}:\n{log}");
    }
}
