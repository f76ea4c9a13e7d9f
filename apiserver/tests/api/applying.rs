//! Server-side apply, as Kubernetes' documentation and `test/integration/apiserver/apply` have it.

use serde_json::{Value, json};

use crate::harness::{Answer, Api, CONFIG_MAPS, JSON, PODS, pod};

const APPLY: &str = "application/apply-patch+yaml";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn apply(api: &Api, path: &str, query: &str, config: &Value) -> Answer {
    api.send("PATCH", &format!("{path}?{query}"), (APPLY, JSON), config.to_string()).await
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn whole(replicas: Option<i32>) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
        },
    });
    replicas.into_iter().for_each(|replicas| spec["replicas"] = json!(replicas));
    deployment(&spec)
}

/// What a manager has of an object.
fn fields(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut own = entries.filter(|entry| entry["manager"] == manager);
    own.next().map(|entry| entry["fieldsV1"].clone()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_not_there_is_created_and_has_its_manager() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let created = apply(&api, &path, "fieldManager=one", &config_map(&json!({"k": "v"}))).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let object = created.ok();
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"], &entry["apiVersion"], &entry["fieldsType"]),
        (&json!("one"), &json!("Apply"), &json!("v1"), &json!("FieldsV1"))
    );
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:k": {}}}));
    let again = apply(&api, &path, "fieldManager=one", &config_map(&json!({"k": "v"}))).await;
    assert_eq!((again.code, again.json()), (200, object));
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: w\n";
    let of_yaml = format!("{path}?fieldManager=one");
    let changed = api.send("PATCH", &of_yaml, (APPLY, JSON), yaml).await.ok();
    assert_eq!(changed["data"], json!({"k": "w"}));
    let gone = apply(&api, &path, "fieldManager=one", &config_map(&json!({}))).await.ok();
    assert_eq!(gone["data"], json!({}));
}

#[tokio::test]
async fn what_others_manage_is_refused_unless_it_is_forced() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    apply(&api, &path, "fieldManager=one", &config_map(&json!({"k": "1", "l": "1"}))).await.ok();
    let other = config_map(&json!({"k": "2"}));
    let refused = apply(&api, &path, "fieldManager=two", &other).await;
    let message = refused.fails(409, "Conflict");
    assert_eq!(message, r#"Apply failed with 1 conflict: conflict with "one": .data.k"#);
    let cause = json!({"reason": "FieldManagerConflict", "field": ".data.k",
        "message": r#"conflict with "one""#});
    assert_eq!(refused.json()["details"]["causes"], json!([cause]));
    let both = config_map(&json!({"k": "2", "l": "2"}));
    let message = apply(&api, &path, "fieldManager=two", &both).await.fails(409, "Conflict");
    assert_eq!(
        message,
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.k\n- .data.l"
    );
    let forced = apply(&api, &path, "fieldManager=two&force=true", &other).await.ok();
    assert_eq!(forced["data"], json!({"k": "2", "l": "1"}));
    assert_eq!(fields(&forced, "one"), json!({"f:data": {"f:l": {}}}));
    let dry = config_map(&json!({"k": "3"}));
    apply(&api, &path, "fieldManager=two&dryRun=All", &dry).await.ok();
    assert_eq!(api.get(&path).await.ok(), forced);
}

#[tokio::test]
async fn what_was_there_before_is_managed_by_whoever_wrote_it() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let object = config_map(&json!({"from": "elsewhere"}));
    let created = api.post(&format!("{CONFIG_MAPS}?fieldManager=maker"), &object).await.ok();
    let entry = &created["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"], &entry["fieldsV1"]),
        (&json!("maker"), &json!("Update"), &json!({"f:data": {".": {}, "f:from": {}}}))
    );
    let other = config_map(&json!({"from": "here"}));
    let message = apply(&api, &path, "fieldManager=one", &other).await.fails(409, "Conflict");
    assert!(message.contains("conflict with \"maker\" using v1 at "), "{message}");
    let shared =
        apply(&api, &path, "fieldManager=one", &config_map(&json!({"new": "x"}))).await.ok();
    assert_eq!(shared["data"], json!({"from": "elsewhere", "new": "x"}));
    let patch = json!({"data": {"new": "y", "more": "z"}});
    let patched = format!("{path}?fieldManager=editor");
    let patched = api.patch(&patched, "merge-patch", &patch).await.ok();
    assert_eq!(fields(&patched, "editor"), json!({"f:data": {"f:more": {}, "f:new": {}}}));
    assert_eq!(
        (fields(&patched, "one"), &fields(&patched, "maker")),
        (Value::Null, &entry["fieldsV1"])
    );
    let mut put = patched.clone();
    assert_eq!(api.put(&path, &put).await.ok(), patched);
    put["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(api.put(&path, &put).await.ok(), patched);
}

