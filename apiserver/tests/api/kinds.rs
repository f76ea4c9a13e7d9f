//! Kinds that come and go while the server runs, and a kind in two versions.

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::api::resource::{v1, v1beta1};
use futures::future::{join, join_all};
use registry::{Conversion, Plain, ResourceDef, resource};
use serde_json::{Value, json};

use crate::{
    faulty::{Fate, Op},
    harness::{Api, CONFIG_MAPS, names, version},
};

const V1: &str = "/apis/resource.k8s.io/v1";
const BETA: &str = "/apis/resource.k8s.io/v1beta1";

/// What `v1` says of a device, `v1beta1` says in its field `basic`.
#[derive(Debug)]
struct BasicDevices;

impl Conversion for BasicDevices {
    fn to_served(&self, mut slice: Value) -> Result<Value, ApiError> {
        for device in slice["spec"]["devices"].as_array_mut().into_iter().flatten() {
            let name = device["name"].take();
            device.as_object_mut().unwrap().remove("name");
            *device = json!({ "name": name, "basic": device.take() });
        }
        Ok(slice)
    }

    fn to_stored(&self, mut slice: Value) -> Result<Value, ApiError> {
        for device in slice["spec"]["devices"].as_array_mut().into_iter().flatten() {
            let (name, mut basic) = (device["name"].take(), device["basic"].take());
            basic["name"] = name;
            *device = basic;
        }
        Ok(slice)
    }
}

fn more_kinds() -> Vec<ResourceDef> {
    vec![
        resource::<v1::DeviceClass, _>(Plain).build(),
        resource::<v1::ResourceSlice, _>(Plain).build(),
        resource::<v1beta1::ResourceSlice, _>(Plain).converted(BasicDevices).build(),
    ]
}

/// A server that knows no devices.
async fn without_devices() -> Api {
    let api = Api::start().await;
    forget_devices(&api);
    api
}

fn forget_devices(api: &Api) {
    let mut kinds = api.server.kinds();
    kinds.retain(|kind| kind.names.group != "resource.k8s.io");
    api.server.serve_kinds(kinds).unwrap();
}

/// Serves more kinds than the program has, not all in one place; gives those that it had.
fn serve_more(api: &Api) -> Vec<Arc<ResourceDef>> {
    let before = api.server.kinds();
    let mut kinds: Vec<_> = more_kinds().into_iter().map(Arc::new).collect();
    kinds.splice(1..1, before.iter().cloned());
    api.server.serve_kinds(kinds).unwrap();
    before
}

/// What they were converted to becomes what is stored, and the other way round.
#[derive(Debug)]
struct Reversed;

impl Conversion for Reversed {
    fn to_served(&self, slice: Value) -> Result<Value, ApiError> {
        BasicDevices.to_stored(slice)
    }

    fn to_stored(&self, slice: Value) -> Result<Value, ApiError> {
        BasicDevices.to_served(slice)
    }
}

/// Stores slices in the other version from now on.
fn store_beta(api: &Api) {
    let mut kinds = api.server.kinds();
    kinds.retain(|kind| kind.names.plural != "resourceslices");
    kinds.push(resource::<v1::ResourceSlice, _>(Plain).converted(Reversed).build().into());
    kinds.push(resource::<v1beta1::ResourceSlice, _>(Plain).build().into());
    api.server.serve_kinds(kinds).unwrap();
}

/// The version and the device of a stored slice.
async fn stored_slice(api: &Api, name: &str) -> (Value, Value) {
    let key = format!("/registry/resource.k8s.io/resourceslices/{name}");
    let entry = api.store.get(&key).await.unwrap().unwrap();
    let mut stored: Value = serde_json::from_slice(&entry.value).unwrap();
    (stored["apiVersion"].take(), stored["spec"]["devices"][0].take())
}

