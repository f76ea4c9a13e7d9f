//! Events in two groups.

use serde_json::json;

use crate::harness::{Api, names, version};

const CORE: &str = "/api/v1/namespaces/default/events";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

#[tokio::test]
async fn what_is_written_in_one_group_is_read_changed_and_watched_in_the_other() {
    let api = Api::start().await;
    let query = "?watch=true&fieldSelector=metadata.name=a";
    let mut core = api.watch(&format!("{CORE}{query}")).await;
    let mut events = api.watch(&format!("{EVENTS}{query}")).await;
    let made = json!({
        "metadata": {"name": "a"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "c-1",
        "action": "Look", "reason": "Seen", "note": "hello", "type": "Normal",
    });
    let made = api.post(EVENTS, &made).await.ok();
    assert_eq!((&made["apiVersion"], &made["note"]), (&json!("events.k8s.io/v1"), &json!("hello")));
    let read = api.get(&format!("{CORE}/a")).await.ok();
    assert_eq!((&read["apiVersion"], &read["message"]), (&json!("v1"), &json!("hello")));
    assert_eq!((version(&read), &read["metadata"]), (version(&made), &made["metadata"]));
    for selector in ["reportingController=c", "regarding.name=p"] {
        let list = api.get(&format!("{EVENTS}?fieldSelector={selector}")).await.ok();
        assert_eq!((names(&list), &list["kind"]), (vec!["a"], &json!("EventList")), "{selector}");
    }
    let list = api.get(&format!("{CORE}?fieldSelector=source=c,involvedObject.name=p")).await.ok();
    assert_eq!(names(&list), ["a"]);
    api.get(&format!("{EVENTS}?fieldSelector=involvedObject.name=p"))
        .await
        .fails(400, "BadRequest");

    let changed = json!({"message": "by the other"});
    api.patch(&format!("{CORE}/a"), "merge-patch", &changed).await.ok();
    let changed = json!({"note": "not here"});
    let refused = api.patch(&format!("{EVENTS}/a"), "strategic-merge-patch", &changed).await;
    assert!(refused.fails(422, "Invalid").contains("message: Invalid value"));
    api.delete(&format!("{EVENTS}/a")).await.ok();
    for (type_, text) in
        [("ADDED", "hello"), ("MODIFIED", "by the other"), ("DELETED", "by the other")]
    {
        let (here, there) = (events.next().await.unwrap(), core.next().await.unwrap());
        assert_eq!((&here["type"], &there["type"]), (&json!(type_), &json!(type_)));
        assert_eq!(
            (&here["object"]["note"], &there["object"]["message"]),
            (&json!(text), &json!(text))
        );
    }
}

#[tokio::test]
async fn a_webhook_s_rules_for_one_group_are_for_both() {
    let api = Api::start().await;
    let hook = json!({
        "metadata": {"name": "none"},
        "webhooks": [{
            "name": "none.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["events"], "operations": ["CREATE"]}],
        }],
    });
    let hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    api.post(hooks, &hook).await.ok();
    api.until_cached(hooks, "none").await;
    let event = json!({
        "metadata": {"name": "a"}, "regarding": {"namespace": "default"}, "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "c-1",
        "action": "Look", "reason": "Seen",
    });
    let refused = api.post(EVENTS, &event).await.fails(500, "InternalError");
    assert!(refused.contains("none.example.com"), "{refused}");
}
