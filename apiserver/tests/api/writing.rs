//! Creating and updating: versions, validation, dry runs, refusals.

use axum::body::Body;
use futures::StreamExt;
use http::Request;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, CONFIG_MAPS, JSON, PODS, pod, version};

#[tokio::test]
async fn a_created_object_has_a_version_a_uid_and_a_time() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    assert_eq!((&created["kind"], &created["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(created["metadata"][field].is_string(), "{field}: {created}");
    }
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.ok(), created);
}

#[tokio::test]
async fn what_is_stored_answered_and_shown_to_others_was_encoded_once() {
    let api = Api::start().await;
    let path = format!("{PODS}/a");
    let mut watch = api.watch(&format!("{PODS}?watch=true&resourceVersion=0")).await;
    for write in ["create", "patch", "update of the status"] {
        let answer = match write {
            "create" => api.post(PODS, &pod("a")).await,
            "patch" => {
                let labels = json!({"metadata": {"labels": {"b": "c"}}});
                api.patch(&path, "merge-patch", &labels).await
            }
            _ => api.put(&format!("{path}/status"), &json!({"status": {"phase": "Running"}})).await,
        };
        let object = answer.ok();
        let mark = format!(r#""resourceVersion":"{}","#, version(&object));
        let stored = api.store.get("/registry/core/pods/default/a").await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&stored.value), answer.text.replacen(&mark, "", 1));
        // A list catches up with the store.
        assert!(api.get(PODS).await.text.contains(&answer.text));
        assert_eq!(api.get(&path).await.text, answer.text);
        assert!(watch.piece().await.contains(&answer.text));
    }
}

#[tokio::test]
async fn a_name_can_be_taken_only_once_unless_the_server_makes_it_up() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let again = api.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(again.fails(409, "AlreadyExists"), "configmaps \"a\" already exists");
    let generated = json!({"metadata": {"generateName": "a-"}});
    let (one, two) = (
        api.post(CONFIG_MAPS, &generated).await.ok(),
        api.post(CONFIG_MAPS, &generated).await.ok(),
    );
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
    assert!(one["metadata"]["name"].as_str().unwrap().starts_with("a-"));
}

#[tokio::test]
async fn an_update_of_another_version_than_the_latest_is_a_conflict() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut first = api.config_map("a", json!({})).await;
    let stale = first.clone();
    first["data"]["x"] = "1".into();
    let second = api.put(&path, &first).await.ok();
    assert_ne!(version(&second), version(&stale));
    let message = api.put(&path, &stale).await.fails(409, "Conflict");
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
         please apply your changes to the latest version and try again"
    );
    let mut unconditional = stale.clone();
    unconditional["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    api.put(&path, &unconditional).await.ok();
    let mut other_uid = unconditional;
    other_uid["metadata"]["uid"] = "another".into();
    api.put(&path, &other_uid).await.fails(409, "Conflict");
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_not_written() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    let updated = api.put(&format!("{CONFIG_MAPS}/a"), &created).await.ok();
    assert_eq!(version(&created), version(&updated));

    // Times are stored in whole seconds.
    let taint = json!({"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00.5Z"});
    let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": [taint]}});
    let created = api.post("/api/v1/nodes", &node).await.ok();
    let updated = api.put("/api/v1/nodes/n1", &node).await.ok();
    assert_eq!(version(&created), version(&updated));
}

