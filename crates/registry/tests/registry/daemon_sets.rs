//! DaemonSets: their defaults, faults and table, and what of them may change.

use expect_test::expect;
use serde_json::json;

use crate::{
    create, def, example,
    faults::check,
    immutability::{allowed, refused},
    tables, update_status,
};

#[test]
fn what_is_not_said_of_a_set_has_defaults() {
    let def = def("daemonsets");
    let spec = create(&def, example(&def))["spec"].clone();
    let rolling =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
    assert_eq!(spec["updateStrategy"], rolling);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    let mut by_hand = example(&def);
    by_hand["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let spec = create(&def, by_hand)["spec"].clone();
    assert_eq!(spec["updateStrategy"], json!({"type": "OnDelete"}));
}

#[test]
fn of_a_set() {
    let set = "
metadata: {name: a_b}
spec:
  minReadySeconds: -1
  revisionHistoryLimit: -1
  updateStrategy: {type: Never}
  selector: {}
  template:
    metadata: {labels: {app: a}}
    spec: {activeDeadlineSeconds: 5, restartPolicy: Never, containers: [{name: c, image: x}]}
";
    check(
        "daemonsets",
        set,
        &expect![[r#"
        metadata.name: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.selector: Invalid value: {}: empty selector is invalid for daemonset
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported
        spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
        spec.updateStrategy.type: Unsupported value: "Never": supported values: "RollingUpdate", "OnDelete"
        spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    let other = "
metadata: {name: a}
spec:
  updateStrategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 101%}}
  selector: {matchLabels: {app: b}}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: c, image: x}]}
";
    check(
        "daemonsets",
        other,
        &expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`
        spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "101%": must not be greater than 100%
    "#]],
    );
}

#[test]
fn what_may_be_missing_and_what_may_be_more_exclude_each_other() {
    let set = |unavailable: &str, surge: &str| {
        format!(
            "
metadata: {{name: a}}
spec:
  updateStrategy: {{rollingUpdate: {{maxUnavailable: {unavailable}, maxSurge: {surge}}}}}
  selector: {{matchLabels: {{app: a}}}}
  template:
    metadata: {{labels: {{app: a}}}}
    spec: {{containers: [{{name: c, image: x}}]}}
"
        )
    };
    check(
        "daemonsets",
        &set("1", "10%"),
        &expect![[r#"
        spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when maxUnavailable is non-zero
    "#]],
    );
    check(
        "daemonsets",
        &set("0%", "0"),
        &expect![[r#"
        spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0
    "#]],
    );
}

#[test]
fn of_a_set_all_but_the_selector_may_change() {
    allowed("daemonsets", "/spec/minReadySeconds", json!(7));
    allowed("daemonsets", "/spec/template/spec/containers/0/image", json!("other"));
    allowed("daemonsets", "/spec/updateStrategy", json!({"type": "OnDelete"}));
    refused(
        "daemonsets",
        "/spec/selector/matchLabels/app",
        json!("other"),
        &expect![[
            r#"DaemonSet.apps "example" is invalid: [spec.template.metadata.labels: Invalid value: {"app":"example"}: `selector` does not match template `labels`, spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable]"#
        ]],
    );
}

#[test]
fn no_count_is_less_than_none() {
    let def = def("daemonsets");
    let set = create(&def, example(&def));
    let mut told = set.clone();
    told["status"] = json!({"currentNumberScheduled": -1, "numberMisscheduled": 0,
        "desiredNumberScheduled": 1, "numberReady": 1, "numberAvailable": -2});
    let error = update_status(&def, &set, told).unwrap_err();
    expect![[r#"DaemonSet.apps "example" is invalid: [status.currentNumberScheduled: Invalid value: -1: must be greater than or equal to 0, status.numberAvailable: Invalid value: -2: must be greater than or equal to 0]"#]].assert_eq(&error.to_string());
}

#[test]
fn a_table_shows_where_pods_are() {
    let mut set = example(&def("daemonsets"));
    set["metadata"]["creationTimestamp"] = json!("2026-01-01T00:30:00Z");
    set["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd", "zone": "a"});
    set["status"] = json!({"currentNumberScheduled": 2, "numberMisscheduled": 0,
        "desiredNumberScheduled": 3, "numberReady": 1, "updatedNumberScheduled": 2});
    tables::check(
        "daemonsets",
        &serde_yaml::to_string(&set).unwrap(),
        &expect![[r#"
        NAME: example
        DESIRED: 3
        CURRENT: 2
        READY: 1
        UP-TO-DATE: 2
        AVAILABLE: 0
        NODE SELECTOR: disk=ssd,zone=a
        AGE: 30m
        CONTAINERS*: main
        IMAGES*: busybox:1.36
        SELECTOR*: app=example
    "#]],
    );
}

/// Kubernetes: `SetDefaults_Pod`, which has no say in templates.
#[test]
fn a_template_on_the_network_of_its_node_leaves_the_ports_of_the_node_to_its_pods() {
    let port = |plural: &str, path: &str| {
        let def = def(plural);
        let mut object = example(&def);
        let spec = object.pointer_mut(path).unwrap();
        spec["hostNetwork"] = json!(true);
        spec["containers"][0]["ports"] = json!([{"containerPort": 80}]);
        let created = create(&def, object);
        created.pointer(&format!("{path}/containers/0/ports/0/hostPort")).cloned()
    };
    assert_eq!(port("daemonsets", "/spec/template/spec"), None);
    assert_eq!(port("pods", "/spec"), Some(json!(80)));
}
