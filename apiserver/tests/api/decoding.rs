//! What bodies mean: YAML as Kubernetes reads it, fields given twice, quantities.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::{
    faulty::{Fate, Op},
    harness::{Api, CONFIG_MAPS, JSON, PODS, pod, version, warnings},
};

const YAML: (&str, &str) = ("application/yaml", JSON);

#[tokio::test]
async fn yaml_scalars_mean_what_they_mean_to_kubernetes() {
    let api = Api::start().await;
    let pod = "
apiVersion: v1
kind: Pod
metadata:
  name: a
spec:
  hostNetwork: off
  shareProcessNamespace: yes
  terminationGracePeriodSeconds: 1_000
  containers:
  - &c
    name: main
    image: nginx:1
    tty: on
  - <<: *c
    name: other
  volumes:
  - name: v
    configMap: {name: x, defaultMode: 0440}
  - name: w
    secret: {secretName: x, defaultMode: 0o400}
";
    let spec = api.send("POST", PODS, YAML, pod).await.ok()["spec"].take();
    assert_eq!(spec["volumes"][0]["configMap"]["defaultMode"], 0o440);
    assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 0o400);
    assert_eq!(spec["terminationGracePeriodSeconds"], 1000);
    assert_eq!(
        (&spec["hostNetwork"], &spec["shareProcessNamespace"]),
        (&json!(false), &json!(true))
    );
    let other = &spec["containers"][1];
    assert_eq!(
        (&other["name"], &other["image"], &other["tty"]),
        (&json!("other"), &json!("nginx:1"), &json!(true))
    );
    let broken = api.send("POST", PODS, YAML, "a: 1\nb: [\n").await.fails(400, "BadRequest");
    assert!(broken.contains("error converting YAML to JSON: yaml: line "), "{broken}");
}

const TWICE: &str =
    r#"{"metadata":{"name":"a"},"data":{"x":"1","x":"2"},"dota":1,"data":{"z":"3"}}"#;

#[tokio::test]
async fn fields_given_twice_are_refused_told_or_ignored() {
    let api = Api::start().await;
    let yaml = "metadata: {name: a}\ndata: {x: '1', x: '2'}\ndota: 1\ndata: {z: '3'}\n";
    let of_json = ["duplicate field \"data.x\"", "duplicate field \"data\""];
    let of_yaml = [
        "yaml: unmarshal errors:\n  line 2: key \"x\" already set in map\n  line 4: key \"data\" already set in map",
    ];
    for (types, body, told) in [((JSON, JSON), TWICE, &of_json[..]), (YAML, yaml, &of_yaml[..])] {
        let path = |how: &str| format!("{CONFIG_MAPS}?dryRun=All&fieldValidation={how}");
        let refused = api.send("POST", &path("Strict"), types, body).await;
        assert_eq!(
            refused.fails(400, "BadRequest"),
            format!(
                "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
                 unknown field \"dota\", {}",
                told.join(", ")
            )
        );
        let warned = api.send("POST", &path("Warn"), types, body).await;
        assert_eq!(warnings(&warned)[0], r#"299 - "unknown field \"dota\"""#);
        assert_eq!(warnings(&warned).len(), told.len() + 1);
        assert_eq!(warnings(&warned)[1].contains("line 2: key"), types == YAML);
        assert_eq!(warned.ok()["data"], json!({"z": "3"}));
        let ignored = api.send("POST", &path("Ignore"), types, body).await;
        assert!(warnings(&ignored).is_empty());
        assert_eq!(ignored.ok()["data"], json!({"z": "3"}));
    }
}

#[tokio::test]
async fn updates_and_patches_tell_of_fields_given_twice_too() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a?fieldValidation=Strict");
    let put = api.send("PUT", &path, (JSON, JSON), TWICE).await.fails(400, "BadRequest");
    assert!(put.contains("duplicate field \"data.x\""), "{put}");
    let patches = [
        (
            "merge-patch",
            r#"{"data":{"x":"1","x":"2"}}"#,
            "strict decoding error: duplicate field \"data.x\"",
        ),
        (
            "strategic-merge-patch",
            r#"{"data":{"x":"1","x":"2"}}"#,
            "strict decoding error: duplicate field \"data.x\"",
        ),
        (
            "json-patch",
            r#"[{"op":"add","path":"/data/x","path":"/data/y","value":"1"}]"#,
            "strict decoding error: json patch duplicate field \"[0].path\"",
        ),
    ];
    for (kind, patch, expected) in patches {
        let kind = format!("application/{kind}+json");
        let strict = api.send("PATCH", &path, (&kind, JSON), patch).await.fails(400, "BadRequest");
        assert!(strict.ends_with(expected), "{strict}");
        let warned = api.send("PATCH", &format!("{CONFIG_MAPS}/a"), (&kind, JSON), patch).await;
        assert_eq!((warned.code, warnings(&warned).len()), (200, 1), "{}", warned.text);
    }
}

