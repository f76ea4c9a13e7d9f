//! Commands against a whole control plane in process.

#![allow(clippy::unwrap_used, reason = "a test shows a fault by panicking")]

mod cfg;
mod config;
mod connections;
mod daemon_sets;
#[path = "../figures/mod.rs"]
mod figures;
mod functions;
mod gpu;
mod harness;
mod making;
mod nodes;
mod reset;
mod rollout;
mod selecting;
mod stateful_sets;
mod tokens;
mod trouble;
mod usage;
mod workflows;

use std::io;

use harness::{Buffer, Kubectl, words};
use kubectl::{Environment, Io};

pub(crate) fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  containers:\n  - name: main\n    image: {image}\n"
    )
}

#[tokio::test]
async fn the_server_merges_what_several_managers_apply() {
    let kubectl = Kubectl::new().await;
    let map = |data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shared}}\ndata: {{{data}}}\n")
    };
    let server_side = "apply --server-side -f -";
    let said = kubectl.ok_with(server_side, &map("a: \"1\"")).await;
    assert_eq!(said, "configmap/shared serverside-applied\n");
    let other = format!("{server_side} --field-manager=other");
    kubectl.ok_with(&other, &map("b: \"1\"")).await;
    let refused = kubectl.fails(&other, &map("a: \"2\"")).await;
    assert!(refused.contains("conflict with \"kubectl\": .data.a"), "{refused}");
    assert!(refused.contains("--force-conflicts"), "{refused}");
    kubectl.ok_with(&format!("{other} --force-conflicts"), &map("a: \"2\"")).await;
    let data = kubectl.ok("get configmap shared -o jsonpath={.data}").await;
    assert_eq!(data.trim(), r#"{"a":"2"}"#);
    let local = kubectl.fails(&format!("{server_side} --dry-run=client"), &map("")).await;
    assert!(local.contains("did you mean --dry-run=server instead?"), "{local}");
}

#[tokio::test]
async fn apply_creates_then_leaves_alone_then_changes() {
    let kubectl = Kubectl::new().await;
    let apply = "apply -f -";
    assert_eq!(kubectl.ok_with(apply, &pod("web", "nginx:1")).await, "pod/web created\n");
    assert_eq!(kubectl.ok_with(apply, &pod("web", "nginx:1")).await, "pod/web unchanged\n");
    assert_eq!(kubectl.ok_with(apply, &pod("web", "nginx:2")).await, "pod/web configured\n");
    let image = "get pod web -o jsonpath={.spec.containers[0].image}";
    assert_eq!(kubectl.ok(image).await, "nginx:2");
}

#[tokio::test]
async fn an_object_made_otherwise_is_taken_over_with_a_warning() {
    let kubectl = Kubectl::new().await;
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '2'}\n";
    kubectl.ok("create configmap c --from-literal=a=1 --from-literal=b=1").await;
    let output = kubectl.run_with("apply -f -", map).await;
    assert!(output.err.starts_with("Warning: resource configmaps/c is missing"), "{}", output.err);
    assert_eq!(kubectl.ok("get cm c -o jsonpath={.data}").await, r#"{"a":"2","b":"1"}"#);
}

#[tokio::test]
async fn containers_are_merged_by_name_and_ports_that_left_are_removed() {
    let kubectl = Kubectl::new().await;
    let set = |ports: &str| {
        format!(
            "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {{name: r}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n      containers: [{{name: c, image: i, ports: {ports}}}]\n"
        )
    };
    kubectl.ok_with("apply -f -", &set("[{containerPort: 80}, {containerPort: 81}]")).await;
    kubectl.ok_with("apply -f -", &set("[{containerPort: 81}, {containerPort: 82}]")).await;
    let ports = "get rs r -o jsonpath={.spec.template.spec.containers[*].ports[*].containerPort}";
    let found = kubectl.ok(ports).await;
    let mut found: Vec<_> = found.split(' ').collect();
    found.sort_unstable();
    assert_eq!(found, ["81", "82"]);
}

