//! What instances of functions are made of, and what becomes of calls when instances, or callers, go.

use std::{fs, time::Duration};

use serde_json::json;
use tokio::time::timeout;

use crate::{
    function_faults::{Functions, SLEEPS, assert_all_answered},
    harness::{root, run, until},
};

/// Long before a call's time in the queue ends.
const SOON: Duration = Duration::from_secs(30);

impl Functions {
    async fn until_table_has(&self, name: &str, text: &str) {
        until(text, async || {
            let table = self.cluster.kubectl(&["func", "get", name]).stdout;
            if table.contains(text) { Ok(()) } else { Err(table) }
        })
        .await;
    }

    pub(crate) async fn until_metric(&self, line: &str) {
        until(line, async || {
            let metrics = self.client.get(format!("{}/metrics", crate::function_faults::GATEWAY));
            let metrics = metrics.send().await.unwrap().text().await.unwrap();
            if metrics.contains(line) { Ok(()) } else { Err(metrics) }
        })
        .await;
    }

    fn apply(&self, objects: &serde_json::Value) {
        let file = self.cluster.folder().join("objects.json");
        fs::write(&file, objects.to_string()).unwrap();
        self.cluster.kubectl(&["apply", "-f", &file.to_string_lossy()]).expect_ok();
    }
}

