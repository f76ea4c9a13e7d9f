//! Certificates for who joins: from a bootstrap token to a certificate, and what an administrator decides.

use std::time::Duration;

use api_types::ByteString;
use api_types::api::certificates::v1::{
    CertificateSigningRequest as Csr, CertificateSigningRequestCondition as Condition,
    CertificateSigningRequestSpec as Spec,
};
use api_types::api::core::v1::{Node, Secret};
use certificates::{Signer, kubelet, new_key, new_request, validity};
use controller_manager::signing::Signing;
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::json;
use testkit::wait;

use crate::{Cluster, create};

const NODE_TOKENS: &str = "system:bootstrappers:kubeadm:default-node-token";

/// An authority.
pub(crate) fn signing() -> Signing {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    let signer = Signer::new(&certificate, &key.serialize_pem()).unwrap();
    Signing::new(signer, Duration::from_secs(86_400))
}

async fn ask(
    client: Client,
    name: &str,
    signer: &str,
    (user, groups, names): (&str, &[&str], &[&str]),
    usages: &[&str],
) -> Api<Csr> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let request = new_request(&new_key().unwrap(), user, groups, &names).unwrap();
    let spec = Spec {
        request: ByteString(request.into_bytes()),
        signer_name: signer.to_owned(),
        usages: Some(usages.iter().map(|&usage| usage.to_owned()).collect()),
        ..Spec::default()
    };
    let mut csr = Csr { spec, ..Csr::default() };
    csr.metadata.name = Some(name.to_owned());
    let api = Api::all(client);
    create(&api, &csr).await;
    api
}

fn has(csr: &Csr, type_: &str) -> bool {
    let conditions = csr.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == type_)
}

fn is_signed(csr: &Csr) -> bool {
    let certificate = csr.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate
        .is_some_and(|pem| std::str::from_utf8(&pem.0).is_ok_and(|it| validity(it).is_some()))
}

#[tokio::test]
async fn a_bootstrap_token_is_exchanged_for_a_kubelets_certificate_and_that_for_one_to_serve_with()
{
    let cluster = Cluster::start().await;
    let token = cluster.plane.client_as(
        "system:bootstrap:abcdef",
        &["system:bootstrappers", NODE_TOKENS, "system:authenticated"],
    );
    let node = ("system:node:n1", &[kubelet::GROUP] as &[_], &[] as &[_]);
    let signer = kubelet::CLIENT_SIGNER;
    let all = ask(token, "first", signer, node, &kubelet::CLIENT_USAGES).await;
    wait::until_is(&all, "first", "it is signed", is_signed).await;

    let admin = Api::<Node>::all(cluster.plane.client());
    let object = json!({"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
    create(&admin, &serde_json::from_value(object).unwrap()).await;
    let own = cluster.plane.client_as("system:node:n1", &["system:nodes", "system:authenticated"]);
    let serving = ("system:node:n1", &[kubelet::GROUP] as &[_], &["n1", "10.0.0.1"] as &[_]);
    let signer = kubelet::SERVING_SIGNER;
    let all = ask(own, "serving", signer, serving, &kubelet::SERVING_USAGES).await;
    wait::until_is(&all, "serving", "it is signed", is_signed).await;
}

#[tokio::test]
async fn a_node_gets_another_certificate_of_its_own() {
    let cluster = Cluster::start().await;
    let signer = kubelet::CLIENT_SIGNER;
    let node = cluster.plane.client_as("system:node:n1", &["system:nodes", "system:authenticated"]);
    let own = ("system:node:n1", &[kubelet::GROUP] as &[_], &[] as &[_]);
    let all = ask(node, "own", signer, own, &kubelet::CLIENT_USAGES).await;
    wait::until_is(&all, "own", "it is signed", is_signed).await;
}

#[tokio::test]
async fn a_users_certificate_is_signed_when_an_administrator_approves_it() {
    let cluster = Cluster::start().await;
    let client = cluster.plane.client();
    let signer = "kubernetes.io/kube-apiserver-client";
    let user = ("jane", &["dev"] as &[_], &[] as &[_]);
    let all = ask(client.clone(), "jane", signer, user, &["client auth"]).await;
    let wrong = ask(client, "wrong", signer, user, &["server auth"]).await;
    for name in ["wrong", "jane"] {
        let mut csr = all.get(name).await.unwrap();
        assert!(!has(&csr, "Approved"), "{csr:?}");
        let status = csr.status.get_or_insert_default();
        status.conditions = Some(vec![Condition {
            type_: "Approved".to_owned(),
            status: "True".to_owned(),
            ..Condition::default()
        }]);
        all.replace_subresource("approval", name, &PostParams::default(), &csr).await.unwrap();
    }
    wait::until_is(&all, "jane", "it is signed", is_signed).await;
    wait::until_is(&wrong, "wrong", "it has failed", |csr| has(csr, "Failed")).await;
}

#[tokio::test]
async fn a_token_goes_when_it_ends_and_another_stays() {
    let cluster = Cluster::start().await;
    let all = Api::<Secret>::namespaced(cluster.plane.client(), "kube-system");
    for (name, expiration) in [("stays", "2999-01-01T00:00:00Z"), ("ends", "2026-01-01T00:00:00Z")]
    {
        let token = json!({
            "metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token",
            "stringData": {"expiration": expiration},
        });
        create(&all, &serde_json::from_value(token).unwrap()).await;
    }
    wait::until_gone(&all, "ends").await;
    all.get("stays").await.unwrap();
}
