//! Policies of admission: what they refuse, warn of and change.

use serde_json::{Value, json};
use testkit::wait;

use crate::harness::{Api, CONFIG_MAPS, PODS, pod};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rules(operations: &[&str]) -> Value {
    json!({"resourceRules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["configmaps"],
    }]})
}

/// Puts a policy in force, and waits until it is.
async fn put(api: &Api, kind: &str, name: &str, spec: Value, binding: Value) {
    let mut binding = binding;
    binding["policyName"] = name.into();
    for (plural, spec) in [("policies", spec), ("policybindings", binding)] {
        let collection = format!("{GROUP}/{kind}admission{plural}");
        api.post(&collection, &json!({"metadata": {"name": name}, "spec": spec})).await.ok();
        api.until_cached(&collection, name).await;
    }
}

fn map(name: &str, data: &Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn a_policy_is_asked_about_webhooks_and_not_about_reviews() {
    let api = Api::start().await;
    let all = json!({"resourceRules": [{
        "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["*"],
    }]});
    let never = json!([{"expression": "false", "message": "never"}]);
    let spec = json!({"matchConstraints": all, "validations": never});
    put(&api, "validating", "none", spec, json!({"validationActions": ["Deny"]})).await;
    let asked = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &asked).await.ok();
    let token = json!({"spec": {"token": "x"}});
    api.post("/apis/authentication.k8s.io/v1/tokenreviews", &token).await.ok();
    let webhooks = format!("{GROUP}/validatingwebhookconfigurations");
    api.post(&webhooks, &json!({"metadata": {"name": "w"}})).await.fails(422, "Invalid");
}

#[tokio::test]
async fn a_validating_policy_refuses_what_its_expressions_do_not_hold_for() {
    let api = Api::start().await;
    let spec = json!({
        "matchConstraints": rules(&["CREATE", "UPDATE"]),
        "matchConditions": [{"name": "not-exempt", "expression": "!object.metadata.name.startsWith('exempt')"}],
        "variables": [
            {"name": "size", "expression": "int(object.data.size)"},
            {"name": "isLarge", "expression": "variables.size > 10"},
        ],
        "validations": [
            {"expression": "!variables.isLarge", "messageExpression": "'too large: ' + string(variables.size)", "reason": "Forbidden"},
            {"expression": "namespaceObject.metadata.name == 'default'", "message": "elsewhere"},
            {"expression": "oldObject == null || oldObject.data == object.data"},
        ],
    });
    put(&api, "validating", "size", spec, json!({"validationActions": ["Deny"]})).await;
    let large = api.post(CONFIG_MAPS, &map("a", &json!({"size": "11"}))).await;
    let denied = r#"configmaps "a" is forbidden: ValidatingAdmissionPolicy 'size' with binding 'size' denied request: "#;
    assert_eq!(large.fails(403, "Forbidden"), format!("{denied}too large: 11"));
    let cause = &large.json()["details"]["causes"][0]["message"];
    assert!(cause.as_str().unwrap().starts_with("ValidatingAdmissionPolicy 'size'"), "{cause}");
    api.post(CONFIG_MAPS, &map("a", &json!({"size": "9"}))).await.ok();
    let changed = json!({"data": {"size": "8"}});
    let changed = api.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch", &changed).await;
    let why = "failed expression: oldObject == null || oldObject.data == object.data";
    assert_eq!(changed.fails(422, "Invalid"), format!("{denied}{why}"));
    // What can't be evaluated is refused, too.
    let odd = api.post(CONFIG_MAPS, &map("b", &json!({"size": "x"}))).await.fails(422, "Invalid");
    assert!(odd.contains("composited variable \"size\" fails to evaluate"), "{odd}");
    api.post(CONFIG_MAPS, &map("exempt", &json!({"size": "99"}))).await.ok();
    // Whoever refuses everything can be got rid of.
    api.delete(&format!("{GROUP}/validatingadmissionpolicies/size")).await.ok();
}

