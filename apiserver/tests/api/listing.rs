//! Lists: selectors, pages, versions, tables.

use serde_json::json;

use crate::harness::{Api, CONFIG_MAPS, JSON, PODS, TABLE, names, pod, version};

async fn three() -> Api {
    let api = Api::start().await;
    for (name, tier) in [("a", "front"), ("b", "back"), ("c", "front")] {
        api.config_map(name, json!({"tier": tier})).await;
    }
    api
}

#[tokio::test]
async fn a_list_shows_what_was_written_before() {
    let api = three().await;
    let list = api.get(CONFIG_MAPS).await.ok();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(names(&list), ["a", "b", "c"]);
    let everywhere = api.get("/api/v1/configmaps").await.ok();
    assert_eq!(names(&everywhere), ["a", "b", "c"]);
}

#[tokio::test]
async fn selectors_select() {
    let api = three().await;
    let list = async |query: &str| {
        let list = api.get(&format!("{CONFIG_MAPS}?{query}")).await.ok();
        names(&list).join(" ")
    };
    assert_eq!(list("labelSelector=tier%3Dfront").await, "a c");
    assert_eq!(list("labelSelector=tier%20notin%20(front)").await, "b");
    assert_eq!(list("labelSelector=!tier").await, "");
    assert_eq!(list("fieldSelector=metadata.name%3Db").await, "b");
    assert_eq!(list("fieldSelector=metadata.name!%3Db&labelSelector=tier").await, "a c");
    api.get(&format!("{CONFIG_MAPS}?labelSelector=a%20in%20b")).await.fails(400, "BadRequest");
    let unknown = api.get(&format!("{CONFIG_MAPS}?fieldSelector=data.x%3Dy")).await;
    assert_eq!(unknown.fails(400, "BadRequest"), "field label not supported: data.x");
    api.post(PODS, &pod("p")).await.ok();
    let unscheduled = api.get("/api/v1/pods?fieldSelector=spec.nodeName%3D").await.ok();
    assert_eq!(names(&unscheduled), ["p"]);
}

#[tokio::test]
async fn pages_are_all_as_of_the_first_one() {
    let api = three().await;
    let first = api.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    api.config_map("b2", json!({})).await;
    api.delete(&format!("{CONFIG_MAPS}/c")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["c"]);
    assert_eq!(version(&second), version(&first));
    assert!(second["metadata"].get("continue").is_none());
    api.get(&format!("{CONFIG_MAPS}?continue=frog")).await.fails(400, "BadRequest");
}

/// client-go lists anew when it finds this cause, and only then.
#[tokio::test]
async fn a_version_that_is_not_there_yet_is_told_by_its_cause() {
    let api = three().await;
    let latest: u64 = version(&api.get(CONFIG_MAPS).await.ok()).parse().unwrap();
    let future = latest + 1000;
    tokio::time::pause();
    for query in ["", "&resourceVersionMatch=NotOlderThan", "&resourceVersionMatch=Exact"] {
        let answer = api.get(&format!("{CONFIG_MAPS}?resourceVersion={future}{query}")).await;
        let message = answer.fails(504, "Timeout");
        let told = format!("Timeout: Too large resource version: {future}, current: ");
        // The server itself may write meanwhile: its lease.
        let current: u64 = message.strip_prefix(&told).unwrap().parse().unwrap();
        assert!((latest..future).contains(&current), "{message}");
        let details = &answer.json()["details"];
        assert_eq!(details["retryAfterSeconds"], 1);
        let cause = json!([{
            "reason": "ResourceVersionTooLarge", "message": "Too large resource version",
        }]);
        assert_eq!(details["causes"], cause);
    }
}

#[tokio::test]
async fn pages_of_selected_objects_are_full() {
    let api = three().await;
    let query = "labelSelector=tier%3Dfront&limit=1";
    let first = api.get(&format!("{CONFIG_MAPS}?{query}")).await.ok();
    assert_eq!(names(&first), ["a"]);
    assert!(first["metadata"].get("remainingItemCount").is_none());
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{CONFIG_MAPS}?{query}&continue={token}")).await.ok();
    assert_eq!(names(&second), ["c"]);
}

