//! `kubectl gpu` and GPU jobs in the seed's dialect, with a file server on this host for the one in a job's pod.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use api_types::{
    api::core::v1::{Pod, Secret},
    minik8s::GpuJob,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Buffer, Kubectl, words};

/// What the file server has, and what it was asked for.
#[derive(Default)]
struct Files {
    /// By path, with the version of each.
    files: BTreeMap<String, (u32, Vec<u8>)>,
    /// After so many bytes of a file the connection breaks.
    breaks_at: Option<usize>,
    /// So often it has too much to do.
    busy: usize,
    /// Parts are answered from the first byte on, as such.
    begins_anew: bool,
    is_tagless: bool,
    ranges: Vec<Option<String>>,
}

type Shared = Arc<Mutex<Files>>;

/// As nginx serves a folder.
async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let path = percent_decoded(request.uri().path().strip_prefix("/files/").unwrap());
    let header = |name| request.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
    let mut shared = shared.lock().unwrap();
    if shared.busy > 0 {
        shared.busy -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response();
    }
    if path.is_empty() || path.ends_with('/') {
        return Json(listing(&shared.files, &path)).into_response();
    }
    let Some((version, content)) = shared.files.get(&path).cloned() else {
        return match shared.files.keys().any(|file| file.starts_with(&format!("{path}/"))) {
            true => {
                let location = [(header::LOCATION, format!("/files/{path}/"))];
                (StatusCode::MOVED_PERMANENTLY, location).into_response()
            }
            false => (StatusCode::NOT_FOUND, "<html>404</html>").into_response(),
        };
    };
    let tag = format!("\"{version}-{:x}\"", content.len());
    let range = header(header::RANGE).filter(|_| header(header::IF_RANGE) == Some(tag.clone()));
    shared.ranges.push(range.clone());
    let is_part = range.is_some();
    let from = range.map_or(0, |it| it[6..].trim_end_matches('-').parse::<usize>().unwrap());
    let from = if shared.begins_anew { 0 } else { from };
    let status = if is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let rest = content[from..].to_vec();
    let part = format!("bytes {from}-{}/{}", content.len().saturating_sub(1), content.len());
    let mut headers = HeaderMap::new();
    for (name, text) in [
        (header::CONTENT_LENGTH, Some(rest.len().to_string())),
        (header::ETAG, Some(tag).filter(|_| !shared.is_tagless)),
        (header::CONTENT_RANGE, is_part.then_some(part)),
    ] {
        headers.extend(text.map(|text| (name, text.parse().unwrap())));
    }
    let Some(end) = shared.breaks_at.take() else { return (status, headers, rest).into_response() };
    let broken = async {
        // What was written before goes out first.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken"))
    };
    let begun = futures::stream::iter([Ok(rest[..end].to_vec())]);
    let parts = begun.chain(futures::stream::once(broken));
    (status, headers, Body::from_stream(parts)).into_response()
}

fn listing(files: &BTreeMap<String, (u32, Vec<u8>)>, folder: &str) -> Value {
    let mtime = "Thu, 26 Nov 2026 01:02:03 GMT";
    let mut entries = BTreeMap::new();
    for (path, (_, content)) in files {
        let Some(rest) = path.strip_prefix(folder) else { continue };
        let entry = match rest.split_once('/') {
            Some((name, _)) => json!({"name": name, "type": "directory", "mtime": mtime}),
            None => json!({"name": rest, "type": "file", "mtime": mtime, "size": content.len()}),
        };
        entries.insert(entry["name"].to_string(), entry);
    }
    entries.into_values().collect()
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn job(name: &str) -> String {
    json!({
        "apiVersion": "minik8s.io/v1", "kind": "GpuJob", "metadata": {"name": name},
        "spec": {"runScripts": ["./add"], "volume": "/gpu", "credentials": {"secretRef": {"name": "slurm"}}},
    })
    .to_string()
}

/// A job's pod, with its servers at this address.
async fn pod(kubectl: &Kubectl, job: &str, server: SocketAddr) {
    let container = |name: &str| json!({"name": name, "image": "i:1", "ports": [{"containerPort": server.port()}]});
    let containers = [GpuJob::SERVER_CONTAINER, GpuJob::FILE_SERVER_CONTAINER].map(container);
    let uid = jobs(kubectl).get(job).await.unwrap().uid();
    let owner = json!({"apiVersion": "minik8s.io/v1", "kind": "GpuJob", "name": job, "uid": uid, "controller": true});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{job}-gpu"), "labels": {GpuJob::LABEL: job}, "ownerReferences": [owner]},
        "spec": {"containers": containers},
    });
    kubectl.ok_with("create -f -", &pod.to_string()).await;
    let status = json!({"status": {"phase": "Running", "podIP": server.ip()}});
    let pods: Api<Pod> = Api::default_namespaced(kubectl.plane.client());
    let patch = Patch::Merge(status);
    pods.patch_status(&format!("{job}-gpu"), &PatchParams::default(), &patch).await.unwrap();
}

