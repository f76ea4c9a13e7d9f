//! Bad manifests: a clear message with the file, the document and the field, and nothing done half-way.

use std::{fs, path::PathBuf};

use crate::harness::{Backing, Cluster};

const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n";

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("minik8s-manifest-{name}.yaml"));
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_bad_manifest_is_refused_with_the_file_the_document_and_the_field() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let pod = |container: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: bad}}\nspec: {{containers: [{container}]}}\n"
        )
    };
    let cases = [
        ("kind", "apiVersion: v1\nkind: Pot\nmetadata: {name: bad}\n".to_owned(), &["Pot"][..]),
        ("name", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n".to_owned(), &["name"]),
        ("no-kind", "apiVersion: v1\nmetadata: {name: bad}\n".to_owned(), &["kind"]),
        (
            "port",
            pod("{name: a, image: b, ports: [{containerPort: 99999}]}"),
            &["spec.containers[0].ports[0].containerPort", "65535"],
        ),
        ("image", pod("{name: a}"), &["spec.containers[0].image", "Required value"]),
        ("field", pod("{name: a, image: b, imag: c}"), &["imag"]),
        ("yaml", "kind: [Pod\n".to_owned(), &["line"]),
    ];
    for (name, text, expected) in cases {
        let path = file(name, &text);
        let done = cluster.kubectl(&["apply", "-f", path.to_str().unwrap()]);
        assert_eq!(done.code, Some(1), "{name}: {done:?}");
        for part in expected.iter().copied().chain([path.to_str().unwrap()]) {
            assert!(done.stderr.contains(part), "{name}: {part:?} is not in {:?}", done.stderr);
        }
    }
    let missing = cluster.kubectl(&["apply", "-f", "/nonexistent/pod.yaml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("/nonexistent/pod.yaml"), "{}", missing.stderr);
    assert_eq!(cluster.kubectl(&["get", "pods", "-o", "name"]).expect_ok(), "");
}

#[tokio::test]
async fn of_two_documents_the_good_one_is_applied_and_the_bad_one_named() {
    let cluster = Cluster::start(Backing::Embedded).await;
    let bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: a, image: b, ports: [{containerPort: 0}]}]}\n";
    let path = file("two", &format!("{bad}---\n{GOOD}"));
    let done = cluster.kubectl(&["apply", "-f", path.to_str().unwrap()]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("document 1") && done.stderr.contains("containerPort"),
        "{}",
        done.stderr
    );
    assert_eq!(done.stdout, "configmap/good created\n");
    assert_eq!(
        cluster
            .kubectl(&[
                "get",
                "pods,configmaps",
                "-o",
                "name",
                "--field-selector",
                "metadata.name!=kube-root-ca.crt"
            ])
            .expect_ok(),
        "configmap/good\n"
    );
    let stock = cluster.stock_kubectl(&["apply", "-f", path.to_str().unwrap()]);
    assert!(
        !stock.ok && stock.stderr.contains("spec.containers[0].ports[0].containerPort"),
        "{stock:?}"
    );
}