#[tokio::test]
async fn a_binding_says_where_a_policy_is_in_force_with_what_and_what_happens() {
    let api = Api::start().await;
    for (name, most) in [("few", "3"), ("many", "30")] {
        let mut limits = map(name, &json!({"most": most}));
        limits["metadata"]["labels"] = json!({"limits": "yes"});
        api.post(CONFIG_MAPS, &limits).await.ok();
        api.until_cached(CONFIG_MAPS, name).await;
    }
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": rules(&["CREATE"]),
        "validations": [{"expression": "size(object.data) <= int(params.data.most)", "messageExpression": "string(params.metadata.name)"}],
    });
    let binding = json!({
        "validationActions": ["Warn"],
        "paramRef": {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Deny"},
        "matchResources": {"objectSelector": {"matchLabels": {"checked": "yes"}}},
    });
    put(&api, "validating", "limit", spec, binding).await;
    let made = |name: &str, labels: Value| {
        let mut object = map(name, &json!({"a": "", "b": "", "c": "", "d": ""}));
        object["metadata"]["labels"] = labels;
        object
    };
    let unchecked = api.post(CONFIG_MAPS, &made("unchecked", json!({}))).await;
    assert!(unchecked.headers.get("warning").is_none(), "{unchecked:?}");
    let checked = api.post(CONFIG_MAPS, &made("checked", json!({"checked": "yes"}))).await;
    checked.ok();
    let warning = "299 - \"Validation failed for ValidatingAdmissionPolicy 'limit' with binding 'limit': few\"";
    assert_eq!(checked.headers["warning"], warning);
    let bindings = format!("{GROUP}/validatingadmissionpolicybindings");
    let missing = json!([
        {"op": "replace", "path": "/spec/paramRef", "value": {"name": "nope", "namespace": "default", "parameterNotFoundAction": "Deny"}},
        {"op": "replace", "path": "/spec/validationActions", "value": ["Deny"]},
    ]);
    api.patch(&format!("{bindings}/limit"), "json-patch", &missing).await.ok();
    api.get(&bindings).await.ok();
    let refused = api.post(CONFIG_MAPS, &made("other", json!({"checked": "yes"}))).await;
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(refused.fails(422, "Invalid").ends_with(why), "{}", refused.text);
}

#[tokio::test]
async fn a_parameter_that_can_not_be_read_is_not_passed_over() {
    for reference in [json!({"name": "limits"}), json!({"selector": {}})] {
        let api = Api::start().await;
        api.post(CONFIG_MAPS, &map("limits", &json!({"most": "3"}))).await.ok();
        let spec = json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": rules(&["CREATE"]),
            "validations": [{"expression": "size(object.data) <= int(params.data.most)"}],
        });
        let mut binding = json!({"validationActions": ["Deny"], "paramRef": reference});
        binding["paramRef"]["parameterNotFoundAction"] = "Allow".into();
        put(&api, "validating", "limit", spec, binding).await;
        api.post(CONFIG_MAPS, &map("fine", &json!({"a": ""}))).await.ok();
        api.store.put("/registry/core/configmaps/default/limits", "{".into(), None).await.unwrap();
        api.get(CONFIG_MAPS).await.fails(500, "StoreReadError");
        let refused = api.post(CONFIG_MAPS, &map("other", &json!({"a": ""}))).await;
        let why = refused.fails(422, "Invalid");
        assert!(why.contains("failed to configure binding: "), "{why}");
    }
}

#[tokio::test]
async fn what_a_policy_can_not_evaluate_may_be_passed_over_and_a_bad_one_leaves_the_others() {
    let api = Api::start().await;
    let spec = |policy: &str, expression: &str| {
        json!({
            "failurePolicy": policy, "matchConstraints": rules(&["CREATE"]),
            "validations": [{"expression": expression}],
        })
    };
    let deny = json!({"validationActions": ["Deny"]});
    put(&api, "validating", "a", spec("Ignore", "object.nope == 1"), deny.clone()).await;
    let costly = "lists.range(10000).all(x, lists.range(10000).all(y, x + y >= 0))";
    put(&api, "validating", "b", spec("Ignore", costly), deny.clone()).await;
    api.post(CONFIG_MAPS, &map("fine", &json!({}))).await.ok();
    put(&api, "validating", "c", spec("Fail", "object.metadata.name != 'bad'"), deny).await;
    api.post(CONFIG_MAPS, &map("good", &json!({}))).await.ok();
    api.post(CONFIG_MAPS, &map("bad", &json!({}))).await.fails(422, "Invalid");
}

