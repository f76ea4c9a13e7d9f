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

/// The columns of that name and those after it, but for the last.
async fn columns(kubectl: &Kubectl, line: &str, first: &str) -> String {
    let text = kubectl.ok(line).await;
    let start = text.find(first).unwrap();
    let last = text.lines().next().unwrap().find("LAST SYNC").unwrap();
    text.lines().map(|line| line[start..last].trim_end().to_owned() + "\n").collect()
}

#[tokio::test]
async fn tables_have_columns_for_what_is_used() {
    let redis = Redis::spawn().await;
    let kubectl = measured(&redis).await;
    let nodes = columns(&kubectl, "get nodes --usage", "CPU").await;
    assert_eq!(
        nodes,
        "CPU         MEMORY      PODS\n1778m       4096Mi      4\n<unknown>   <unknown>   1\n"
    );
    let pods = columns(&kubectl, "get pods --usage --sort-by=.metadata.name", "CPU").await;
    assert_eq!(
        pods,
        "CPU         MEMORY\n1001m       1024Mi\n<unknown>   <unknown>\n251m        6Mi\n1m          2Mi\n"
    );
    for line in ["get rs --usage", "get rs -A --usage", "get hpa --usage"] {
        let sets = columns(&kubectl, line, "CPU").await;
        assert_eq!(sets, "CPU         MEMORY\n<unknown>   <unknown>\n251m        8Mi\n");
    }
    let all = kubectl.ok("get pods web-1 -n team --usage --no-headers").await;
    assert!(all.contains("4001m"), "{all}");
}

#[tokio::test]
async fn a_moment_cannot_be_watched() {
    let kubectl = Kubectl::new().await;
    let why =
        "error: --usage adds columns to a table of this moment: use it without --watch and -o";
    assert_eq!(kubectl.fails("get nodes --usage -w", "").await, why);
    assert_eq!(kubectl.fails("get nodes --usage -o yaml", "").await, why);
}