#[tokio::test]
async fn the_path_and_the_object_must_agree() {
    let api = Api::start().await;
    let named =
        |name: &str, namespace: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    assert_eq!(
        api.post(CONFIG_MAPS, &named("a", "other")).await.fails(400, "BadRequest"),
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    api.config_map("a", json!({})).await;
    assert_eq!(
        api.put(&format!("{CONFIG_MAPS}/a"), &named("b", "default")).await.fails(400, "BadRequest"),
        "the name of the object (b) does not match the name on the URL (a)"
    );
    assert_eq!(
        api.put(&format!("{CONFIG_MAPS}/x"), &named("x", "default")).await.fails(404, "NotFound"),
        "configmaps \"x\" not found"
    );
}

#[tokio::test]
async fn a_dry_run_is_answered_and_not_stored() {
    let api = Api::start().await;
    let object = json!({"metadata": {"name": "a"}});
    let answer = api.post(&format!("{CONFIG_MAPS}?dryRun=All"), &object).await.ok();
    assert_eq!(answer["metadata"]["name"], "a");
    api.get(&format!("{CONFIG_MAPS}/a")).await.fails(404, "NotFound");
    api.post(&format!("{CONFIG_MAPS}?dryRun=Some"), &object).await.fails(422, "Invalid");
    let created = api.config_map("a", json!({})).await;
    let again = api.post(&format!("{CONFIG_MAPS}?dryRun=All"), &object).await;
    again.fails(409, "AlreadyExists");
    let deleted = api.delete(&format!("{CONFIG_MAPS}/a?dryRun=All")).await;
    assert_eq!(deleted.ok()["status"], "Success");
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.ok(), created);
}