#[tokio::test]
async fn a_mutating_policy_applies_a_configuration_or_a_patch_to_what_is_brought() {
    let api = Api::start().await;
    let apply = |expression: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let patch = |expression: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    let spec = json!({
        "matchConstraints": rules(&["CREATE"]), "reinvocationPolicy": "Never",
        "variables": [{"name": "who", "expression": "request.userInfo.username"}],
        "mutations": [
            apply("Object{metadata: Object.metadata{labels: {'owner': variables.who}}}"),
            patch("[JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('a/b'), value: object.metadata.labels.owner}]"),
            patch("has(object.data.other) ? [JSONPatch{op: 'remove', path: '/data/other'}] : []"),
            patch("[JSONPatch{op: 'test', path: '/data/x', value: 'y'}, JSONPatch{op: 'remove', path: '/data'}]"),
        ],
    });
    put(&api, "mutating", "own", spec, json!({})).await;
    let validating = json!({
        "matchConstraints": rules(&["CREATE"]),
        "validations": [{"expression": "object.metadata.labels.owner == 'kubernetes-admin'"}],
    });
    put(&api, "validating", "owned", validating, json!({"validationActions": ["Deny"]})).await;
    let mut given = map("a", &json!({"x": "z", "other": "1"}));
    given["metadata"]["labels"] = json!({"kept": "yes"});
    given["metadata"]["annotations"] = json!({"c": "d"});
    let made = api.post(CONFIG_MAPS, &given).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"kept": "yes", "owner": "kubernetes-admin"}));
    assert_eq!(made["metadata"]["annotations"], json!({"c": "d", "a/b": "kubernetes-admin"}));
    assert_eq!(made["data"], json!({"x": "z"}));
    let broken = json!({
        "matchConstraints": rules(&["CREATE"]), "reinvocationPolicy": "Never",
        "mutations": [patch("[JSONPatch{op: 'remove', path: '/data/missing'}]")],
    });
    put(&api, "mutating", "zbroken", broken, json!({})).await;
    given["metadata"]["name"] = "b".into();
    let refused = api.post(CONFIG_MAPS, &given).await.fails(403, "Invalid");
    let start = "policy 'zbroken' with binding 'zbroken' denied request: JSON Patch: ";
    assert!(refused.starts_with(start), "{refused}");
}

#[tokio::test]
async fn a_mutating_policy_looks_again_at_what_others_have_changed_if_it_wishes_to() {
    let api = Api::start().await;
    let patch = |policy: &str, expression: &str| {
        json!({
            "matchConstraints": rules(&["CREATE"]), "reinvocationPolicy": policy,
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
        })
    };
    let seen = |key: &str| {
        format!(
            "'late' in object.data ? [JSONPatch{{op: 'add', path: '/data/{key}', value: 'seen'}}] : []"
        )
    };
    put(&api, "mutating", "a", patch("IfNeeded", &seen("a")), json!({})).await;
    put(&api, "mutating", "b", patch("Never", &seen("b")), json!({})).await;
    let late = "[JSONPatch{op: 'add', path: '/data/late', value: 'x'}]";
    put(&api, "mutating", "c", patch("Never", late), json!({})).await;
    let made = api.post(CONFIG_MAPS, &map("m", &json!({"k": "v"}))).await.ok();
    assert_eq!(made["data"], json!({"k": "v", "late": "x", "a": "seen"}));
}

#[tokio::test]
async fn a_priority_class_that_a_mutating_policy_names_is_looked_at() {
    let api = Api::start().await;
    let mut rules = rules(&["CREATE"]);
    rules["resourceRules"][0]["resources"] = json!(["pods"]);
    let name = "Object{spec: Object.spec{priorityClassName: 'nope'}}";
    let spec = json!({
        "matchConstraints": rules, "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": name}}],
    });
    put(&api, "mutating", "class", spec, json!({})).await;
    let message = api.post(PODS, &pod("p")).await.fails(403, "Forbidden");
    assert!(message.ends_with("no PriorityClass with name nope was found"), "{message}");
}