fn slice(name: &str, device: &Value) -> Value {
    let pool = json!({"name": "p", "generation": 1, "resourceSliceCount": 1});
    let spec =
        json!({"driver": "d.example.com", "pool": pool, "allNodes": true, "devices": [device]});
    json!({"metadata": {"name": name}, "spec": spec})
}

fn device(attribute: &str) -> Value {
    json!({"name": "gpu0", "attributes": {"model": {"string": attribute}}})
}

fn beta_device(attribute: &str) -> Value {
    json!({"name": "gpu0", "basic": {"attributes": {"model": {"string": attribute}}}})
}

#[tokio::test]
async fn a_kind_comes_and_goes_while_the_server_runs() {
    let api = without_devices().await;
    let classes = format!("{V1}/deviceclasses");
    let class = json!({"metadata": {"name": "a"}, "spec": {}});
    api.post(&classes, &class).await.fails(404, "NotFound");
    let openapi = api.get("/openapi/v3").await.ok();
    assert!(openapi["paths"].get("apis/resource.k8s.io/v1").is_none());

    let before = serve_more(&api);
    let created = api.post(&classes, &class).await.ok();
    assert_eq!(api.get(&format!("{classes}/a")).await.ok(), created);
    assert_eq!(names(&api.get(&classes).await.ok()), ["a"]);
    let groups = api.get("/apis").await.ok();
    let is_its = |g: &&Value| g["name"] == "resource.k8s.io";
    let found: Vec<_> = groups["groups"].as_array().unwrap().iter().filter(is_its).collect();
    let versions = |group: &Value| -> Vec<Value> {
        let versions = group["versions"].as_array().unwrap().iter();
        versions.map(|version| version["version"].clone()).collect()
    };
    assert_eq!(found.into_iter().map(versions).collect::<Vec<_>>(), [["v1", "v1beta1"]]);
    let resources = |list: Value| -> Vec<String> {
        let all = list["resources"].as_array().unwrap().iter();
        all.map(|r| r["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(resources(api.get(V1).await.ok()), ["deviceclasses", "resourceslices"]);
    assert_eq!(resources(api.get(BETA).await.ok()), ["resourceslices"]);
    let address = "apis/resource.k8s.io/v1";
    let index = api.get("/openapi/v3").await.ok();
    let document = index["paths"][address]["serverRelativeURL"].as_str().unwrap();
    assert!(api.get(document).await.ok()["paths"].get(&classes).is_some());

    api.server.serve_kinds(before).unwrap();
    api.get(&format!("{classes}/a")).await.fails(404, "NotFound");
    api.get(V1).await.fails(404, "NotFound");
    assert_eq!(api.get("/openapi/v3").await.ok(), openapi);
    let other = json!({"apiVersion": "resource.k8s.io/v1", "metadata": {"name": "b"}, "spec": {}});
    let key = "/registry/resource.k8s.io/deviceclasses/b";
    api.store.put(key, other.to_string().into(), None).await.unwrap();
    // Nobody knows yet what the object is when it is seen.
    api.get(CONFIG_MAPS).await.ok();
    serve_more(&api);
    assert_eq!(api.get(&format!("{classes}/a")).await.ok(), created);
    assert_eq!(names(&api.get(&classes).await.ok()), ["a", "b"]);
    for name in ["a", "b"] {
        let selected = format!("{classes}?fieldSelector=metadata.name={name}");
        assert_eq!(names(&api.get(&selected).await.ok()), [name]);
        let mut watch = api.watch(&format!("{selected}&watch=true")).await;
        assert_eq!(watch.brief().await, format!("ADDED {name}"));
        api.delete(&format!("{classes}/{name}")).await.ok();
        assert_eq!(watch.brief().await, format!("DELETED {name}"));
    }
}

#[tokio::test]
async fn an_object_is_written_and_read_in_each_version_and_stored_in_one() {
    let api = without_devices().await;
    serve_more(&api);
    let (slices, beta) = (format!("{V1}/resourceslices"), format!("{BETA}/resourceslices"));
    let created = api.post(&beta, &slice("old", &beta_device("A"))).await.ok();
    assert_eq!(created["apiVersion"], "resource.k8s.io/v1beta1");
    assert_eq!(created["spec"]["devices"][0], beta_device("A"));
    api.post(&slices, &slice("new", &device("B"))).await.ok();
    assert_eq!(stored_slice(&api, "old").await, (json!("resource.k8s.io/v1"), device("A")));

    for (collection, api_version, devices) in [
        (&slices, "resource.k8s.io/v1", [device("B"), device("A")]),
        (&beta, "resource.k8s.io/v1beta1", [beta_device("B"), beta_device("A")]),
    ] {
        for query in ["", "?limit=9&resourceVersionMatch=Exact&resourceVersion="] {
            let at = if query.is_empty() { "" } else { version(&created) };
            let list = api.get(&format!("{collection}{query}{at}")).await.ok();
            assert_eq!(list["apiVersion"], api_version);
            for item in list["items"].as_array().unwrap() {
                assert_eq!(item["apiVersion"], api_version);
                let at = usize::from(item["metadata"]["name"] == "old");
                assert_eq!(item["spec"]["devices"][0], devices[at]);
            }
        }
        for (at, name) in ["new", "old"].into_iter().enumerate() {
            let object = api.get(&format!("{collection}/{name}")).await.ok();
            assert_eq!(object["apiVersion"], api_version);
            assert_eq!(object["spec"]["devices"][0], devices[at]);
        }
        let chosen = api.get(&format!("{collection}?fieldSelector=metadata.name=old")).await.ok();
        assert_eq!(names(&chosen), ["old"]);
    }
}

#[tokio::test]
async fn changes_and_watches_are_in_the_version_that_was_asked_for() {
    let api = without_devices().await;
    serve_more(&api);
    let (slices, beta) = (format!("{V1}/resourceslices"), format!("{BETA}/resourceslices"));
    api.post(&slices, &slice("a", &device("A"))).await.ok();
    let query = "?watch=true&fieldSelector=metadata.name=a";
    let mut new = api.watch(&format!("{slices}{query}")).await;
    let mut old = api.watch(&format!("{beta}{query}")).await;
    let patch = json!({"spec": {"devices": [beta_device("C")]}});
    let patched = api.patch(&format!("{beta}/a"), "merge-patch", &patch).await.ok();
    assert_eq!(patched["spec"]["devices"][0], beta_device("C"));
    api.delete(&format!("{beta}/a")).await.ok();
    for (type_, attribute) in [("ADDED", "A"), ("MODIFIED", "C"), ("DELETED", "C")] {
        let event = new.next().await.unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["apiVersion"]),
            (&json!(type_), &json!("resource.k8s.io/v1"))
        );
        assert_eq!(event["object"]["spec"]["devices"][0], device(attribute));
        let event = old.next().await.unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["apiVersion"]),
            (&json!(type_), &json!("resource.k8s.io/v1beta1"))
        );
        assert_eq!(event["object"]["spec"]["devices"][0], beta_device(attribute));
    }
}

