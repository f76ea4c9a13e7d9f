//! Devices, and who may use them.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{create, def, example, faults::check, immutability::refused, tables, update_status};

#[test]
fn one_device_is_asked_for_unless_it_is_said_how_many() {
    let claims = def("resourceclaims");
    let mut given = example(&claims);
    let exactly = &mut given["spec"]["devices"]["requests"][0]["exactly"];
    *exactly = json!({"deviceClassName": "a"});
    let made = create(&claims, given);
    let exactly = &made["spec"]["devices"]["requests"][0]["exactly"];
    assert_eq!((&exactly["allocationMode"], &exactly["count"]), (&json!("ExactCount"), &json!(1)));
    assert_eq!(made["status"], json!({}));
}

#[test]
fn a_claim_asks_for_what_there_can_be() {
    check(
        "resourceclaims",
        "
metadata: {name: a}
spec:
  devices:
    requests:
    - {name: A}
    - {name: b, exactly: {deviceClassName: '', allocationMode: All, count: 2}, firstAvailable: []}
    - name: b
      exactly:
        deviceClassName: c
        allocationMode: Some
        selectors: [{}, {cel: {expression: 'device.drive == 1'}}]
        tolerations: [{operator: Exists, value: x}, {effect: Never, operator: Like}]
    constraints: [{requests: [c, b/d/e], matchAttribute: model}, {}]
    config: [{opaque: {driver: '', parameters: [1]}}, {}]
",
        &expect![[r#"
            spec.devices.requests[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required
            spec.devices.requests[1].exactly.deviceClassName: Required value
            spec.devices.requests[1].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'
            spec.devices.requests[2].exactly.selectors[0].cel: Required value
            spec.devices.requests[2].exactly.selectors[1].cel.expression: Invalid value: "device.drive == 1": compilation failed: ERROR: <input>:1:7: undefined field 'drive'
             | device.drive == 1
             | ......^
            spec.devices.requests[2].exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"
            spec.devices.requests[2].exactly.tolerations[0].value: Invalid value: "x": must be empty for operator `Exists`
            spec.devices.requests[2].exactly.tolerations[1].operator: Unsupported value: "Like": supported values: "Equal", "Exists"
            spec.devices.requests[2].exactly.tolerations[1].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "None"
            spec.devices.requests[2]: Duplicate value: "b"
            spec.devices.constraints[0].requests[0]: Invalid value: "c": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
            spec.devices.constraints[0].requests[1]: Invalid value: "b/d/e": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
            spec.devices.constraints[0].matchAttribute: Invalid value: "model": a fully qualified name must be a domain and a name separated by a slash
            spec.devices.constraints[1]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set
            spec.devices.config[0].opaque.driver: Required value
            spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object
            spec.devices.config[1].opaque: Required value
        "#]],
    );
    refused(
        "resourceclaims",
        "/spec/devices",
        Value::Null,
        &expect![[
            r#"ResourceClaim.resource.k8s.io "example" is invalid: spec: Invalid value: "": field is immutable"#
        ]],
    );
    refused(
        "resourceclaimtemplates",
        "/spec/spec/devices",
        Value::Null,
        &expect![[
            r#"ResourceClaimTemplate.resource.k8s.io "example" is invalid: spec: Invalid value: "": field is immutable"#
        ]],
    );
}

fn status(given: &Value) -> String {
    let claims = def("resourceclaims");
    let old = create(&claims, example(&claims));
    let mut new = old.clone();
    new["status"] = given.clone();
    update_status(&claims, &old, new).unwrap_err().to_string()
}

#[test]
fn a_claim_gets_devices_for_its_requests_and_users_once_it_has_them() {
    let user = json!({"resource": "pods", "name": "p", "uid": "u"});
    expect![[r#"ResourceClaim.resource.k8s.io "example" is invalid: [status.reservedFor[1]: Duplicate value: "u", status.reservedFor: Forbidden: may not be specified when `allocated` is not set]"#]].assert_eq(&status(&json!({"reservedFor": [user, user]})));
    let result = json!({"request": "other", "driver": "d.io", "pool": "p", "device": "X"});
    let told = json!({"driver": "d.io", "pool": "p", "device": "y"});
    expect![[r#"ResourceClaim.resource.k8s.io "example" is invalid: [status.devices[0]: Invalid value: "d.io/p/y/": must be an allocated device in the claim, status.allocation.devices.results[0].request: Invalid value: "other": must be the name of a request in the claim or the name of a request and a subrequest separated by '/', status.allocation.devices.results[0].device: Invalid value: "X": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'), status.allocation.devices.config[0].source: Unsupported value: "Elsewhere": supported values: "FromClaim", "FromClass", status.allocation.devices.config[0].opaque: Required value]"#]].assert_eq(&status(&json!({
        "allocation": {"devices": {"results": [result], "config": [{"source": "Elsewhere"}]}},
        "devices": [told],
    })));
    tables::check(
        "resourceclaims",
        "{metadata: {name: a}, spec: {}, status: {allocation: {}, reservedFor: [{resource: pods, name: p, uid: u}]}}",
        &expect![[r#"
            NAME: a
            STATE: allocated,reserved
            AGE: <unknown>
        "#]],
    );
}

#[test]
fn a_slice_offers_devices_somewhere() {
    check(
        "resourceslices",
        "
metadata: {name: a}
spec:
  driver: d.io
  pool: {name: a/B, generation: -1, resourceSliceCount: 0}
  allNodes: false
  devices:
  - name: a
    nodeName: n
    attributes:
      x/y: {int: 1, bool: true}
      d.io/1: {version: v1}
      ok: {strings: []}
    capacity: {'': {value: 1}}
    taints: [{key: '', effect: Never}]
    consumesCounters: [{counterSet: s, counters: {}}]
    bindingConditions: [A, A]
  - {name: a}
",
        &expect![[r#"
            spec.pool.name: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero
            spec.pool.generation: Invalid value: -1: must be greater than or equal to zero
            spec.allNodes: Invalid value: false: must be either unset or set to true
            spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required
            spec.devices[0].attributes: Invalid value: "1": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')
            spec.devices[0].attributes[d.io/1].version: Invalid value: "v1": must be a string compatible with semver.org spec 2.0.0
            spec.devices[0].attributes[ok].strings: Invalid value: "[]": must not be empty if specified
            spec.devices[0].attributes[x/y]: Invalid value: "": exactly one value must be specified
            spec.devices[0].capacity: Invalid value: "": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')
            spec.devices[0].taints[0].key: Invalid value: "": name part must be non-empty
            spec.devices[0].taints[0].key: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.devices[0].taints[0].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "None"
            spec.devices[0].consumesCounters[0].counters: Required value
            spec.devices[0]: Invalid value: "": `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec
            spec.devices[0].bindingConditions[1]: Duplicate value: "A"
            spec.devices[0].bindingFailureConditions: Invalid value: "[]": bindingFailureConditions are required to use bindingConditions
            spec.devices[1]: Duplicate value: "a"
        "#]],
    );
    check(
        "resourceslices",
        "
metadata: {name: a}
spec:
  driver: d.io
  nodeName: n
  perDeviceNodeSelection: true
  pool: {name: p, generation: 1, resourceSliceCount: 1}
  sharedCounters: [{name: s, counters: {}}]
  devices: [{name: a}]
",
        &expect![[r#"
            spec: Invalid value: "{`nodeName`, `perDeviceNodeSelection`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set
            spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed
            spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec
            spec.sharedCounters[0].counters: Required value
        "#]],
    );
    refused(
        "resourceslices",
        "/spec/nodeName",
        json!("other"),
        &expect![[
            r#"ResourceSlice.resource.k8s.io "example" is invalid: spec.nodeName: Invalid value: "other": field is immutable"#
        ]],
    );
}

#[test]
fn a_class_selects_devices_by_expressions() {
    check(
        "deviceclasses",
        "{metadata: {name: a}, spec: {extendedResourceName: cpu, selectors: [{cel: {expression: device.driver}}, {cel: {expression: 'device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a == d))))'}}], config: [{}]}}",
        &expect![[r#"
            spec.selectors[0].cel.expression: Invalid value: "device.driver": must evaluate to bool but got string
            spec.selectors[1].cel.expression: Forbidden: too complex, exceeds cost limit
            spec.config[0].opaque: Required value
            spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name
        "#]],
    );
}
