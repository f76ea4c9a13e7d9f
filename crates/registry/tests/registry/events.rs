//! Events in both groups.

use expect_test::{Expect, expect};
use registry::ResourceDef;
use serde_json::{Value, json};

use crate::{context, create, example, now, try_create, update};

fn def(group: &str) -> ResourceDef {
    let mut all = registry::all().into_iter();
    all.find(|def| def.names.plural == "events" && def.names.group == group).unwrap()
}

fn event(change: &Value) -> Value {
    let mut event = example(&def("events.k8s.io"));
    json_patch(&mut event, change);
    event
}

fn json_patch(object: &mut Value, change: &Value) {
    for (field, value) in change.as_object().unwrap() {
        object[field] = value.clone();
    }
}

fn refused(result: Result<Value, api_machinery::ApiError>, expected: &Expect) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), 422, "{error}");
    let causes = error.status().details.as_ref().and_then(|details| details.causes.as_ref());
    let line = |cause: &api_types::meta::StatusCause| {
        format!("{}: {}\n", cause.field.as_deref().unwrap(), cause.message.as_deref().unwrap())
    };
    expected.assert_eq(&causes.into_iter().flatten().map(line).collect::<String>());
}

#[test]
fn both_groups_show_the_same_event() {
    let (core, events) = (def(""), def("events.k8s.io"));
    assert!(core.is_of_one_kind(&events) && core.prefix(None) == events.prefix(None));
    assert!(core.is_stored() && !events.is_stored());
    let given = event(&json!({"deprecatedCount": 0, "related": {"kind": "Node", "name": "n"}}));
    let new = create(&events, given);
    let mut stored = events.to_stored(new.clone()).unwrap();
    stored["apiVersion"] = "v1".into();
    assert_eq!(core.decode(stored.clone(), None).unwrap().unknown, [""; 0]);
    for (here, there) in [
        ("regarding", "involvedObject"),
        ("note", "message"),
        ("reportingController", "reportingComponent"),
        ("reportingInstance", "reportingInstance"),
    ] {
        assert_eq!(new[here], stored[there], "{here}");
    }
    let cells = (events.row(&new, now()).unwrap(), core.row(&stored, now()).unwrap());
    assert_eq!(cells.0, cells.1);
    let mut served = events.to_served(stored).unwrap();
    served["apiVersion"] = "events.k8s.io/v1".into();
    assert_eq!(served, new);
}

#[test]
fn an_event_of_the_new_group_has_to_say_who_did_what_when() {
    let events = def("events.k8s.io");
    let try_create = |change: &Value| try_create(&events, event(change), &context(&events));
    refused(
        try_create(&json!({
            "eventTime": null, "type": "Odd", "regarding": {"kind": "Pod"},
            "series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
            "deprecatedCount": 1, "deprecatedSource": {"component": "c"},
            "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z", "deprecatedLastTimestamp": "2026-01-01T00:00:00Z",
        })),
        &expect![[r#"
            series.count: Invalid value: "": should be at least 2
            eventTime: Required value
            type: Invalid value: "": has invalid value: Odd
            firstTimestamp: Invalid value: "": needs to be unset
            lastTimestamp: Invalid value: "": needs to be unset
            count: Invalid value: "": needs to be unset
            source: Invalid value: "": needs to be unset
        "#]],
    );
    refused(
        try_create(&json!({
            "reportingController": "", "reportingInstance": "i".repeat(129), "action": "",
            "reason": "r".repeat(129), "note": "n".repeat(1025),
        })),
        &expect![[r#"
            reportingController: Required value
            reportingInstance: Invalid value: "": can have at most 128 characters
            action: Required value
            reason: Invalid value: "": can have at most 128 characters
            message: Invalid value: "": can have at most 1024 characters
        "#]],
    );
}

#[test]
fn only_the_series_of_an_event_of_the_new_group_may_change() {
    let events = def("events.k8s.io");
    let old = create(&events, event(&json!({})));
    let changed = |change: &Value| {
        let mut new = old.clone();
        json_patch(&mut new, change);
        update(&events, &old, new)
    };
    let series = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"});
    changed(&json!({"series": series, "eventTime": "2026-01-01T00:00:00.000000900Z"})).unwrap();
    refused(
        changed(&json!({"note": "x", "eventTime": "2026-01-01T00:00:02.000000Z",
            "series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
            "regarding": {"kind": "Node", "namespace": "default"}, "related": {"kind": "Node"}})),
        &expect![[r#"
            series.count: Invalid value: "": should be at least 2
            message: Invalid value: "x": field is immutable
            eventTime: Invalid value: "2026-01-01T00:00:02Z": field is immutable
            involvedObject: Invalid value: "Node/": field is immutable
            related: Invalid value: "Node/": field is immutable
        "#]],
    );
}
