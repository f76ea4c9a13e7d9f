//! Jobs in the normal course.

use serde_json::json;

use crate::world::{World, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_compiled_and_run_and_its_results_come_back() {
    let mut world = World::new().await;
    world.source("src/a.sh", "echo \"$GREETING from $(cat name)\"");
    world.create(json!({
        "workDir": "w",
        "env": [{ "name": "GREETING", "value": "it's $HOME" }],
        "compileScripts": ["echo compiling", "echo me > name"],
        "runScripts": ["bash src/a.sh", "echo wrong >&2", "mkdir out; echo 1 > out/a.csv; echo 2 > b"],
        "results": ["out/*.csv"],
    })).await;
    world.serve().await;
    let status = world.ends("Complete", "CompletionsReached").await;
    assert_eq!((status.state.as_deref(), status.exit_code), (Some("COMPLETED"), Some(0)));
    assert_eq!(world.result("j.out").as_deref(), Some("it's $HOME from me\n"));
    assert_eq!(world.result("j.err").as_deref(), Some("wrong\n"));
    assert_eq!(world.result("out/a.csv").as_deref(), Some("1\n"));
    assert_eq!(world.result("b"), None);
    assert_eq!(world.result("compile.log").as_deref(), Some("compiling\n"));
    assert_eq!(world.stdout(), "it's $HOME from me\n");
    assert_eq!(world.in_slurm().await.len(), 1);
    let events = world.events("Completed").await;
    for reason in ["Uploaded", "Compiled", "Submitted", "Started"] {
        assert!(events.iter().any(|event| event == reason), "{reason} of {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_while_the_job_runs() {
    let mut world = World::new().await;
    world.create(json!({ "runScripts": ["echo begun; while [ ! -e go ]; do sleep 0.1; done; echo done"] })).await;
    world.serve().await;
    world.until("its output is here", async || (world.stdout() == "begun\n").then_some(())).await;
    world.until_state("RUNNING").await;
    let task = world.remote(&world.uid().await).join("tasks/0-0");
    std::fs::write(task.join("go"), "").unwrap();
    world.ends("Complete", "CompletionsReached").await;
    assert_eq!(world.stdout(), "begun\ndone\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_have_their_own_results_and_say_whose_output_it_is() {
    let mut world = World::new().await;
    world
        .create(json!({
            "completions": 3,
            "parallelism": 2,
            "runScripts": ["echo I am $JOB_COMPLETION_INDEX"],
        }))
        .await;
    world.serve().await;
    let status = world.ends("Complete", "CompletionsReached").await;
    assert_eq!(status.succeeded, 3);
    for index in 0..3 {
        let line = format!("I am {index}\n");
        assert_eq!(world.result(&format!("{index}/j.out")), Some(line.clone()));
        assert!(world.stdout().contains(&format!("[{index}] {line}")));
    }
    assert_eq!(world.in_slurm().await, ["COMPLETED"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_is_tried_again() {
    let mut world = World::new().await;
    world
        .create(json!({
            "backoffLimit": 2,
            "runScripts": ["pwd; case $PWD in */0-1) ;; *) echo 3 > end; exit 3;; esac"],
            "results": ["end"],
        }))
        .await;
    world.serve().await;
    let status = world.ends("Complete", "CompletionsReached").await;
    assert_eq!((status.failed, status.succeeded), (1, 1));
    assert!(world.result("j.out").unwrap().ends_with("/0-1\n"));
    assert_eq!(world.result("end"), None, "only the first attempt has left it");
    assert!(world.result("attempt-0/j.out").unwrap().ends_with("/0-0\n"));
    assert_eq!(world.result("attempt-0/end").as_deref(), Some("3\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_suspended_and_resumed() {
    let mut world = World::new().await;
    world.create(json!({ "runScripts": ["case $PWD in */0-0) sleep 600;; esac"] })).await;
    world.serve().await;
    world.until_state("RUNNING").await;
    world.patch(json!({ "suspend": true })).await;
    world
        .until_status("it is suspended", |status| {
            says(status, "Suspended").is_some() && status.active == 0
        })
        .await;
    assert_eq!(world.in_slurm().await, ["CANCELLED"]);
    world.patch(json!({ "suspend": false })).await;
    let status = world.ends("Complete", "CompletionsReached").await;
    assert_eq!(status.failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_too_long_is_cancelled() {
    let mut world = World::new().await;
    world
        .create(json!({ "activeDeadlineSeconds": 5, "runScripts": ["echo begun; sleep 600"] }))
        .await;
    world.serve().await;
    world.ends("Failed", "DeadlineExceeded").await;
    assert_eq!(world.in_slurm().await, ["CANCELLED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_job_that_is_being_compiled() {
    let mut world = World::new().await;
    world.create(compiling()).await;
    world.patch(json!({ "activeDeadlineSeconds": 600 })).await;
    world.serve().await;
    let is_uploaded = |status: &_| says(status, "Uploaded").is_some();
    world.until_status("it is uploaded", is_uploaded).await;
    let compiler = compiler(&world).await;
    world.patch(json!({ "activeDeadlineSeconds": 5 })).await;
    world.ends("Failed", "DeadlineExceeded").await;
    assert!(!compiler.exists(), "it is still being compiled");
    assert!(world.in_slurm().await.is_empty());
}

/// A job that is compiled for long.
fn compiling() -> serde_json::Value {
    let script = "echo $$ > compiler.partial; mv compiler.partial compiler; sleep 600; true";
    json!({ "compileScripts": [script], "runScripts": ["true"] })
}

/// Its compiler, which is a process of this machine, too.
async fn compiler(world: &World) -> std::path::PathBuf {
    let file = world.remote(&world.uid().await).join("build/compiler");
    let number = world.until("it is compiled", async || std::fs::read_to_string(&file).ok()).await;
    std::path::Path::new("/proc").join(number.trim())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_while_it_is_compiled_leaves_nothing() {
    let mut world = World::new().await;
    world.create(compiling()).await;
    world.serve().await;
    let (compiler, uid) = (compiler(&world).await, world.uid().await);
    assert!(compiler.exists());
    world.delete().await;
    world.is_gone().await;
    assert!(!compiler.exists(), "it is still being compiled");
    assert!(!world.remote(&uid).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_with_its_pod_leaves_nothing() {
    let mut world = World::new().await;
    world.create(json!({ "runScripts": ["sleep 600"] })).await;
    world.serve().await;
    world.until_state("RUNNING").await;
    let uid = world.uid().await;
    world.terminate();
    world.delete().await;
    world.is_gone().await;
    world.has_ended().await;
    assert!(!world.remote(&uid).exists());
    let jobs = world.slurm.command("squeue", &["-h", "-t", "all", "-o", "%j %T"]);
    assert!(jobs.lines().any(|job| job.ends_with(&format!("{uid} CANCELLED"))), "{jobs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_leaves_nothing_while_it_waits_and_while_it_runs() {
    for (directives, state) in [(json!(["--hold"]), "PENDING"), (json!([]), "RUNNING")] {
        let mut world = World::new().await;
        world.create(json!({ "directives": directives, "runScripts": ["sleep 600"] })).await;
        world.serve().await;
        world.until_state(state).await;
        let uid = world.uid().await;
        assert!(world.remote(&uid).exists());
        let format = ["-h", "-t", "all", "-o", "%j %T"];
        world.delete().await;
        world.is_gone().await;
        world.events("Cancelled").await;
        let jobs = world.slurm.command("squeue", &format);
        let job = jobs.lines().find(|line| line.contains(&uid)).unwrap_or_default();
        assert!(job.ends_with("CANCELLED"), "{job}");
        assert!(!world.remote(&uid).exists());
    }
}
