//! `kubectl func` and `kubectl trigger`.

use std::{fs, path::Path, process::ExitCode};

use api_types::minik8s::Function;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use kubectl::Io;

use crate::harness::{Buffer, Kubectl, words};

const ADD_FIVE: &str = "def main(params):\n    return {'x': params['x'] + 5}\n";

/// A folder with `add.py`.
fn source() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("add.py"), ADD_FIVE).unwrap();
    folder
}

fn add(folder: &Path) -> String {
    folder.join("add.py").display().to_string()
}

async fn status(kubectl: &Kubectl, name: &str, status: serde_json::Value) {
    let functions = Api::<Function>::namespaced(kubectl.plane.client(), "default");
    let patch = Patch::Merge(json!({"status": status}));
    functions.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_function_is_made_changed_shown_and_removed() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    let file = add(folder.path());
    let made = kubectl.run_with(&format!("func add -f addFive -p {file} --max-scale=3"), "").await;
    assert_eq!(made.out, "function.minik8s.io/add-five created\n", "{}", made.err);
    assert_eq!(made.err, "Note: names are lower case: the function is add-five\n");
    let read = "func get add-five -o jsonpath={.spec.source.files}{.spec.maxScale}";
    assert_eq!(kubectl.ok(read).await, json!({"add.py": ADD_FIVE}).to_string() + "3");
    let again = kubectl.fails(&format!("func add add-five -p {file}"), "").await;
    assert!(again.contains("(AlreadyExists)"), "{again}");

    let update = format!("func update add-five -p {file}");
    assert_eq!(kubectl.ok(&update).await, "function.minik8s.io/add-five unchanged\n");
    fs::write(folder.path().join("other.py"), "def go(p): return p\n").unwrap();
    let other = folder.path().join("other.py").display().to_string();
    let update =
        format!("func update default/add-five -p {other} --entry-point=other:go --env=A=b=c");
    assert_eq!(kubectl.ok(&update).await, "function.minik8s.io/add-five configured\n");
    let read = "func get add-five -o jsonpath={.spec.source.files}{.spec.entryPoint}{.spec.maxScale}{.spec.env}";
    let expected = r#"{"other.py":"def go(p): return p\n"}other:go3[{"name":"A","value":"b=c"}]"#;
    assert_eq!(kubectl.ok(read).await, expected, "the old file is gone");

    let table = kubectl.ok("func get").await;
    assert!(table.starts_with("NAME       READY     INSTANCES   URL"), "{table}");
    assert_eq!(
        kubectl.ok("func rm -f addFive").await,
        "function.minik8s.io \"add-five\" deleted\n"
    );
    assert!(kubectl.fails("func rm add-five", "").await.contains("(NotFound)"));
    assert!(kubectl.fails(&update, "").await.contains("(NotFound)"));
}

#[tokio::test]
async fn a_folder_is_uploaded_as_an_archive_and_an_image_takes_its_place() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok(&format!("func add f -p {}", folder.path().display())).await;
    let read = "func get f -o jsonpath={.spec.runtime}:{.spec.image}:{.spec.source.archive}";
    assert!(kubectl.ok(read).await.starts_with("python::UEs"));
    kubectl.ok("func update f --image=registry/resize:1").await;
    assert_eq!(kubectl.ok(read).await, "container:registry/resize:1:");
    kubectl.ok(&format!("func update f -p {}", add(folder.path()))).await;
    assert_eq!(kubectl.ok(read).await, "python::");
}

#[tokio::test]
async fn a_manifest_that_is_too_large_to_be_applied_says_what_to_do() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    let file = folder.path().join("f.yaml");
    let write = |bytes: usize| {
        let files = json!({"f.py": "#".repeat(bytes)});
        let function = json!({"apiVersion": "minik8s.io/v1", "kind": "Function",
            "metadata": {"name": "f"}, "spec": {"source": {"files": files}}});
        fs::write(&file, function.to_string()).unwrap();
    };
    let line = format!("apply -f {}", file.display());
    write(256 * 1024);
    let failure = kubectl.fails(&line, "").await;
    let hint = format!("use kubectl create -f {file:?} or ");
    assert!(failure.contains(&hint), "{failure}");
    write(255 * 1024);
    assert_eq!(kubectl.ok(&line).await, "function.minik8s.io/f created\n");
}

