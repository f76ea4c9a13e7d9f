//! A Service's session affinity: its time is given or three hours, and a day at most.

use serde_json::{Value, json};

use crate::{context, create, def, example, try_create};

fn service(affinity: &str, config: Value) -> Value {
    let mut service = example(&def("services"));
    service["spec"]["sessionAffinity"] = affinity.into();
    service["spec"]["sessionAffinityConfig"] = config;
    service
}

fn seconds(seconds: i64) -> Value {
    json!({"clientIP": {"timeoutSeconds": seconds}})
}

#[test]
fn the_time_has_a_default_where_there_is_affinity() {
    let stored = |affinity, config| {
        create(&def("services"), service(affinity, config))["spec"]["sessionAffinityConfig"].take()
    };
    for given in [Value::Null, json!({}), json!({"clientIP": {}}), seconds(10_800)] {
        assert_eq!(stored("ClientIP", given), seconds(10_800));
    }
    assert_eq!(stored("ClientIP", seconds(1)), seconds(1));
    assert_eq!(stored("ClientIP", seconds(86_400)), seconds(86_400));
    assert_eq!(stored("None", seconds(5)), Value::Null);
}

#[test]
fn the_time_is_between_a_second_and_a_day() {
    let services = def("services");
    for wrong in [0, -1, 86_401] {
        let error = try_create(&services, service("ClientIP", seconds(wrong)), &context(&services))
            .unwrap_err();
        let expected = format!(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: {wrong}: \
             must be greater than 0 and less than 86400"
        );
        assert_eq!(error.code(), 422);
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
}