#[tokio::test]
async fn what_the_cache_does_not_know_is_in_the_version_that_was_asked_for_too() {
    let (api, faulty) = Api::faulty().await;
    forget_devices(&api);
    serve_more(&api);
    faulty.hush();
    let (slices, a) = (format!("{V1}/resourceslices"), format!("{BETA}/resourceslices/a"));
    api.post(&slices, &slice("a", &device("A"))).await.ok();
    let patch = json!({"metadata": {"labels": {"b": "c"}}});
    let patched = api.patch(&a, "merge-patch", &patch).await.ok();
    assert_eq!(patched["spec"]["devices"][0], beta_device("A"));
    assert_eq!(api.get(&a).await.ok(), patched);
}

#[tokio::test]
async fn a_write_may_be_under_way_while_another_version_becomes_the_stored_one() {
    let (api, faulty) = Api::faulty().await;
    forget_devices(&api);
    serve_more(&api);
    faulty.hush();
    let slices = format!("{V1}/resourceslices");
    let paths = [format!("{slices}/a"), format!("{BETA}/resourceslices/b")];
    for name in ["a", "b"] {
        api.post(&slices, &slice(name, &device("A"))).await.ok();
    }
    faulty.rule(|op, key| match (op, key.contains("slices")) {
        (Op::Get, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    let patch = json!({"metadata": {"labels": {"b": "c"}}});
    let patches = join_all(paths.iter().map(|path| api.patch(path, "merge-patch", &patch)));
    let swapped = async {
        faulty.holds_at_once(2).await;
        store_beta(&api);
        faulty.release();
    };
    let (patched, ()) = join(patches, swapped).await;
    for (answer, shown) in patched.iter().zip([device("A"), beta_device("A")]) {
        assert_eq!(answer.ok()["spec"]["devices"][0], shown);
    }
    for name in ["a", "b"] {
        let expected = (json!("resource.k8s.io/v1beta1"), beta_device("A"));
        assert_eq!(stored_slice(&api, name).await, expected);
    }
}

#[tokio::test]
async fn an_update_that_changes_nothing_brings_an_object_to_the_version_that_is_stored() {
    let api = without_devices().await;
    serve_more(&api);
    let paths = [V1, BETA].map(|group_version| format!("{group_version}/resourceslices/a"));
    let created = api.post(&format!("{V1}/resourceslices"), &slice("a", &device("A"))).await.ok();
    for path in &paths {
        let same = api.put(path, &api.get(path).await.ok()).await.ok();
        assert_eq!(version(&same), version(&created));
    }
    store_beta(&api);
    let mut versions = Vec::new();
    for path in paths.iter().chain(&paths) {
        let put = api.put(path, &api.get(path).await.ok()).await.ok();
        versions.push(version(&put).to_owned());
        assert_eq!(api.get(path).await.ok(), put);
    }
    let expected = (json!("resource.k8s.io/v1beta1"), beta_device("A"));
    assert_eq!(stored_slice(&api, "a").await, expected);
    assert_ne!(versions[0], version(&created));
    assert_eq!(versions, vec![versions[0].clone(); 4], "it is written once");
}

/// Can show no device.
#[derive(Debug)]
struct NoDevices;

impl Conversion for NoDevices {
    fn to_served(&self, slice: Value) -> Result<Value, ApiError> {
        match slice["spec"]["devices"][0].is_null() {
            true => Ok(slice),
            false => Err(ApiError::internal("a device")),
        }
    }
}

#[tokio::test]
async fn a_watch_ends_with_what_can_not_be_shown_in_its_version() {
    let api = without_devices().await;
    let mut kinds = api.server.kinds();
    kinds.push(resource::<v1::ResourceSlice, _>(Plain).build().into());
    kinds.push(resource::<v1beta1::ResourceSlice, _>(Plain).converted(NoDevices).build().into());
    api.server.serve_kinds(kinds).unwrap();
    let (slices, mut empty) = (format!("{V1}/resourceslices"), slice("a", &json!({})));
    empty["spec"]["devices"] = json!([]);
    api.post(&slices, &empty).await.ok();
    let mut watch = api.watch(&format!("{BETA}/resourceslices?watch=true")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    for name in ["b", "c"] {
        api.post(&slices, &slice(name, &device("A"))).await.ok();
    }
    let error = watch.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(watch.next().await.is_none());
    let mut watch = api.watch(&format!("{BETA}/resourceslices?watch=true")).await;
    assert_eq!([watch.brief().await, watch.brief().await], ["ADDED a", "ERROR"]);
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn kinds_that_can_not_be_told_apart_are_not_served() {
    let api = Api::start().await;
    let mut kinds = api.server.kinds();
    kinds.push(kinds[0].clone());
    let error = api.server.serve_kinds(kinds).unwrap_err().to_string();
    assert_eq!(error, "v1 configmaps is there twice");
}