#[tokio::test]
async fn a_page_of_forgotten_history_is_gone() {
    let api = three().await;
    let first = api.get(&format!("{CONFIG_MAPS}?limit=1")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    api.config_map("d", json!({})).await;
    api.store.compact(api.store.revision().await.unwrap()).await.unwrap();
    let answer = api.get(&format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    let message = answer.fails(410, "Expired");
    assert!(message.starts_with("The provided continue parameter is too old"), "{message}");
    // With what it says one goes on all the same, among what there is by now.
    let status = answer.json();
    let token = status["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{CONFIG_MAPS}?limit=1&continue={token}")).await.ok();
    assert_eq!(names(&rest), ["b"]);
    assert_eq!(rest["metadata"]["remainingItemCount"], 2);
    assert_ne!(version(&rest), version(&first));
    let exact =
        format!("{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion={}", version(&first));
    api.get(&exact).await.fails(410, "Expired");
}

#[tokio::test]
async fn a_list_can_be_of_a_version() {
    let api = three().await;
    let before = api.get(CONFIG_MAPS).await.ok();
    api.config_map("d", json!({})).await;
    let at = version(&before);
    let exact = api
        .get(&format!("{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion={at}"))
        .await
        .ok();
    assert_eq!((names(&exact), version(&exact)), (vec!["a", "b", "c"], at));
    let newer = api.get(&format!("{CONFIG_MAPS}?resourceVersion={at}")).await.ok();
    assert!(names(&newer).len() >= 3);
    api.get(&format!("{CONFIG_MAPS}?resourceVersion=0")).await.ok();
    tokio::time::pause();
    let future = api.get(&format!("{CONFIG_MAPS}?resourceVersion=1000000")).await;
    assert!(future.fails(504, "Timeout").starts_with("Timeout: Too large resource version"));
}

#[tokio::test]
async fn a_table_has_columns_and_rows() {
    let api = Api::start().await;
    api.post(PODS, &pod("p")).await.ok();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = api.send("GET", PODS, (JSON, accept), "").await.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns[..4], ["Name", "Ready", "Status", "Restarts"]);
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().unwrap().len(), columns.len());
    assert_eq!(row["cells"].as_array().unwrap()[..3], [json!("p"), json!("0/1"), json!("Pending")]);
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    let one =
        api.send("GET", &format!("{PODS}/p?includeObject=Object"), (JSON, accept), "").await.ok();
    assert_eq!(one["rows"][0]["object"]["kind"], "Pod");
    let none =
        api.send("GET", &format!("{PODS}/p?includeObject=None"), (JSON, accept), "").await.ok();
    assert!(none["rows"][0].get("object").is_none());
}

#[tokio::test]
async fn tables_and_metadata_come_in_the_version_of_before() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let a = format!("{CONFIG_MAPS}/a");
    let get = async |path: &str, form: &str, version: &str| {
        let accept = format!("application/json;as={form};v={version};g=meta.k8s.io");
        api.send("GET", path, (JSON, &accept), "").await.ok()
    };
    let beta = json!("meta.k8s.io/v1beta1");
    for path in [CONFIG_MAPS, &a] {
        let table = get(path, "Table", "v1beta1").await;
        assert_eq!([&table["kind"], &table["apiVersion"]], [&json!("Table"), &beta]);
        let row = &table["rows"][0];
        assert_eq!([&row["cells"][0], &row["object"]["apiVersion"]], [&json!("a"), &beta]);
        assert!(!table["columnDefinitions"].as_array().unwrap().is_empty());
    }
    let list = get(CONFIG_MAPS, "PartialObjectMetadataList", "v1beta1").await;
    let one = get(&a, "PartialObjectMetadata", "v1beta1").await;
    assert_eq!([&list["apiVersion"], &list["items"][0]], [&beta, &one]);
    let mut same = get(&a, "PartialObjectMetadata", "v1").await;
    assert_eq!(same["apiVersion"], "meta.k8s.io/v1");
    same["apiVersion"] = beta;
    assert_eq!(same, one);
    let mut events = api.watch_in(&format!("{CONFIG_MAPS}?watch=true"), TABLE_BETA).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["object"]["apiVersion"], "meta.k8s.io/v1beta1");
    assert_eq!(event["object"]["rows"][0]["object"]["apiVersion"], "meta.k8s.io/v1beta1");
    assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
}

const TABLE_BETA: &str = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";

/// More than is sent at once.
const MANY: usize = 300;

#[tokio::test]
async fn a_long_list_is_whole_in_every_form() {
    let api = Api::start().await;
    let name = |i: usize| format!("map-{i:04}");
    for i in 0..MANY {
        api.config_map(&name(i), json!({"even": (i % 2 == 0).to_string()})).await;
    }
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    for (accept, field, pointer) in [
        (JSON, "items", "/metadata/name"),
        (partial, "items", "/metadata/name"),
        (TABLE, "rows", "/cells/0"),
    ] {
        let found = async |query: &str| -> Vec<String> {
            let path = format!("{CONFIG_MAPS}?{query}");
            let list = api.send("GET", &path, (JSON, accept), "").await.ok();
            let elements = list[field].as_array().unwrap();
            let name = |e: &serde_json::Value| e.pointer(pointer).unwrap().as_str().unwrap().into();
            elements.iter().map(name).collect()
        };
        let all: Vec<_> = (0..MANY).map(name).collect();
        assert_eq!(found("").await, all);
        assert_eq!(found("limit=7").await, all[..7]);
        let even: Vec<_> = all.iter().step_by(2).cloned().collect();
        assert_eq!(found("labelSelector=even%3Dtrue").await, even);
        assert!(found("labelSelector=even%3Dperhaps").await.is_empty());
    }
    let page = api.get(&format!("{CONFIG_MAPS}?limit=7")).await.ok();
    assert_eq!(page["metadata"]["remainingItemCount"], MANY - 7);
}

#[tokio::test]
async fn metadata_can_be_had_alone() {
    let api = three().await;
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = api.send("GET", CONFIG_MAPS, (JSON, accept), "").await.ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&list), ["a", "b", "c"]);
    assert!(list["items"][0].get("data").is_none());
}
