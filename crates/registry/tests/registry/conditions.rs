//! Conditions of which nobody says since when they are.

use serde_json::{Value, json};

use crate::{create, def, example, update_status};

#[test]
fn a_condition_may_come_without_a_time() {
    let services = def("services");
    let old = create(&services, example(&services));
    let check = |time: Option<Value>, expected: &str| {
        let mut given = old.clone();
        let mut condition = json!({"type": "A", "status": "True", "reason": "B", "message": ""});
        if let Some(time) = time {
            condition["lastTransitionTime"] = time;
        }
        given["status"]["conditions"] = json!([condition]);
        let stored = update_status(&services, &old, given).unwrap();
        assert_eq!(stored["status"]["conditions"][0]["lastTransitionTime"], expected);
    };
    check(None, "0001-01-01T00:00:00Z");
    check(Some(Value::Null), "0001-01-01T00:00:00Z");
    check(Some(json!("2026-01-01T00:00:00Z")), "2026-01-01T00:00:00Z");
}
