//! The Python runtime of functions (`deploy/images/function-python`), run directly with the machine's Python, and in its image.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod examples;
mod http;
mod image;
mod instance;
mod loading;

use std::{fs, path::Path, process::Command};

use instance::{Instance, until};
use serde_json::json;
use tokio::join;

const ADD_FIVE: &str = "def main(params):\n    return {'x': params['x'] + 5}\n";
const ECHO: &str = "def main(params):\n    return params\n";

#[tokio::test]
async fn a_call_has_its_json_as_parameters_and_the_result_as_json() {
    let instance = Instance::ready(ADD_FIVE, &[]).await;
    let answer = instance.post("/any/path?and=query", &[], r#"{"x": 100}"#).await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, json!({"x": 105})));
}

#[tokio::test]
async fn a_body_that_is_not_json_is_an_empty_text() {
    let instance = Instance::ready(ECHO, &[]).await;
    for body in ["", "words", "{", "{'x': 1}"] {
        let answer = instance.call(body).await;
        assert_eq!((answer.status, answer.json()), (200, json!("")), "{body:?}");
    }
    for body in ["null", "1.5", "12345678901234567890", r#""ü\ud800""#, "[[]]"] {
        assert_eq!(instance.call(body).await.status, 200, "{body}");
    }
}

#[tokio::test]
async fn what_goes_wrong_in_a_call_is_its_error_and_not_its_result() {
    let source = "import os, sys\ndef main(p):\n    return eval(p)\n";
    let instance = Instance::ready(source, &[]).await;
    let cases = [
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("sys.exit(4)", "SystemExit", "4"),
        ("{1, 2}", "TypeError", "Object of type set is not JSON serializable"),
        ("float('nan')", "ValueError", "Out of range float values are not JSON compliant"),
        ("os._exit(3)", "WorkerExited", "the process of the call ended"),
        ("os.kill(os.getpid(), 11)", "WorkerExited", "the process of the call ended"),
    ];
    for (code, kind, message) in cases {
        let answer = instance.call(json!(code).to_string()).await;
        assert_eq!(answer.status, 500, "{code}: {answer:?}");
        assert_eq!(answer.error(), (kind.to_owned(), message.to_owned()), "{code}");
        assert_eq!(instance.call(json!("1 + 1").to_string()).await.body, "2", "after {code}");
    }
    assert!(
        instance.log().contains("File \"<string>\", line 1, in <module>"),
        "{}",
        instance.log()
    );
}

#[tokio::test]
async fn each_line_of_the_log_has_the_id_of_its_call() {
    let source = r#"
import os, subprocess, sys
print("loaded")
def main(p):
    print("one\ntwo")
    sys.stdout.buffer.write(b"bytes\n")
    sys.stdout.flush()
    subprocess.run("echo child; echo its error >&2", shell=True)
    print("three", file=sys.stderr)
    os.write(1, b"raw\n")
    print("no end", end="")
    return p["x"]
"#;
    let mut instance = Instance::ready(source, &[]).await;
    let named = instance.post("/", &[("x-request-id", "id-7")], r#"{"x": 1}"#).await.unwrap();
    assert_eq!(named.id, "id-7");
    let unnamed = instance.call("{}").await;
    assert!(!unnamed.id.is_empty());
    instance.terminate();
    let (_, log) = instance.ended().await;
    assert!(log.contains("[-] loaded\n"), "{log}");
    for id in ["id-7", &unnamed.id] {
        let lines = ["one", "two", "bytes", "child", "its error", "three", "raw"];
        let lines = lines.map(|line| format!("[{id}] {line}\n")).concat();
        assert!(log.contains(&lines), "{id}: {log}");
        assert!(log.contains(&format!("[{id}] no end\n")), "{id}: {log}");
    }
    assert!(log.contains(&format!("[{}] KeyError: 'x'\n", unnamed.id)), "{log}");
    assert!(!log.contains("[id-7] KeyError"), "{log}");
}

#[tokio::test]
async fn what_a_call_printed_before_its_process_ended_is_in_the_log() {
    let source = "import os, time\ndef main(p):\n    print(p)\n    os._exit(3) if p == 'dies' else time.sleep(60)\n";
    let instance = Instance::ready(source, &[("MINIK8S_TIMEOUT_SECONDS", "1")]).await;
    for (how, status) in [("dies", 500), ("hangs", 504)] {
        let id = [("x-request-id", how)];
        let answer = instance.post("/", &id, json!(how).to_string()).await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        let line = format!("[{how}] {how}\n");
        until("the line is there", async || instance.log().contains(&line)).await;
    }
}

/// The expression does not give way to other threads of its process: only its death ends it.
#[tokio::test]
async fn a_call_that_hangs_is_ended_with_all_it_started_and_delays_no_other() {
    let source = r#"
import os, re, subprocess
def main(p):
    if p != "hang":
        return p
    child = subprocess.Popen(["sleep", "1000"])
    with open(os.environ["HERE"] + "/hangs.new", "w") as f:
        f.write(f"{os.getpid()} {child.pid}")
    os.rename(os.environ["HERE"] + "/hangs.new", os.environ["HERE"] + "/hangs")
    re.match("(a+)+$", "a" * 64 + "b")
"#;
    let instance = Instance::ready(source, &[("MINIK8S_TIMEOUT_SECONDS", "2")]).await;
    let hangs = instance.path("hangs");
    let others = async {
        until("the call hangs", async || hangs.exists()).await;
        for n in 0..20 {
            let answer = instance.call(n.to_string()).await;
            assert_eq!((answer.status, answer.body), (200, n.to_string()));
        }
    };
    let mut finished = Vec::new();
    join!(
        async {
            let answer = instance.call(r#""hang""#).await;
            let expected = ("Timeout".to_owned(), "the call took longer than 2 s".to_owned());
            assert_eq!((answer.status, answer.error()), (504, expected));
            finished.push("the one that hangs");
        },
        others
    );
    for pid in fs::read_to_string(hangs).unwrap().split(' ') {
        let process = format!("/proc/{pid}");
        until("what hangs is gone", async || !Path::new(&process).exists()).await;
    }
    assert_eq!(instance.call("1").await.body, "1");
}

#[tokio::test]
async fn calls_beyond_the_concurrency_wait_for_others() {
    let source = r#"
import os, time
def main(p):
    running = os.environ["HERE"] + "/source/running-"
    open(running + str(p), "w").close()
    while not os.path.exists(os.environ["HERE"] + "/go"):
        time.sleep(0.005)
    os.remove(running + str(p))
    return p
"#;
    let instance = Instance::ready(source, &[("MINIK8S_CONCURRENCY", "2")]).await;
    let running = || {
        let names = fs::read_dir(instance.path("source")).unwrap();
        names
            .filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().starts_with("running"))
            .count()
    };
    let mut most = 0;
    let watching = async {
        until("two run", async || running() == 2).await;
        // A third, if it could, would begin while the server answers other requests.
        for _ in 0..50 {
            assert!(instance.is_ready().await);
            most = most.max(running());
        }
        fs::write(instance.path("go"), "").unwrap();
    };
    let calls = futures::future::join_all((0..5).map(|n| instance.call(n.to_string())));
    let (answers, ()) = join!(calls, watching);
    assert_eq!(most, 2);
    let answers: Vec<_> = answers.iter().map(|a| a.body.as_str()).collect();
    assert_eq!(answers, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn an_answer_of_50_mb_passes_through_and_a_larger_one_than_may_be_is_an_error() {
    let source = "def main(p):\n    return 'x' * (p << 20)\n";
    let instance = Instance::ready(source, &[]).await;
    let answer = instance.call("50").await;
    assert_eq!((answer.status, answer.body.len()), (200, (50 << 20) + 2));
    let peak = instance.server_peak_kilobytes();
    assert!(peak < 40 << 10, "the server held {peak} kB");
    let answer = instance.call("100").await;
    assert_eq!((answer.status, answer.error().0.as_str()), (500, "ValueError"));
    assert_eq!(instance.call("0").await.body, r#""""#);
}

#[tokio::test]
async fn one_that_is_told_to_end_finishes_its_calls_and_those_that_were_on_their_way() {
    let source = r#"
import os, time
def main(p):
    open(os.environ["HERE"] + "/begun", "w").close()
    while p == "slow" and not os.path.exists(os.environ["HERE"] + "/go"):
        time.sleep(0.005)
    return p
"#;
    let mut instance = Instance::ready(source, &[]).await;
    let ending = async {
        until("the call has begun", async || instance.path("begun").exists()).await;
        instance.terminate();
        until("it is not ready", async || !instance.is_ready().await).await;
        assert_eq!(instance.call("1").await.status, 200, "it was under way");
        until("it takes no more calls", async || instance.post("/", &[], "1").await.is_err()).await;
        fs::write(instance.path("go"), "").unwrap();
    };
    let (answer, ()) = join!(instance.call(r#""slow""#), ending);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#""slow""#));
    let (status, log) = instance.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

/// What a script prints that uses the runtime's modules.
fn printed(script: &str) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("python_runtime");
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-B").arg(tests.join(script)).arg(instance::runtime().parent().unwrap());
    let output = python.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_request_that_is_there_when_its_idle_connection_is_ended_is_answered() {
    let answer = printed("ending.py");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("42"), "{answer}");
}

#[test]
fn a_call_that_is_given_up_is_not_begun_or_has_ended_before_its_place_is_free() {
    assert_eq!(printed("giving_up.py"), "ok\n");
}

#[test]
fn calls_that_wait_for_a_worker_get_it_in_their_turn() {
    assert_eq!(printed("turns.py"), "first second\n");
}
