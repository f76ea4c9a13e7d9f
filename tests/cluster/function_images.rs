//! Where a node has an instance's image from.

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::{
    function_faults::{Functions, GATEWAY, SLEEPS},
    harness::{Backing, Cluster, run, until},
};

/// The part of a cold call that it waited for this, in milliseconds.
fn part(timing: &str, name: &str) -> f64 {
    let mut parts = timing.split(", ").filter_map(|part| part.split_once(";dur="));
    let (_, took) = parts.find(|(phase, _)| *phase == name).unwrap_or_else(|| panic!("{timing}"));
    took.parse().unwrap()
}

impl Functions {
    /// The first call of the function that has no instance: what it waited for.
    async fn cold_call(&self, name: &str) -> String {
        let call = self.client.post(format!("{GATEWAY}/{name}")).body(r#"{"seconds": 0, "n": 1}"#);
        let answer = call.header("x-minik8s-trace", "cold-start").send().await.unwrap();
        let timing = answer.headers()["server-timing"].to_str().unwrap().to_owned();
        assert_eq!(answer.text().await.unwrap(), "1");
        timing
    }

    fn image(&self, name: &str) -> String {
        let function = self.cluster.kubectl(&["get", "function", name, "-o", "json"]).expect_ok();
        let function: Value = serde_json::from_str(&function).unwrap();
        function["status"]["versions"][0]["image"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_call_whose_image_is_gone_from_the_node_waits_for_it_to_come_from_the_registry() {
    let cluster = Cluster::start(Backing::Embedded).await;
    cluster.down(&[]).expect_ok();
    cluster.up(&["--registry"]).expect_ok();
    let registry = cluster.pid("registry");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let functions = Functions { cluster, client };
    // Of the same code another function may have an instance of the same image.
    let code = format!("{SLEEPS}\n# Pulled.\n");
    functions.add("pulled", &code, &["--idle=2", "--max-scale=1"]).unwrap();
    functions.until_none("pulled").await;
    let timing = functions.cold_call("pulled").await;
    assert_eq!(part(&timing, "image"), 0.0, "it was built here: {timing}");
    functions.until_none("pulled").await;

    let image = functions.image("pulled");
    let id = run("docker", &["image", "inspect", "-f", "{{.Id}}", &image]).expect_ok();
    run("docker", &["rmi", "-f", id.trim()]).expect_ok();
    // It may be pulled before an instance asks for it; while the registry is stopped it is not.
    kill(registry, Signal::SIGSTOP).unwrap();
    let resumed = async {
        until("an instance waits for its image", async || {
            let events = ["get", "events", "--field-selector", "reason=Pulling"];
            let events = functions.cluster.kubectl(&events).stdout;
            if events.contains(&image) { Ok(()) } else { Err(events) }
        })
        .await;
        kill(registry, Signal::SIGCONT).unwrap();
    };
    let (timing, ()) = tokio::join!(functions.cold_call("pulled"), resumed);
    assert!(part(&timing, "image") > 0.0, "{timing}");
    functions.remove("pulled");
}
