//! What may change of pods that are there: of those that wait to be scheduled, and of those that have faults of before.

use serde_json::{Value, json};

use super::{in_full, pod, set};
use crate::{create, def, update, yaml};

/// A pod that waits, with these fields.
fn gated(fields: &str) -> Value {
    let mut pod = pod();
    pod["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    set(&mut pod["spec"], yaml(&in_full(fields)));
    create(&def("pods"), pod)
}

/// Changes the fields; what is null is taken away.
fn change(old: &Value, fields: &str, expected: &str) {
    let mut new = old.clone();
    set(&mut new["spec"], yaml(&in_full(fields)));
    new["spec"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    match update(&def("pods"), old, new.clone()) {
        Ok(updated) if expected.is_empty() => assert_eq!(updated["spec"], new["spec"], "{fields}"),
        Ok(_) => panic!("{fields}: {expected}"),
        Err(error) => {
            let told = error.to_string();
            let told = told.strip_prefix("Pod \"a\" is invalid: spec.").unwrap_or(&told);
            assert_eq!(told, in_full(expected), "{fields}");
        }
    }
}

#[test]
fn a_pod_that_waits_may_select_fewer_nodes() {
    let old = gated("nodeSelector: {a: b}");
    let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    change(&old, "nodeSelector: {a: b, c: d}", "");
    change(
        &old,
        "nodeSelector: {a: c}",
        &format!("nodeSelector: Invalid value: {{\"a\":\"c\"}}: {why}"),
    );
    change(&old, "nodeSelector: null", &format!("nodeSelector: Invalid value: null: {why}"));
    change(&gated("{}"), "nodeSelector: {a: b}", "");
    let open = create(&def("pods"), pod());
    let mut other = open.clone();
    other["spec"]["nodeSelector"] = json!({"a": "b"});
    let error = update(&def("pods"), &open, other).unwrap_err().to_string();
    assert!(
        error.contains("spec: Forbidden: pod updates may not change fields other than"),
        "{error}"
    );
}

fn terms(terms: &str) -> String {
    format!("affinity: {{nodeAffinity: {{<required>: {{nodeSelectorTerms: [{terms}]}}}}}}")
}

#[test]
fn and_narrow_the_terms_of_its_affinity() {
    const ONE: &str = "{key: a, operator: In, values: [b]}";
    const TWO: &str = "{key: c, operator: Exists}";
    let path = "affinity.nodeAffinity.<required>.nodeSelectorTerms";
    let old = gated(&terms(&format!("{{matchExpressions: [{ONE}]}}")));
    change(&old, &terms(&format!("{{matchExpressions: [{ONE}, {TWO}]}}")), "");
    let field = "matchFields: [{key: metadata.name, operator: In, values: [n]}]";
    change(&old, &terms(&format!("{{matchExpressions: [{ONE}], {field}}}")), "");
    change(
        &old,
        &terms(&format!("{{matchExpressions: [{TWO}]}}")),
        &format!(
            "{path}[0]: Invalid value: {{\"MatchExpressions\":[{{\"Key\":\"c\",\"Operator\":\"Exists\",\"Values\":null}}],\"MatchFields\":null}}: only additions are allowed (no mutations or deletions)"
        ),
    );
    let lists = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
    change(&old, "affinity: null", &format!("{path}: Invalid value: null: {lists}"));
    change(
        &old,
        &terms(&format!("{{matchExpressions: [{ONE}]}}, {{matchExpressions: [{TWO}]}}")),
        &format!(
            "{path}: Invalid value: [{{\"MatchExpressions\":[{{\"Key\":\"a\",\"Operator\":\"In\",\"Values\":[\"b\"]}}],\"MatchFields\":null}},{{\"MatchExpressions\":[{{\"Key\":\"c\",\"Operator\":\"Exists\",\"Values\":null}}],\"MatchFields\":null}}]: {lists}"
        ),
    );
    change(&gated("{}"), &terms(&format!("{{matchExpressions: [{ONE}]}}")), "");
    let preferred = "affinity: {nodeAffinity: {<preferred>: [{weight: 1, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}";
    let old = gated(preferred);
    change(&old, "affinity: {nodeAffinity: {}}", "");
}

#[test]
fn what_a_pod_waits_for_becomes_less() {
    let old = gated("{}");
    change(
        &old,
        "schedulingGates: [{name: example.com/wait}, {name: example.com/more}]",
        "schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'example.com/more'",
    );
    change(&old, "schedulingGates: null", "");
}

#[test]
fn faults_of_before_hold_up_no_change_and_new_ones_do() {
    let pods = def("pods");
    let mut old = create(&pods, pod());
    old["spec"]["preemptionPolicy"] = json!("Perhaps");
    let mut new = old.clone();
    new["metadata"]["labels"]["more"] = json!("x");
    update(&pods, &old, new.clone()).unwrap();
    new["spec"]["containers"][0]["image"] = json!("");
    let error = update(&pods, &old, new).unwrap_err().to_string();
    assert_eq!(error, "Pod \"a\" is invalid: spec.containers[0].image: Required value");
    let deployments = def("deployments");
    let mut old = create(&deployments, crate::example(&deployments));
    old["spec"]["template"]["spec"]["preemptionPolicy"] = json!("Perhaps");
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(7);
    update(&deployments, &old, new.clone()).unwrap();
    new["spec"]["template"]["spec"]["preemptionPolicy"] = json!("Sometimes");
    let error = update(&deployments, &old, new).unwrap_err().to_string();
    assert!(error.contains("preemptionPolicy: Unsupported value: \"Sometimes\""), "{error}");
}

#[test]
fn nor_do_those_of_secrets_and_functions() {
    let faulty = [
        ("secrets", json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "eA=="}})),
        (
            "functions",
            json!({"spec": {"runtime": "container", "image": "i", "env": [{"name": ""}]}}),
        ),
    ];
    for (plural, fields) in faulty {
        let def = def(plural);
        let mut old = create(&def, crate::example(&def));
        let old_fields = fields.as_object().unwrap().clone();
        old.as_object_mut().unwrap().extend(old_fields);
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"more": "x"});
        let updated = update(&def, &old, new).unwrap();
        assert_eq!(updated["metadata"]["labels"], json!({"more": "x"}), "{plural}");
    }
}

#[test]
fn what_kubernetes_takes_in_templates_is_refused_of_pods_alone() {
    let deployments = def("deployments");
    let mut given = crate::example(&deployments);
    given["spec"]["template"]["spec"]["containers"][0]["image"] = json!(" x");
    given["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "image": {}}]);
    create(&deployments, given.clone());
    given["spec"]["template"]["spec"]["activeDeadlineSeconds"] = json!(1);
    given["spec"]["template"]["metadata"]["annotations"] =
        json!({"controller.kubernetes.io/pod-deletion-cost": "+1"});
    let context = crate::context(&deployments);
    let error = crate::try_create(&deployments, given, &context).unwrap_err().to_string();
    for expected in [
        "spec.template.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer",
        "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
    ] {
        assert!(error.contains(expected), "{error}");
    }
}
