//! What ResourceQuotas and LimitRanges allow.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    faulty::{Fate, Op},
    harness::{Api, PODS, pod},
};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const RANGES: &str = "/api/v1/namespaces/default/limitranges";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

/// A quota of ConfigMaps of which nothing is used, as a controller would have counted.
async fn quota_of_maps(api: &Api, most: &str) {
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": most}}});
    let mut quota = api.post(QUOTAS, &quota).await.ok();
    assert!(quota["status"]["hard"].is_null(), "nothing is counted yet");
    quota["status"] = json!({"hard": {"configmaps": most}, "used": {"configmaps": "0"}});
    api.put(&format!("{QUOTAS}/q/status"), &quota).await.ok();
    // The list waits for the cache, by which what is allowed is known.
    api.get(QUOTAS).await.ok();
}

async fn code(api: &Api, name: &str) -> u16 {
    api.post(MAPS, &map(name)).await.code
}

async fn used(api: &Api) -> Value {
    api.get(&format!("{QUOTAS}/q")).await.ok()["status"]["used"]["configmaps"].clone()
}

#[tokio::test]
async fn of_many_that_come_at_once_as_many_are_taken_as_there_is_room_for() {
    let api = Api::start().await;
    quota_of_maps(&api, "5").await;
    let names: Vec<_> = (0..20).map(|i| format!("m{i}")).collect();
    let answers = join_all(names.iter().map(|name| code(&api, name))).await;
    assert_eq!(answers.iter().filter(|code| **code == 201).count(), 5, "{answers:?}");
    assert_eq!(answers.iter().filter(|code| **code == 403).count(), 15, "{answers:?}");
    assert_eq!(used(&api).await, "5");
}

#[tokio::test]
async fn a_dry_run_is_checked_and_not_charged() {
    let api = Api::start().await;
    quota_of_maps(&api, "1").await;
    let dry = format!("{MAPS}?dryRun=All");
    api.post(&dry, &map("a")).await.ok();
    assert_eq!(used(&api).await, "0");
    api.post(MAPS, &map("a")).await.ok();
    // What is charged is told to the cache, by which a dry run goes.
    api.get(QUOTAS).await.ok();
    let expected = "configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1";
    assert_eq!(api.post(&dry, &map("b")).await.fails(403, "Forbidden"), expected);
}

#[tokio::test]
async fn what_is_there_already_is_not_charged_again() {
    let api = Api::start().await;
    quota_of_maps(&api, "5").await;
    api.post(MAPS, &map("a")).await.ok();
    // By the cache it is known.
    api.get(MAPS).await.ok();
    for _ in 0..3 {
        api.post(MAPS, &map("a")).await.fails(409, "AlreadyExists");
    }
    assert_eq!(used(&api).await, "1");
    api.delete(&format!("{MAPS}/a")).await.ok();
    api.post(MAPS, &map("a")).await.ok();
}

#[tokio::test]
async fn a_request_does_not_wait_for_a_quota_without_end() {
    let (api, faulty) = Api::faulty().await;
    quota_of_maps(&api, "5").await;
    faulty.rule(|op, key| match (op, key.contains("/resourcequotas/")) {
        (Op::Put, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    tokio::time::pause();
    let message = api.post(MAPS, &map("a")).await.fails(500, "InternalError");
    assert_eq!(message, "Internal error occurred: resource quota evaluation timed out");
    faulty.release();
}

#[tokio::test]
async fn what_others_refuse_is_not_charged() {
    let api = Api::start().await;
    quota_of_maps(&api, "1").await;
    api.post(MAPS, &map("Not a name")).await.fails(422, "Invalid");
    assert_eq!(used(&api).await, "0");
}

#[tokio::test]
async fn a_pod_does_not_make_up_what_its_runtime_takes() {
    let api = Api::start().await;
    let mut pod = pod("p");
    pod["spec"]["overhead"] = json!({"cpu": "1"});
    let expected = "pods \"p\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    assert_eq!(api.post(PODS, &pod).await.fails(403, "Forbidden"), expected);
}

#[tokio::test]
async fn a_pod_gets_what_the_range_of_its_namespace_says_and_stays_within_it() {
    let api = Api::start().await;
    let limit = json!({"type": "Container", "max": {"memory": "1Gi"}, "default": {"cpu": "1"}});
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [limit]}});
    api.post(RANGES, &range).await.ok();
    api.get(RANGES).await.ok();
    let pod_ok = api.post(PODS, &pod("p")).await.ok();
    let expected = json!({"cpu": "1", "memory": "1Gi"});
    let resources = &pod_ok["spec"]["containers"][0]["resources"];
    assert_eq!((&resources["limits"], &resources["requests"]), (&expected, &expected));
    assert_eq!(pod_ok["status"]["qosClass"], "Guaranteed");
    let mut large = pod("q");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "2Gi"}});
    let expected =
        "pods \"q\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi";
    assert_eq!(api.post(PODS, &large).await.fails(403, "Forbidden"), expected);
    // What is wrong with several is told once.
    let mut second = large["spec"]["containers"][0].clone();
    second["name"] = json!("second");
    large["spec"]["containers"].as_array_mut().unwrap().push(second);
    assert_eq!(api.post(PODS, &large).await.fails(403, "Forbidden"), expected);
}

