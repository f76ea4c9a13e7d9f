//! The server is killed at every step, and begun anew: one job in Slurm, the right end, all results.

use std::fs;

use serde_json::json;

use crate::world::{World, says};

/// Where it is killed: when the test sees this.
#[derive(Clone, Copy, Debug)]
enum Step {
    Uploading,
    Compiling,
    Submitting,
    Running,
    Ended,
    Fetching,
    Complete,
}

async fn has_come(world: &World, step: Step) -> bool {
    let (status, uid) = (world.status().await, world.uid().await);
    let remote = world.remote(&uid);
    match step {
        Step::Uploading => fs::read_dir(remote).into_iter().flatten().flatten().any(|entry| {
            let name = entry.file_name().into_string().unwrap_or_default();
            name.starts_with("sources.") && name.ends_with(".partial")
        }),
        Step::Compiling => remote.join("build/w/compiling").exists(),
        Step::Submitting => world.in_slurm().await.len() == 1,
        Step::Running => status.state.as_deref() == Some("RUNNING"),
        Step::Ended => world.in_slurm().await == ["COMPLETED"],
        Step::Fetching => world.is_fetching(),
        Step::Complete => says(&status, "Complete").is_some(),
    }
}

async fn check(step: Step) {
    let mut world = World::new().await;
    for file in 0..50 {
        world.source(&format!("src/{file}"), &"x".repeat(100_000));
    }
    world.create(json!({
        "workDir": "w",
        "compileScripts": ["ls src | wc -l > compiling; sleep 1; echo x >> compiled"],
        "runScripts": ["cat compiling compiled; echo begun; sleep 2; head -c 100000000 /dev/zero > big"],
        "results": ["big"],
    })).await;
    world.serve().await;
    world.until(&format!("{step:?}"), async || has_come(&world, step).await.then_some(())).await;
    world.kill();
    world.serve().await;
    let status = world.ends("Complete", "CompletionsReached").await;
    assert_eq!(world.in_slurm().await, ["COMPLETED"], "{step:?}");
    assert_eq!((status.succeeded, status.failed, status.tasks[0].attempt), (1, 0, 0), "{step:?}");
    assert_eq!(world.result("j.out").as_deref(), Some("50\nx\nbegun\n"), "{step:?}");
    assert_eq!(world.result("big").unwrap().len(), 100_000_000, "{step:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_uploading() {
    check(Step::Uploading).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_compiling() {
    check(Step::Compiling).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_submitting() {
    check(Step::Submitting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_job_runs() {
    check(Step::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_the_job_has_ended() {
    check(Step::Ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_fetching() {
    check(Step::Fetching).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_all_is_done() {
    check(Step::Complete).await;
}