#[tokio::test]
async fn unknown_fields_are_refused_told_or_ignored() {
    let api = Api::start().await;
    let mut object = pod("a");
    object["spec"]["containers"][0]["imagge"] = "x".into();
    let validated = |how: &str| format!("{PODS}?fieldValidation={how}&dryRun=All");
    let message = api.post(&validated("Strict"), &object).await.fails(400, "BadRequest");
    assert!(
        message.contains("strict decoding error: unknown field \"spec.containers[0].imagge\""),
        "{message}"
    );
    let warned = api.post(&validated("Warn"), &object).await;
    let warning = warned.headers["warning"].to_str().unwrap();
    assert_eq!(warning, r#"299 - "unknown field \"spec.containers[0].imagge\"""#);
    let ignored = api.post(&validated("Ignore"), &object).await;
    assert!(ignored.headers.get("warning").is_none());
    assert!(ignored.ok()["spec"]["containers"][0].get("imagge").is_none());
}

#[tokio::test]
async fn bodies_may_be_yaml_or_protobuf_but_not_anything() {
    let api = Api::start().await;
    let yaml = "metadata:\n  name: a\ndata: {x: z}\n";
    let created = api.send("POST", CONFIG_MAPS, ("application/yaml", JSON), yaml).await.ok();
    assert_eq!(created["data"]["x"], "z");
    let broken = api.send("POST", CONFIG_MAPS, (JSON, JSON), "{").await;
    broken.fails(400, "BadRequest");
    let xml = api.send("POST", CONFIG_MAPS, ("text/xml", JSON), "<a/>").await;
    xml.fails(415, "UnsupportedMediaType");
    let refused = api.send("GET", CONFIG_MAPS, (JSON, "text/html"), "").await;
    refused.fails(406, "NotAcceptable");
    let big = format!("{{\"data\":{{\"x\":\"{}\"}}}}", "x".repeat(4 << 20));
    api.send("POST", CONFIG_MAPS, (JSON, JSON), big).await.fails(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn faults_are_told_all_at_once_with_their_fields() {
    let api = Api::start().await;
    let mut object = pod("Wrong_Name");
    object["spec"]["containers"][0]["name"] = Value::Null;
    let answer = api.post(PODS, &object).await;
    answer.fails(422, "Invalid");
    let causes = answer.json()["details"]["causes"].clone();
    let fields: Vec<_> =
        causes.as_array().unwrap().iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert!(
        fields.contains(&"metadata.name") && fields.contains(&"spec.containers[0].name"),
        "{causes}"
    );
}

#[tokio::test]
async fn the_status_is_written_through_its_own_path_only() {
    let api = Api::start().await;
    let mut object = pod("a");
    object["status"] = json!({"phase": "Running"});
    let created = api.post(PODS, &object).await.ok();
    assert_eq!(created["status"]["phase"], "Pending");
    let mut changed = created.clone();
    changed["status"] = json!({"phase": "Running", "podIP": "10.1.1.1"});
    changed["spec"]["containers"][0]["image"] = "nginx:2".into();
    let by_status = api.put(&format!("{PODS}/a/status"), &changed).await.ok();
    assert_eq!(by_status["status"]["podIP"], "10.1.1.1");
    assert_eq!(by_status["spec"], created["spec"]);
    let mut again = by_status.clone();
    again["status"] = json!({"phase": "Failed"});
    again["metadata"]["labels"]["app"] = "changed".into();
    let by_object = api.put(&format!("{PODS}/a"), &again).await.ok();
    assert_eq!(by_object["status"]["phase"], "Running");
    assert_eq!(by_object["metadata"]["labels"]["app"], "changed");
}

#[tokio::test]
async fn what_is_not_there_and_what_can_not_be_done_are_told_apart() {
    let api = Api::start().await;
    api.get("/api/v1/frogs").await.fails(404, "NotFound");
    api.get("/nowhere").await.fails(404, "NotFound");
    api.post("/api/v1/pods", &pod("a")).await.fails(405, "MethodNotAllowed");
    api.delete("/api/v1/namespaces").await.fails(405, "MethodNotAllowed");
}

#[tokio::test]
async fn nobody_may_see_nothing_but_whether_the_server_is_well() {
    use apiserver::Identity;
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    let api = Api::start().await;
    for (path, code) in [
        ("/readyz", 200),
        ("/version", 200),
        ("/api/v1/pods", 403),
        ("/metrics", 403),
        ("/nowhere", 401),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = api.server.service(Identity::anonymous()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), code, "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error() {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;

    let api = Api::start().await;
    let body = Body::from_stream(futures::stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<bytes::Bytes, std::io::Error>>> {
            panic!("the body's fault")
        },
    ));
    let response = api.request(Request::post(CONFIG_MAPS).body(body).unwrap()).await;
    assert_eq!(response.status(), 500);
    let status: Value =
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(status["reason"], "InternalError");
}

#[tokio::test]
async fn a_dry_run_of_an_update_has_the_version_that_is_there() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a?dryRun=All");
    let change = json!({"metadata": {"name": "a"}, "data": {"from": "a dry run"}});
    for answer in [api.put(&path, &change).await, api.patch(&path, "merge-patch", &change).await] {
        let shown = answer.ok();
        assert_eq!(shown["data"]["from"], "a dry run");
        assert_eq!(version(&shown), version(&created));
    }
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.ok(), created);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let api = Api::start().await;
    let start = futures::stream::once(async { Ok::<_, std::io::Error>("{") });
    let body = Body::from_stream(start.chain(futures::stream::pending()));
    let request = Request::post(CONFIG_MAPS).header("content-type", JSON).body(body).unwrap();
    tokio::time::pause();
    let answer = Answer::of(api.request(request).await).await;
    let message = answer.fails(504, "Timeout");
    assert_eq!(message, "Timeout: request did not complete within the allotted timeout");
}

#[tokio::test]
async fn a_read_does_not_wait_for_a_body() {
    let api = Api::start().await;
    let body = Body::from_stream(futures::stream::pending::<Result<&str, std::io::Error>>());
    let request = Request::get(CONFIG_MAPS).body(body).unwrap();
    Answer::of(api.request(request).await).await.ok();
}

#[tokio::test]
async fn what_others_may_have_written_is_not_replaced_by_who_does_not_say_which_version() {
    let api = Api::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let (path, lease) = (format!("{leases}/a"), json!({"metadata": {"name": "a"}}));
    let created = api.put(&path, &lease).await;
    assert_eq!(created.code, 201, "{created:?}");
    let message = api.put(&path, &lease).await.fails(422, "Invalid");
    let why = "leases.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0x0: \
               must be specified for an update";
    assert_eq!(message, why);
    api.put(&path, &created.json()).await.ok();
    // Of other kinds the last word counts, and PUT makes none.
    let (path, map) = (format!("{CONFIG_MAPS}/a"), json!({"metadata": {"name": "a"}}));
    api.put(&path, &map).await.fails(404, "NotFound");
    let created = api.post(CONFIG_MAPS, &map).await.ok();
    api.put(&path, &map).await.ok();
    let mut again = created;
    again["metadata"]["name"] = "b".into();
    let message = api.post(CONFIG_MAPS, &again).await.fails(400, "BadRequest");
    assert_eq!(message, "resourceVersion should not be set on objects to be created");
}