#[tokio::test]
async fn what_a_mutating_policy_adds_gets_the_defaults_of_its_namespace() {
    let api = Api::start().await;
    let ranges = "/api/v1/namespaces/default/limitranges";
    let limits = json!([{"type": "Container", "default": {"memory": "1Gi"}}]);
    api.post(ranges, &json!({"metadata": {"name": "a"}, "spec": {"limits": limits}})).await.ok();
    api.until_cached(ranges, "a").await;
    let add = "[JSONPatch{op: 'add', path: '/spec/containers/-', value: {'name': 'added', 'image': 'nginx:1'}}]";
    let mut rules = rules(&["CREATE"]);
    rules["resourceRules"][0]["resources"] = json!(["pods"]);
    let spec = json!({
        "matchConstraints": rules, "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": add}}],
    });
    put(&api, "mutating", "add", spec, json!({})).await;
    let made = api.post(PODS, &pod("p")).await.ok();
    let containers = made["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2);
    for container in containers {
        assert_eq!(container["resources"]["limits"], json!({"memory": "1Gi"}), "{container}");
    }
}

#[tokio::test]
async fn mutations_that_double_an_object_again_and_again_are_refused() {
    let api = Api::start().await;
    let double = "[JSONPatch{op: 'add', path: '/data/a', value: {'a': object, 'b': object}}]";
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": double}});
    let spec = json!({
        "matchConstraints": rules(&["CREATE"]), "reinvocationPolicy": "Never",
        "mutations": vec![mutation; 30],
    });
    put(&api, "mutating", "grow", spec, json!({})).await;
    let large = map("a", &json!({"k": "x".repeat(1_300_000)}));
    let refused = api.post(CONFIG_MAPS, &large).await.fails(403, "Invalid");
    let why = "policy 'grow' with binding 'grow' denied request: the object that comes of it is too large";
    assert_eq!(refused, why);
}

#[tokio::test]
async fn a_policy_is_validated_when_it_is_written() {
    let api = Api::start().await;
    let spec = json!({
        "matchConstraints": rules(&["CREATE"]),
        "validations": [{"expression": "object.spec.replicas > 1 &&"}],
    });
    let policy = json!({"metadata": {"name": "a"}, "spec": spec});
    let refused = api.post(&format!("{GROUP}/validatingadmissionpolicies"), &policy).await;
    let message = refused.fails(422, "Invalid");
    assert!(message.contains("spec.validations[0].expression: Invalid value"), "{message}");
    assert!(message.contains("compilation failed: ERROR: <input>:1:"), "{message}");
    let list = api.get(&format!("{GROUP}/validatingadmissionpolicies")).await.ok();
    assert_eq!(list["items"], json!([]));
}

/// The status of a policy, once somebody has looked at it in that generation.
async fn looked_at(api: &Api, name: &str, generation: i64) -> Value {
    let path = format!("{GROUP}/validatingadmissionpolicies/{name}");
    let looking = async {
        loop {
            let policy = api.get(&path).await.ok();
            if policy["status"]["observedGeneration"] == generation {
                return policy["status"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    wait::within("the policy's types are checked", looking).await
}

#[tokio::test]
async fn a_policy_is_told_what_its_objects_do_not_have() {
    let api = Api::start().await;
    let collection = format!("{GROUP}/validatingadmissionpolicies");
    let spec = json!({
        "matchConstraints": rules(&["CREATE"]),
        "validations": [{"expression": "object.date == null"}, {"expression": "object.data.size() > 1"}],
    });
    api.post(&collection, &json!({"metadata": {"name": "a"}, "spec": spec})).await.ok();
    let warning = "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'date'\n | object.date == null\n | ......^\n";
    assert_eq!(
        looked_at(&api, "a", 1).await["typeChecking"],
        json!({"expressionWarnings": [
            {"fieldRef": "spec.validations[0].expression", "warning": warning},
        ]})
    );
    let mended = json!([
        {"op": "replace", "path": "/spec/validations/0/expression", "value": "object.data.size() > 0"},
    ]);
    api.patch(&format!("{collection}/a"), "json-patch", &mended).await.ok();
    assert_eq!(looked_at(&api, "a", 2).await["typeChecking"], json!({}));
}
