//! StatefulSets and ControllerRevisions: their defaults, faults and tables, and what of them may change.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{
    create, def, example,
    faults::check,
    immutability::{allowed, refused},
    tables, update_status, yaml,
};

#[test]
fn what_is_not_said_of_a_set_has_defaults() {
    let def = def("statefulsets");
    let spec = create(&def, example(&def))["spec"].clone();
    assert_eq!(spec["podManagementPolicy"], "OrderedReady");
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    assert_eq!(spec["updateStrategy"], rolling);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    let retain = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], retain);
    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!(
        (&claim["spec"]["volumeMode"], &claim["status"]["phase"]),
        (&json!("Filesystem"), &json!("Pending"))
    );
}

/// The feature gate is off.
#[test]
fn of_a_set_only_one_pod_is_replaced_at_a_time() {
    let def = def("statefulsets");
    let mut set = example(&def);
    set["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
    assert_eq!(
        create(&def, set)["spec"]["updateStrategy"]["rollingUpdate"],
        json!({"partition": 0})
    );
}

#[test]
fn of_a_set() {
    let set = "
metadata: {name: a.b}
spec:
  replicas: -1
  minReadySeconds: -1
  serviceName: A_B
  podManagementPolicy: Sideways
  ordinals: {start: -1}
  updateStrategy: {type: Never}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Keep}
  selector: {}
  template:
    metadata: {labels: {app: a}}
    spec: {activeDeadlineSeconds: 5, restartPolicy: Never, containers: [{name: c, image: x}]}
  volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]
";
    check(
        "statefulsets",
        set,
        &expect![[r#"
        metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.podManagementPolicy: Invalid value: "Sideways": must be 'OrderedReady' or 'Parallel'
        spec.updateStrategy: Invalid value: {"type":"Never"}: must be 'RollingUpdate' or 'OnDelete'
        spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Keep": supported values: "Retain", "Delete"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
        spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
        spec.selector: Invalid value: {}: empty selector is invalid for statefulset
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported
        spec.serviceName: Invalid value: "A_B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required
        spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
    "#]],
    );
    let other = "
metadata: {name: a}
spec:
  updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}
  selector: {matchLabels: {app: b}}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: c, image: x, volumeMounts: [{name: none, mountPath: /x}]}]}
";
    check(
        "statefulsets",
        other,
        &expect![[r#"
        spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'
        spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`
        spec.template.spec.containers[0].volumeMounts[0].name: Not found: "none"
    "#]],
    );
}

#[test]
fn of_a_set_few_fields_may_change() {
    for (field, value) in [
        ("/spec/replicas", json!(7)),
        ("/spec/minReadySeconds", json!(7)),
        ("/spec/ordinals", json!({"start": 7})),
        ("/spec/revisionHistoryLimit", json!(7)),
        ("/spec/template/spec/containers/0/image", json!("other")),
        ("/spec/updateStrategy/rollingUpdate/partition", json!(1)),
        ("/spec/persistentVolumeClaimRetentionPolicy/whenScaled", json!("Delete")),
    ] {
        allowed("statefulsets", field, value);
    }
    refused(
        "statefulsets",
        "/spec/serviceName",
        json!("other"),
        &expect![[
            r#"StatefulSet.apps "example" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"#
        ]],
    );
    refused(
        "controllerrevisions",
        "/data/spec",
        json!({}),
        &expect![[
            r#"ControllerRevision.apps "example" is invalid: data: Invalid value: {"spec":{}}: field is immutable"#
        ]],
    );
    allowed("controllerrevisions", "/revision", json!(7));
}

#[test]
fn the_counts_of_a_set_go_together() {
    let def = def("statefulsets");
    let set = create(&def, example(&def));
    let mut told = set.clone();
    told["status"] =
        json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": 3, "collisionCount": -1});
    let error = update_status(&def, &set, told).unwrap_err();
    expect![[r#"StatefulSet.apps "example" is invalid: [status.collisionCount: Invalid value: -1: must be greater than or equal to 0, status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas, status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas, status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas]"#]].assert_eq(&error.to_string());
}

#[test]
fn of_a_revision() {
    check(
        "controllerrevisions",
        "{metadata: {name: a}, revision: -1}",
        &expect![[r#"
        revision: Invalid value: -1: must be greater than or equal to 0
        data: Required value: data is mandatory
    "#]],
    );
    check(
        "controllerrevisions",
        "{metadata: {name: a}, revision: 1, data: [1]}",
        &expect![[r#"
        data: Required value: data must be a valid JSON object
    "#]],
    );
}

#[test]
fn tables_show_sets_and_revisions() {
    let mut set = example(&def("statefulsets"));
    set["metadata"]["creationTimestamp"] = json!("2026-01-01T00:30:00Z");
    set["status"] = json!({"replicas": 2, "readyReplicas": 1});
    tables::check(
        "statefulsets",
        &serde_yaml::to_string(&set).unwrap(),
        &expect![[r#"
        NAME: example
        READY: 1/2
        AGE: 30m
        CONTAINERS*: main
        IMAGES*: busybox:1.36
    "#]],
    );
    let revision: Value = yaml(
        "{metadata: {name: web-x, creationTimestamp: '2026-01-01T00:30:00Z', ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}, revision: 3}",
    );
    tables::check(
        "controllerrevisions",
        &serde_yaml::to_string(&revision).unwrap(),
        &expect![[r#"
        NAME: web-x
        CONTROLLER: statefulset.apps/web
        REVISION: 3
        AGE: 30m
    "#]],
    );
}