#[tokio::test]
async fn bodies_of_subresources_are_checked_as_well() {
    let api = Api::start().await;
    api.post(PODS, &pod("p")).await.ok();
    let binding = r#"{"target":{"kind":"Node","name":"n","name":"m"},"tarrget":1}"#;
    let path = format!("{PODS}/p/binding?fieldValidation=Strict");
    assert_eq!(
        api.send("POST", &path, (JSON, JSON), binding).await.fails(400, "BadRequest"),
        "Binding in version \"v1\" cannot be handled as a Binding: strict decoding error: \
         unknown field \"tarrget\", duplicate field \"target.name\""
    );
    let bound = api.send("POST", &format!("{PODS}/p/binding"), (JSON, JSON), binding).await;
    assert_eq!((bound.code, warnings(&bound).len()), (201, 2), "{}", bound.text);
    let scale = r#"{"spec":{"replicas":1,"replicas":2}}"#;
    let path = "/apis/apps/v1/namespaces/default/replicasets/none/scale?fieldValidation=Strict";
    let refused = api.send("PUT", path, (JSON, JSON), scale).await.fails(400, "BadRequest");
    assert!(refused.contains("duplicate field \"spec.replicas\""), "{refused}");
}

#[tokio::test]
async fn warnings_may_have_any_letters_and_are_kept_short() {
    let api = Api::start().await;
    let object = json!({"metadata": {"name": "a"}, "größe": 1, "naïve\nline": 2});
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    let told = warnings(&api.post(&path, &object).await);
    assert_eq!(
        told,
        [r#"299 - "unknown field \"größe\"""#, r#"299 - "unknown field \"naïve\\nline\"""#]
    );
    let mut object = json!({"metadata": {"name": "a"}});
    for i in 0..1000 {
        object[format!("field-{i:03}-{}", "x".repeat(500))] = json!(1);
    }
    let told = warnings(&api.post(&path, &object).await);
    assert!(told.iter().all(|w| w.len() < 300) && told[0].contains("field-000"), "{told:?}");
    assert!((4..5000).contains(&told.concat().len()));
}

#[tokio::test]
async fn what_is_odd_about_a_workflow_is_told_whenever_it_is_taken() {
    let api = Api::start().await;
    let group = "/apis/minik8s.io/v1/namespaces/default";
    let source = json!({"source": {"files": {"main.py": "def main(params): return params"}}});
    let function = json!({"metadata": {"name": "known"}, "spec": source});
    api.post(&format!("{group}/functions"), &function).await.ok();
    let choice = json!({
        "type": "Choice", "choices": [{"variable": "x", "numericEquals": 1, "next": "known"}]});
    let nodes = json!({"a": choice, "known": {"type": "Task", "next": "b"}, "b": {"type": "Task"}});
    let workflow = json!({"metadata": {"name": "w"}, "spec": {"startAt": "a", "nodes": nodes}});
    let workflows = format!("{group}/workflows");
    let created = api.post(&workflows, &workflow).await;
    let told = warnings(&created);
    assert_eq!((created.code, told.len()), (201, 2), "{told:?}");
    assert!(told[0].contains("spec.nodes[a]: has no `default`"), "{told:?}");
    assert_eq!(told[1], r#"299 - "spec: there is no function \"b\"""#);
    let (path, patch) = (format!("{workflows}/w"), r#"{"spec":{"historyLimit":1}}"#);
    let patched = api.send("PATCH", &path, ("application/merge-patch+json", JSON), patch).await;
    assert_eq!((patched.code, warnings(&patched)), (200, told));
    let status = r#"{"status":{"active":1}}"#;
    let path = format!("{path}/status");
    let written = api.send("PATCH", &path, ("application/merge-patch+json", JSON), status).await;
    assert_eq!((written.code, warnings(&written)), (200, Vec::new()));
}

#[tokio::test]
async fn nothing_is_missed_that_was_made_a_moment_before() {
    let (api, faulty) = Api::faulty().await;
    let asked = Arc::new(Notify::new());
    let asks = asked.clone();
    faulty.hush();
    let group = "/apis/minik8s.io/v1/namespaces/default";
    let source = json!({"source": {"files": {"main.py": "def main(params): return params"}}});
    let function = json!({"metadata": {"name": "known"}, "spec": source});
    api.post(&format!("{group}/functions"), &function).await.ok();
    faulty.rule(move |op, key| {
        if (op, key) == (Op::Get, "") {
            asks.notify_one();
        }
        Fate::Pass
    });
    let nodes = json!({"known": {"type": "Task"}});
    let workflow = json!({"metadata": {"name": "w"}, "spec": {"startAt": "known", "nodes": nodes}});
    let (collection, told) = (format!("{group}/workflows"), async {
        asked.notified().await;
        faulty.speak();
        std::future::pending().await
    });
    let created = tokio::select! {
        created = api.post(&collection, &workflow) => created,
        never = told => never,
    };
    assert_eq!((created.code, warnings(&created)), (201, Vec::new()));
}

#[tokio::test]
async fn a_json_patch_is_json_whatever_letters_it_has() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let patch = r#"[{"op":"add","path":"/data/smile","value":"\ud83d\ude00"}]"#;
    for (kind, patch) in [
        ("application/json-patch+json", patch),
        ("application/merge-patch+json", r#"{"data":{"smile":"\ud83d\ude00"}}"#),
        ("application/strategic-merge-patch+json", r#"{"data":{"smile":"\ud83d\ude00"}}"#),
    ] {
        let patched = api.send("PATCH", &path, (kind, JSON), patch).await.ok();
        assert_eq!(patched["data"]["smile"], "😀", "{kind}");
        let yaml = api.send("PATCH", &path, (kind, JSON), "data: {x: y}\n").await;
        assert!(yaml.fails(400, "BadRequest").starts_with("error decoding patch: "), "{kind}");
    }
}

#[tokio::test]
async fn an_equal_amount_is_no_change_and_what_is_the_users_stays() {
    let api = Api::start().await;
    let mut given = pod("a");
    let resources =
        json!({"limits": {"cpu": "0.1", "memory": "1024Mi"}, "requests": {"cpu": "100m"}});
    given["spec"]["containers"][0]["resources"] = resources;
    let created = api.post(PODS, &given).await.ok();
    let stored = &created["spec"]["containers"][0]["resources"];
    assert_eq!(stored["limits"], json!({"cpu": "100m", "memory": "1Gi"}));
    let path = format!("{PODS}/a");
    let again = json!({"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": 0.1, "memory": "1048576Ki"}}}]}});
    let patched = api.patch(&path, "strategic-merge-patch", &again).await.ok();
    assert_eq!(version(&patched), version(&created));
    let mut put = created.clone();
    put["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("1073741824");
    assert_eq!(version(&api.put(&path, &put).await.ok()), version(&created));
    let run = json!({"metadata": {"name": "r"}, "spec": {"workflow": "w", "input": {"divisor": 3, "limits": {"x": 1}}}});
    let runs = "/apis/minik8s.io/v1/namespaces/default/workflowruns";
    assert_eq!(api.post(runs, &run).await.ok()["spec"]["input"], run["spec"]["input"]);
}