#[tokio::test]
async fn apply_removes_what_left_the_manifest_and_keeps_what_others_set() {
    let kubectl = Kubectl::new().await;
    let map = |data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {data}\n")
    };
    kubectl.ok_with("apply -f -", &map("{a: x, b: z}")).await;
    kubectl.ok("label configmap c mine=1").await;
    assert_eq!(kubectl.ok_with("apply -f -", &map("{a: z}")).await, "configmap/c configured\n");
    let read = "get cm c -o jsonpath={.data}{.metadata.labels.mine}";
    assert_eq!(kubectl.ok(read).await, r#"{"a":"z"}1"#);
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let kubectl = Kubectl::new().await;
    let manifest = pod("web", "nginx");
    let client = kubectl.ok_with("apply -f - --dry-run=client", &manifest).await;
    assert_eq!(client, "pod/web created (dry run)\n");
    let server = kubectl.ok_with("apply -f - --dry-run=server", &manifest).await;
    assert_eq!(server, "pod/web created (server dry run)\n");
    assert!(kubectl.fails("get pod web", "").await.contains("not found"));
}

#[tokio::test]
async fn one_bad_document_is_named_and_the_others_are_applied() {
    let kubectl = Kubectl::new().await;
    let manifest = format!("{}---\nkind: [\n---\n{}", pod("a", "nginx"), pod("b", "nginx"));
    let output = kubectl.run_with("apply -f -", &manifest).await;
    assert!(!output.ok);
    assert_eq!(output.out, "pod/a created\npod/b created\n");
    assert!(output.err.contains("\"STDIN\" (document 2): not YAML: line "), "{}", output.err);
}

#[tokio::test]
async fn bad_manifests_are_refused_with_the_place_and_the_field() {
    let kubectl = Kubectl::new().await;
    let cases = [
        (
            "apiVersion: v1\nkind: Pot\nmetadata: {name: x}\n",
            "no matches for kind \"Pot\" in version \"v1\"",
        ),
        ("apiVersion: v1\nkind: Pod\nspec: {}\n", "metadata.name: Required value"),
        ("kind: Pod\nmetadata: {name: x}\n", "apiVersion not set"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "kind not set"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i, ports: [{containerPort: 99999}]}]}\n",
            "spec.containers[0].ports[0].containerPort: Invalid value",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: i, imagee: j}]}\n",
            "unknown field \"spec.containers[0].imagee\"",
        ),
        ("a: b: c", "not YAML"),
    ];
    for (manifest, expected) in cases {
        let message = kubectl.fails("apply -f -", manifest).await;
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("\"STDIN\""), "{message}");
    }
    let message = kubectl.fails("apply -f /no/such.yaml", "").await;
    assert_eq!(message, "error: the path \"/no/such.yaml\" does not exist");
    assert!(kubectl.ok("get pods -o name").await.is_empty());
}

#[tokio::test]
async fn tables_and_messages_are_those_of_kubectl() {
    let kubectl = Kubectl::new().await;
    let none = kubectl.run_with("get pods", "").await;
    assert_eq!((none.ok, none.err.as_str()), (true, "No resources found in default namespace.\n"));
    kubectl.ok_with("apply -f -", &pod("web", "nginx")).await;
    let table = kubectl.ok("get pods --no-headers=false --show-labels=false").await;
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("NAME   READY   STATUS    RESTARTS   AGE"));
    assert!(lines.next().unwrap().starts_with("web    0/1     Pending   0          "), "{table}");
    let wide = kubectl.ok("get po -A -o wide").await;
    assert!(wide.starts_with("NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE"), "{wide}");
    assert!(wide.contains("NOMINATED NODE   READINESS GATES\n"), "{wide}");
}

#[tokio::test]
async fn objects_are_found_by_every_spelling() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", &pod("web", "nginx")).await;
    for words in
        ["pod web", "pods/web", "PO web", "pod default/web", "pods -l app=web", "pods.v1. web"]
    {
        assert_eq!(kubectl.ok(&format!("get {words} -o name")).await, "pod/web\n", "{words}");
    }
    assert_eq!(kubectl.ok("get rss -o name").await, "");
    let missing = kubectl.fails("get pod nope", "").await;
    assert_eq!(missing, "Error from server (NotFound): pods \"nope\" not found");
    let unknown = kubectl.fails("get podz", "").await;
    assert!(
        unknown
            .starts_with("error: the server doesn't have a resource type \"podz\"\nDid you mean"),
        "{unknown}"
    );
}

