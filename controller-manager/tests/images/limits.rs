//! Builds that go on for ever.

use api_types::minik8s::FunctionVersionPhase;
use controller_manager::functions::FunctionArgs;
use serde_json::{Value, json};

use crate::index::Index;
use crate::{Rig, condition, version};

fn endless() -> Value {
    let files = json!({
        "hello.py": "def main(params):\n    return 1\n",
        "requirements.txt": "endless\n",
    });
    json!({"source": {"files": files}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_hangs_fails_in_time_and_tells_what_it_did() {
    let index = Index::start().await;
    let settings = FunctionArgs { function_build_timeout: 5, ..index.settings() };
    let rig = Rig::start("images-hanging", settings).await;
    rig.create(endless()).await;
    let status = rig
        .until_status("it has failed", |status| {
            version(status, 1).is_some_and(|version| version.phase == FunctionVersionPhase::Failed)
                && condition(status, "Built").0 == "False"
        })
        .await;
    assert!(condition(&status, "Built").1.contains("it took longer than 5 s"), "{status:?}");
    let log = version(&status, 1).unwrap().build_log.clone().unwrap();
    assert!(log.contains("Step 1/"), "{log}");
    rig.delete().await;
    rig.until_gone().await;
    index.until_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_build_of_a_function_that_is_deleted_ends() {
    let index = Index::start().await;
    let rig = Rig::start("images-deleted", index.settings()).await;
    rig.create(endless()).await;
    index.until_waiting(1).await;
    rig.delete().await;
    rig.until_gone().await;
    index.until_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_of_what_is_not_wanted_any_more_ends() {
    let index = Index::start().await;
    let settings = FunctionArgs { concurrent_function_builds: 1, ..index.settings() };
    let rig = Rig::start("images-changed", settings).await;
    rig.create(endless()).await;
    index.until_waiting(1).await;
    rig.change(json!({"source": {"files": {"requirements.txt": null}}})).await;
    rig.until_built(2).await;
    index.until_waiting(0).await;
    rig.delete().await;
    rig.until_gone().await;
}
