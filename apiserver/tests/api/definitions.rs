//! CustomResourceDefinitions: kinds that come, change and go as clients say.

use apiserver::{ApiServer, Config};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, JSON, TABLE};

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/crontabs.stable.example.com";
pub(crate) const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

/// That of the catalogue's tests.
fn cron_tabs() -> Value {
    let yaml = include_str!("../../../tests/catalogue/customresourcedefinitions.yaml");
    serde_yaml::from_str(yaml).unwrap()
}

/// The same under other names.
fn named(plural: &str, kind: &str) -> Value {
    let mut definition = cron_tabs();
    definition["metadata"]["name"] = json!(format!("{plural}.stable.example.com"));
    definition["spec"]["names"] = json!({"plural": plural, "kind": kind});
    definition
}

pub(crate) fn tab(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name},
        "spec": spec,
    })
}

fn condition(definition: &Value, type_: &str) -> (String, String) {
    let conditions = definition["status"]["conditions"].as_array();
    let mut all = conditions.into_iter().flatten();
    let found = all.find(|condition| condition["type"] == type_);
    let text =
        |field: &str| found.and_then(|found| found[field].as_str()).unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// Reads a definition until a condition has this reason.
pub(crate) async fn until(api: &Api, name: &str, type_: &str, reason: &str) -> Value {
    let path = format!("{DEFINITIONS}/{name}");
    let asking = async {
        loop {
            let definition = api.get(&path).await.ok();
            if condition(&definition, type_).1 == reason {
                return definition;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(90);
    tokio::time::timeout(limit, asking).await.expect("the condition comes")
}

pub(crate) async fn serve(api: &Api) -> Value {
    api.post(DEFINITIONS, &cron_tabs()).await.ok();
    until(api, "crontabs.stable.example.com", "Established", "InitialNamesAccepted").await
}

pub(crate) async fn replace(api: &Api, path: &str, change: impl Fn(&mut Value)) -> Answer {
    loop {
        let mut object = api.get(path).await.ok();
        change(&mut object);
        let answer = api.put(path, &object).await;
        if answer.code != 409 {
            return answer;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_served_changed_and_deleted_with_its_objects() {
    let api = Api::start().await;
    let definition = serve(&api).await;
    assert_eq!(condition(&definition, "NamesAccepted"), ("True".into(), "NoConflicts".into()));
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(definition["status"]["acceptedNames"], definition["spec"]["names"]);
    assert_eq!(definition["metadata"]["generation"], 1);
    // Whoever waited for that finds it.
    let made = api.post(TABS, &tab("a", &json!({"cronSpec": "* * * * *", "odd": 1}))).await.ok();
    assert_eq!(made["spec"], json!({"cronSpec": "* * * * *", "image": "cron:1", "replicas": 1}));
    let listed = api.get(&format!("{TABS}?fieldSelector=spec.image%3Dcron:1")).await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let listed = api.get(&format!("{TABS}?fieldSelector=spec.image%3Dother")).await.ok();
    assert_eq!(listed["items"], json!([]));
    let table = api.send("GET", TABS, (JSON, TABLE), "").await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["a", "* * * * *", 1]));
    let scale = api.get(&format!("{TABS}/a/scale")).await.ok();
    assert_eq!(scale["spec"]["replicas"], 1);
    let resources = api.get("/apis/stable.example.com/v1").await.ok();
    assert_eq!(resources["resources"][0]["shortNames"], json!(["ct"]));
    let document = api.get("/openapi/v3/apis/stable.example.com/v1").await.ok();
    let schema = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(schema["properties"]["spec"]["properties"]["replicas"]["maximum"], 10);
    let described = schema["properties"]["apiVersion"]["description"].as_str().unwrap();
    assert!(described.starts_with("APIVersion defines"), "kubectl explain shows it");

    let changed = replace(&api, DEFINITION, |definition| {
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        definition.pointer_mut(spec).unwrap()["suspend"] =
            json!({"type": "boolean", "default": true});
    });
    assert_eq!(changed.await.ok()["metadata"]["generation"], 2);
    let asking = async {
        while api.get(&format!("{TABS}/a")).await.ok()["spec"]["suspend"] != true {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(90), asking).await.unwrap();

    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    api.patch(&format!("{TABS}/a"), "merge-patch", &held).await.ok();
    api.post(TABS, &tab("b", &json!({"cronSpec": "* * * * *"}))).await.ok();
    let going = api.delete(DEFINITION).await.ok();
    assert_eq!(condition(&going, "Terminating"), ("True".into(), "InstanceDeletionPending".into()));
    let finalizer = json!(["customresourcecleanup.apiextensions.k8s.io"]);
    assert_eq!(going["metadata"]["finalizers"], finalizer);
    api.until(&format!("{TABS}/b"), 404).await;
    let refused = api.post(TABS, &tab("c", &json!({"cronSpec": "* * * * *"}))).await;
    let why = "create not allowed while custom resource definition is terminating";
    assert_eq!(refused.fails(405, "MethodNotAllowed"), why);
    let in_progress =
        until(&api, "crontabs.stable.example.com", "Terminating", "InstanceDeletionInProgress");
    assert_eq!(in_progress.await["metadata"]["finalizers"], finalizer);
    let free = json!({"metadata": {"finalizers": null}});
    api.patch(&format!("{TABS}/a"), "merge-patch", &free).await.ok();
    api.until(DEFINITION, 404).await;
    api.until(TABS, 404).await;
    let left = api.store.list("/registry/stable.example.com/", Default::default()).await.unwrap();
    assert!(left.entries.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_wish_for_a_name_the_first_gets_it() {
    let api = Api::start().await;
    api.post(DEFINITIONS, &named("crontabs", "CronTab")).await.ok();
    until(&api, "crontabs.stable.example.com", "Established", "InitialNamesAccepted").await;
    api.post(DEFINITIONS, &named("tabs", "CronTab")).await.ok();
    let second = until(&api, "tabs.stable.example.com", "NamesAccepted", "ListKindConflict").await;
    assert_eq!(condition(&second, "Established"), ("False".into(), "NotAccepted".into()));
    let path = "/apis/stable.example.com/v1/namespaces/default/tabs";
    assert_eq!(api.get(path).await.code, 404);
    api.delete(DEFINITION).await.ok();
    until(&api, "tabs.stable.example.com", "Established", "InitialNamesAccepted").await;
    api.until(path, 200).await;
    // A kind of the program's own is no one's.
    let mut own = named("jobs", "GpuJob");
    own["metadata"]["name"] = json!("jobs.minik8s.io");
    own["spec"]["group"] = json!("minik8s.io");
    api.post(DEFINITIONS, &own).await.ok();
    until(&api, "jobs.minik8s.io", "NamesAccepted", "ListKindConflict").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_the_name_of_a_kind_of_the_program_s_own_leaves_that_kind_alone_when_it_goes() {
    const FUNCTIONS: &str = "/apis/minik8s.io/v1/namespaces/default/functions";
    let api = Api::start().await;
    let function = |name: &str| {
        let yaml = include_str!("../../../tests/catalogue/functions.yaml");
        let mut function: Value = serde_yaml::from_str(yaml).unwrap();
        function["metadata"]["name"] = json!(name);
        function
    };
    api.post(FUNCTIONS, &function("before")).await.ok();
    let mut own = named("functions", "Function");
    own["metadata"] = json!({"name": "functions.minik8s.io", "finalizers": ["example.com/held"]});
    own["spec"]["group"] = json!("minik8s.io");
    api.post(DEFINITIONS, &own).await.ok();
    until(&api, "functions.minik8s.io", "Established", "NotAccepted").await;
    let path = format!("{DEFINITIONS}/functions.minik8s.io");
    api.delete(&path).await.ok();
    until(&api, "functions.minik8s.io", "Terminating", "InstanceDeletionCompleted").await;
    api.post(FUNCTIONS, &function("meanwhile")).await.ok();
    let free = json!({"metadata": {"finalizers": null}});
    api.patch(&path, "merge-patch", &free).await.ok();
    api.until(&path, 404).await;
    for name in ["before", "meanwhile"] {
        api.get(&format!("{FUNCTIONS}/{name}")).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_knows_of_itself_is_no_definition_s() {
    let api = Api::start().await;
    let key = "/registry/minik8s.io/histories/one";
    api.store.put(key, "{}".into(), None).await.unwrap();
    let mut own = named("histories", "History");
    own["metadata"] = json!({"name": "histories.minik8s.io"});
    own["spec"]["group"] = json!("minik8s.io");
    api.post(DEFINITIONS, &own).await.ok();
    until(&api, "histories.minik8s.io", "Established", "NotAccepted").await;
    let path = format!("{DEFINITIONS}/histories.minik8s.io");
    api.delete(&path).await.ok();
    api.until(&path, 404).await;
    assert!(api.store.get(key).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_serves_it_from_its_start_on() {
    let api = Api::start().await;
    let other = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    serve(&api).await;
    api.post(TABS, &tab("a", &json!({"cronSpec": "* * * * *"}))).await.ok();
    let api = api.with_server(other);
    api.until(&format!("{TABS}/a"), 200).await;
    let later = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    let api = api.with_server(later);
    assert_eq!(api.get(&format!("{TABS}/a")).await.ok()["spec"]["image"], "cron:1");
    api.delete(DEFINITION).await.ok();
    api.until(TABS, 404).await;
}

fn with_v2(definition: &mut Value, is_stored: bool) {
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(is_stored);
    definition["spec"]["versions"][0]["storage"] = json!(!is_stored);
    let versions = definition["spec"]["versions"].as_array_mut().unwrap();
    versions.truncate(1);
    versions.push(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_in_each_version_whichever_they_were_stored_in() {
    let api = Api::start().await;
    serve(&api).await;
    api.post(TABS, &tab("a", &json!({"cronSpec": "* * * * *"}))).await.ok();
    // What another server stores that knows the new version already.
    let entry =
        api.store.get("/registry/stable.example.com/crontabs/default/a").await.unwrap().unwrap();
    let text = String::from_utf8(entry.value.to_vec()).unwrap();
    let text = text.replace("example.com/v1", "example.com/v2").replace(r#""a""#, r#""b""#);
    let key = "/registry/stable.example.com/crontabs/default/b";
    api.store.put(key, text.into(), None).await.unwrap();
    assert_eq!(api.get(TABS).await.code, 500, "nobody knows that version");

    replace(&api, DEFINITION, |definition| with_v2(definition, true)).await.ok();
    let second = TABS.replace("v1", "v2");
    api.until(&second, 200).await;
    for (path, expected) in [(TABS, "v1"), (&second, "v2")] {
        let listed = api.get(path).await.ok();
        let versions = listed["items"].as_array().unwrap().iter().map(|o| o["apiVersion"].clone());
        let expected = json!(format!("stable.example.com/{expected}"));
        assert_eq!(versions.collect::<Vec<_>>(), [expected.clone(), expected]);
    }
    let definition = api.get(DEFINITION).await.ok();
    assert_eq!(definition["status"]["storedVersions"], json!(["v1", "v2"]));
    let refused = replace(&api, DEFINITION, |definition| {
        definition["spec"]["versions"].as_array_mut().unwrap().remove(0);
    });
    let why = refused.await.fails(422, "Invalid");
    assert!(why.contains("status.storedVersions[0]: Invalid value: \"v1\": missing from"), "{why}");
    // One that is not served any more still is what objects are stored in.
    let unserved = replace(&api, DEFINITION, |definition| {
        definition["spec"]["versions"][0]["served"] = json!(false);
    });
    unserved.await.ok();
    api.until(TABS, 404).await;
    assert_eq!(api.get(&format!("{second}/a")).await.ok()["apiVersion"], "stable.example.com/v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_objects_of_a_definition_that_can_not_be_served_go_with_it() {
    let api = Api::start().await;
    serve(&api).await;
    api.post(TABS, &tab("a", &json!({"cronSpec": "* * * * *"}))).await.ok();
    // As an earlier release could have taken it.
    let key =
        "/registry/apiextensions.k8s.io/customresourcedefinitions/crontabs.stable.example.com";
    let stored = api.store.get(key).await.unwrap().unwrap();
    let mut definition: Value = serde_json::from_slice(&stored.value).unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/cronSpec";
    definition.pointer_mut(spec).unwrap()["pattern"] = json!("(");
    api.store.put(key, definition.to_string().into(), None).await.unwrap();
    let server = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    let api = api.with_server(server);
    api.get(TABS).await.fails(404, "NotFound");
    api.delete(DEFINITION).await.ok();
    api.until(DEFINITION, 404).await;
    let left = api.store.list("/registry/stable.example.com/", Default::default()).await.unwrap();
    assert_eq!(left.entries.len(), 0);
}
