//! The part of a pod's status that is the kubelet's, and how it is written: a strategic merge patch, in
//! which conditions are merged by type, so that those of others survive. Pure.

use api_types::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

use super::conditions::{PASSING_CONDITIONS, is_written};

/// Everything else, such as `qosClass` or `nominatedNodeName`, is written by others.
const OWNED_FIELDS: [&str; 12] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "observedGeneration",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
];

/// The fields and conditions that are the kubelet's; a field that is not set is null.
pub(super) fn owned(status: &PodStatus) -> Value {
    let all = serde_json::to_value(status).expect("a status has only text as keys");
    let field = |name: &str| (name.to_owned(), all.get(name).cloned().unwrap_or_default());
    let mut owned: Map<String, Value> = OWNED_FIELDS.into_iter().map(field).collect();
    let conditions = all["conditions"].as_array().into_iter().flatten();
    let own = conditions.filter(|condition| is_own(condition)).cloned().collect();
    owned.insert("conditions".to_owned(), Value::Array(own));
    Value::Object(owned)
}

fn is_own(condition: &Value) -> bool {
    condition["type"].as_str().is_some_and(is_written)
}

/// The patch that makes a pod's status say this, which said that before, if it is known; it is refused if the name belongs
/// to another pod.
pub(super) fn patch(uid: &str, owned: &Value, before: Option<&Value>) -> Value {
    let mut status = owned.clone();
    if let Some(conditions) = status["conditions"].as_array_mut() {
        // What a condition said before must not stay.
        for condition in conditions.iter_mut() {
            for field in ["reason", "message"] {
                if condition.get(field).is_none() {
                    condition[field] = Value::Null;
                }
            }
        }
        let passed = PASSING_CONDITIONS
            .iter()
            .filter(|kind| !says(owned, kind) && before.is_none_or(|before| says(before, kind)));
        conditions.extend(passed.map(|kind| json!({"$patch": "delete", "type": kind})));
    }
    for list in ["podIPs", "hostIPs"] {
        if let Some(addresses) = status[list].as_array_mut() {
            // Merged by address, an old one would stay.
            addresses.insert(0, json!({"$patch": "replace"}));
        }
    }
    json!({"metadata": {"uid": uid}, "status": status})
}

fn says(owned: &Value, kind: &str) -> bool {
    let mut conditions = owned["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == kind)
}

#[cfg(test)]
mod tests {
    use api_machinery::patch::apply_strategic;

    use super::*;

    fn status(status: Value) -> PodStatus {
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn every_container_is_told_of() {
        let one =
            json!([{"name": "a", "image": "b", "imageID": "c", "ready": true, "restartCount": 0}]);
        let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
        let told =
            owned(&status(lists.iter().map(|list| ((*list).to_owned(), one.clone())).collect()));
        for list in lists {
            assert_eq!(told[list][0]["name"], "a", "{list}");
        }
    }

    #[test]
    fn a_condition_that_has_passed_goes_and_is_not_mentioned_again() {
        let stored = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True"}, {"type": "PodResizeInProgress", "status": "True"},
        ]}});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let before = owned(&status(stored["status"].clone()));
        let after = owned(&status(json!({"conditions": ready})));
        for known in [Some(&before), None] {
            let merged = apply_strategic(&stored, &patch("u", &after, known)).unwrap();
            assert_eq!(merged["status"]["conditions"], ready);
        }
        let said = |before| patch("u", &after, before)["status"]["conditions"].to_string();
        assert!(said(Some(&before)).contains("PodResizeInProgress"));
        assert!(!said(Some(&after)).contains("PodResize"));
    }

    #[test]
    fn what_others_wrote_meanwhile_stays_and_what_was_said_before_goes() {
        let stored = json!({"metadata": {"uid": "u"}, "status": {
        "phase": "Failed", "reason": "Evicted", "message": "too much", "qosClass": "Burstable",
        "observedGeneration": 1,
        "podIPs": [{"ip": "10.244.1.2"}],
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "PodFailed", "message": "it failed"},
            {"type": "example.com/gate", "status": "True"},
        ]}});
        let ours = status(json!({
        "phase": "Running", "observedGeneration": 2, "qosClass": "Guaranteed", "podIPs": [{"ip": "10.244.1.3"}],
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "example.com/gate", "status": "False"},
        ]}));
        let merged = apply_strategic(&stored, &patch("u", &owned(&ours), None)).unwrap();
        let expected = json!({
        "phase": "Running", "observedGeneration": 2, "qosClass": "Burstable", "podIPs": [{"ip": "10.244.1.3"}],
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "example.com/gate", "status": "True"},
        ]});
        assert_eq!(merged["status"], expected);
    }
}
