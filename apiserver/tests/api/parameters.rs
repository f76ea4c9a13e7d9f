//! Parameters of the query: each is followed or refused.

use serde_json::{Value, json};

use crate::harness::{Api, CONFIG_MAPS, names, version};

#[tokio::test]
async fn options_of_writes_are_checked_whether_used_or_not() {
    let api = Api::start().await;
    let object = api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let long = "x".repeat(129);
    let refused = [
        (format!("fieldManager={long}"), "fieldManager: Too long: may not be more than 128 bytes"),
        (
            "fieldManager=a%07b".to_owned(),
            "fieldManager: Invalid value: \"a\\u{7}b\": should only contain printable characters",
        ),
        (
            "dryRun=Some".to_owned(),
            "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
        ),
        (
            "fieldValidation=Lax".to_owned(),
            "fieldValidation: Unsupported value: \"Lax\": supported values: \"Ignore\", \"Strict\", \"Warn\"",
        ),
    ];
    for (query, why) in refused {
        let create =
            api.post(&format!("{CONFIG_MAPS}?{query}"), &object).await.fails(422, "Invalid");
        assert_eq!(create, format!("CreateOptions.meta.k8s.io \"\" is invalid: {why}"));
        let update = api.put(&format!("{path}?{query}"), &object).await.fails(422, "Invalid");
        assert_eq!(update, format!("UpdateOptions.meta.k8s.io \"\" is invalid: {why}"));
        let patch = api.patch(&format!("{path}?{query}"), "merge-patch", &json!({})).await;
        assert_eq!(
            patch.fails(422, "Invalid"),
            format!("PatchOptions.meta.k8s.io \"\" is invalid: {why}")
        );
    }
    let forced = api.patch(&format!("{path}?force=true"), "merge-patch", &json!({})).await;
    assert!(
        forced
            .fails(422, "Invalid")
            .ends_with("force: Forbidden: may not be specified for non-apply patch")
    );
    let well = format!("{path}?fieldManager={}", "x".repeat(128));
    api.patch(&well, "merge-patch", &json!({})).await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_get_is_never_older_than_it_was_asked_to_be() {
    let api = Api::start().await;
    let object = api.config_map("a", json!({})).await;
    let at = |version: &str| format!("{CONFIG_MAPS}/a?resourceVersion={version}");
    for fine in ["", "0", "1", version(&object)] {
        assert_eq!(api.get(&at(fine)).await.ok(), object, "{fine}");
    }
    let future = api.get(&at("1000000")).await.fails(504, "Timeout");
    assert!(future.contains("Too large resource version: 1000000, current: "), "{future}");
    api.get(&at("soon")).await.fails(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn a_list_takes_no_longer_than_it_may() {
    let api = Api::start().await;
    let future = format!("{CONFIG_MAPS}?resourceVersion=1000000");
    let message = api.get(&format!("{future}&timeoutSeconds=1")).await.fails(504, "Timeout");
    assert!(message.contains("request did not complete within the allotted timeout"), "{message}");
    let message = api.get(&format!("{future}&timeoutSeconds=60")).await.fails(504, "Timeout");
    assert!(message.contains("Too large resource version"), "{message}");
    api.get(&format!("{CONFIG_MAPS}?timeoutSeconds=1")).await.ok();
    api.get(&format!("{CONFIG_MAPS}?timeoutSeconds=x")).await.fails(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_less_long_than_the_server() {
    let api = Api::start().await;
    let future = format!("{CONFIG_MAPS}/a?resourceVersion=1000000");
    let message = api.get(&format!("{future}&timeout=1s")).await.fails(504, "Timeout");
    assert!(message.contains("request did not complete within the allotted timeout"), "{message}");
    for longer in ["1h", "0", "0s"] {
        let message = api.get(&format!("{future}&timeout={longer}")).await.fails(504, "Timeout");
        assert!(message.contains("Too large resource version"), "{message}");
    }
    let message = api.get(&format!("{future}&timeout=soon")).await.fails(400, "BadRequest");
    assert!(message.starts_with("invalid timeout specified in the request URL"), "{message}");
}

#[tokio::test]
async fn a_collection_is_deleted_page_by_page() {
    let api = Api::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        api.config_map(name, json!({"kept": (name == "b").to_string()})).await;
    }
    let query = format!("{CONFIG_MAPS}?labelSelector=kept%3Dfalse&limit=2");
    let first = api.delete(&query).await.ok();
    assert_eq!(names(&first), ["a", "c"]);
    assert_eq!(names(&api.get(CONFIG_MAPS).await.ok()), ["b", "d", "e"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.delete(&format!("{query}&continue={token}")).await.ok();
    assert_eq!(names(&second), ["d", "e"]);
    assert_eq!(second["metadata"]["continue"], Value::Null);
    assert_eq!(names(&api.get(CONFIG_MAPS).await.ok()), ["b"]);
}
