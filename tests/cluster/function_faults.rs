//! What calls of functions come to while their code, their instances and the control plane have faults, and that they come
//! from none to many and back, on either backing.

use std::{fs, time::Duration};

use api_types::api::core::v1::Pod;
use futures::future::join_all;
use kube::{
    Api,
    api::{ListParams, ObjectList},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    function_instances,
    harness::{Backing, Cluster, Replica, containers, programs, run, until},
};

/// The gateway of the cluster, and a second one.
pub(crate) const GATEWAY: &str = "http://127.0.0.1:29081";
const SECOND: &str = "http://127.0.0.1:29082";
const TOKEN: &str = "s3cret";

pub(crate) const SLEEPS: &str =
    "import time\ndef main(p):\n    time.sleep(p['seconds'])\n    return p['n']\n";
/// The same, and an exception if another call goes on.
const ALONE: &str = "import fcntl, time
def main(p):
    file = open('/tmp/busy', 'w')
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    time.sleep(p['seconds'])
    return p['n']
";
const FAULTS: &str = r#"
def main(p):
    if p == "":
        return "no JSON"
    if p == "raise":
        raise ValueError("no such thing")
    while p == "hang":
        pass
    return "x" * p
"#;

pub(crate) struct Functions {
    pub(crate) cluster: Cluster,
    pub(crate) client: reqwest::Client,
}

/// What a call came to.
pub(crate) type Answer = (u16, String);

impl Functions {
    /// A function of this code, as a user makes it; what the command came to.
    pub(crate) fn add(&self, name: &str, code: &str, flags: &[&str]) -> Result<(), String> {
        let file = self.cluster.folder().join(format!("{name}.py"));
        fs::write(&file, code).unwrap();
        let file = file.to_string_lossy();
        let line = [&["func", "add", name, "-p", &file, "--wait"], flags].concat();
        let done = self.cluster.kubectl(&line);
        if done.ok { Ok(()) } else { Err(done.stderr) }
    }

    pub(crate) async fn call(&self, name: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.call_at(GATEWAY, name, body, "").await
    }

    async fn call_at(
        &self,
        gateway: &str,
        name: &str,
        body: impl Into<reqwest::Body>,
        token: &str,
    ) -> Answer {
        let call = self.client.post(format!("{gateway}/{name}")).bearer_auth(token).body(body);
        let answer = timeout(Duration::from_secs(120), call.send()).await.expect("never answered");
        let answer = answer.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap_or_else(|e| panic!("{name} broke off: {e:?}")))
    }

    /// So many calls at a time, each of which sleeps; what they come to.
    pub(crate) async fn calls(&self, name: &str, count: usize, seconds: f64) -> Vec<Answer> {
        let body = |n| json!({"seconds": seconds, "n": n}).to_string();
        join_all((0..count).map(|n| self.call(name, body(n)))).await
    }

    pub(crate) async fn pods(&self, name: &str) -> ObjectList<Pod> {
        let pods: Api<Pod> = Api::default_namespaced(self.cluster.client());
        pods.list(&ListParams::default().labels(&format!("minik8s.io/function={name}")))
            .await
            .unwrap()
    }

    pub(crate) async fn until_none(&self, name: &str) {
        until("no instance", async || match self.pods(name).await.items.len() {
            0 => Ok(()),
            count => Err(format!("{count} of {name}")),
        })
        .await;
    }

    pub(crate) fn remove(&self, name: &str) {
        self.cluster.kubectl(&["func", "rm", name]).expect_ok();
    }
}

/// All answers are the numbers of their calls.
#[track_caller]
pub(crate) fn assert_all_answered(answers: &[Answer]) {
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, (200, n.to_string()), "call {n} of {}", answers.len());
    }
}