#[tokio::test]
async fn a_pod_that_is_resized_stays_within_range_and_quota() {
    let api = Api::start().await;
    let limit = json!({"type": "Container", "max": {"memory": "1Gi"}});
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [limit]}});
    api.post(RANGES, &range).await.ok();
    api.get(RANGES).await.ok();
    let sized = |memory: &str| {
        let resources = json!({"limits": {"memory": memory}, "requests": {"memory": memory}});
        json!([{"name": "main", "image": "nginx:1", "resources": resources}])
    };
    let mut pod = pod("p");
    pod["spec"]["containers"] = sized("64Mi");
    api.post(PODS, &pod).await.ok();
    let mut quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.memory": "512Mi"}}});
    quota = api.post(QUOTAS, &quota).await.ok();
    quota["status"] =
        json!({"hard": {"requests.memory": "512Mi"}, "used": {"requests.memory": "64Mi"}});
    api.put(&format!("{QUOTAS}/q/status"), &quota).await.ok();
    api.get(QUOTAS).await.ok();
    let resize = async |memory: &str| {
        let patch = json!({"spec": {"containers": sized(memory)}});
        api.patch(&format!("{PODS}/p/resize"), "strategic-merge-patch", &patch).await
    };
    let told = resize("2Gi").await.fails(403, "Forbidden");
    assert!(told.contains("maximum memory usage per Container is 1Gi"), "{told}");
    let told = resize("1Gi").await.fails(403, "Forbidden");
    let expected = "exceeded quota: q, requested: requests.memory=960Mi, used: requests.memory=64Mi, limited: requests.memory=512Mi";
    assert!(told.contains(expected), "{told}");
    resize("512Mi").await.ok();
    let quota = api.get(&format!("{QUOTAS}/q")).await.ok();
    assert_eq!(quota["status"]["used"]["requests.memory"], "512Mi");
}

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const STORAGE_CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
const RUNTIME_CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";

fn claim(name: &str, storage: &str) -> Value {
    let resources = json!({"requests": {"storage": storage}});
    json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}})
}

#[tokio::test]
async fn a_claim_stays_within_what_the_range_of_its_namespace_says() {
    let api = Api::start().await;
    let limit = json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [limit]}});
    api.post(RANGES, &range).await.ok();
    api.get(RANGES).await.ok();
    let refused =
        "is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi";
    let told = api.post(CLAIMS, &claim("a", "3Gi")).await.fails(403, "Forbidden");
    assert_eq!(told, format!("persistentvolumeclaims \"a\" {refused}"));
    let refused =
        "is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi";
    let told = api.post(CLAIMS, &claim("a", "1Mi")).await.fails(403, "Forbidden");
    assert_eq!(told, format!("persistentvolumeclaims \"a\" {refused}"));
    api.post(CLAIMS, &claim("a", "2Gi")).await.ok();
}

#[tokio::test]
async fn a_claim_without_a_class_gets_the_newest_default() {
    let api = Api::start().await;
    let class = |name: &str| {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        json!({"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.com/p"})
    };
    api.post(STORAGE_CLASSES, &class("fast")).await.ok();
    // A list waits for the cache, in which the default is looked for.
    api.get(STORAGE_CLASSES).await.ok();
    let made = api.post(CLAIMS, &claim("a", "1Gi")).await.ok();
    assert_eq!(made["spec"]["storageClassName"], "fast");
    let mut none = claim("b", "1Gi");
    none["spec"]["storageClassName"] = json!("");
    assert_eq!(api.post(CLAIMS, &none).await.ok()["spec"]["storageClassName"], "");
}

#[tokio::test]
async fn a_pod_takes_and_runs_where_its_runtime_class_says() {
    let api = Api::start().await;
    let toleration = json!({"key": "slow", "operator": "Exists"});
    let class = json!({
        "metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "50m"}},
        "scheduling": {"nodeSelector": {"runtime": "vm"}, "tolerations": [toleration]},
    });
    api.post(RUNTIME_CLASSES, &class).await.ok();
    let in_vm = |name: &str| {
        let mut pod = pod(name);
        pod["spec"]["runtimeClassName"] = json!("vm");
        pod
    };
    let made = api.post(PODS, &in_vm("a")).await.ok();
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "50m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"runtime": "vm"}));
    assert!(made["spec"]["tolerations"].as_array().unwrap().contains(&toleration), "{made}");
    let mut more = in_vm("b");
    more["spec"]["overhead"] = json!({"cpu": "1"});
    let told = api.post(PODS, &more).await.fails(403, "Forbidden");
    let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
    assert_eq!(told, format!("pods \"b\" is forbidden: {why}"));
    let mut elsewhere = in_vm("b");
    elsewhere["spec"]["nodeSelector"] = json!({"runtime": "metal"});
    let told = api.post(PODS, &elsewhere).await.fails(403, "Forbidden");
    assert!(told.contains("conflict: runtimeClass.scheduling.nodeSelector[runtime] = vm; pod.spec.nodeSelector[runtime] = metal"), "{told}");
    let mut unknown = pod("b");
    unknown["spec"]["runtimeClassName"] = json!("none");
    let told = api.post(PODS, &unknown).await.fails(403, "Forbidden");
    assert_eq!(told, "pods \"b\" is forbidden: pod rejected: RuntimeClass \"none\" not found");
}
