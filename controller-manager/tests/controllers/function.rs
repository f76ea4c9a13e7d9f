//! The versions of functions, whose images are given here; a kubelet's part is played.

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::minik8s::{Function, FunctionStatus, FunctionVersion, FunctionVersionPhase};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use testkit::wait;

use crate::{Cluster, create, list, patch_status};

struct Rig {
    cluster: Cluster,
    functions: Api<Function>,
    sets: Api<ReplicaSet>,
    pods: Api<Pod>,
}

impl Rig {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let (functions, sets, pods) = (cluster.api(), cluster.api(), cluster.api());
        Rig { cluster, functions, sets, pods }
    }

    async fn add(&self, spec: Value) {
        let function = json!({
            "apiVersion": "minik8s.io/v1",
            "kind": "Function",
            "metadata": {"name": "add"},
            "spec": spec,
        });
        create(&self.functions, &serde_json::from_value(function).unwrap()).await;
    }

    async fn set(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.functions.patch("add", &PatchParams::default(), &patch).await.unwrap();
    }

    async fn until_status(&self, what: &str, is: impl Fn(&FunctionStatus) -> bool) {
        let look = async || {
            let status = self.functions.get("add").await.unwrap().status.unwrap_or_default();
            if is(&status) { Ok(()) } else { Err(status) }
        };
        wait::until(what, look).await;
    }

    /// Waits until there are so many pods of each version, and no others.
    async fn until_pods(&self, expected: &[(&str, usize)]) {
        let expected: Vec<_> = expected.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect();
        let look = async || {
            let mut seen = std::collections::BTreeMap::<String, usize>::new();
            for pod in list(&self.pods).await {
                let version = pod.metadata.labels.unwrap()["minik8s.io/function-version"].clone();
                *seen.entry(version).or_default() += 1;
            }
            let seen: Vec<_> = seen.into_iter().collect();
            if seen == expected { Ok(()) } else { Err(seen) }
        };
        wait::until(&format!("pods {expected:?}"), look).await;
    }

    /// What a kubelet says of all pods of a version.
    async fn report(&self, version: &str, status: Value) {
        for pod in list(&self.pods).await {
            if pod.metadata.labels.unwrap()["minik8s.io/function-version"] == version {
                patch_status(&self.pods, &pod.metadata.name.unwrap(), status.clone()).await;
            }
        }
    }

    async fn make_ready(&self, version: &str) {
        let ready = json!({"type": "Ready", "status": "True"});
        self.report(version, json!({"phase": "Running", "conditions": [ready]})).await;
    }
}

fn condition<'a>(status: &'a FunctionStatus, kind: &str) -> (&'a str, &'a str) {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == kind);
    found.map_or(("", ""), |found| (&found.status, &found.message))
}