#[tokio::test]
async fn flags_say_how_a_function_scales_and_what_its_instances_get() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    let flags = "--target-concurrency=5 --scale-down-delay=7 --history-limit=2 --requests=cpu=100m,memory=64Mi --limits=memory=1Gi --env-from=secret/keys --env-from=configmap/mode";
    kubectl.ok(&format!("func add f -p {} {flags}", add(folder.path()))).await;
    let read = "func get f -o jsonpath={.spec.targetConcurrency},{.spec.scaleDownDelaySeconds},{.spec.historyLimit}{.spec.resources}{.spec.envFrom}";
    let envs = r#"[{"secretRef":{"name":"keys"}},{"configMapRef":{"name":"mode"}}]"#;
    let resources = r#"{"limits":{"memory":"1Gi"},"requests":{"cpu":"100m","memory":"64Mi"}}"#;
    assert_eq!(kubectl.ok(read).await, format!("5,7,2{resources}{envs}"));
    kubectl.ok("func update f --limits=cpu=1 --history-limit=9").await;
    let resources = resources.replace(r#""memory":"1Gi""#, r#""cpu":"1""#);
    assert_eq!(kubectl.ok(read).await, format!("5,7,9{resources}{envs}"));
}

#[tokio::test]
async fn uploads_that_cannot_be_are_refused_with_the_reason() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    fs::write(folder.path().join("big.py"), "#".repeat(1 << 21)).unwrap();
    for (line, expected) in [
        ("func add f -p big.py", "has 2097152 bytes, a function's source at most 1048576"),
        ("func add f -p nope.py", "does not exist"),
        ("func add f", "the source (-p) or an image (--image) is needed"),
        ("func add -p add.py", "the name of one function is needed"),
        ("func add f g -p add.py", "the name of one function is needed"),
        ("func add f -p add.py --env=x", "invalid --env \"x\", expected KEY=VALUE"),
        (
            "func add f -p add.py --env-from=keys",
            "invalid --env-from \"keys\", expected secret/NAME",
        ),
        (
            "func add f -p add.py --limits=cpu-",
            "invalid --limits \"cpu-\", expected RESOURCE=QUANTITY",
        ),
        ("func add f -p add.py --entry-point=nope:main", "spec.entryPoint"),
    ] {
        let line = line.replace("-p ", &format!("-p {}/", folder.path().display()));
        let failure = kubectl.fails(&line, "").await;
        assert!(failure.contains(expected), "{line}: {failure}");
    }
    assert!(kubectl.ok("get functions -o name").await.is_empty());
}

fn version(version: i64, phase: &str) -> serde_json::Value {
    json!({"version": version, "digest": "d", "templateDigest": "t", "phase": phase})
}

#[tokio::test]
async fn a_rollback_goes_to_the_version_before_that_worked() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok(&format!("func add f -p {}", add(folder.path()))).await;
    let failure = kubectl.fails("func rollback f", "").await;
    assert_eq!(failure, "error: function \"f\" has no earlier version");
    let versions =
        [version(1, "Ready"), version(2, "Ready"), version(3, "Failed"), version(4, "Ready")];
    status(&kubectl, "f", json!({"version": 4, "versions": versions})).await;
    let said = kubectl.ok("func rollback f").await;
    assert_eq!(said, "function.minik8s.io/f rolled back to version 2\n");
    assert_eq!(kubectl.ok("get func f -o jsonpath={.spec.rollbackTo}").await, "2");
    assert_eq!(kubectl.ok("func rollback f").await, said.replace('2', "1"), "before that");
    kubectl.ok("func rollback f --to-version=1").await;
    assert_eq!(kubectl.ok("get func f -o jsonpath={.spec.rollbackTo}").await, "1");
    let failure = kubectl.fails("func rollback f --to-version=9", "").await;
    assert!(failure.contains("spec.rollbackTo: Not found: 9"), "{failure}");
}

