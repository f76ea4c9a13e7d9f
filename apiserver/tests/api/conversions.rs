//! Custom resources that a webhook converts between their versions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use testkit::wait;

use crate::{
    definitions::{self, DEFINITIONS, replace, until},
    harness::{Api, JSON, names, version},
    webhooks::Hooks,
};

const APPLY: &str = "application/apply-patch+yaml";
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/links.stable.example.com";
const V1: &str = "/apis/stable.example.com/v1/namespaces/default/links";
const V2: &str = "/apis/stable.example.com/v2/namespaces/default/links";

/// Of `hostPort` in `v1` makes `host` and `port` of `v2`, and the other way round; says so in a label.
fn convert(request: &Value) -> Value {
    let desired = request["desiredAPIVersion"].as_str().unwrap();
    let convert = |object: &Value| {
        let mut converted = object.clone();
        converted["apiVersion"] = desired.into();
        let fields = converted.as_object_mut().unwrap();
        let mut take = |field: &str| match fields.remove(field) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        if desired.ends_with("/v2") {
            let whole = take("hostPort");
            let (host, port) = whole.split_once(':').unwrap_or((&whole, ""));
            converted["host"] = host.into();
            converted["port"] = port.into();
        } else {
            converted["hostPort"] = format!("{}:{}", take("host"), take("port")).into();
        }
        converted["unheard"] = json!("of");
        converted["metadata"]["labels"] = json!({"shown-as": desired.rsplit('/').next()});
        converted["metadata"]["generation"] = json!(1000);
        converted
    };
    let objects: Vec<Value> = request["objects"].as_array().unwrap().iter().map(convert).collect();
    json!({"result": {"status": "Success"}, "convertedObjects": objects})
}

async fn hooks() -> Arc<Hooks> {
    let is_refused = AtomicBool::new(false);
    let refusal = json!({"result": {"status": "Failure", "message": "not today"}});
    Hooks::start(move |path, request| match path {
        "convert" => convert(request),
        "refuse" => refusal.clone(),
        // Once, for what is stored with this port.
        "falter" if request["objects"][0]["hostPort"] == "x:13" => {
            if is_refused.swap(true, Ordering::SeqCst) { convert(request) } else { refusal.clone() }
        }
        "falter" => convert(request),
        _ => {
            let mut answer = convert(request);
            answer["convertedObjects"][0]["metadata"]["name"] = json!("other");
            answer
        }
    })
    .await
}

fn links(hooks: &Hooks, path: &str) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let fields = fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"})));
        let properties: serde_json::Map<String, Value> = fields.collect();
        let schema = json!({"type": "object", "properties": properties});
        json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": schema}})
    };
    json!({
        "metadata": {"name": "links.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "links", "kind": "Link"},
            "versions": [version("v1", &["hostPort"]), version("v2", &["host", "port"])],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": {
                    "url": format!("https://localhost:{}/{path}", hooks.address.port()),
                    "caBundle": STANDARD.encode(&hooks.authority),
                },
                "conversionReviewVersions": ["v7", "v1"],
            }},
        },
    })
}

async fn serve(api: &Api, hooks: &Hooks, path: &str) {
    api.post(DEFINITIONS, &links(hooks, path)).await.ok();
    until(api, "links.stable.example.com", "Established", "InitialNamesAccepted").await;
}

fn in_v1(name: &str, host_port: &str) -> Value {
    json!({
        "apiVersion": "stable.example.com/v1", "kind": "Link", "metadata": {"name": name},
        "hostPort": host_port,
    })
}

fn in_v2(name: &str, host: &str, port: &str) -> Value {
    json!({
        "apiVersion": "stable.example.com/v2", "kind": "Link", "metadata": {"name": name},
        "host": host, "port": port,
    })
}

/// Stores in another version from now on.
async fn store_v2(api: &Api) {
    replace(api, DEFINITION, |definition| {
        for version in definition["spec"]["versions"].as_array_mut().unwrap() {
            version["storage"] = json!(version["name"] == "v2");
        }
    })
    .await
    .ok();
}