#[tokio::test]
async fn the_next_version_takes_over_when_it_is_ready_and_an_earlier_one_can_come_back() {
    let rig = Rig::start().await;
    rig.add(json!({"runtime": "container", "image": "one"})).await;
    rig.until_pods(&[("1", 1)]).await;
    rig.until_status("version 1 serves", |status| status.version == Some(1)).await;
    rig.make_ready("1").await;
    rig.until_status("ready", |status| condition(status, "Ready").0 == "True").await;
    rig.until_status("told", |status| {
        status.url.as_deref() == Some("http://127.0.0.1:8081/add") && status.ready_replicas == 1
    })
    .await;
    rig.set(json!({"minScale": 2})).await;
    rig.until_pods(&[("1", 2)]).await;
    rig.make_ready("1").await;

    rig.set(json!({"image": "two", "timeoutSeconds": 7, "containerConcurrency": 3})).await;
    rig.until_pods(&[("1", 2), ("2", 2)]).await;
    let function = rig.functions.get("add").await.unwrap();
    let limits = |version: &FunctionVersion| {
        (version.runtime.clone(), version.timeout_seconds, version.container_concurrency)
    };
    let of =
        |timeout, concurrency| (Some("container".to_owned()), Some(timeout), Some(concurrency));
    let told = function.status.unwrap().versions.iter().map(limits).collect::<Vec<_>>();
    assert_eq!(told, [of(60, 0), of(7, 3)]);
    rig.until_status("version 1 serves on", |status| {
        let told = condition(status, "Ready");
        status.version == Some(1)
            && told == ("Unknown", "version 2 is not ready yet; version 1 serves")
    })
    .await;
    rig.make_ready("2").await;
    rig.until_status("version 2 serves", |status| status.version == Some(2)).await;
    rig.until_pods(&[("2", 2)]).await;

    rig.set(json!({"rollbackTo": 1})).await;
    rig.until_pods(&[("1", 2), ("2", 2)]).await;
    rig.make_ready("1").await;
    rig.until_status("version 1 serves again", |status| status.version == Some(1)).await;
    rig.until_pods(&[("1", 2)]).await;
    rig.set(json!({"maxScale": 9, "rollbackTo": null})).await;
    rig.until_pods(&[("1", 2), ("2", 2)]).await;
    let versions = rig.functions.get("add").await.unwrap().status.unwrap().versions;
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_version_that_does_not_start_leaves_the_old_one_serving_and_says_why() {
    let rig = Rig::start().await;
    rig.add(json!({"runtime": "container", "image": "one"})).await;
    rig.until_pods(&[("1", 1)]).await;
    rig.make_ready("1").await;
    rig.set(json!({"image": "bad"})).await;
    rig.until_pods(&[("1", 1), ("2", 1)]).await;
    let ended = json!({"terminated": {"exitCode": 1, "message": "no main"}});
    let container = json!({
        "name": "function", "image": "bad", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended,
    });
    rig.report("2", json!({"phase": "Running", "containerStatuses": [container]})).await;
    rig.until_status("failed", |status| {
        let version = &status.versions[1];
        status.version == Some(1)
            && version.phase == FunctionVersionPhase::Failed
            && version.message.as_deref() == Some("no main")
            && condition(status, "Ready") == ("False", "version 2: no main; version 1 serves")
    })
    .await;
    rig.set(json!({"image": "three"})).await;
    rig.until_pods(&[("1", 1), ("3", 1)]).await;
    rig.make_ready("3").await;
    rig.until_status("version 3 serves", |status| {
        status.version == Some(3) && condition(status, "Ready").0 == "True"
    })
    .await;
}

#[tokio::test]
async fn versions_beyond_the_limit_are_forgotten_and_all_goes_with_the_function() {
    let rig = Rig::start().await;
    rig.add(json!({"runtime": "container", "image": "1", "historyLimit": 1})).await;
    for version in ["1", "2", "3"] {
        rig.set(json!({"image": version})).await;
        let serves = |status: &FunctionStatus| status.version == version.parse().ok();
        let started = async || {
            let pods = list(&rig.pods).await;
            let has = |pod: &Pod| {
                pod.metadata.labels.as_ref().unwrap()["minik8s.io/function-version"] == version
            };
            if pods.iter().any(has) { Ok(()) } else { Err(pods.len()) }
        };
        wait::until(&format!("a pod of version {version}"), started).await;
        rig.make_ready(version).await;
        rig.until_status("the version serves", serves).await;
    }
    rig.until_status("the first is forgotten", |status| {
        status.versions.iter().map(|version| version.version).eq([2, 3])
    })
    .await;
    let sets = list(&rig.sets).await.into_iter().map(|set| set.metadata.name.unwrap());
    assert_eq!(sets.collect::<Vec<_>>(), ["add-v2", "add-v3"]);

    rig.functions.delete("add", &DeleteParams::default()).await.unwrap();
    rig.until_pods(&[]).await;
    wait::until("no sets", async || {
        let sets = list(&rig.sets).await;
        if sets.is_empty() { Ok(()) } else { Err(sets.len()) }
    })
    .await;
    drop(rig.cluster);
}
