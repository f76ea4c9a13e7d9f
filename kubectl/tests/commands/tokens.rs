//! Tokens with which hosts join, and requests for certificates.

use api_types::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;

use crate::harness::Kubectl;

const AUTHORITY: &str = include_str!("../../../crates/certificates/src/testdata/ca.crt");
const HASH: &str = include_str!("../../../crates/certificates/src/testdata/ca.hash");
const REQUEST: &str = include_str!("../../../tests/catalogue/certificatesigningrequests.yaml");

#[tokio::test]
async fn a_token_is_made_shown_and_deleted() {
    let kubectl = Kubectl::new().await;
    let given = "abcdef.0123456789abcdef";
    assert_eq!(kubectl.ok(&format!("token create {given} --ttl=0")).await, format!("{given}\n"));
    let random = kubectl.ok("token create --description=lab").await;
    let list = kubectl.ok("token list").await;
    let row = |token: &str| list.lines().find(|line| line.starts_with(token.trim())).unwrap();
    let words: Vec<_> = row(given).split_whitespace().collect();
    let usages = "authentication,signing";
    let group = "system:bootstrappers:kubeadm:default-node-token";
    assert_eq!(words, [given, "<forever>", "<never>", usages, "<none>", group]);
    assert!(row(&random).contains("lab") && !row(&random).contains("<never>"), "{list}");
    let secrets = Api::<Secret>::namespaced(kubectl.plane.client(), "kube-system");
    let tokens = ListParams::default().fields("type=bootstrap.kubernetes.io/token");
    assert_eq!(secrets.list(&tokens).await.unwrap().items.len(), 2);
    let deleted = kubectl.ok(&format!("token delete {given}")).await;
    assert_eq!(deleted, "bootstrap token \"abcdef\" deleted\n");
    let fails = kubectl.fails("token delete abcdef", "").await;
    assert!(fails.contains("secrets \"bootstrap-token-abcdef\" not found"), "{fails}");
    let wrong = kubectl.fails("token create abc", "").await;
    assert!(wrong.contains("the bootstrap token is not of the form"), "{wrong}");
}

#[tokio::test]
async fn what_is_to_be_typed_on_another_host_names_the_cluster_and_its_key() {
    let kubectl = Kubectl::new().await;
    let line = "token create abcdef.0123456789abcdef --print-join-command";
    let fails = kubectl.fails(line, "").await;
    assert!(
        fails.contains("scripts/up.sh writes the ConfigMap kube-public/cluster-info"),
        "{fails}"
    );
    assert_eq!(kubectl.ok("token list").await.lines().count(), 1, "no token was made");
    use base64::{Engine, engine::general_purpose::STANDARD};
    let authority = STANDARD.encode(AUTHORITY);
    let info = format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: cluster-info, namespace: kube-public}}
data:
  kubeconfig: |
    apiVersion: v1
    kind: Config
    clusters:
    - name: \"\"
      cluster: {{server: \"https://10.0.0.1:6443\", certificate-authority-data: {authority}}}
"
    );
    kubectl.ok_with("apply -f -", &info).await;
    let expected = format!(
        "scripts/join.sh 10.0.0.1:6443 --token abcdef.0123456789abcdef --ca-cert-hash {}\n",
        HASH.trim()
    );
    assert_eq!(kubectl.ok(line).await, expected);
}

#[tokio::test]
async fn a_request_for_a_certificate_is_approved_or_denied() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("create -f -", REQUEST).await;
    kubectl.ok_with("create -f -", &REQUEST.replace("name: example", "name: other")).await;
    let approved = kubectl.ok("certificate approve example").await;
    assert_eq!(approved, "certificatesigningrequest.certificates.k8s.io/example approved\n");
    assert_eq!(kubectl.ok("certificate approve example").await, approved);
    kubectl.ok("certificate deny other").await;
    let table = kubectl.ok("get csr --no-headers").await;
    let ends: Vec<_> = table.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(ends, ["Approved", "Denied"], "{table}");
    let both = kubectl.fails("certificate deny example", "").await;
    assert!(both.contains("Approved and Denied conditions are mutually exclusive"), "{both}");
}