/// A job `matrix` with results.
async fn with_results(files: &[(&str, &str)]) -> (Kubectl, Shared) {
    let shared = Shared::default();
    for (path, content) in files {
        let content = (1, content.as_bytes().to_vec());
        shared.lock().unwrap().files.insert((*path).to_owned(), content);
    }
    let routes = Router::new()
        .route("/queue", get(async || Json(queue())))
        .fallback(serve)
        .with_state(shared.clone());
    let address = component::host::address().expect("this host has a network");
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("create -f -", &job("matrix")).await;
    pod(&kubectl, "matrix", server).await;
    (kubectl, shared)
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The names of all files below a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => found.extend(names(&entry.path())),
            false => found.push(entry.file_name().into_string().unwrap()),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn results_are_listed_and_downloaded() {
    let odd = "out/a b$\n%.csv";
    let (kubectl, _) =
        with_results(&[("matrix.out", "sum\n"), (odd, "odd"), ("out/deep/x", ""), ("z", "1")])
            .await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("results");
    let table = kubectl.ok("gpu matrix").await;
    let expected = "NAME         SIZE   MODIFIED\nmatrix.out   4      2026-11-26T01:02:03Z\nout/         -      2026-11-26T01:02:03Z\nz            1      2026-11-26T01:02:03Z\n";
    assert_eq!(table, expected);
    let table = kubectl.ok("gpu default/matrix out -d ignored").await;
    assert!(table.contains("deep/ ") && table.contains("a b$\\n%.csv "), "{table}");
    let said = kubectl.ok(&format!("gpu matrix -f matrix.out -d {}", to.display())).await;
    assert_eq!(said, format!("{} (4 bytes)\n", to.join("matrix.out").display()));
    assert_eq!(read(&to, "matrix.out"), "sum\n");
    kubectl.ok(&format!("gpu matrix -f out -d {}", to.display())).await;
    assert_eq!((read(&to, odd), read(&to, "out/deep/x")), ("odd".to_owned(), String::new()));
    kubectl.ok(&format!("gpu matrix -f out/deep/ -d {}", to.display())).await;
    assert_eq!(read(&to, "deep/x"), "");
    assert_eq!(names(&to), ["a b$\n%.csv", "matrix.out", "x", "x"]);
}

#[tokio::test]
async fn what_is_not_there_is_an_error_and_leaves_nothing_behind() {
    let (kubectl, _) = with_results(&[("matrix.out", "sum\n")]).await;
    kubectl.ok_with("create -f -", &job("waiting")).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("results");
    let get =
        async |what: &str| kubectl.fails(&format!("gpu {what} -d {}", to.display()), "").await;
    assert_eq!(
        get("matrix -f nope.out").await,
        "error: GPU job \"matrix\" has no result \"nope.out\": \"kubectl gpu matrix\" shows what there is"
    );
    assert!(get("matrix -f ..").await.contains("is the name of no file"));
    assert!(get("waiting -f matrix.out").await.contains("\"waiting\" has no pod"));
    assert!(get("other -f matrix.out").await.contains("(NotFound)"));
    assert!(!to.exists());
    assert!(kubectl.fails("gpu", "").await.contains("the name of a job is needed"));
}

#[tokio::test]
async fn a_download_goes_on_where_it_ended_unless_the_file_has_changed() {
    let (kubectl, files) = with_results(&[("matrix.out", "0123456789")]).await;
    let folder = tempfile::tempdir().unwrap();
    let line = format!("gpu matrix -f matrix.out -d {}", folder.path().display());
    files.lock().unwrap().breaks_at = Some(4);
    let done = kubectl.run_with(&line, "").await;
    assert!(done.ok && done.err.contains("; trying again for 120 s"), "{}", done.err);
    assert_eq!(read(folder.path(), "matrix.out"), "0123456789");
    let ranges = files.lock().unwrap().ranges.clone();
    assert_eq!(ranges, [None, None, Some("bytes=4-".to_owned())]);
    fs::write(folder.path().join("matrix.out.1a.partial"), "0123").unwrap();
    let changed = (2, b"abcdefghij".to_vec());
    files.lock().unwrap().files.insert("matrix.out".to_owned(), changed);
    kubectl.ok(&line).await;
    assert_eq!(read(folder.path(), "matrix.out"), "abcdefghij");
}

#[tokio::test]
async fn a_download_waits_for_servers_that_have_too_much_to_do() {
    let (kubectl, files) = with_results(&[("out/a", "1"), ("out/b", "2")]).await;
    let folder = tempfile::tempdir().unwrap();
    files.lock().unwrap().busy = 1;
    let line = format!("gpu matrix -f out/ -d {}", folder.path().display());
    let done = kubectl.run_with(&line, "").await;
    assert!(done.ok && done.err.contains("cannot be had now"), "{}", done.err);
    assert_eq!(read(&folder.path().join("out"), "b"), "2");
    files.lock().unwrap().busy = 1;
    kubectl.ok(&format!("gpu matrix -f out/a -d {}", folder.path().display())).await;
}

#[tokio::test]
async fn a_download_goes_on_only_where_the_answer_says_that_it_does() {
    let (kubectl, files) = with_results(&[("matrix.out", "0123456789")]).await;
    let folder = tempfile::tempdir().unwrap();
    let line = format!("gpu matrix -f matrix.out -d {}", folder.path().display());
    // Of an answer without a tag, and of the version before.
    fs::write(folder.path().join("matrix.out.partial"), "abcdefghij").unwrap();
    fs::write(folder.path().join("matrix.out.9a.partial"), "x").unwrap();
    fs::write(folder.path().join("matrix.out.1a.partial"), "0123").unwrap();
    files.lock().unwrap().begins_anew = true;
    kubectl.ok(&line).await;
    assert_eq!(read(folder.path(), "matrix.out"), "0123456789");
    assert_eq!(names(folder.path()), ["matrix.out"], "nothing is left of other versions");
    files.lock().unwrap().is_tagless = true;
    fs::write(folder.path().join("matrix.out.partial"), "abcdefghij").unwrap();
    kubectl.ok(&line).await;
    assert_eq!(read(folder.path(), "matrix.out"), "0123456789");
}

/// Somebody in the namespace may label any pod.
#[tokio::test]
async fn a_pod_that_only_says_that_it_is_the_jobs_is_not_asked() {
    let (kubectl, _) = with_results(&[("matrix.out", "sum\n")]).await;
    let pods: Api<Pod> = Api::default_namespaced(kubectl.plane.client());
    let orphaned = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    pods.patch("matrix-gpu", &PatchParams::default(), &orphaned).await.unwrap();
    assert!(kubectl.fails("gpu matrix", "").await.contains("\"matrix\" has no pod"));
}

fn queue() -> Value {
    json!({
        "partitions": [{"name": "debug", "default": true, "availability": "up", "timeLimit": "1:00:00",
            "nodes": "2", "state": "idle", "cpus": "0/8/0/8", "gres": "gpu:2"}],
        "jobs": [{"id": "7", "partition": "debug", "user": "ann", "state": "PENDING", "reason": "(Resources)",
            "time": "0:00", "timeLimit": "1:00:00", "nodes": "1", "name": "add"}],
    })
}

#[tokio::test]
async fn the_queue_is_what_the_jobs_server_sees_of_slurm() {
    let (kubectl, _) = with_results(&[]).await;
    let shown = kubectl.ok("gpu queue").await;
    let lines: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["debug*", "up", "1:00:00", "2", "idle", "0/8/0/8", "gpu:2"]);
    assert_eq!(
        lines[4],
        ["7", "debug", "add", "ann", "PENDING", "0:00", "1:00:00", "1", "(Resources)"]
    );
    assert_eq!(kubectl.ok("gpu queue matrix").await, shown);
    assert!(kubectl.fails("gpu queue -n kube-system", "").await.contains("no GPU job"));
}

