//! What of an object may not change.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{create, def, example, update, update_status};

/// Sets the field of the kind's example; the update is refused with this message.
pub(crate) fn refused(plural: &str, field: &str, value: Value, expected: &Expect) {
    let def = def(plural);
    let object = create(&def, example(&def));
    let error = update(&def, &object, set(&object, field, value)).unwrap_err();
    assert_eq!(error.code(), 422);
    expected.assert_eq(&error.to_string());
}

pub(crate) fn allowed(plural: &str, field: &str, value: Value) {
    let def = def(plural);
    let object = create(&def, example(&def));
    let changed = set(&object, field, value);
    let updated = update(&def, &object, changed.clone()).unwrap();
    assert_eq!(updated.pointer(field), changed.pointer(field));
    if field.starts_with("/spec") && !object["metadata"]["generation"].is_null() {
        assert_eq!(updated["metadata"]["generation"], 2, "{field}");
    }
}

/// The object with the value at the path, whose parents are there.
fn set(object: &Value, path: &str, value: Value) -> Value {
    let mut changed = object.clone();
    let (parent, last) = path.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap() {
        Value::Array(list) => list.push(value),
        parent => parent[last] = value,
    }
    changed
}

#[test]
fn a_pods_image_and_deadline_may_change() {
    allowed("pods", "/spec/containers/0/image", json!("other:2"));
    allowed("pods", "/spec/activeDeadlineSeconds", json!(10));
    allowed("pods", "/spec/tolerations", json!([{"key": "a", "operator": "Exists"}]));
}

