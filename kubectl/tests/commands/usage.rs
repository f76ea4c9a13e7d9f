//! `get --usage`.

use testkit::{ControlPlane, Redis};

use crate::{figures, harness::Kubectl};

const OBJECTS: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
---
apiVersion: v1
kind: Pod
metadata: {name: waiting}
spec: {containers: [{name: a, image: "a:1"}], nodeName: n2}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec:
  selector: {matchExpressions: [{key: app, operator: In, values: [web-1, web-2]}]}
  template: {metadata: {labels: {app: web-1}}, spec: {containers: [{name: a, image: "a:1"}]}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: empty}
spec:
  replicas: 0
  selector: {matchLabels: {app: empty}}
  template: {metadata: {labels: {app: empty}}, spec: {containers: [{name: a, image: "a:1"}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: lost}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: ReplicaSet, name: nobody}, maxReplicas: 2}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: ReplicaSet, name: web}, maxReplicas: 2}
"#;

async fn measured(redis: &Redis) -> Kubectl {
    let kubectl = Kubectl { plane: ControlPlane::builder().redis(redis).start().await };
    kubectl.ok_with("apply -f -", OBJECTS).await;
    kubectl.ok("create namespace team").await;
    let pods: [figures::Pod; 4] = [
        ("default", "web-1", &[("a", 200, 5 << 20), ("b", 50, 1 << 20)]),
        ("default", "web-2", &[("a", 0, 2 << 20)]),
        ("default", "other", &[("a", 1000, 1 << 30)]),
        ("team", "web-1", &[("a", 4000, 1 << 30)]),
    ];
    figures::announce(&kubectl.plane, (1777, 4 << 30), &pods).await;
    kubectl
}

/// The columns of that name and those after it.
async fn columns(kubectl: &Kubectl, line: &str, first: &str) -> String {
    let text = kubectl.ok(line).await;
    let start = text.find(first).unwrap();
    text.lines().map(|line| line[start..].to_owned() + "\n").collect()
}

#[tokio::test]
async fn tables_have_columns_for_what_is_used() {
    let redis = Redis::spawn().await;
    let kubectl = measured(&redis).await;
    let check = async |line: &str, expected: &[&str]| {
        let table = columns(&kubectl, line, "CPU").await;
        let words = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(words.collect::<Vec<_>>(), expected, "{line}");
    };
    let unknown = "<unknown> <unknown> <unknown>";
    check(
        "get nodes --usage",
        &[
            "CPU MEMORY PODS LAST SYNC",
            "1778m 4096Mi 4 1970-01-01T00:00:00Z",
            "<unknown> <unknown> 1 <unknown>",
        ],
    )
    .await;
    let pods = [
        "CPU MEMORY LAST SYNC",
        "1001m 1024Mi 1970-01-01T00:00:03Z",
        unknown,
        "251m 6Mi 1970-01-01T00:00:01Z",
        "1m 2Mi 1970-01-01T00:00:02Z",
    ];
    check("get pods --usage --sort-by=.metadata.name", &pods).await;
    let sets = ["get rs --usage", "get rs -A --usage", "get hpa --usage"];
    for line in sets {
        check(line, &["CPU MEMORY LAST SYNC", unknown, "251m 8Mi 1970-01-01T00:00:01Z"]).await;
    }
    let all = kubectl.ok("get pods web-1 -n team --usage --no-headers").await;
    assert!(all.contains("4001m"), "{all}");
    figures::run(&kubectl.plane, "default", "fresh", "web-1").await;
    for line in sets {
        check(line, &["CPU MEMORY LAST SYNC", unknown, unknown]).await;
    }
}

#[tokio::test]
async fn a_moment_cannot_be_watched() {
    let kubectl = Kubectl::new().await;
    let why =
        "error: --usage adds columns to a table of this moment: use it without --watch and -o";
    assert_eq!(kubectl.fails("get nodes --usage -w", "").await, why);
    assert_eq!(kubectl.fails("get nodes --usage -o yaml", "").await, why);
}