#[tokio::test]
async fn a_jobs_log_is_that_of_its_server() {
    let (kubectl, _) = with_results(&[]).await;
    for word in ["gpu/matrix", "gpujob/matrix", "gpus/matrix"] {
        let logs = kubectl.run_with(&format!("logs {word}"), "").await;
        assert!(logs.ok, "{}", logs.err);
        assert!(logs.err.contains("Defaulted container \"gpu-server\""), "{}", logs.err);
    }
}

fn jobs(kubectl: &Kubectl) -> Api<GpuJob> {
    Api::default_namespaced(kubectl.plane.client())
}

#[tokio::test]
async fn a_folder_becomes_a_job() {
    let (kubectl, folder) = (Kubectl::new().await, tempfile::tempdir().unwrap());
    fs::write(folder.path().join("add.cu"), "a").unwrap();
    let path = folder.path().display();
    let flags = "--compile=make --run=./add --run=./multiply --gpus=0 --time=10 --partition=debug --env=A=b=c --directive=--exclusive --result=out/*.csv --secret=slurm --completions=2";
    let made = kubectl.ok(&format!("gpu submit add -p {path} {flags}")).await;
    assert_eq!(made, "gpujob.minik8s.io/add created\n");
    let spec = jobs(&kubectl).get("add").await.unwrap().spec;
    assert_eq!(spec.compile_scripts, ["make"]);
    assert_eq!(spec.run_scripts, ["./add", "./multiply"]);
    assert_eq!((spec.num_gpus, spec.completions), (Some(0), Some(2)));
    assert_eq!(spec.time_limit.as_deref(), Some("10"));
    assert_eq!(
        (spec.directives, spec.results),
        (vec!["--exclusive".to_owned()], vec!["out/*.csv".to_owned()])
    );
    assert_eq!(spec.env[0].value.as_deref(), Some("b=c"));
    assert_eq!(spec.credentials.secret_ref.name, "slurm");
    assert!(spec.sources.unwrap().archive.unwrap().0.starts_with(&[0x1f, 0x8b]), "gzip");

    let file = folder.path().join("job.yaml");
    fs::write(&file, job("from-file")).unwrap();
    kubectl.ok(&format!("gpu submit -f {} -p {path} --partition=debug", file.display())).await;
    let spec = jobs(&kubectl).get("from-file").await.unwrap().spec;
    assert_eq!(
        (spec.run_scripts, spec.partition.as_deref()),
        (vec!["./add".to_owned()], Some("debug"))
    );
    assert!(spec.sources.unwrap().archive.is_some());
    let failure = kubectl.fails(&format!("gpu submit again -p {path}/nope --run=x"), "").await;
    assert!(failure.contains("does not exist"), "{failure}");
}