#[tokio::test]
async fn several_kinds_are_shown_one_after_the_other() {
    let kubectl = Kubectl::new().await;
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";
    kubectl.ok_with("apply -f -", &format!("{}---\n{service}", pod("web", "nginx"))).await;
    let all = kubectl.ok("get pods,services").await;
    assert!(all.starts_with("NAME      READY"), "{all}");
    assert!(all.contains("pod/web   0/1"), "{all}");
    assert!(all.contains("\n\nNAME                 TYPE"), "{all}");
    assert!(all.contains("service/web "), "{all}");
    let list = kubectl.ok("get pods -o yaml").await;
    assert!(list.starts_with("apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n"), "{list}");
    assert!(list.ends_with("kind: List\nmetadata:\n  resourceVersion: \"\"\n"), "{list}");
}

#[tokio::test]
async fn the_kinds_are_asked_for_in_two_requests() {
    let kubectl = Kubectl::new().await;
    let before = kubectl.plane.requests().len();
    kubectl.ok("get pods").await;
    let requests = kubectl.plane.requests().split_off(before);
    assert_eq!(requests, ["GET /api", "GET /apis", "GET /api/v1/namespaces/default/pods"]);
}

#[tokio::test]
async fn a_watch_shows_each_change_as_a_row() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", &pod("first", "nginx")).await;
    let (out, err) = (Buffer::default(), Buffer::default());
    let io = Io::new(io::empty(), out.clone(), err.clone());
    let line = words("get pods -w --sort-by=.metadata.name");
    let watching = tokio::spawn(kubectl::run(line, io, kubectl.environment()));
    err.contains("--sort-by will be ignored").await;
    out.contains("first").await;
    kubectl.ok_with("apply -f -", &pod("second", "nginx")).await;
    out.contains("second").await;
    watching.abort();
    assert_eq!(out.text().matches("NAME").count(), 1, "{}", out.text());
}

#[tokio::test]
async fn delete_takes_names_files_and_labels_and_waits() {
    let kubectl = Kubectl::new().await;
    let manifests = ["a", "b", "c"].map(|name| pod(name, "nginx")).join("---\n");
    kubectl.ok_with("apply -f -", &manifests).await;
    assert_eq!(kubectl.ok("delete pod a").await, "pod \"a\" deleted\n");
    assert_eq!(kubectl.ok_with("delete -f -", &pod("b", "x")).await, "pod \"b\" deleted\n");
    assert_eq!(kubectl.ok("delete pods -l app=c --force").await, "pod \"c\" force deleted\n");
    assert!(kubectl.ok("get pods -o name").await.is_empty());
    assert!(kubectl.fails("delete pod a", "").await.contains("pods \"a\" not found"));
    kubectl.ok("delete pod a --ignore-not-found").await;
    assert!(kubectl.fails("delete pods", "").await.contains("--all"));
}

#[tokio::test]
async fn a_deletion_that_is_held_up_is_waited_for_until_the_timeout() {
    let kubectl = Kubectl::new().await;
    let held =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n";
    kubectl.ok_with("apply -f -", held).await;
    let message = kubectl.fails("delete cm held --timeout=50ms", "").await;
    assert!(message.contains("timed out waiting"), "{message}");
    assert_eq!(kubectl.ok("delete cm held --wait=false").await, "configmap \"held\" deleted\n");
}

#[tokio::test]
async fn labels_are_set_kept_and_removed() {
    let kubectl = Kubectl::new().await;
    kubectl.ok("create configmap c --from-literal=a=1").await;
    assert_eq!(kubectl.ok("label cm c k=v").await, "configmap/c labeled\n");
    assert_eq!(kubectl.ok("label cm c k=v").await, "configmap/c not labeled\n");
    assert!(kubectl.fails("label cm c k=w", "").await.contains("--overwrite"));
    assert_eq!(kubectl.ok("label cm c k=w --overwrite").await, "configmap/c labeled\n");
    assert_eq!(
        kubectl.ok("get cm c -L k --no-headers -o jsonpath={.metadata.labels.k}").await,
        "w"
    );
    assert_eq!(kubectl.ok("label cm c k-").await, "configmap/c unlabeled\n");
    assert_eq!(kubectl.ok("annotate cm c n=1").await, "configmap/c annotated\n");
}

