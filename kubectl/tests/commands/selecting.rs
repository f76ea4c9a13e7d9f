//! What a command line means together: names, files, labels and `--all` never widen each other.

use crate::{harness::Kubectl, pod};

/// Two pods by one manifest, of which one is labelled `app: a`.
async fn two_pods() -> (Kubectl, tempfile::TempDir) {
    let kubectl = Kubectl::new().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), pod("a", "x")).unwrap();
    std::fs::write(folder.path().join("b.yaml"), pod("b", "x")).unwrap();
    kubectl.ok(&format!("apply -f {}", folder.path().display())).await;
    (kubectl, folder)
}

async fn names(kubectl: &Kubectl) -> String {
    kubectl.ok("get pods -o name").await
}

#[tokio::test]
async fn of_files_only_the_labelled_objects_are_deleted() {
    let (kubectl, folder) = two_pods().await;
    let from = folder.path().display();
    assert_eq!(
        kubectl.ok(&format!("delete -f {from} -l app=a --now")).await,
        "pod \"a\" deleted\n"
    );
    assert_eq!(names(&kubectl).await, "pod/b\n");
    kubectl.ok(&format!("delete -f {from} -l app=nobody")).await;
    assert_eq!(names(&kubectl).await, "pod/b\n");
}

#[tokio::test]
async fn of_files_only_the_labelled_objects_are_applied_shown_and_labelled() {
    let (kubectl, folder) = two_pods().await;
    let from = folder.path().display();
    let only_b = "pod/b unchanged\n";
    assert_eq!(kubectl.ok(&format!("apply -f {from} -l app=b")).await, only_b);
    assert_eq!(kubectl.ok(&format!("get -f {from} -l app=b -o name")).await, "pod/b\n");
    let labelled = kubectl.ok(&format!("label -f {from} -l app=b tier=front")).await;
    assert_eq!(labelled, "pod/b labeled\n");
}

#[tokio::test]
async fn names_and_selectors_contradict_each_other_and_nothing_is_done() {
    let (kubectl, folder) = two_pods().await;
    let by_name = "error: name cannot be provided when a selector is specified";
    let by_tuple =
        "error: selectors and the all flag cannot be used when passing resource/name arguments";
    for (line, expected) in [
        ("delete pod a -l app=b", by_name),
        ("delete pod a --field-selector metadata.name=b", by_name),
        ("delete pod a --all", by_name),
        ("delete pod/a -l app=b", by_tuple),
        ("delete pod/a --all", by_tuple),
        ("label pod a -l app=b x=y", by_name),
        ("describe pod a -l app=b", by_name),
        ("get pod a -l app=b", by_name),
    ] {
        assert_eq!(kubectl.fails(line, "").await, expected, "{line}");
    }
    let fields = format!("delete -f {} --field-selector metadata.name=a", folder.path().display());
    assert!(kubectl.fails(&fields, "").await.contains("--field-selector cannot be used with -f"));
    let wrong = kubectl.fails(&format!("delete -f {} -l =", folder.path().display()), "").await;
    assert!(wrong.starts_with("error: "), "{wrong}");
    assert_eq!(names(&kubectl).await, "pod/a\npod/b\n");
}

#[tokio::test]
async fn a_set_that_selects_by_expressions_is_described_with_its_pods() {
    let kubectl = Kubectl::new().await;
    let set = |name: &str, selector: &str| {
        format!(
            "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {{name: {name}}}\nspec:\n  replicas: 0\n  selector: {selector}\n  template:\n    metadata: {{labels: {{app: web, tier: front}}}}\n    spec: {{containers: [{{name: c, image: x}}]}}\n"
        )
    };
    let expressions = "{matchExpressions: [{key: tier, operator: In, values: [front, back]}, {key: app, operator: Exists}]}";
    kubectl.ok_with("apply -f -", &set("by-expression", expressions)).await;
    kubectl.ok_with("apply -f -", &set("by-labels", "{matchLabels: {app: web}}")).await;
    let pages = kubectl.ok("describe rs").await;
    assert!(pages.contains("Selector:     app,tier in (back,front)"), "{pages}");
    assert!(pages.contains("Selector:     app=web"), "{pages}");
    let asked = kubectl.plane.requests().join("\n");
    assert!(asked.contains("labelSelector=app%2Ctier%20in%20%28back%2Cfront%29"), "{asked}");
}

#[tokio::test]
async fn each_command_signs_its_changes_with_its_own_name() {
    let (kubectl, _folder) = two_pods().await;
    kubectl.ok("annotate pod a note=x").await;
    kubectl.ok("label pod a tier=front").await;
    let asked = kubectl.plane.requests().join("\n");
    assert!(asked.contains("fieldManager=kubectl-annotate"), "{asked}");
    assert!(asked.contains("fieldManager=kubectl-label"), "{asked}");
}