#[tokio::test]
async fn submit_waits_for_the_end_and_fails_if_the_job_has() {
    let (kubectl, folder) = (Kubectl::new().await, tempfile::tempdir().unwrap());
    fs::write(folder.path().join("add.cu"), "a").unwrap();
    for (end, ok) in [("Complete", true), ("Failed", false)] {
        let err = Buffer::default();
        let io = kubectl::Io::new(std::io::empty(), Buffer::default(), err.clone());
        let name = format!("job-{}", end.to_lowercase());
        let path = folder.path().display();
        let line = format!("gpu submit {name} -p {path} --run=./add --secret=slurm --wait");
        let command = tokio::spawn(kubectl::run(words(&line), io, kubectl.environment()));
        let created = async {
            while jobs(&kubectl).get_opt(&name).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        };
        testkit::wait::within("the job is there", created).await;
        let status = async |status: Value| {
            let patch = Patch::Merge(json!({"status": status}));
            jobs(&kubectl).patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        };
        status(
            json!({"state": "PENDING", "jobId": "7", "message": "Priority", "queuePosition": 3}),
        )
        .await;
        err.contains("PENDING (Slurm job 7): Priority, 3 jobs in front\n").await;
        let condition = json!({"type": end, "status": "True", "reason": "x", "message": "exit code 1",
            "lastTransitionTime": "2026-11-26T01:02:03Z"});
        status(json!({"state": "DONE", "conditions": [condition]})).await;
        let code = command.await.unwrap();
        assert_eq!(format!("{code:?}") == format!("{:?}", std::process::ExitCode::SUCCESS), ok);
        assert_eq!(err.text().contains("exit code 1"), !ok, "{}", err.text());
    }
}