#[tokio::test]
async fn a_replica_set_is_scaled_and_described() {
    let kubectl = Kubectl::new().await;
    let set = "apiVersion: v1\nkind: ReplicaSet\nmetadata: {name: web}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    spec:\n      containers: [{name: main, image: nginx}]\n";
    assert_eq!(kubectl.ok_with("apply -f -", set).await, "replicaset.apps/web created\n");
    assert_eq!(kubectl.ok("scale rs/web --replicas=5").await, "replicaset.apps/web scaled\n");
    assert!(
        kubectl.fails("scale rs web --current-replicas=2 --replicas=1", "").await.contains("was 5")
    );
    let page = kubectl.ok("describe rs web").await;
    assert!(page.contains("Replicas:     0 current / 5 desired\n"), "{page}");
}

#[tokio::test]
async fn the_namespace_flag_holds_for_manifests_and_contradictions_are_refused() {
    let kubectl = Kubectl::new().await;
    assert_eq!(kubectl.ok("create namespace team").await, "namespace/team created\n");
    kubectl.ok_with("apply -n team -f -", &pod("web", "nginx")).await;
    assert_eq!(kubectl.ok("get pod team/web -o jsonpath={.metadata.namespace}").await, "team");
    let other = pod("web", "nginx").replace("name: web\n", "name: web\n  namespace: default\n");
    let message = kubectl.fails("apply -n team -f -", &other).await;
    assert!(message.contains("does not match the namespace \"team\""), "{message}");
    let missing = kubectl.fails("apply -n nowhere -f -", &pod("web", "nginx")).await;
    assert!(missing.contains("namespaces \"nowhere\" not found"), "{missing}");
}

#[tokio::test]
async fn the_servers_versions_and_kinds_are_listed() {
    let kubectl = Kubectl::new().await;
    let resources = kubectl.ok("api-resources").await;
    assert!(resources.starts_with("NAME "), "{resources}");
    assert!(resources.lines().any(|l| {
        l.split_whitespace().collect::<Vec<_>>() == ["pods", "po", "v1", "true", "Pod"]
    }));
    assert!(kubectl.ok("api-versions").await.contains("apps/v1\n"));
    assert!(kubectl.ok("version").await.contains("Server Version: v"));
}

#[tokio::test]
async fn every_command_has_examples_and_usage_errors_end_with_failure() {
    let kubectl = Kubectl::new().await;
    let commands = [
        "apply",
        "get",
        "describe",
        "delete",
        "logs",
        "create",
        "scale",
        "rollout",
        "rollout status",
        "rollout history",
        "rollout undo",
        "rollout pause",
        "rollout resume",
        "rollout restart",
        "set",
        "set image",
        "create deployment",
        "func",
        "func add",
        "func update",
        "func rm",
        "func get",
        "func logs",
        "func rollback",
        "trigger",
        "label",
        "annotate",
        "api-resources",
        "api-versions",
        "cluster-info",
        "reset",
        "run",
        "config",
        "version",
        "completion",
    ];
    for command in commands {
        let help = kubectl.ok(&format!("{command} -h")).await;
        assert!(help.contains("Examples:\n  "), "{command}: {help}");
    }
    let unknown = kubectl.fails("gett pods", "").await;
    assert!(unknown.starts_with("error: unknown command \"gett\" for \"kubectl\""), "{unknown}");
    kubectl.fails("get pods --nonsense", "").await;
}

#[tokio::test]
async fn an_absent_server_is_told_with_the_next_step() {
    let io = |err: Buffer| Io::new(io::empty(), io::sink(), err);
    let err = Buffer::default();
    kubectl::run(words("get pods -s 127.0.0.1:1"), io(err.clone()), Environment::default()).await;
    let text = err.text();
    assert!(text.starts_with("The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n"), "{text}");
    assert!(text.contains("scripts/up.sh"), "{text}");
}

#[tokio::test]
async fn who_uses_the_seeds_dialect_is_told() {
    let kubectl = Kubectl::new().await;
    let seed = pod("web", "x").replace("image: x", "image: x\n    cmd: [run]");
    let output = kubectl.run_with("apply -f -", &seed).await;
    assert!(output.ok && output.out == "pod/web created\n", "{}", output.err);
    assert!(output.err.starts_with("Warning: \"STDIN\" is written for the original minik8s"));
    let output = kubectl.run_with("apply -f -", &pod("other", "x")).await;
    assert_eq!((output.out.as_str(), output.err.as_str()), ("pod/other created\n", ""));
}
