//! How important pods are.

use expect_test::expect;
use serde_json::json;

use crate::{faults::check, immutability::refused, tables};

#[test]
fn names_of_the_system_are_its_own() {
    check(
        "priorityclasses",
        "{metadata: {name: system-x}, value: 1}",
        &expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class
    "#]],
    );
    check(
        "priorityclasses",
        "{metadata: {name: system-node-critical}, value: 1}",
        &expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000
    "#]],
    );
    let bad = "{metadata: {name: a}, value: 1000000001, preemptionPolicy: Sometimes}";
    check(
        "priorityclasses",
        bad,
        &expect![[r#"
        value: Forbidden: maximum allowed value of a user defined priority is 1000000000
        preemptionPolicy: Unsupported value: "Sometimes": supported values: "PreemptLowerPriority", "Never"
    "#]],
    );
}

#[test]
fn a_class_stays_as_it_is() {
    refused(
        "priorityclasses",
        "/value",
        json!(2),
        &expect![[
            r#"PriorityClass.scheduling.k8s.io "example" is invalid: value: Forbidden: may not be changed in an update."#
        ]],
    );
    refused(
        "priorityclasses",
        "/preemptionPolicy",
        json!("PreemptLowerPriority"),
        &expect![[
            r#"PriorityClass.scheduling.k8s.io "example" is invalid: preemptionPolicy: Invalid value: "PreemptLowerPriority": field is immutable"#
        ]],
    );
    tables::check(
        "priorityclasses",
        "{metadata: {name: a}, value: 7, globalDefault: true, preemptionPolicy: Never}",
        &expect![[r#"
            NAME: a
            VALUE: 7
            GLOBAL-DEFAULT: true
            AGE: <unknown>
            PREEMPTIONPOLICY*: Never
        "#]],
    );
}