/// A wait for a new job, and what it says.
async fn waiting(
    kubectl: &Kubectl,
    name: &str,
) -> (tokio::task::JoinHandle<std::process::ExitCode>, Buffer) {
    let err = Buffer::default();
    let io = kubectl::Io::new(std::io::empty(), Buffer::default(), err.clone());
    let line = format!("gpu submit {name} --run=./add --secret=slurm --wait");
    let command = tokio::spawn(kubectl::run(words(&line), io, kubectl.environment()));
    testkit::wait::until("the job is watched", async || {
        let asked = kubectl.plane.requests();
        let is_watch = |it: &String| it.contains("watch=true") && it.contains(name);
        if asked.iter().any(is_watch) { Ok(()) } else { Err(asked) }
    })
    .await;
    (command, err)
}

#[tokio::test]
async fn a_wait_ends_with_what_became_of_the_job_however_it_went() {
    let kubectl = Kubectl::new().await;
    let is_success = |code: std::process::ExitCode| {
        format!("{code:?}") == format!("{:?}", std::process::ExitCode::SUCCESS)
    };
    // It goes while nobody is told of it.
    let (command, err) = waiting(&kubectl, "gone").await;
    let cut = kubectl
        .plane
        .refuse(|request| request.uri().query().is_some_and(|it| it.contains("watch=true")));
    kubectl.plane.stop_server().await;
    kubectl.plane.start_server().await;
    jobs(&kubectl).delete("gone", &Default::default()).await.unwrap();
    drop(cut);
    assert!(!is_success(command.await.unwrap()));
    assert!(err.text().contains("the job was deleted"), "{}", err.text());
    // It has completed when it goes.
    let (command, err) = waiting(&kubectl, "done").await;
    let held = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    jobs(&kubectl).patch("done", &PatchParams::default(), &held).await.unwrap();
    jobs(&kubectl).delete("done", &Default::default()).await.unwrap();
    let condition = json!({"type": "Complete", "status": "True", "reason": "x", "message": "",
        "lastTransitionTime": "2026-11-26T01:02:03Z"});
    let status = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    jobs(&kubectl).patch_status("done", &PatchParams::default(), &status).await.unwrap();
    assert!(is_success(command.await.unwrap()), "{}", err.text());
}

const SEED: &str = "apiVersion: v1\nkind: GpuJob\nmetadata:\n  name: matrix-ops\nspec:\n  numProcess: 1\n  numGpus: 1\n  runScripts: [./add]\n  volume: /gpu\n  workDir: matrix\n  username: ann\n  password: 1234\n";