/// As of objects of before managers were kept.
#[tokio::test]
async fn of_what_is_forgotten_somebody_before_is_the_manager() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let object = api.config_map("a", json!({})).await;
    assert_eq!(fields(&object, "unknown")["f:data"], json!({".": {}, "f:from": {}}));
    // As Kubernetes' documentation has it.
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let forgotten = api.patch(&path, "json-patch", &reset).await.ok();
    assert_eq!(forgotten["metadata"]["managedFields"], Value::Null);
    let other = config_map(&json!({"from": "elsewhere"}));
    let message = apply(&api, &path, "fieldManager=one", &other).await.fails(409, "Conflict");
    assert!(message.contains("conflict with \"before-first-apply\" using v1 at "), "{message}");
    let patch = json!({"data": {"more": "z"}});
    let written = api.patch(&path, "merge-patch", &patch).await.ok();
    assert_eq!(written["metadata"]["managedFields"], Value::Null);
}

/// What becomes of a new object on its way is nobody's: the namespace's account, what a ReplicaSet's status is.
#[tokio::test]
async fn what_the_server_adds_to_a_new_object_is_nobodys() {
    let api = Api::start().await;
    let created = api.post(&format!("{PODS}?fieldManager=maker"), &pod("p")).await.ok();
    let own = fields(&created, "maker");
    let spec = &own["f:spec"];
    assert!(spec["f:restartPolicy"].is_object() && spec["."].is_null(), "{own}");
    assert!(spec["f:serviceAccountName"].is_null() && own["f:status"].is_null(), "{own}");
    assert!(own["f:metadata"]["f:name"].is_null(), "{own}");
}

/// `kubectl apply --server-side` after `kubectl apply`.
#[tokio::test]
async fn kubectl_takes_over_what_its_client_side_apply_put_there() {
    let api = Api::start().await;
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let last = config_map(&json!({"mine": "1", "edited": "1"}));
    let mut object = last.clone();
    object["metadata"]["annotations"][annotation] = last.to_string().into();
    api.post(CONFIG_MAPS, &object).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    api.patch(&path, "merge-patch", &json!({"data": {"edited": "2"}})).await.ok();
    let config = config_map(&json!({"mine": "3", "edited": "3"}));
    let message = apply(&api, &path, "fieldManager=kubectl", &config).await.fails(409, "Conflict");
    assert!(message.contains(".data.edited"), "{message}");
    let config = config_map(&json!({"mine": "3"}));
    apply(&api, &path, "fieldManager=another", &config).await.fails(409, "Conflict");
    let applied = apply(&api, &path, "fieldManager=kubectl", &config).await.ok();
    assert_eq!(applied["data"], json!({"mine": "3", "edited": "2"}));
    // It is kubectl's own from now on: what it leaves out goes.
    let gone = apply(&api, &path, "fieldManager=kubectl", &config_map(&json!({}))).await.ok();
    assert_eq!(gone["data"], json!({"edited": "2"}));
    let noted = applied["metadata"]["annotations"][annotation].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(noted).unwrap(), config);
}

