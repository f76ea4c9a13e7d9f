//! `kubectl func` and `kubectl trigger`.

use std::{fs, path::Path};

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

use crate::harness::Kubectl;

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
    assert_eq!(made.err, "Note: names are lower case: addFive is add-five\n");
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
        ("func add f -p add.py --entry-point=nope:main", "spec.entryPoint"),
    ] {
        let line = line.replace("-p ", &format!("-p {}/", folder.path().display()));
        let failure = kubectl.fails(&line, "").await;
        assert!(failure.contains(expected), "{line}: {failure}");
    }
    assert!(kubectl.ok("get functions -o name").await.is_empty());
}

#[tokio::test]
async fn a_rollback_goes_to_the_version_before_that_worked() {
    let (kubectl, folder) = (Kubectl::new().await, source());
    kubectl.ok(&format!("func add f -p {}", add(folder.path()))).await;
    let failure = kubectl.fails("func rollback f", "").await;
    assert_eq!(failure, "error: function \"f\" has no earlier version");
    let version = |version, phase| json!({"version": version, "digest": "d", "templateDigest": "t", "phase": phase});
    let versions =
        [version(1, "Ready"), version(2, "Ready"), version(3, "Failed"), version(4, "Ready")];
    status(&kubectl, "f", json!({"version": 4, "versions": versions})).await;
    let said = kubectl.ok("func rollback f").await;
    assert_eq!(said, "function.minik8s.io/f rolled back to version 2\n");
    assert_eq!(kubectl.ok("get func f -o jsonpath={.spec.rollbackTo}").await, "2");
    kubectl.ok("func rollback f --to-version=1").await;
    assert_eq!(kubectl.ok("get func f -o jsonpath={.spec.rollbackTo}").await, "1");
    let failure = kubectl.fails("func rollback f --to-version=9", "").await;
    assert!(failure.contains("spec.rollbackTo: Not found: 9"), "{failure}");
}

#[tokio::test]
async fn logs_are_those_of_the_functions_instances() {
    let kubectl = Kubectl::new().await;
    kubectl.run_with("func logs addFive --tail=3", "").await;
    let asked = kubectl.plane.requests();
    let pods = "GET /api/v1/namespaces/default/pods?labelSelector=minik8s.io%2Ffunction%3Dadd-five";
    assert!(asked.iter().any(|request| request == pods), "{asked:?}");
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
async fn bash_completes_the_names_of_functions() {
    let kubectl = Kubectl::new().await;
    let script = kubectl.ok("completion bash").await;
    let check = |words: &str, expected: &str| {
        let server = r#"kubectl() { [ "$*" = "get functions -o jsonpath={.items[*].metadata.name}" ] && echo add-five add-ten print; }"#;
        let last = words.split(' ').count() - 1;
        let complete = format!(
            "{script}\n{server}\nCOMP_WORDS=({words}); COMP_CWORD={last}; _kubectl_names kubectl \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        // No argument may be as long as the script.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), complete).unwrap();
        let done = std::process::Command::new("bash").arg(file.path()).output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert_eq!(said.trim_end(), expected, "{words}: {}", String::from_utf8_lossy(&done.stderr));
    };
    check("kubectl trigger add-", "add-five add-ten");
    check("kubectl func rm p", "print");
    check("kubectl func update -f add-f", "add-five");
    check("kubectl func rollb", "rollback");
    check("kubectl func rm", "rm");
    check("kubectl func update add-five --min", "--min-scale");
}