/// The example that is not Python: built as its Dockerfile says, applied, and called without an instance.
pub(crate) async fn an_image_that_speaks_http_is_a_function(functions: &Functions) {
    let (example, folder) = (root().join("examples/word-count"), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for file in ["main.rs", "run.sh", "Dockerfile"] {
        fs::copy(example.join(file), at(file)).unwrap();
    }
    let (source, program) = (at("main.rs"), at("word-count"));
    let line = ["-O", "-C", "target-feature=+crt-static", "-o", &program, &source];
    run("rustc", &line).expect_ok();
    let context = folder.path().to_string_lossy().into_owned();
    run("docker", &["build", "-q", "-t", "word-count:1", &context]).expect_ok();
    let manifest = example.join("function.yaml");
    functions.cluster.kubectl(&["apply", "-f", &manifest.to_string_lossy()]).expect_ok();
    functions.cluster.kubectl(&["func", "update", "word-count", "--idle=2", "--wait"]).expect_ok();
    functions.until_none("word-count").await;
    let answer = functions.call("word-count", "to be\nor not").await;
    let counted = "{\"lines\": 2, \"words\": 4, \"bytes\": 12}\n";
    assert_eq!(answer, (200, counted.to_owned()));
    let chunks = [Ok::<_, std::io::Error>("to be\n"), Ok("or not")];
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    assert_eq!(functions.call("word-count", body).await, answer, "a body that comes in pieces");
    functions.remove("word-count");
    until("no container to use the image", async || {
        let removed = run("docker", &["rmi", "word-count:1"]);
        if removed.ok { Ok(()) } else { Err(removed.stderr) }
    })
    .await;
}

/// A package that pip finds without an index.
fn wheel(folder: &std::path::Path) {
    let script = "import sys, zipfile
w = zipfile.ZipFile(sys.argv[1] + '/greet-1.0-py3-none-any.whl', 'w')
i = 'greet-1.0.dist-info/'
w.writestr('greet.py', 'def hello(name): return \"hello \" + name\\n')
w.writestr(i + 'METADATA', 'Metadata-Version: 2.1\\nName: greet\\nVersion: 1.0\\n')
w.writestr(i + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
w.writestr(i + 'RECORD', '')
w.close()";
    run("python3", &["-c", script, &folder.to_string_lossy()]).expect_ok();
}

pub(crate) async fn a_folder_is_built_with_its_packages(functions: &Functions) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("people")).unwrap();
    write("people/names.py", "def of(p): return p['first'] + ' ' + p['last']\n");
    write(
        "app.py",
        "import greet\nfrom people import names\ndef go(p): return greet.hello(names.of(p))\n",
    );
    write("requirements.txt", "/function/greet-1.0-py3-none-any.whl\n");
    wheel(folder.path());
    let path = folder.path().to_string_lossy();
    let line = ["func", "add", "greets", "-p", &path, "--entry-point=app:go", "--wait"];
    functions.cluster.kubectl(&line).expect_ok();
    let answer = functions.call("greets", r#"{"first": "Ada", "last": "L."}"#).await;
    assert_eq!(answer, (200, r#""hello Ada L.""#.to_owned()));
    functions.remove("greets");
}

pub(crate) async fn instances_get_their_environment_and_resources(functions: &Functions) {
    let metadata = |name: &str| json!({"name": name, "namespace": "default"});
    functions.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": metadata("mode"), "data": {"MODE": "fast"}}));
    let code = r#"
import os
def limit():
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        if os.path.exists("/sys/fs/cgroup/" + file):
            return int(open("/sys/fs/cgroup/" + file).read())
def main(p):
    return [os.environ["MODE"], os.environ["KEY"], os.environ["ONE"], limit()]
"#;
    let flags = ["--env=ONE=1", "--env-from=configmap/mode", "--env-from=secret/keys"];
    let file = functions.cluster.folder().join("environment.py");
    fs::write(&file, code).unwrap();
    let path = file.to_string_lossy();
    let line = [&["func", "add", "environment", "-p", &path, "--limits=memory=64Mi"][..], &flags];
    functions.cluster.kubectl(&line.concat()).expect_ok();
    // There is no such Secret yet, which is told as soon as it is known; then it is tried again.
    let refused = timeout(SOON, functions.call("environment", "")).await.unwrap();
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(refused.1.contains("keys") && refused.1.contains("not found"), "{}", refused.1);
    functions.apply(&json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": metadata("keys"), "stringData": {"KEY": "s3cret"}}));
    let expected = format!(r#"["fast", "s3cret", "1", {}]"#, 64 << 20);
    until("the Secret to be used", async || match functions.call("environment", "").await {
        (200, answer) if answer == expected => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    functions.remove("environment");
    functions.cluster.kubectl(&["delete", "secret/keys", "configmap/mode"]).expect_ok();
}

/// The autoscaler takes one of two away, and it is not known which.
pub(crate) async fn an_instance_that_goes_finishes_its_calls(functions: &Functions) {
    let two = ["--concurrency=1", "--min-scale=2", "--max-scale=2"];
    functions.add("shrinks", SLEEPS, &two).unwrap();
    functions.until_table_has("shrinks", "2/2").await;
    let shrink = async {
        functions
            .until_metric("function_calls_in_flight{namespace=\"default\",function=\"shrinks\"} 2")
            .await;
        let one = ["func", "update", "shrinks", "--min-scale=1", "--max-scale=1"];
        functions.cluster.kubectl(&one).expect_ok();
        let pods = async || functions.pods("shrinks").await.items;
        until("one to be on its way out", async || {
            let pods = pods().await;
            let leaves = pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_some());
            if leaves { Ok(()) } else { Err(format!("{} pods", pods.len())) }
        })
        .await;
        until("it to be gone", async || match pods().await.len() {
            1 => Ok(()),
            count => Err(format!("{count} pods")),
        })
        .await;
    };
    let (answers, ()) = tokio::join!(functions.calls("shrinks", 2, 8.0), shrink);
    assert_all_answered(&answers);
    functions.remove("shrinks");
}

/// Its only instance would be busy for a minute.
pub(crate) async fn a_caller_that_gives_up_makes_room_for_the_next(functions: &Functions) {
    functions.add("given-up", SLEEPS, &["--concurrency=1", "--max-scale=1"]).unwrap();
    let long = functions.calls("given-up", 1, 55.0);
    let begun = functions
        .until_metric("function_calls_in_flight{namespace=\"default\",function=\"given-up\"} 1");
    tokio::select! {
        answers = long => panic!("{answers:?}"),
        () = begun => {}
    }
    let next = timeout(SOON, functions.calls("given-up", 1, 0.0)).await;
    assert_all_answered(&next.expect("the instance works for nobody"));
    functions.remove("given-up");
}