#[tokio::test]
async fn lists_of_kubernetes_types_are_merged_by_their_keys() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let created = apply(&api, &path, "fieldManager=one", &whole(Some(2))).await.ok();
    assert_eq!(
        fields(&created, "one")["f:spec"]["f:template"]["f:spec"],
        json!({"f:containers": {r#"k:{"name":"main"}"#: {".": {}, "f:image": {}, "f:name": {}}}})
    );
    let side = deployment(&json!({"template": {"spec": {"containers": [
        {"name": "side", "image": "busybox:1"},
        {"name": "main", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]},
    ]}}}));
    let merged = apply(&api, &path, "fieldManager=two", &side).await.ok();
    let containers = &merged["spec"]["template"]["spec"]["containers"];
    let named = |at: usize| (containers[at]["name"].as_str(), containers[at]["image"].as_str());
    assert_eq!(named(0), (Some("side"), Some("busybox:1")));
    assert_eq!(named(1), (Some("main"), Some("nginx:1")));
    assert_eq!(containers[1]["ports"], json!([{"containerPort": 80, "protocol": "TCP"}]));
    // What the server has completed is no difference.
    let again = apply(&api, &path, "fieldManager=two", &side).await.ok();
    assert_eq!(again, merged);
    let less = deployment(&json!({}));
    let left = apply(&api, &path, "fieldManager=two", &less).await.ok();
    let containers = left["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1, "{containers:?}");
    assert_eq!(containers[0].get("env").or(containers[0].get("ports")), None);
}

/// Kubernetes' documentation, "Transferring ownership": an autoscaler takes the replicas over.
#[tokio::test]
async fn a_scale_takes_the_replicas_over() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    apply(&api, &path, "fieldManager=one", &whole(Some(2))).await.ok();
    let scale = json!({"spec": {"replicas": 5}});
    let scaled = format!("{path}/scale?fieldManager=autoscaler");
    api.patch(&scaled, "merge-patch", &scale).await.ok();
    let object = api.get(&path).await.ok();
    assert_eq!(fields(&object, "autoscaler"), json!({"f:spec": {"f:replicas": {}}}));
    let message =
        apply(&api, &path, "fieldManager=one", &whole(Some(2))).await.fails(409, "Conflict");
    assert!(message.contains("\"autoscaler\" with subresource \"scale\""), "{message}");
    let left = apply(&api, &path, "fieldManager=one", &whole(None)).await.ok();
    assert_eq!(left["spec"]["replicas"], 5);
}

#[tokio::test]
async fn a_scale_can_be_applied() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    apply(&api, &path, "fieldManager=one", &whole(Some(2))).await.ok();
    let scale = |replicas: i32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": replicas}});
    let of_scale = format!("{path}/scale");
    let refused = apply(&api, &of_scale, "fieldManager=two", &scale(3)).await;
    let message = refused.fails(409, "Conflict");
    assert_eq!(message, r#"Apply failed with 1 conflict: conflict with "one": .spec.replicas"#);
    let applied = apply(&api, &of_scale, "fieldManager=two&force=true", &scale(3)).await.ok();
    assert_eq!((&applied["kind"], &applied["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    let object = api.get(&path).await.ok();
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(fields(&object, "two"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(fields(&object, "one")["f:spec"]["f:replicas"], Value::Null);
    let mut strange = scale(3);
    strange["spec"]["replica"] = json!(1);
    apply(&api, &of_scale, "fieldManager=two", &strange).await.fails(400, "BadRequest");
}

#[tokio::test]
async fn the_status_has_its_own_managers() {
    let api = Api::start().await;
    let path = format!("{PODS}/p");
    let mut configured = pod("p");
    configured["status"] = json!({"message": "nobody's"});
    let created = apply(&api, &path, "fieldManager=one", &configured).await.ok();
    assert_eq!(fields(&created, "one")["f:status"], Value::Null);
    assert_ne!(created["status"]["message"], "nobody's");
    let status = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "status": {"message": "told", "conditions": [{"type": "Odd", "status": "True"}]}});
    let told = apply(&api, &format!("{path}/status"), "fieldManager=two", &status).await.ok();
    assert_eq!(told["status"]["message"], "told");
    assert_eq!(
        fields(&told, "two"),
        json!({"f:status": {"f:message": {}, "f:conditions": {
            r#"k:{"type":"Odd"}"#: {".": {}, "f:status": {}, "f:type": {}}}}})
    );
    let entries = told["metadata"]["managedFields"].as_array().unwrap();
    assert!(entries.iter().any(|e| e["subresource"] == "status"), "{entries:?}");
    // A stale status in a manifest is nobody's concern, and takes nothing away.
    configured["status"] = json!({"message": "stale"});
    let again = apply(&api, &path, "fieldManager=one&force=true", &configured).await.ok();
    assert_eq!(again["status"]["message"], "told");
    assert_eq!(fields(&again, "two"), fields(&told, "two"));
    // Who may write a status has no say in who manages.
    let mut forged = again.clone();
    forged["metadata"]["managedFields"] = json!([]);
    forged["status"]["message"] = json!("else");
    let written = api.put(&format!("{path}/status?fieldManager=three"), &forged).await.ok();
    assert_eq!(fields(&written, "one"), fields(&again, "one"));
    assert_eq!(fields(&written, "three"), json!({"f:status": {"f:message": {}}}));
    let absent = apply(&api, &format!("{PODS}/q/status"), "fieldManager=two", &status).await;
    absent.fails(404, "NotFound");
}

#[tokio::test]
async fn what_is_no_configuration_is_refused() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let config = config_map(&json!({"k": "v"}));
    let message = apply(&api, &path, "", &config).await.fails(422, "Invalid");
    assert!(
        message.contains("fieldManager: Required value: is required for apply patch"),
        "{message}"
    );
    let with = |field: &str, value: Value| {
        let mut config = config.clone();
        *config.pointer_mut(field).unwrap() = value;
        config
    };
    let mut unknown = config.clone();
    unknown["dat"] = json!({});
    let message = apply(&api, &path, "fieldManager=one", &unknown).await.fails(400, "BadRequest");
    assert_eq!(
        message,
        "failed to create typed patch object (default/a; v1, Kind=ConfigMap): .dat: field not declared in schema"
    );
    let other = with("/kind", json!("Secret"));
    apply(&api, &path, "fieldManager=one", &other).await.fails(400, "BadRequest");
    let other = with("/metadata/name", json!("b"));
    apply(&api, &path, "fieldManager=one", &other).await.fails(400, "BadRequest");
    let mut managed = config.clone();
    managed["metadata"]["managedFields"] = json!([]);
    let message = apply(&api, &path, "fieldManager=one", &managed).await.fails(400, "BadRequest");
    assert_eq!(message, "metadata.managedFields must be nil");
    let mut known = config.clone();
    known["metadata"]["uid"] = json!("1-2-3");
    apply(&api, &path, "fieldManager=one", &known).await.fails(409, "Conflict");
    let not_yaml = format!("{path}?fieldManager=one");
    api.send("PATCH", &not_yaml, (APPLY, JSON), "a: [").await.fails(400, "BadRequest");
    let forced = format!("{path}?force=true");
    api.send("PUT", &path, (APPLY, JSON), config.to_string())
        .await
        .fails(415, "UnsupportedMediaType");
    api.patch(&forced, "merge-patch", &json!({})).await.fails(422, "Invalid");
    api.get(&path).await.fails(404, "NotFound");
}

#[tokio::test]
async fn two_at_once_lose_nothing() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let writers = (0..8).map(|number| {
        let (api, path) = (&api, &path);
        async move {
            let config = config_map(&json!({format!("k{number}"): "v"}));
            apply(api, path, &format!("fieldManager=m{number}"), &config).await.ok();
        }
    });
    futures::future::join_all(writers).await;
    let object = api.get(&path).await.ok();
    assert_eq!(object["data"].as_object().unwrap().len(), 8);
    assert_eq!(object["metadata"]["managedFields"].as_array().unwrap().len(), 8);
}