#[test]
fn the_rest_of_a_pods_spec_may_not() {
    refused(
        "pods",
        "/spec/nodeName",
        json!("n1"),
        &expect![[
            r#"Pod "example" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"#
        ]],
    );
    refused(
        "pods",
        "/spec/containers/-",
        json!({"name": "more", "image": "x"}),
        &expect![[
            r#"Pod "example" is invalid: spec.containers: Forbidden: pod updates may not add or remove containers"#
        ]],
    );
    refused(
        "pods",
        "/spec/containers/0/args",
        json!(["x"]),
        &expect![[
            r#"Pod "example" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"#
        ]],
    );
    refused(
        "pods",
        "/spec/containers/0/image",
        json!(""),
        &expect![[r#"Pod "example" is invalid: spec.containers[0].image: Required value"#]],
    );
}

#[test]
fn the_selector_of_a_replica_set_or_deployment_may_not() {
    refused(
        "replicasets",
        "/spec/selector",
        json!({"matchLabels": {"app": "other"}}),
        &expect![[
            r#"ReplicaSet.apps "example" is invalid: [spec.template.metadata.labels: Invalid value: {"app":"example"}: `selector` does not match template `labels`, spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable]"#
        ]],
    );
    allowed("replicasets", "/spec/replicas", json!(7));
    refused(
        "deployments",
        "/spec/selector",
        json!({"matchLabels": {"app": "other"}}),
        &expect![[
            r#"Deployment.apps "example" is invalid: [spec.template.metadata.labels: Invalid value: {"app":"example"}: `selector` does not match template `labels`, spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable]"#
        ]],
    );
    allowed("deployments", "/spec/template/spec/containers/0/image", json!("other:2"));
}

#[test]
fn a_services_address_may_not_once_it_is_set() {
    let def = def("services");
    let mut given = example(&def);
    given["spec"]["clusterIP"] = json!("10.96.0.9");
    let object = create(&def, given.clone());
    assert_eq!(object["spec"]["clusterIPs"], json!(["10.96.0.9"]));
    given["spec"].as_object_mut().unwrap().remove("clusterIP");
    let kept = update(&def, &object, given).unwrap();
    assert_eq!(kept["spec"]["clusterIP"], "10.96.0.9");
    let mut other = object.clone();
    other["spec"]["clusterIP"] = json!("10.96.0.8");
    other["spec"]["clusterIPs"] = json!(["10.96.0.8"]);
    let error = update(&def, &object, other).unwrap_err();
    expect![[r#"Service "example" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set"#]].assert_eq(&error.to_string());
}

#[test]
fn a_load_balancers_class_may_not_nor_the_port_of_its_health_check() {
    let def = def("services");
    let mut given = example(&def);
    let spec = given["spec"].as_object_mut().unwrap();
    spec.extend(
        json!({"type": "LoadBalancer", "loadBalancerClass": "a.example/b", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30500})
            .as_object()
            .unwrap()
            .clone(),
    );
    let object = create(&def, given);
    assert_eq!(object["spec"]["allocateLoadBalancerNodePorts"], true);
    let mut other = object.clone();
    other["spec"]["loadBalancerClass"] = json!("a.example/c");
    other["spec"]["healthCheckNodePort"] = json!(30501);
    let error = update(&def, &object, other).unwrap_err();
    expect![[r#"Service "example" is invalid: [spec.loadBalancerClass: Invalid value: "a.example/c": may not change once set, spec.healthCheckNodePort: Forbidden: field is immutable]"#]].assert_eq(&error.to_string());
    // With the type all that is its own goes.
    let mut inside = object.clone();
    inside["spec"]["type"] = json!("ClusterIP");
    let inside = update(&def, &object, inside).unwrap();
    for field in [
        "loadBalancerClass",
        "healthCheckNodePort",
        "externalTrafficPolicy",
        "allocateLoadBalancerNodePorts",
    ] {
        assert_eq!(inside["spec"].get(field), None, "{field}");
    }
}

#[test]
fn what_was_declared_immutable_stays_so() {
    for plural in ["configmaps", "secrets"] {
        let def = def(plural);
        let mut given = example(&def);
        given["immutable"] = json!(true);
        let object = create(&def, given);
        let mut changed = object.clone();
        changed["data"]["new"] = json!("eA==");
        changed["immutable"] = json!(false);
        let error = update(&def, &object, changed).unwrap_err().to_string();
        let why = "Forbidden: field is immutable when `immutable` is set";
        assert!(error.contains(&format!("[immutable: {why}, data: {why}]")), "{error}");
    }
    refused(
        "secrets",
        "/type",
        json!("example.com/other"),
        &expect![[
            r#"Secret "example" is invalid: type: Invalid value: "example.com/other": field is immutable"#
        ]],
    );
}

#[test]
fn runs_and_jobs_are_what_they_were_made_as() {
    refused(
        "gpujobs",
        "/spec/numGpus",
        json!(4),
        &expect![[
            r#"GpuJob.minik8s.io "example" is invalid: spec.numGpus: Forbidden: field is immutable"#
        ]],
    );
    refused(
        "gpujobs",
        "/spec/results/-",
        json!("*.csv"),
        &expect![[
            r#"GpuJob.minik8s.io "example" is invalid: spec.results: Forbidden: field is immutable"#
        ]],
    );
    for (field, value) in [
        ("suspend", json!(true)),
        ("parallelism", json!(4)),
        ("activeDeadlineSeconds", json!(60)),
        ("ttlSecondsAfterFinished", json!(60)),
    ] {
        allowed("gpujobs", &format!("/spec/{field}"), value);
    }
    refused(
        "workflowruns",
        "/spec/workflow",
        json!("other"),
        &expect![[
            r#"WorkflowRun.minik8s.io "example" is invalid: spec: Forbidden: may not change fields other than `cancel`"#
        ]],
    );
    refused(
        "workflowruns",
        "/spec/input",
        json!(1),
        &expect![[
            r#"WorkflowRun.minik8s.io "example" is invalid: spec: Forbidden: may not change fields other than `cancel`"#
        ]],
    );
    allowed("workflowruns", "/spec/cancel", json!(true));
}

#[test]
fn a_host_is_that_of_one_object_for_good() {
    refused(
        "dnses",
        "/spec/host",
        json!("other.test"),
        &expect![[
            r#"DNS.minik8s.io "example" is invalid: spec.host: Invalid value: "other.test": field is immutable"#
        ]],
    );
    allowed("dnses", "/spec/paths/0/path", json!("/other"));
}

#[test]
fn a_runs_cancellation_cannot_be_taken_back() {
    let def = def("workflowruns");
    let run = create(&def, set(&example(&def), "/spec/cancel", json!(true)));
    let error = update(&def, &run, set(&run, "/spec/cancel", json!(false))).unwrap_err();
    expect![[r#"WorkflowRun.minik8s.io "example" is invalid: spec.cancel: Forbidden: cannot be taken back"#]].assert_eq(&error.to_string());
}

#[test]
fn a_node_keeps_its_pod_addresses() {
    let def = def("nodes");
    let object = create(&def, example(&def));
    let cidrs =
        |cidrs: &[&str]| update(&def, &object, set(&object, "/spec/podCIDRs", json!(cidrs)));
    cidrs(&["10.244.1.0/24", "fd00:10:244:1::/64"]).unwrap();
    expect![[r#"Node "example" is invalid: spec.podCIDRs: Invalid value: ["10.244.1.0/24","10.244.2.0/24"]: may specify no more than one CIDR for each IP family"#]]
        .assert_eq(&cidrs(&["10.244.1.0/24", "10.244.2.0/24"]).unwrap_err().to_string());
    let given = cidrs(&["10.244.1.0/24"]).unwrap();
    let error =
        update(&def, &given, set(&given, "/spec/podCIDRs", json!(["10.244.2.0/24"]))).unwrap_err();
    assert!(
        error.to_string().contains("node updates may not change podCIDR except from \"\" to valid"),
        "{error}"
    );
    let cidr = |object: &Value, cidr: &str| {
        update(&def, object, set(object, "/spec/podCIDR", json!(cidr)))
    };
    let given = cidr(&object, "10.244.1.0/24").unwrap();
    let error = cidr(&given, "10.244.2.0/24").unwrap_err().to_string();
    let why =
        "spec.podCIDR: Forbidden: node updates may not change podCIDR except from \"\" to valid";
    assert!(error.contains(why), "{error}");
}

#[test]
fn what_marks_a_mirror_pod_stays() {
    let (pods, mark) = (def("pods"), "kubernetes.io/config.mirror");
    let mut given = example(&pods);
    given["spec"]["nodeName"] = json!("n1");
    let plain = create(&pods, given.clone());
    given["metadata"]["annotations"] = json!({mark: "x"});
    let mirror = create(&pods, given);
    let check = |old: &Value, annotations: Value, why: &str| {
        let new = set(old, "/metadata/annotations", annotations);
        let expected = format!("metadata.annotations[{mark}]: Forbidden: {why}");
        for refused in [update(&pods, old, new.clone()), update_status(&pods, old, new)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(&expected), "{error}");
        }
    };
    check(&mirror, json!({}), "may not remove or update mirror pod annotation");
    check(&mirror, json!({mark: "y"}), "may not remove or update mirror pod annotation");
    check(&plain, json!({mark: "x"}), "may not add mirror pod annotation");
    let told = set(&mirror, "/metadata/annotations", json!({mark: "x", "a": "b"}));
    update_status(&pods, &mirror, told.clone()).unwrap();
    update(&pods, &mirror, told).unwrap();
}

#[test]
fn a_pod_s_owners_and_class_outlive_an_update_of_its_status() {
    let pods = def("pods");
    let mut given = example(&pods);
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "u"});
    given["metadata"]["ownerReferences"] = json!([owner]);
    let pod = create(&pods, given);
    let mut reported = pod.clone();
    reported["metadata"]["ownerReferences"] = json!([]);
    reported["status"] = json!({"phase": "Running"});
    let written = update_status(&pods, &pod, reported).unwrap();
    assert_eq!(written["metadata"]["ownerReferences"], json!([owner]));
    assert_eq!(written["status"]["phase"], "Running");
    assert_eq!(written["status"]["qosClass"], pod["status"]["qosClass"]);
    assert!(written["status"]["qosClass"].is_string());
}

#[test]
fn a_function_goes_back_to_a_version_that_there_is_until_its_code_changes() {
    refused(
        "functions",
        "/spec/rollbackTo",
        json!(7),
        &expect![[r#"Function.minik8s.io "example" is invalid: spec.rollbackTo: Not found: 7"#]],
    );
    let def = def("functions");
    let object = create(&def, example(&def));
    let status = |phase| json!({"versions": [{"version": 7, "phase": phase}]});
    let built = update_status(&def, &object, set(&object, "/status", status("Building"))).unwrap();
    let never = update(&def, &built, set(&built, "/spec/rollbackTo", json!(7))).unwrap_err();
    assert!(
        format!("{never:?}").contains("Invalid value: 7: this version was never ready"),
        "{never:?}"
    );
    let object = update_status(&def, &built, set(&built, "/status", status("Ready"))).unwrap();
    let back = update(&def, &object, set(&object, "/spec/rollbackTo", json!(7))).unwrap();
    assert_eq!(back["spec"]["rollbackTo"], 7);
    let scaled = update(&def, &back, set(&back, "/spec/maxScale", json!(3))).unwrap();
    assert_eq!(scaled["spec"]["rollbackTo"], 7);
    let changed = update(&def, &scaled, set(&scaled, "/spec/timeoutSeconds", json!(7))).unwrap();
    assert_eq!(changed["spec"].get("rollbackTo"), None);
}

#[test]
fn a_gpu_job_ends_once_and_one_way() {
    let def = def("gpujobs");
    let job = create(&def, example(&def));
    let condition = |type_: &str| {
        json!({"type": type_, "status": "True", "reason": "r", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let status = |conditions: Value| set(&job, "/status", json!({"conditions": conditions}));
    let both = status(json!([condition("Complete"), condition("Failed")]));
    let error = update_status(&def, &job, both).unwrap_err();
    expect![[r#"GpuJob.minik8s.io "example" is invalid: status.conditions: Invalid value: "": cannot set Complete=True and Failed=True conditions"#]].assert_eq(&error.to_string());
    let complete = update_status(&def, &job, status(json!([condition("Complete")]))).unwrap();
    let error = update_status(&def, &complete, status(json!([]))).unwrap_err();
    expect![[r#"GpuJob.minik8s.io "example" is invalid: status.conditions: Invalid value: "": cannot disable Complete=True condition"#]].assert_eq(&error.to_string());
    let odd = json!({"active": -1, "tasks": [{"index": 0}, {"index": 0}]});
    let error = update_status(&def, &job, set(&job, "/status", odd)).unwrap_err();
    expect![[r#"GpuJob.minik8s.io "example" is invalid: [status.active: Invalid value: -1: must be greater than or equal to 0, status.tasks[1].index: Duplicate value: 0]"#]].assert_eq(&error.to_string());
}

/// Its server can't let it go otherwise.
#[test]
fn a_gpu_job_of_earlier_rules_may_be_cancelled_and_go() {
    let def = def("gpujobs");
    let made = create(&def, example(&def));
    let old = set(&made, "/spec/directives", json!(["--constraint=\"a\"b"]));
    let held = set(&old, "/metadata/finalizers", json!(["minik8s.io/gpu-job"]));
    let free = update(&def, &held, old.clone()).unwrap();
    assert_eq!(free["metadata"].get("finalizers"), None);
    update(&def, &old, set(&old, "/spec/suspend", json!(true))).unwrap();
    let error = update(&def, &old, set(&old, "/spec/activeDeadlineSeconds", json!(-1)));
    expect![[r#"GpuJob.minik8s.io "example" is invalid: spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0"#]].assert_eq(&error.unwrap_err().to_string());
    update(&def, &made, old).unwrap_err();
}

#[test]
fn a_quotas_scopes_stay_and_its_limits_may_change() {
    allowed("resourcequotas", "/spec/hard/pods", json!("7"));
    refused(
        "resourcequotas",
        "/spec/scopes",
        json!(["NotTerminating"]),
        &expect![[
            r#"ResourceQuota "example" is invalid: spec.scopes: Invalid value: {"NotTerminating"}: field is immutable"#
        ]],
    );
}
