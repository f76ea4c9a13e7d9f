//! What can be wrong with the login, the cluster and the job.

use serde_json::{Value, json};
use testkit::Proxy;

use crate::world::{World, denies};

/// A job that is not taken, or does not do what it should: how it ends, and what it has in Slurm.
async fn fails(spec: Value, reason: &str, states: &[&str]) -> (World, String) {
    let mut world = World::new().await;
    world.create(spec).await;
    world.serve().await;
    let status = world.ends("Failed", reason).await;
    assert_eq!(world.in_slurm().await, states, "{status:#?}");
    world.events("Failed").await;
    (world, status.message.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_another_one_is_taken_at_once() {
    let mut world = World::new().await;
    world.credential("password", "not this one");
    world.create(json!({ "runScripts": ["echo done"] })).await;
    world.serve().await;
    let status = world
        .until_status("it is refused", |status| denies(status, "ClusterReady").is_some())
        .await;
    let (reason, message) = denies(&status, "ClusterReady").unwrap();
    assert_eq!(reason, "LoginRefused");
    assert!(!message.contains("not this one") && status.message == Some(message));
    world.events("LoginRefused").await;
    world.credential("password", &world.slurm.password());
    world.ends("Complete", "CompletionsReached").await;
    assert!(!world.stderr().contains("not this one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_to_a_host_with_a_wrong_key_and_such_a_job_can_be_deleted() {
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let mut world = World::new().await.host_key(other);
    world.create(json!({ "runScripts": ["echo done"] })).await;
    world.serve().await;
    let refused = |status: &_| denies(status, "ClusterReady").is_some();
    let status = world.until_status("it is refused", refused).await;
    let (reason, message) = denies(&status, "ClusterReady").unwrap();
    assert_eq!(reason, "LoginRefused");
    assert!(message.contains("key"), "{message}");
    world.delete().await;
    // What may be on the cluster cannot be removed: there is nothing.
    world.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_do_not_compile_end_the_job_with_what_they_said() {
    let scripts =
        json!({ "compileScripts": ["echo 'a.cu(3): error' >&2; exit 2"], "runScripts": ["true"] });
    let (world, message) = fails(scripts, "CompileFailed", &[]).await;
    assert!(message.contains("ended with 2") && message.contains("a.cu(3): error"), "{message}");
    assert_eq!(world.result("compile.log").as_deref(), Some("a.cu(3): error\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_cannot_be_taken_end_the_job() {
    let broken = json!({ "sources": { "archive": "bm9uc2Vuc2U=" }, "runScripts": ["true"] });
    let (_world, message) = fails(broken, "InvalidSources", &[]).await;
    assert!(message.starts_with("unpacking the archive"), "{message}");
    let mut world = World::new().await;
    world.source("a", "a");
    world.link("/etc/passwd", "b");
    world.create(json!({ "runScripts": ["true"] })).await;
    world.serve().await;
    let status = world.ends("Failed", "PreparationFailed").await;
    assert!(status.message.unwrap().contains("leads elsewhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sbatch_refuses_fails_with_its_words() {
    let (_world, message) =
        fails(json!({ "partition": "nope", "runScripts": ["true"] }), "InvalidSubmission", &[])
            .await;
    assert!(message.contains("invalid partition specified: nope"), "{message}");
    let (_world, message) =
        // Slurm gives it a number, and fails it at once.
        fails(json!({ "gres": "gpu:99", "runScripts": ["true"] }), "InvalidSubmission", &["FAILED"]).await;
    assert!(message.contains("node configuration is not available"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_fails_brings_its_output_back() {
    let spec = json!({ "runScripts": ["echo out; echo no CUDA device >&2", "exit 3"] });
    let (world, _) = fails(spec, "BackoffLimitExceeded", &["FAILED"]).await;
    assert_eq!(world.result("j.out").as_deref(), Some("out\n"));
    assert_eq!(world.result("j.err").as_deref(), Some("no CUDA device\n"));
    let status = world.status().await;
    assert_eq!(status.exit_code, Some(3), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_takes_too_much_memory_is_killed() {
    let eater = "python3 -c 'x = bytearray(400 << 20); import time; time.sleep(60)'";
    let spec = json!({ "runScripts": ["echo begun", eater] });
    let (world, _) = fails(spec, "BackoffLimitExceeded", &["OUT_OF_MEMORY"]).await;
    assert_eq!(world.result("j.out").as_deref(), Some("begun\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_a_task() {
    let spec = json!({ "timeLimit": "1", "runScripts": ["echo begun; sleep 600"] });
    let (world, _) = fails(spec, "BackoffLimitExceeded", &["TIMEOUT"]).await;
    assert_eq!(world.result("j.out").as_deref(), Some("begun\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_somebody_else_cancels_has_failed() {
    let mut world = World::new().await;
    world.create(json!({ "runScripts": ["echo begun; sleep 600"] })).await;
    world.serve().await;
    let status = world.until_state("RUNNING").await;
    world.slurm.command("scancel", &[&status.job_id.unwrap()]);
    world.ends("Failed", "BackoffLimitExceeded").await;
    assert_eq!(world.in_slurm().await, ["CANCELLED"]);
    assert_eq!(world.result("j.out").as_deref(), Some("begun\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_requeued_is_followed_to_its_end() {
    let mut world = World::new().await;
    let script = "echo run $SLURM_RESTART_COUNT; [ -n \"$SLURM_RESTART_COUNT\" ] || sleep 600";
    world.create(json!({ "runScripts": [script] })).await;
    world.serve().await;
    let status = world.until_state("RUNNING").await;
    let id = status.job_id.unwrap();
    world.slurm.command("scontrol", &["requeue", &id]);
    // Slurm lets a job wait that was requeued; its administrator need not. A node refuses what is begun in the second in
    // which it was told to end it.
    world
        .until("it waits", async || {
            let job = world.slurm.command("scontrol", &["show", "job", "-o", &id]);
            job.contains("JobState=PENDING").then_some(())
        })
        .await;
    world.slurm.command("scontrol", &["update", &format!("JobId={id}"), "StartTime=now+2"]);
    let status = world.ends("Complete", "CompletionsReached").await;
    assert_eq!((status.job_id, status.failed), (Some(id), 0));
    assert!(world.result("j.out").unwrap().contains("run 1"));
    assert!(world.stdout().contains("run 1"), "{}", world.stdout());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_node_that_is_away_is_waited_for_at_every_step() {
    let mut world = World::new().await;
    world.login.cut();
    world.source("a", &"x".repeat(100_000));
    let script = "echo begun; while [ ! -e go ]; do sleep 0.1; done; echo done; head -c 100000000 /dev/zero > big";
    world.create(json!({ "runScripts": [script], "results": ["big"] })).await;
    world.serve().await;
    let lost = |status: &_| {
        denies(status, "ClusterReady").is_some_and(|(reason, _)| reason == "ConnectionLost")
    };
    world.until_status("before the upload", lost).await;
    world.events("ConnectionLost").await;
    world.login.open();
    // Between sbatch and its answer, as near as one can see.
    world.until("Slurm has it", async || (world.in_slurm().await.len() == 1).then_some(())).await;
    world.login.cut();
    world.until_status("after sbatch", lost).await;
    world.login.open();
    world.until_state("RUNNING").await;
    world.login.freeze();
    let task = world.remote(&world.uid().await).join("tasks/0-0");
    std::fs::write(task.join("go"), "").unwrap();
    world.until_status("while it is followed", lost).await;
    world.login.open();
    world.until("it is fetched", async || world.is_fetching().then_some(())).await;
    world.login.cut();
    world.until_status("while its result is fetched", lost).await;
    assert!(world.result("big").is_none(), "it was here already");
    world.login.open();
    world.ends("Complete", "CompletionsReached").await;
    assert_eq!(world.in_slurm().await, ["COMPLETED"]);
    assert_eq!(world.stdout(), "begun\ndone\n");
    assert_eq!(world.result("big").unwrap().len(), 100_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_though_the_accounting_is_away() {
    let mut world = World::new().await;
    world
        .create(json!({ "runScripts": ["echo begun; while [ ! -e go ]; do sleep 0.1; done"] }))
        .await;
    world.serve().await;
    world.until_state("RUNNING").await;
    world.slurm.stop("slurmdbd");
    let task = world.remote(&world.uid().await).join("tasks/0-0");
    std::fs::write(task.join("go"), "").unwrap();
    world.ends("Complete", "CompletionsReached").await;
    world.slurm.start_again("slurmdbd");
    assert_eq!(world.in_slurm().await, ["COMPLETED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_cluster_is_another_one_now_is_left_alone_there() {
    let mut world = World::new().await;
    world.create(json!({ "runScripts": ["while [ ! -e go ]; do sleep 0.1; done"] })).await;
    world.serve().await;
    world.until_state("RUNNING").await;
    world.kill();
    // Another login node has none of its files; one of the same cluster has them.
    let login = format!("{}:{}", world.slurm.host(), world.slurm.port()).parse().unwrap();
    world.login = Proxy::before(login).await;
    let remote = world.remote(&world.uid().await);
    let away = remote.with_extension("away");
    std::fs::rename(&remote, &away).unwrap();
    world.serve().await;
    let changed = |status: &_| {
        denies(status, "ClusterReady").is_some_and(|(reason, _)| reason == "ClusterChanged")
    };
    world.until_status("the cluster is another one", changed).await;
    world.events("ClusterChanged").await;
    assert_eq!(world.in_slurm().await, ["RUNNING"]);
    std::fs::rename(&away, &remote).unwrap();
    std::fs::write(remote.join("tasks/0-0/go"), "").unwrap();
    let status = world.ends("Complete", "CompletionsReached").await;
    let cluster = status.cluster.unwrap();
    assert_eq!(cluster.port, Some(world.login.address().port().into()));
    assert_eq!(cluster.directory.as_deref(), remote.to_str());
}
