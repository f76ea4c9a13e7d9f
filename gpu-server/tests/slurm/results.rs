//! What comes back.

use std::{fs, path::Path};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;

use crate::world::{World, says};

#[tokio::test(flavor = "multi_thread")]
async fn names_may_have_anything_in_them() {
    let names = ["a b", "it's", "$HOME", "`id`", "new\nline", "\"q\"", "-rf", "back\\slash", "ü"];
    let mut world = World::new().await;
    for name in names {
        world.source(&format!("in/{name}"), name);
    }
    world.create(json!({ "runScripts": ["cp -r in out"], "results": ["out/*"] })).await;
    world.serve().await;
    world.ends("Complete", "CompletionsReached").await;
    for name in names {
        assert_eq!(world.result(&format!("out/{name}")).as_deref(), Some(name), "{name:?}");
    }
}

/// A small file system.
struct Volume(tempfile::TempDir);

impl Volume {
    fn new(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let none: Option<&Path> = None;
        mount(none, folder.path(), Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Self(folder)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_on_the_volume_is_told_and_the_rest_is_there() {
    let volume = Volume::new("size=4m");
    let mut world = World::new().await.results(volume.0.path());
    let script =
        "head -c 8000000 /dev/zero > big; head -c 1000000 /dev/zero > z; echo small > small";
    world.create(json!({ "runScripts": [script], "results": ["big", "small", "z"] })).await;
    world.serve().await;
    let status = world.ends("Complete", "CompletionsReached").await;
    assert!(says(&status, "ResultsIncomplete").is_some(), "{status:#?}");
    let message = status.conditions.iter().find(|c| c.type_ == "ResultsIncomplete").unwrap();
    assert!(message.message.contains("big (8000000 bytes)"), "{message:?}");
    assert_eq!(world.result("small").as_deref(), Some("small\n"));
    assert_eq!(world.result("z").unwrap().len(), 1_000_000);
    let left = fs::read_dir(volume.0.path()).unwrap().count();
    assert_eq!(left, 4, "nothing in part");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_fetched_is_told_and_keeps_nothing_else_waiting() {
    let mut world = World::new().await;
    let script = "echo $JOB_COMPLETION_INDEX > a; echo b > b; [ $JOB_COMPLETION_INDEX = 1 ] || chmod 0 b; pwd";
    world.create(json!({ "completions": 2, "runScripts": [script], "results": ["a", "b"] })).await;
    world.serve().await;
    let other = async || world.result("1/b");
    assert_eq!(world.until("the other task's are here", other).await, "b\n");
    assert!(says(&world.status().await, "Complete").is_none(), "the first one's may come yet");
    let status = world.ends("Complete", "CompletionsReached").await;
    assert!(says(&status, "ResultsIncomplete").is_some(), "{status:#?}");
    assert_eq!(world.result("0/a").as_deref(), Some("0\n"));
    assert_eq!(world.result("0/b"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_megabytes_come_back() {
    let mut world = World::new().await;
    let script = "head -c 200000000 /dev/urandom > big; sha256sum < big";
    world.create(json!({ "runScripts": [script], "results": ["big"] })).await;
    world.serve().await;
    world.ends("Complete", "CompletionsReached").await;
    let sum = std::process::Command::new("sha256sum").arg(world.path("big")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(sum.split(' ').next(), world.result("j.out").unwrap().split(' ').next());
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_from_where_a_link_leads_that_is_called_by_its_name() {
    let mut world = World::new().await;
    world
        .create(json!({
            "compileScripts": ["ln -s \"$(mktemp -d ~/elsewhere.XXXXXX)\" out"],
            "outputFile": "out/far",
            "runScripts": ["echo begun; while [ ! -e go ]; do sleep 0.1; done; echo 1 > out/a; echo 2 > b"],
            "results": ["*", "out/a"],
        }))
        .await;
    world.serve().await;
    world.until("its output is here", async || (world.stdout() == "begun\n").then_some(())).await;
    let task = world.remote(&world.uid().await).join("tasks/0-0");
    fs::write(task.join("go"), "").unwrap();
    world.ends("Complete", "CompletionsReached").await;
    assert_eq!(world.result("out/far").as_deref(), Some("begun\n"));
    assert_eq!(world.result("out/a").as_deref(), Some("1\n"));
    assert_eq!(world.result("b").as_deref(), Some("2\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_while_its_results_come_leaves_none_half_here() {
    let mut world = World::new().await;
    let script = "truncate -s 1000000000 big";
    world.create(json!({ "runScripts": [script], "results": ["big"] })).await;
    world.serve().await;
    world.until("it is fetched", async || world.is_fetching().then_some(())).await;
    world.delete().await;
    world.is_gone().await;
    assert!(!world.is_fetching() && world.result("big").is_none());
}