#[tokio::test]
async fn a_rollback_from_a_version_that_does_not_serve_is_to_the_one_that_does() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok(&format!("func add f -p {}", add(folder.path()))).await;
    let versions = [version(1, "Ready"), version(2, "Ready"), version(3, "Failed")];
    status(&kubectl, "f", json!({"version": 2, "versions": versions})).await;
    let said = kubectl.ok("func rollback f").await;
    assert_eq!(said, "function.minik8s.io/f rolled back to version 2\n");
}

/// What the function controllers say of a function's two conditions.
fn conditions(generation: i64, built: (&str, &str), ready: (&str, &str)) -> serde_json::Value {
    let condition = |kind, (status, message)| json!({"type": kind, "status": status, "message": message, "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let conditions = [condition("Built", built), condition("Ready", ready)];
    json!({"observedGeneration": generation, "conditions": conditions})
}

#[tokio::test]
async fn who_waits_is_told_how_far_it_is_until_it_serves() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok(&format!("func add f -p {}", add(folder.path()))).await;
    let old = conditions(1, ("True", "version 1 is i"), ("True", "version 1 serves"));
    status(&kubectl, "f", old).await;
    let (out, err) = (Buffer::default(), Buffer::default());
    let io = Io::new(std::io::empty(), out.clone(), err.clone());
    let line = "func update f --env=A=b --wait";
    let update = tokio::spawn(kubectl::run(words(line), io, kubectl.environment()));
    out.contains("function.minik8s.io/f configured\n").await;
    assert_eq!(err.text(), "", "what was before is no news");
    let building = ("Unknown", "version 2 is being built");
    status(&kubectl, "f", conditions(2, building, ("Unknown", "not ready"))).await;
    err.contains("version 2 is being built\n").await;
    let built = ("True", "version 2 is i");
    status(&kubectl, "f", conditions(2, built, ("Unknown", "version 2 is being started"))).await;
    err.contains("version 2 is being started\n").await;
    assert!(!update.is_finished());
    status(&kubectl, "f", conditions(2, built, ("True", "version 2 serves"))).await;
    assert_eq!(update.await.unwrap(), ExitCode::SUCCESS);
    let told = "version 2 is being built\nversion 2 is being started\nversion 2 serves\n";
    assert_eq!(err.text(), told);
}

#[tokio::test]
async fn who_waits_for_what_cannot_be_is_told_why() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok(&format!("func add f -p {}", add(folder.path()))).await;
    let mut failed = conditions(1, ("False", "version 1 cannot be built: why"), ("False", "no"));
    failed["versions"] = json!([version(1, "Failed")]);
    failed["versions"][0]["buildLog"] = json!("Step 1\nSyntaxError\n");
    status(&kubectl, "f", failed).await;
    let same = format!("func update f --wait -p {}", add(folder.path()));
    let said = kubectl.fails(&same, "").await;
    assert_eq!(said, "Step 1\nSyntaxError\nerror: version 1 cannot be built: why");
    let stuck = conditions(1, ("True", ""), ("False", "version 1: exited with 1"));
    status(&kubectl, "f", stuck).await;
    assert_eq!(kubectl.fails(&same, "").await, "error: version 1: exited with 1");
}

#[tokio::test]
async fn logs_are_those_of_the_functions_instances() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    let missing = kubectl.fails("func logs addFive", "").await;
    assert!(missing.contains("functions.minik8s.io \"add-five\" not found"), "{missing}");
    kubectl.ok("create namespace team").await;
    for (namespace, name) in [("default", "addFive"), ("team", "team/addFive")] {
        kubectl.ok(&format!("func add -f {name} -p {}", add(folder.path()))).await;
        let none = kubectl.run_with(&format!("func logs {name}"), "").await;
        assert_eq!(none.err, format!("function {namespace}/add-five has no instance\n"));
        let asked = kubectl.plane.requests();
        let pods = format!(
            "GET /api/v1/namespaces/{namespace}/pods?labelSelector=minik8s.io%2Ffunction%3Dadd-five"
        );
        assert!(asked.contains(&pods), "{asked:?}");
    }
}

