//! Volumes, claims to them and what makes them: defaults, faults and tables, and what of them may change.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{
    create, def, example,
    faults::check,
    immutability::{allowed, refused},
    tables, update, yaml,
};

fn made(plural: &str) -> Value {
    let def = def(plural);
    create(&def, example(&def))
}

#[test]
fn what_is_not_said_has_defaults() {
    let volume = made("persistentvolumes");
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["spec"]["volumeMode"], "Filesystem");
    assert_eq!(volume["status"]["phase"], "Pending");
    let claim = made("persistentvolumeclaims");
    assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
    assert_eq!(claim["status"]["phase"], "Pending");
    assert_eq!(made("storageclasses")["reclaimPolicy"], "Delete");
    let driver = made("csidrivers");
    assert_eq!(driver["spec"]["attachRequired"], false);
    assert_eq!(driver["spec"]["fsGroupPolicy"], "ReadWriteOnceWithFSType");
    assert_eq!(driver["spec"]["volumeLifecycleModes"], json!(["Persistent"]));
}

#[test]
fn of_a_volume() {
    check(
        "persistentvolumes",
        "{metadata: {name: a}, spec: {}}",
        &expect![[r#"
        spec.accessModes: Required value
        spec.capacity: Required value
        spec.capacity: Unsupported value: "{}": supported values: "storage"
        spec: Required value: must specify a volume type
    "#]],
    );
    let volume = "
metadata: {name: a}
spec:
  capacity: {storage: 0, cpu: 1}
  accessModes: [ReadWriteOncePod, ReadWriteOnce, Mine]
  persistentVolumeReclaimPolicy: Burn
  storageClassName: A_B
  volumeMode: Sideways
  volumeAttributesClassName: fast
  hostPath: {path: /a/../b}
  local: {path: /x}
";
    check(
        "persistentvolumes",
        volume,
        &expect![[r#"
        spec.accessModes: Unsupported value: "Mine": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
        spec.capacity: Unsupported value: "{\"cpu\":\"1\",\"storage\":\"0\"}": supported values: "storage"
        spec.capacity[storage]: Invalid value: "0": must be greater than 0
        spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"
        spec.local: Forbidden: may not specify more than 1 volume type
        spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'
        spec.nodeAffinity: Required value: Local volume requires node affinity
        spec.storageClassName: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.volumeMode: Unsupported value: "Sideways": supported values: "Block", "Filesystem"
        spec.csi: Required value: has to be specified when using volumeAttributesClassName
    "#]],
    );
    let root = "
metadata: {name: a}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Recycle
  hostPath: {path: /}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: a, operator: In}, {key: b, operator: Exists, values: [x]}, {key: c, operator: Gt}, {key: 'b@d', operator: Like}]
        matchFields: [{key: metadata.name, operator: In, values: [a, b]}, {key: spec.x, operator: Exists}]
";
    check(
        "persistentvolumes",
        root,
        &expect![[r#"
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[2].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[3].operator: Invalid value: "Like": not a valid selector operator
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[3].key: Invalid value: "b@d": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchFields[1].operator: Invalid value: "Exists": not a valid selector operator
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchFields[1].key: Invalid value: "spec.x": not a valid field selector key
        spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'
    "#]],
    );
}

#[test]
fn of_a_claim() {
    check(
        "persistentvolumeclaims",
        "{metadata: {name: a}, spec: {}}",
        &expect![[r#"
        spec.accessModes: Required value: at least 1 access mode is required
        spec.resources[storage]: Required value
    "#]],
    );
    let claim = "
metadata: {name: a}
spec:
  accessModes: [Mine]
  resources: {requests: {storage: -1}}
  selector: {matchExpressions: [{key: a, operator: Like}]}
  storageClassName: A_B
  volumeMode: Sideways
  dataSource: {kind: Secret, name: ''}
  dataSourceRef: {kind: PersistentVolumeClaim, name: a, namespace: other}
";
    check(
        "persistentvolumeclaims",
        claim,
        &expect![[r#"
        spec.selector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator
        spec.accessModes: Unsupported value: "Mine": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.resources[storage]: Invalid value: "-1": must be greater than 0
        spec.storageClassName: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.volumeMode: Unsupported value: "Sideways": supported values: "Block", "Filesystem"
        spec.dataSource.name: Required value
        spec.dataSource: Invalid value: "Secret": must be 'PersistentVolumeClaim' when referencing the default apiGroup
        spec: Invalid value: "spec.dataSource": may not be specified when dataSourceRef.namespace is specified
    "#]],
    );
}

#[test]
fn a_claim_is_cloned_from_the_same_source_whichever_field_names_it() {
    let def = def("persistentvolumeclaims");
    let with = |field: &str, source: Value| {
        let mut claim = example(&def);
        claim["spec"][field] = source;
        let made = create(&def, claim);
        [made["spec"]["dataSource"].clone(), made["spec"]["dataSourceRef"].clone()]
    };
    let claim = json!({"kind": "PersistentVolumeClaim", "name": "a"});
    let both = [claim.clone(), claim.clone()];
    assert_eq!(with("dataSource", claim.clone()), both);
    assert_eq!(with("dataSourceRef", claim), both);
    let nothing = json!({"apiGroup": "example.com", "kind": "Tape", "name": "a"});
    assert_eq!(with("dataSource", nothing), [Value::Null, Value::Null]);
}

#[test]
fn of_what_makes_volumes() {
    let class = "
metadata: {name: a}
provisioner: ''
reclaimPolicy: Recycle
volumeBindingMode: Later
parameters: {'': x}
allowedTopologies: [{matchLabelExpressions: [{key: a, values: []}, {key: a, values: [x, x]}]}]
";
    check(
        "storageclasses",
        class,
        &expect![[r#"
        provisioner: Required value
        parameters: Invalid value: "": field can not be empty.
        reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"
        volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"
        allowedTopologies[0].matchLabelExpressions[0].values: Required value
        allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: "x"
        allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "a"
    "#]],
    );
    check(
        "volumeattributesclasses",
        "{metadata: {name: a}, driverName: 'b@d'}",
        &expect![[r#"
        driverName: Invalid value: "b@d": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        parameters: Required value: must contain at least one key/value pair
    "#]],
    );
    let driver = "
metadata: {name: a}
spec:
  fsGroupPolicy: All
  volumeLifecycleModes: [Brief]
  nodeAllocatableUpdatePeriodSeconds: 5
  tokenRequests: [{audience: a, expirationSeconds: 5}, {audience: a}]
";
    check(
        "csidrivers",
        driver,
        &expect![[r#"
        spec.fsGroupPolicy: Unsupported value: "All": supported values: "File", "None", "ReadWriteOnceWithFSType"
        spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes
        spec.tokenRequests[1].audience: Duplicate value: "a"
        spec.volumeLifecycleModes: Unsupported value: "Brief": supported values: "Persistent", "Ephemeral"
        spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 5: must be greater than or equal to 10 seconds
    "#]],
    );
    let node = "
metadata: {name: a}
spec: {drivers: [{name: a, nodeID: '', allocatable: {count: -1}}, {name: a, nodeID: n, topologyKeys: [k, k]}]}
";
    check(
        "csinodes",
        node,
        &expect![[r#"
        spec.drivers[0].nodeID: Required value
        spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0
        spec.drivers[1]: Duplicate value: "k"
        spec.drivers[1].name: Duplicate value: "a"
    "#]],
    );
    let capacity = "{metadata: {name: a}, storageClassName: A_B, capacity: -1}";
    check(
        "csistoragecapacities",
        capacity,
        &expect![[r#"
        storageClassName: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        capacity: Invalid value: "-1": must be greater than or equal to 0
    "#]],
    );
    let attachment = "{metadata: {name: a}, spec: {attacher: 'b@d', nodeName: n, source: {}}}";
    check(
        "volumeattachments",
        attachment,
        &expect![[r#"
        spec.attacher: Invalid value: "b@d": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName
    "#]],
    );
}

#[test]
fn of_a_runtime_class() {
    let class = "
metadata: {name: a}
handler: A_B
overhead: {podFixed: {cpu: -1}}
scheduling: {nodeSelector: {a: 's s'}, tolerations: [{key: a, operator: Like}, {key: b, operator: Exists}, {key: b, operator: Exists}]}
";
    check(
        "runtimeclasses",
        class,
        &expect![[r#"
        handler: Invalid value: "A_B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
        scheduling.nodeSelector: Invalid value: "s s": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        scheduling.tolerations[0].operator: Unsupported value: "Like": supported values: "Equal", "Exists"
        scheduling.tolerations[2]: Duplicate value: {"key":"b","operator":"Exists"}
    "#]],
    );
}

#[test]
fn what_is_not_to_change_does_not() {
    refused(
        "persistentvolumes",
        "/spec/hostPath/path",
        json!("/other"),
        &expect![[
            r#"PersistentVolume "example" is invalid: spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"#
        ]],
    );
    refused(
        "persistentvolumes",
        "/spec/volumeMode",
        json!("Block"),
        &expect![[
            r#"PersistentVolume "example" is invalid: volumeMode: Invalid value: "Block": field is immutable"#
        ]],
    );
    allowed("persistentvolumes", "/spec/persistentVolumeReclaimPolicy", json!("Delete"));
    refused(
        "persistentvolumeclaims",
        "/spec/accessModes",
        json!(["ReadWriteMany"]),
        &expect![[
            r#"PersistentVolumeClaim "example" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"#
        ]],
    );
    refused(
        "persistentvolumeclaims",
        "/spec/resources/requests/storage",
        json!("2Gi"),
        &expect![[
            r#"PersistentVolumeClaim "example" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"#
        ]],
    );
    allowed("persistentvolumeclaims", "/spec/volumeName", json!("there"));
    allowed("persistentvolumeclaims", "/spec/storageClassName", json!("fast"));
}

#[test]
fn what_is_not_to_change_of_classes_and_drivers_does_not() {
    refused(
        "storageclasses",
        "/provisioner",
        json!("other"),
        &expect![[
            r#"StorageClass.storage.k8s.io "example" is invalid: provisioner: Invalid value: "other": field is immutable"#
        ]],
    );
    refused(
        "volumeattributesclasses",
        "/driverName",
        json!("other"),
        &expect![[
            r#"VolumeAttributesClass.storage.k8s.io "example" is invalid: driverName: Forbidden: updates to driverName are forbidden."#
        ]],
    );
    refused(
        "csidrivers",
        "/spec/attachRequired",
        json!(true),
        &expect![[
            r#"CSIDriver.storage.k8s.io "example" is invalid: spec.attachedRequired: Invalid value: true: field is immutable"#
        ]],
    );
    refused(
        "csinodes",
        "/spec/drivers/0/nodeID",
        json!("other"),
        &expect![[
            r#"CSINode.storage.k8s.io "example" is invalid: spec.drivers: Invalid value: {"name":"disks.example.com","nodeID":"other","topologyKeys":["example.com/zone"]}: field is immutable"#
        ]],
    );
    refused(
        "csistoragecapacities",
        "/storageClassName",
        json!("other"),
        &expect![[
            r#"CSIStorageCapacity.storage.k8s.io "example" is invalid: storageClassName: Invalid value: "other": field is immutable"#
        ]],
    );
    refused(
        "volumeattachments",
        "/spec/nodeName",
        json!("other"),
        &expect![[
            r#"VolumeAttachment.storage.k8s.io "example" is invalid: spec: Invalid value: {"attacher":"disks.example.com","nodeName":"other","source":{"persistentVolumeName":"example"}}: field is immutable"#
        ]],
    );
    refused(
        "runtimeclasses",
        "/handler",
        json!("other"),
        &expect![[
            r#"RuntimeClass.node.k8s.io "example" is invalid: handler: Invalid value: "other": field is immutable"#
        ]],
    );
}

#[test]
fn a_claim_that_is_bound_may_ask_for_more_and_not_for_less() {
    let def = def("persistentvolumeclaims");
    let mut claim = made("persistentvolumeclaims");
    claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    let asked = |amount: &str| {
        let mut new = claim.clone();
        new["spec"]["resources"]["requests"]["storage"] = json!(amount);
        update(&def, &claim, new).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(asked("2Gi"), Ok(()));
    expect![[r#"PersistentVolumeClaim "example" is invalid: spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"#]].assert_eq(&asked("512Mi").unwrap_err());
}

fn check_table(plural: &str, metadata: &str, rest: &str, expected: &expect_test::Expect) {
    let created = "creationTimestamp: '2026-01-01T00:30:00Z'";
    let text = format!("{{metadata: {{{metadata}, {created}}}, {rest}}}");
    tables::check(plural, &serde_yaml::to_string(&yaml(&text)).unwrap(), expected);
}

#[test]
fn tables_show_volumes_claims_and_classes() {
    let volume = "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany, ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: a, name: b}, storageClassName: fast, volumeMode: Filesystem}, status: {phase: Bound}";
    check_table(
        "persistentvolumes",
        "name: v",
        volume,
        &expect![[r#"
        NAME: v
        CAPACITY: 1Gi
        ACCESS MODES: RWO,RWX
        RECLAIM POLICY: Retain
        STATUS: Bound
        CLAIM: a/b
        STORAGECLASS: fast
        VOLUMEATTRIBUTESCLASS: <unset>
        REASON: 
        AGE: 30m
        VOLUMEMODE*: Filesystem
    "#]],
    );
    let claim = "spec: {volumeName: v, storageClassName: fast}, status: {phase: Bound, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}";
    check_table(
        "persistentvolumeclaims",
        "name: c",
        claim,
        &expect![[r#"
        NAME: c
        STATUS: Bound
        VOLUME: v
        CAPACITY: 1Gi
        ACCESS MODES: RWO
        STORAGECLASS: fast
        VOLUMEATTRIBUTESCLASS: <unset>
        AGE: 30m
        VOLUMEMODE*: <unset>
    "#]],
    );
    let default = "name: s, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}";
    check_table(
        "storageclasses",
        default,
        "provisioner: p",
        &expect![[r#"
        NAME: s (default)
        PROVISIONER: p
        RECLAIMPOLICY: Delete
        VOLUMEBINDINGMODE: Immediate
        ALLOWVOLUMEEXPANSION: false
        AGE: 30m
    "#]],
    );
}

#[test]
fn tables_show_drivers_and_what_is_theirs() {
    check_table(
        "csidrivers",
        "name: d",
        "spec: {tokenRequests: [{audience: a}]}",
        &expect![[r#"
        NAME: d
        ATTACHREQUIRED: true
        PODINFOONMOUNT: false
        STORAGECAPACITY: false
        TOKENREQUESTS: a
        REQUIRESREPUBLISH: false
        MODES: <none>
        AGE: 30m
    "#]],
    );
    check_table(
        "csinodes",
        "name: n",
        "spec: {drivers: [{name: a, nodeID: n}]}",
        &expect![[r#"
        NAME: n
        DRIVERS: 1
        AGE: 30m
    "#]],
    );
    check_table(
        "csistoragecapacities",
        "name: c",
        "storageClassName: s",
        &expect![[r#"
        NAME: c
        STORAGECLASSNAME: s
        CAPACITY: <unset>
    "#]],
    );
    check_table(
        "volumeattributesclasses",
        "name: c",
        "driverName: d",
        &expect![[r#"
        NAME: c
        DRIVERNAME: d
        AGE: 30m
    "#]],
    );
    let attachment = "spec: {attacher: d, nodeName: n, source: {persistentVolumeName: v}}, status: {attached: true}";
    check_table(
        "volumeattachments",
        "name: a",
        attachment,
        &expect![[r#"
        NAME: a
        ATTACHER: d
        PV: v
        NODE: n
        ATTACHED: true
        AGE: 30m
    "#]],
    );
    check_table(
        "runtimeclasses",
        "name: r",
        "handler: h",
        &expect![[r#"
        NAME: r
        HANDLER: h
        AGE: 30m
    "#]],
    );
}