fn error_of((status, body): &Answer) -> (u16, String, String) {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    let part = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (*status, part("type"), part("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_go_on_whatever_fails_with_the_embedded_store() {
    go_on_whatever_fails(Backing::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_go_on_whatever_fails_with_etcd_and_redis() {
    go_on_whatever_fails(Backing::Services).await;
}

async fn go_on_whatever_fails(backing: Backing) {
    let cluster = Cluster::start(backing).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let functions = Functions { cluster, client };
    faults_of_the_code_are_told(&functions).await;
    what_cannot_serve_says_why(&functions).await;
    an_idle_function_goes_and_comes_back_for_a_burst(&functions).await;
    a_killed_instance_fails_its_own_call_alone(&functions).await;
    a_controller_that_dies_while_it_scales_loses_no_call(&functions).await;
    two_gateways_share_a_function(&functions).await;
    two_gateways_share_an_instance(&functions).await;
    if backing == Backing::Embedded {
        function_instances::an_image_that_speaks_http_is_a_function(&functions).await;
        function_instances::a_folder_is_built_with_its_packages(&functions).await;
        function_instances::instances_get_their_environment_and_resources(&functions).await;
        function_instances::an_instance_that_goes_finishes_its_calls(&functions).await;
        function_instances::a_caller_that_gives_up_makes_room_for_the_next(&functions).await;
        cold_calls_are_measured(&functions);
    }
}

async fn faults_of_the_code_are_told(functions: &Functions) {
    functions.add("faults", FAULTS, &["--timeout=6"]).unwrap();
    let raised = functions.call("faults", r#""raise""#).await;
    assert_eq!(error_of(&raised), (500, "ValueError".to_owned(), "no such thing".to_owned()));
    let hung = functions.call("faults", r#""hang""#).await;
    assert_eq!(hung.0, 504, "{}", hung.1);
    assert_eq!(functions.call("faults", "{").await, (200, r#""no JSON""#.to_owned()));
    let (status, big) = functions.call("faults", (50 << 20).to_string()).await;
    assert_eq!((status, big.len()), (200, (50 << 20) + 2));
    let log = functions.cluster.kubectl(&["func", "logs", "faults"]).expect_ok();
    assert!(log.contains("] ValueError: no such thing\n"), "{log}");
    until("the failures are told", async || {
        let page = functions.cluster.kubectl(&["describe", "function", "faults"]).stdout;
        let (_, told) = page.split_once("Recent Failures:").ok_or("no such part")?;
        let all = told.contains(": 500 ValueError: no such thing") && told.contains(": 504 ");
        if all { Ok(()) } else { Err(page) }
    })
    .await;
    functions.remove("faults");
}

async fn what_cannot_serve_says_why(functions: &Functions) {
    let refused = |name: &str, code: &str| functions.add(name, code, &["--timeout=5"]).unwrap_err();
    let said = refused("syntax", "def main(p:\n");
    assert!(said.contains("SyntaxError"), "what the build printed: {said}");
    let (status, answer) = functions.call("syntax", "").await;
    assert!(status == 503 && answer.contains("version 1"), "{status}: {answer}");
    let why = "module 'no-main' has no function 'main'";
    let said = refused("no-main", "def other(p): return p\n");
    assert!(said.contains(why), "{said}");
    let soon = Duration::from_secs(20);
    let (status, answer) = timeout(soon, functions.call("no-main", "")).await.unwrap();
    assert!(status == 503 && answer.contains(why), "{status}: {answer}");
    functions.remove("syntax");
    functions.remove("no-main");
}

async fn an_idle_function_goes_and_comes_back_for_a_burst(functions: &Functions) {
    functions.add("burst", SLEEPS, &["--idle=2", "--max-scale=2"]).unwrap();
    assert_all_answered(&functions.calls("burst", 1, 0.0).await);
    functions.until_none("burst").await;
    assert_all_answered(&functions.calls("burst", 200, 0.01).await);
    functions.until_none("burst").await;
    assert_all_answered(&functions.calls("burst", 1, 0.0).await);
    functions.remove("burst");
}

async fn a_killed_instance_fails_its_own_call_alone(functions: &Functions) {
    let two = ["--concurrency=1", "--min-scale=2", "--max-scale=2"];
    functions.add("killed", SLEEPS, &two).unwrap();
    until("two instances", async || {
        let function = functions.cluster.kubectl(&["func", "get", "killed"]).stdout;
        if function.contains("2/2") { Ok(()) } else { Err(function) }
    })
    .await;
    let victim = functions.pods("killed").await.items.remove(0).metadata.uid.unwrap();
    let victim = containers(&[
        &format!("io.kubernetes.pod.uid={victim}"),
        "io.kubernetes.container.name=function",
    ]);
    let kill = async {
        // Both instances have a call in hand; four calls wait.
        until("calls in hand", async || {
            let metrics = functions.client.get(format!("{GATEWAY}/metrics")).send().await.unwrap();
            let metrics = metrics.text().await.unwrap();
            let waiting = "function_calls_queued{namespace=\"default\",function=\"killed\"} 4";
            if metrics.contains(waiting) { Ok(()) } else { Err(metrics) }
        })
        .await;
        run("docker", &["kill", &victim[0]]).expect_ok();
    };
    let (answers, ()) = tokio::join!(functions.calls("killed", 6, 2.0), kill);
    let failed: Vec<_> = answers.iter().filter(|answer| answer.0 != 200).collect();
    assert_eq!(failed.len(), 1, "{answers:?}");
    assert_eq!(failed[0].0, 502, "{failed:?}");
    functions.remove("killed");
}

async fn a_controller_that_dies_while_it_scales_loses_no_call(functions: &Functions) {
    functions.add("scaled", SLEEPS, &["--concurrency=1", "--max-scale=3", "--idle=2"]).unwrap();
    functions.until_none("scaled").await;
    let restart = async {
        until("the first instance", async || {
            let count = functions.pods("scaled").await.items.len();
            if count > 0 { Ok(()) } else { Err("none".to_owned()) }
        })
        .await;
        functions.cluster.kill(&["controller-manager"]);
        let up = functions.cluster.up(&[]);
        assert!(up.ok, "{}", up.stdout);
    };
    let (answers, ()) = tokio::join!(functions.calls("scaled", 20, 0.5), restart);
    assert_all_answered(&answers);
    functions.until_none("scaled").await;
    functions.remove("scaled");
}

/// By the program that measures them, with next to no load.
fn cold_calls_are_measured(functions: &Functions) {
    let kubeconfig = functions.cluster.folder().join("config/admin.conf");
    let cluster = ["--kubeconfig", &kubeconfig.to_string_lossy(), "--gateway", GATEWAY];
    let line = [&["cold", "--count=1", "--idle-seconds=1"][..], &cluster].concat();
    let table = run(programs().join("functions"), &line).expect_ok();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().skip(2).map(cells).collect();
    let measured: Vec<_> = rows.iter().map(|row| (&*row[0], &*row[1])).collect();
    let parts = ["queued", "scheduled", "image", "sandbox", "container", "server"];
    let expected = ["Docker alone", "cold call"].into_iter().chain(parts).map(|what| (what, "1"));
    assert_eq!(measured, expected.collect::<Vec<_>>(), "{table}");
}

async fn two_gateways_share_a_function(functions: &Functions) {
    functions.add("shared", SLEEPS, &["--concurrency=1", "--max-scale=2", "--idle=2"]).unwrap();
    functions.until_none("shared").await;
    let _second = second_gateway(functions).await;
    let body = |n: usize| json!({"seconds": 0.2, "n": n}).to_string();
    assert_eq!(functions.call_at(SECOND, "shared", body(0), "wrong").await.0, 401);
    let through = |n: usize| functions.call_at(SECOND, "shared", body(n), TOKEN);
    let (first, second) =
        tokio::join!(functions.calls("shared", 6, 0.2), join_all((0..6).map(through)));
    assert_all_answered(&first);
    assert_all_answered(&second);
    functions.until_none("shared").await;
    functions.remove("shared");
}

/// It has a call at a time, whichever gateway it comes from; a second one would find the lock taken.
async fn two_gateways_share_an_instance(functions: &Functions) {
    let one = ["--concurrency=1", "--min-scale=1", "--max-scale=1"];
    functions.add("alone", ALONE, &one).unwrap();
    let its_instances = async || {
        let pods = functions.pods("alone").await.items.into_iter();
        pods.map(|pod| pod.metadata.uid).collect::<Vec<_>>()
    };
    let before = its_instances().await;
    let _second = second_gateway(functions).await;
    let body = |n: usize| json!({"seconds": 0.05, "n": n}).to_string();
    let through = |n: usize| functions.call_at(SECOND, "alone", body(n), TOKEN);
    let (first, second) =
        tokio::join!(functions.calls("alone", 20, 0.05), join_all((0..20).map(through)));
    assert_all_answered(&first);
    assert_all_answered(&second);
    assert_eq!((its_instances().await, before.len()), (before, 1));
    functions.remove("alone");
}

/// One that asks for a token. It ends with the test.
async fn second_gateway(functions: &Functions) -> Replica {
    let tokens = functions.cluster.folder().join("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},ann,1\n")).unwrap();
    let tokens = tokens.to_string_lossy();
    let port = SECOND.rsplit_once(':').unwrap().1;
    let more = ["--port", port, "--authentication", "--token-auth-file", &tokens];
    let second = functions.cluster.another("serverless-gateway", &more);
    until("the second gateway", async || {
        let ready = functions.client.get(format!("{SECOND}/readyz")).send().await;
        let ready = ready.map_err(|e| e.to_string())?.error_for_status();
        ready.map(drop).map_err(|e| e.to_string())
    })
    .await;
    second
}