/// Takes one request and answers it: the address, and then what was asked.
async fn gateway(status: &str, body: &str) -> (String, JoinHandle<String>) {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    broken_gateway(answer).await
}

async fn broken_gateway(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = String::new();
        while !asked.ends_with('}') {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).await.unwrap();
            asked += std::str::from_utf8(&buffer[..length]).unwrap();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked
    });
    (address, asked)
}

#[tokio::test]
async fn a_call_prints_the_result_and_says_whom_it_called() {
    let kubectl = Kubectl::new().await;
    let (address, asked) = gateway("200 OK", "{\"x\": 105}").await;
    let line = format!("trigger addFive --gateway={address} -d @-");
    let done = kubectl.run_with(&line, r#"{"x": 100}"#).await;
    assert!(done.ok && done.out == "{\"x\": 105}\n", "{}{}", done.out, done.err);
    let url = format!("http://{address}/default/add-five");
    assert!(done.err.ends_with(&format!("{url}\nadd-five\nresult:\n")), "{}", done.err);
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /default/add-five HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\n{\"x\": 100}"), "{asked}");
    assert!(!asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn a_call_brings_the_token_that_it_is_given() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    let file = folder.path().join("token");
    fs::write(&file, "s3cret\n").unwrap();
    for token in ["s3cret".to_owned(), format!("@{}", file.display())] {
        let (address, asked) = gateway("200 OK", "1").await;
        kubectl.ok(&format!("trigger f --gateway={address} --token={token} -d {{}}")).await;
        let asked = asked.await.unwrap();
        assert!(asked.contains("\r\nauthorization: Bearer s3cret\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn a_call_goes_to_the_functions_own_url() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok(&format!("func add f -p {}", add(folder.path()))).await;
    let (address, asked) = gateway("200 OK", "1\n").await;
    status(&kubectl, "f", json!({"url": format!("http://{address}/there")})).await;
    assert_eq!(kubectl.ok("trigger f -d {}").await, "1\n");
    assert!(asked.await.unwrap().starts_with("POST /there HTTP/1.1\r\n"));
    let missing = kubectl.fails("trigger nope", "").await;
    assert!(missing.contains("functions.minik8s.io \"nope\" not found"), "{missing}");
}

#[tokio::test]
async fn a_call_that_fails_says_why_and_fails() {
    let kubectl = Kubectl::new().await;
    for (status, body, expected) in [
        (
            "500 Internal Server Error",
            r#"{"error": {"type": "ValueError", "message": "no such x"}}"#,
            "error: ValueError: no such x",
        ),
        (
            "429 Too Many Requests",
            r#"{"kind": "Status", "message": "so many"}"#,
            "error: so many (429)",
        ),
        ("502 Bad Gateway", "words", "error: words (502)"),
    ] {
        let (address, _asked) = gateway(status, body).await;
        let failed = kubectl.run_with(&format!("trigger f --gateway={address} -d {{}}"), "").await;
        assert!(!failed.ok && failed.out.is_empty(), "{}", failed.out);
        assert!(failed.err.trim_end().ends_with(expected), "{expected}: {}", failed.err);
    }
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{".to_owned();
    let (address, _asked) = broken_gateway(half).await;
    let failed = kubectl.run_with(&format!("trigger f --gateway={address} -d {{}}"), "").await;
    assert!(!failed.ok && failed.out.is_empty(), "half an answer is none: {}", failed.out);
    let refused = kubectl.fails("trigger f --gateway=127.0.0.1:1 -d {}", "").await;
    assert!(refused.contains("calling http://127.0.0.1:1/default/f: "), "{refused}");
}

#[tokio::test]
async fn the_examples_can_be_uploaded_and_applied() {
    let kubectl = Kubectl::new().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/functions");
    for file in fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_stem().unwrap().to_string_lossy();
        let line = match file.extension().unwrap().to_str() {
            Some("py") => format!("func add -f {name} -p {}", file.display()),
            _ => format!("apply -f {}", file.display()),
        };
        assert!(kubectl.ok(&line).await.contains(" created\n"), "{line}");
    }
    let names = kubectl.ok("get functions -o jsonpath={.items[*].metadata.name}").await;
    assert!(names.contains("add-five") && names.contains("add-ten"), "{names}");
}

#[tokio::test]
async fn names_are_completed_from_what_the_server_has() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok("create namespace team").await;
    for name in ["add-five", "add-ten", "print", "team/only"] {
        kubectl.ok(&format!("func add {name} -p {}", add(folder.path()))).await;
    }
    // What is being typed is the last word, be it empty.
    let complete = async |line: &str| {
        let words = words("__complete --").into_iter().chain(line.split(' ').map(Into::into));
        let out = Buffer::default();
        let io = Io::new(std::io::empty(), out.clone(), Buffer::default());
        let code = kubectl::run(words, io, kubectl.environment()).await;
        if code == ExitCode::SUCCESS { out.text() } else { "flags".to_owned() }
    };
    assert_eq!(complete("trigger add-").await, "add-five\nadd-ten\n");
    assert_eq!(complete("func rm -n team ").await, "only\n");
    assert_eq!(complete("get functions p").await, "print\n");
    assert_eq!(complete("get fu").await, "functions\n");
    assert_eq!(complete("wf run ").await, "");
    assert_eq!(complete("func rm --").await, "flags");
    assert_eq!(complete("get nothing ").await, "flags", "there is no such kind");
    assert_eq!(complete("cfg sched=min-").await, "sched=min-pods\nsched=min-cpu\nsched=min-mem\n");
    assert_eq!(complete("cfg sched = ba").await, "balanced\n");
    assert!(complete("cfg sched =").await.starts_with("balanced\nspread\n"));
}

/// Has a shell complete the line `kubectl WORDS`, with a kubectl that knows the functions `add-five` and `print`.
fn completed(shell: &str, script: &str, words: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let server = r#"kubectl() { [ "$1 $3 $4" = "__complete func rm" ] && case $5 in -*) false ;; p*) echo print ;; *) echo add-five; echo print ;; esac; }"#;
    let complete = match shell {
        "bash" => format!(
            "{server}\n{script}\nCOMP_WORDS=(kubectl {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _kubectl_names kubectl \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ),
        "zsh" => format!(
            "{server}\ncompdef() {{ }}; compadd() {{ shift; print -l -- \"$@\" }}; _arguments() {{ print flags }}\n{script}\nwords=(kubectl {words}); CURRENT=${{#words}}; _kubectl"
        ),
        _ => {
            let server = "function kubectl; test \"$argv[1] $argv[3..4]\" = '__complete func rm'; and not string match -q -- '-*' $argv[5]; and printf '%s\\n' add-five print; end";
            format!("{server}\n{script}\ncomplete -C 'kubectl {}'", words.replace("''", ""))
        }
    };
    // No argument may be as long as the script.
    let file = folder.path().join("complete");
    fs::write(&file, complete).unwrap();
    let done = std::process::Command::new(shell).arg(&file).output();
    let done = done.unwrap_or_else(|error| panic!("{shell}: {error}"));
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&done.stderr));
    said.lines().map(|line| line.split('\t').next().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn shells_complete_names_and_else_flags_and_commands() {
    let kubectl = Kubectl::new().await;
    for shell in ["bash", "zsh", "fish"] {
        let script = kubectl.ok(&format!("completion {shell}")).await;
        assert_eq!(completed(shell, &script, "func rm ''"), "add-five print", "{shell}");
        assert_eq!(completed(shell, &script, "func rm p"), "print", "{shell}");
        let flags = completed(shell, &script, "func rm --wa");
        assert!(flags == "flags" || flags == "--wait", "{shell}: {flags}");
    }
    let script = kubectl.ok("completion bash").await;
    assert_eq!(completed("bash", &script, "func rm ="), "add-five print", "bash parts words at =");
}