#[tokio::test]
async fn the_login_in_a_job_of_the_seed_becomes_a_secret_that_goes_with_it() {
    let (kubectl, folder) = (Kubectl::new().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("gpu.yaml");
    fs::write(&file, SEED).unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(kubectl.plane.client());
    for command in ["apply", "create"] {
        let made = kubectl.run_with(&format!("{command} -f {}", file.display()), "").await;
        let name = "matrix-ops-gpu-credentials";
        assert_eq!(
            made.out,
            format!("secret/{name} created\ngpujob.minik8s.io/matrix-ops created\n"),
            "{}",
            made.err
        );
        assert!(made.err.contains(&format!("is kept in the Secret {name:?}")), "{}", made.err);
        let job = jobs(&kubectl).get("matrix-ops").await.unwrap();
        assert_eq!(job.spec.credentials.secret_ref.name, name);
        assert!(!serde_json::to_string(&job).unwrap().contains("1234"), "{job:?}");
        let secret = secrets.get(name).await.unwrap();
        assert_eq!(secret.owner_references()[0].uid, job.uid().unwrap());
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/basic-auth"));
        let data = secret.data.unwrap();
        let login = ["username", "password"].map(|key| data[key].0.clone());
        assert_eq!(login, [b"ann".to_vec(), b"1234".to_vec()]);
        if command == "apply" {
            let again = kubectl.ok(&format!("apply -f {}", file.display())).await;
            assert_eq!(
                again,
                format!("secret/{name} unchanged\ngpujob.minik8s.io/matrix-ops unchanged\n")
            );
        }
        let gone = kubectl.ok(&format!("delete --wait=false -f {}", file.display())).await;
        assert_eq!(
            gone, "gpujob.minik8s.io \"matrix-ops\" deleted\n",
            "it needs the login until it is gone"
        );
        // No garbage collector runs here.
        secrets.delete(name, &Default::default()).await.unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), SEED);
    let shown = kubectl.ok(&format!("create --dry-run=client -o yaml -f {}", file.display())).await;
    assert!(shown.contains("kind: Secret") && shown.contains("secretRef:"), "{shown}");
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_neither_written_over_nor_taken() {
    let (kubectl, folder) = (Kubectl::new().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("gpu.yaml");
    fs::write(&file, SEED).unwrap();
    let name = "matrix-ops-gpu-credentials";
    kubectl.ok(&format!("create secret generic {name} --from-literal=username=bob")).await;
    let secrets: Api<Secret> = Api::default_namespaced(kubectl.plane.client());
    let before = secrets.get(name).await.unwrap();
    for command in ["apply", "create", "gpu submit"] {
        let failed = kubectl.fails(&format!("{command} -f {}", file.display()), "").await;
        assert!(failed.contains("GPU job \"matrix-ops\" was not made"), "{failed}");
        assert_eq!(secrets.get(name).await.unwrap(), before);
        assert!(jobs(&kubectl).get_opt("matrix-ops").await.unwrap().is_none());
    }
    secrets.delete(name, &Default::default()).await.unwrap();
    kubectl.ok(&format!("apply -f {}", file.display())).await;
    secrets.delete(name, &Default::default()).await.unwrap();
    let cut = kubectl.plane.refuse(|request| request.method() == "POST");
    let failed = kubectl.fails(&format!("apply -f {}", file.display()), "").await;
    assert!(failed.contains("was not made, since its login is not in the Secret"), "{failed}");
    drop(cut);
    kubectl.ok(&format!("apply -f {}", file.display())).await;
    assert_eq!(secrets.get(name).await.unwrap().owner_references().len(), 1);
}

#[tokio::test]
async fn the_login_of_a_job_that_gets_another_name_goes_with_it() {
    let (kubectl, folder) = (Kubectl::new().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("gpu.yaml");
    fs::write(&file, SEED).unwrap();
    kubectl.ok("create namespace team").await;
    kubectl.ok(&format!("gpu submit team/new -f {}", file.display())).await;
    let secrets: Api<Secret> = Api::namespaced(kubectl.plane.client(), "team");
    let jobs: Api<GpuJob> = Api::namespaced(kubectl.plane.client(), "team");
    let job = jobs.get("new").await.unwrap();
    assert_eq!(job.spec.credentials.secret_ref.name, "new-gpu-credentials");
    let secret = secrets.get("new-gpu-credentials").await.unwrap();
    assert_eq!(secret.owner_references()[0].uid, job.uid().unwrap());
    assert_eq!(secret.labels()[GpuJob::LABEL], "new");
    let made = kubectl.ok(&format!("gpu submit own -f {} --secret=mine", file.display())).await;
    assert_eq!(made, "gpujob.minik8s.io/own created\n", "the login is not needed");
}