/// Until objects are stored in this version: the one of this name is written again and again.
async fn until_stored_in(api: &Api, name: &str, wanted: &str) {
    let path = format!("{V1}/{name}");
    let write = async {
        for round in 0.. {
            let annotation = json!({"metadata": {"annotations": {"round": round.to_string()}}});
            api.patch(&path, "merge-patch", &annotation).await.ok();
            let key = format!("/registry/stable.example.com/links/default/{name}");
            let entry = api.store.get(&key).await.unwrap().unwrap();
            let stored: Value = serde_json::from_slice(&entry.value).unwrap();
            if stored["apiVersion"] == format!("stable.example.com/{wanted}") {
                return;
            }
        }
    };
    wait::within("it is stored in the other version", write).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_written_and_read_in_each_version() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "convert").await;
    let created = api.post(V1, &in_v1("a", "localhost:80")).await.ok();
    let found = api.get(&format!("{V2}/a")).await.ok();
    assert_eq!((&found["host"], &found["port"]), (&json!("localhost"), &json!("80")));
    assert_eq!(found["apiVersion"], "stable.example.com/v2");
    assert_eq!(found.get("unheard"), None, "the schema does not have it");
    assert_eq!(found["metadata"]["labels"], json!({"shown-as": "v2"}));
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
        assert_eq!(found["metadata"][field], created["metadata"][field], "{field} stays");
    }

    let made = api.post(V2, &in_v2("b", "b.example.com", "81")).await.ok();
    assert_eq!((&made["host"], made.get("hostPort")), (&json!("b.example.com"), None));
    assert_eq!(api.get(&format!("{V1}/b")).await.ok()["hostPort"], "b.example.com:81");
    let patched = api.patch(&format!("{V2}/a"), "merge-patch", &json!({"port": "8080"})).await.ok();
    assert_eq!((&patched["host"], &patched["port"]), (&json!("localhost"), &json!("8080")));
    assert_eq!(patched["metadata"]["generation"], 2);
    let mut configuration = in_v2("a", "", "82");
    configuration.as_object_mut().unwrap().remove("host");
    let path = format!("{V2}/a?fieldManager=me&force=true");
    let applied = api.send("PATCH", &path, (APPLY, JSON), configuration.to_string()).await;
    assert_eq!(applied.ok()["port"], "82");
    assert_eq!(api.get(&format!("{V1}/a")).await.ok()["hostPort"], "localhost:82");
    api.delete(&format!("{V2}/b")).await.ok();
    assert_eq!(names(&api.get(V2).await.ok()), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_what_is_stored_in_two_versions_is_of_one_and_asked_for_at_once() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "convert").await;
    for name in ["a", "b", "c"] {
        api.post(V1, &in_v1(name, "x:1")).await.ok();
    }
    let before = hooks.seen("convert").len();
    let list = api.get(V2).await.ok();
    let seen = hooks.seen("convert");
    assert_eq!(seen.len(), before + 1);
    assert_eq!(seen[before]["objects"].as_array().unwrap().len(), 3);
    assert_eq!(seen[before]["desiredAPIVersion"], "stable.example.com/v2");
    assert_eq!(list["items"][2]["host"], "x");
    api.get(V2).await.ok();
    assert_eq!(hooks.seen("convert").len(), before + 1, "what was converted is known");
    // By the labels that readers see.
    assert_eq!(
        names(&api.get(&format!("{V2}?labelSelector=shown-as=v2&limit=2")).await.ok()),
        ["a", "b"]
    );
    assert!(names(&api.get(&format!("{V1}?labelSelector=shown-as")).await.ok()).is_empty());

    store_v2(&api).await;
    until_stored_in(&api, "c", "v2").await;
    api.post(V2, &in_v2("d", "y", "2")).await.ok();
    let list = api.get(V2).await.ok();
    assert_eq!(names(&list), ["a", "b", "c", "d"]);
    assert!(list["items"].as_array().unwrap().iter().all(|item| item["host"].is_string()));
    let list = api.get(&format!("{V1}?resourceVersion={}", version(&list))).await.ok();
    let all = list["items"].as_array().unwrap().iter();
    assert_eq!(
        all.map(|item| item["hostPort"].clone()).collect::<Vec<_>>(),
        ["x:1", "x:1", "x:1", "y:2"]
    );
    let definition = api.get(DEFINITION).await.ok();
    assert_eq!(definition["status"]["storedVersions"], json!(["v1", "v2"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_of_each_change_in_its_version() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "convert").await;
    let first = api.post(V1, &in_v1("a", "x:1")).await.ok();
    let mut events = api.watch(&format!("{V2}?watch=1&fieldSelector=metadata.name%3Da")).await;
    let mut told = async || {
        let event = events.next().await.unwrap();
        (event["type"].clone(), event["object"]["port"].clone())
    };
    assert_eq!(told().await, (json!("ADDED"), json!("1")));
    for port in 2..20 {
        let change = json!({"hostPort": format!("x:{port}")});
        api.patch(&format!("{V1}/a"), "merge-patch", &change).await.ok();
    }
    for port in 2..20 {
        assert_eq!(told().await, (json!("MODIFIED"), json!(port.to_string())));
    }
    api.delete(&format!("{V1}/a")).await.ok();
    assert_eq!(told().await, (json!("DELETED"), json!("19")));
    let path = format!("{V2}?watch=1&resourceVersion={}", version(&first));
    let mut later = api.watch(&path).await;
    assert_eq!(later.next().await.unwrap()["object"]["port"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_webhook_hangs_waits_alone() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "hang").await;
    let created = api.post(V1, &in_v1("a", "x:1")).await.ok();
    let mut hanging = api.watch(&format!("{V2}?watch=1&resourceVersion=1")).await;
    let asked = wait::within("the webhook is asked", hooks.asked.notified());
    tokio::select! {
        _ = hanging.next() => panic!("nobody has converted it"),
        () = asked => {}
    }
    let mut events =
        api.watch(&format!("{V1}?watch=1&resourceVersion={}", version(&created))).await;
    api.patch(&format!("{V1}/a"), "merge-patch", &json!({"hostPort": "x:2"})).await.ok();
    assert_eq!(events.next().await.unwrap()["object"]["hostPort"], "x:2");
    assert_eq!(names(&api.get(V1).await.ok()), ["a"]);
    wait::within("the server stops", api.server.stop()).await;
}

/// Has the other version stored, whose objects a webhook that hangs would make of those there are.
async fn store_v2_behind_a_webhook_that_hangs(api: &Api) {
    replace(api, DEFINITION, |definition| {
        for version in definition["spec"]["versions"].as_array_mut().unwrap() {
            version["storage"] = json!(version["name"] == "v2");
            version["deprecated"] = json!(true);
        }
    })
    .await
    .ok();
    let asking = async {
        while !api.get(&format!("{V1}/b")).await.headers.contains_key("warning") {
            tokio::task::yield_now().await;
        }
    };
    wait::within("the other version is stored", asking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_whose_webhook_hangs_holds_up_the_deletion_of_no_other() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "hang").await;
    definitions::serve(&api).await;
    let mut held = in_v1("a", "x:1");
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    api.post(V1, &held).await.ok();
    store_v2_behind_a_webhook_that_hangs(&api).await;
    api.delete(DEFINITION).await.ok();
    wait::within("the webhook is asked", hooks.asked.notified()).await;
    let other = format!("{DEFINITIONS}/crontabs.stable.example.com");
    api.delete(&other).await.ok();
    tokio::select! {
        () = api.until(&other, 404) => {}
        () = hooks.dropped.notified() => panic!("it has waited for the webhook"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_whose_webhook_hangs_goes_with_its_objects() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "hang").await;
    for name in ["a", "c"] {
        api.post(V1, &in_v1(name, "x:1")).await.ok();
    }
    store_v2_behind_a_webhook_that_hangs(&api).await;
    api.delete(DEFINITION).await.ok();
    tokio::select! {
        () = api.until(DEFINITION, 404) => {}
        () = hooks.asked.notified() => panic!("it asks the webhook"),
    }
    for name in ["a", "c"] {
        let key = format!("/registry/stable.example.com/links/default/{name}");
        assert_eq!(api.store.get(&key).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_does_not_convert_is_told_as_kubernetes_does() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "refuse").await;
    api.post(V1, &in_v1("a", "x:1")).await.ok();
    let what = "conversion webhook for stable.example.com/v1, Kind=Link";
    let refused = api.get(&format!("{V2}/a")).await.fails(500, "");
    assert_eq!(refused, format!("{what} failed: not today"));
    api.patch(&format!("{V2}/a"), "merge-patch", &json!({"port": "1"})).await.fails(500, "");
    api.post(V2, &in_v2("b", "y", "2")).await.fails(500, "");
    api.get(V2).await.fails(500, "");
    let mut events = api.watch(&format!("{V2}?watch=1")).await;
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(500)));
    api.get(&format!("{V1}/a")).await.ok();
    for (path, expected) in [
        ("rename", format!("{what} returned invalid object: must have the same name: a != other")),
        (
            "failing",
            format!(
                "{what} failed: Post \"https://localhost:{}/failing?timeout=30s\": the server responded with the status code 500",
                hooks.address.port()
            ),
        ),
    ] {
        let url = format!("https://localhost:{}/{path}", hooks.address.port());
        replace(&api, DEFINITION, |definition| {
            definition["spec"]["conversion"]["webhook"]["clientConfig"]["url"] = url.clone().into();
        })
        .await
        .ok();
        let asking = async {
            while api.get(&format!("{V2}/a")).await.fails(500, "") != expected {
                tokio::task::yield_now().await;
            }
        };
        wait::within(&expected, asking).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_made_and_cannot_be_shown_is_not_made_again() {
    let (api, hooks) = (Api::start().await, hooks().await);
    serve(&api, &hooks, "falter").await;
    api.post(V2, &in_v2("a", "x", "80")).await.ok();
    let once = json!([
        {"op": "test", "path": "/port", "value": "80"},
        {"op": "replace", "path": "/port", "value": "13"},
    ]);
    let refused = api.patch(&format!("{V2}/a"), "json-patch", &once).await.fails(500, "");
    assert!(refused.ends_with("failed: not today"), "{refused}");
    assert_eq!(api.get(&format!("{V2}/a")).await.ok()["port"], "13");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_deprecated_version_is_told() {
    let (api, hooks) = (Api::start().await, hooks().await);
    let mut definition = links(&hooks, "convert");
    definition["spec"]["versions"][0]["deprecated"] = json!(true);
    api.post(DEFINITIONS, &definition).await.ok();
    until(&api, "links.stable.example.com", "Established", "InitialNamesAccepted").await;
    let told =
        r#"299 - "stable.example.com/v1 Link is deprecated; use stable.example.com/v2 Link""#;
    assert_eq!(api.post(V1, &in_v1("a", "x:1")).await.headers["warning"], told);
    assert_eq!(api.get(&format!("{V1}/b")).await.headers["warning"], told);
    assert_eq!(api.get(V1).await.headers["warning"], told);
    assert!(api.get(V2).await.headers.get("warning").is_none());
}
