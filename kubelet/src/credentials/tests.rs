//! Against the API server in process, with a signer that the tests play.

use std::{path::Path, sync::Arc, time::Duration};

use api_types::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest as Csr, CertificateSigningRequestCondition},
};
use certificates::{Request, Signer, validity};
use component::Credentials;
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    config::{Cluster, Kubeconfig},
};
use serde_json::json;
use testkit::{ControlPlane, wait};
use tokio_util::sync::CancellationToken;

use super::{Serving, bootstrap, files, issue::Issued, keep_client, keep_serving};

/// Approves and signs whatever is asked for until it is dropped.
fn sign_all(client: Client, signer: Arc<Signer>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let all = Api::<Csr>::all(client);
        loop {
            for csr in all.list(&ListParams::default()).await.unwrap() {
                sign(&all, csr, &signer).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

async fn sign(all: &Api<Csr>, mut csr: Csr, signer: &Signer) {
    if csr.status.as_ref().is_some_and(|status| status.certificate.is_some()) {
        return;
    }
    let name = csr.metadata.name.clone().unwrap();
    csr.status.get_or_insert_default().conditions =
        Some(vec![CertificateSigningRequestCondition {
            type_: "Approved".to_owned(),
            status: "True".to_owned(),
            ..Default::default()
        }]);
    let parameters = PostParams::default();
    let mut csr = all.replace_subresource("approval", &name, &parameters, &csr).await.unwrap();
    let request = Request::parse(&csr.spec.request.0).unwrap();
    let usages = csr.spec.usages.clone().unwrap_or_default();
    let now = api_types::jiff::Timestamp::now().as_second();
    let signed = signer.sign(&request, &usages, Duration::from_secs(3600), now).unwrap();
    csr.status.get_or_insert_default().certificate = Some(ByteString(signed.into_bytes()));
    all.replace_subresource("status", &name, &parameters, &csr).await.unwrap();
}

fn admin(plane: &ControlPlane) -> std::path::PathBuf {
    plane.kubeconfig("kubernetes-admin", &["system:masters"], &[])
}

fn authority(plane: &ControlPlane) -> Arc<Signer> {
    let admin = admin(plane);
    let folder = admin.parent().unwrap().join("pki");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    Arc::new(Signer::new(&read("ca.crt"), &read("ca.key")).unwrap())
}

/// A kubeconfig with a bootstrap token of the cluster.
async fn with_token(plane: &ControlPlane, folder: &Path) -> std::path::PathBuf {
    let secrets =
        Api::<api_types::api::core::v1::Secret>::namespaced(plane.client(), "kube-system");
    let token = json!({
        "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        },
    });
    let token = serde_json::from_value(token).unwrap();
    secrets.create(&PostParams::default(), &token).await.unwrap();
    let mut kubeconfig = Kubeconfig::read_from(admin(plane)).unwrap();
    let cluster: Cluster = kubeconfig.clusters.remove(0).cluster.unwrap();
    let path = folder.join("bootstrap.conf");
    let text = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "a", "cluster": cluster}],
        "users": [{"name": "b", "user": {"token": "abcdef.0123456789abcdef"}}],
        "contexts": [{"name": "c", "context": {"cluster": "a", "user": "b"}}],
        "current-context": "c",
    });
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

#[tokio::test]
async fn a_token_becomes_a_certificate_once_and_a_server_s_certificate_comes_of_that() {
    let plane = ControlPlane::builder().listen().start().await;
    let folder = tempfile::tempdir().unwrap();
    let signing = sign_all(plane.client(), authority(&plane));
    let from = with_token(&plane, folder.path()).await;
    let to = folder.path().join("conf/kubelet.conf");
    let shutdown = CancellationToken::new();
    let joined = wait::within("it joins", bootstrap(&from, &to, "n1", &shutdown)).await;
    assert!(joined.unwrap());
    let first = std::fs::read_to_string(&to).unwrap();
    assert!(bootstrap(&from, &to, "n1", &shutdown).await.unwrap());
    assert_eq!(std::fs::read_to_string(&to).unwrap(), first, "one that is good is kept");

    let args = component::ClientArgs { kubeconfig: Some(to.clone()), ..Default::default() };
    let own = component::client(&args).await.unwrap();
    let mut node: api_types::api::core::v1::Node = testkit::node("n1").build();
    let addresses = json!([{"type": "InternalIP", "address": "127.0.0.1"}]);
    node.status.get_or_insert_default().addresses = serde_json::from_value(addresses).unwrap();
    Api::all(own.clone()).create(&PostParams::default(), &node).await.unwrap();
    let file = folder.path().join("pki/kubelet-server.pem");
    let at = (file.clone(), "n1".to_owned(), "127.0.0.1".to_owned());
    let serving = Arc::new(Serving::default());
    let keeping = keep_serving(serving.clone(), (own, to.clone()), at, shutdown.clone());
    let keeping = tokio::spawn(keeping);
    let config = Credentials::from_kubeconfig(&to).unwrap().server_config_with(serving).unwrap();
    serves(config, &to).await;
    assert!(validity(&std::fs::read_to_string(&file).unwrap()).is_some());
    shutdown.cancel();
    keeping.await.unwrap();
    signing.abort();
}

/// A client that knows the cluster's authority gets through, once there is a certificate.
async fn serves(config: rustls::ServerConfig, kubeconfig: &Path) {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = acceptor.accept(stream).await;
        }
    });
    let roots = Credentials::from_kubeconfig(kubeconfig).unwrap().root_store().unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.with_no_client_auth()));
    wait::until("the server has a certificate", async || {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = address.ip().into();
        connector.connect(rustls::pki_types::ServerName::IpAddress(name), stream).await
    })
    .await;
    accepting.abort();
}

#[tokio::test]
async fn a_certificate_is_renewed_in_its_file_before_it_ends() {
    let plane = ControlPlane::builder().listen().start().await;
    let folder = tempfile::tempdir().unwrap();
    let signer = authority(&plane);
    let signing = sign_all(plane.client(), signer.clone());
    let path = folder.path().join("kubelet.conf");
    let mut kubeconfig = Kubeconfig::read_from(admin(&plane)).unwrap();
    let cluster: Cluster = kubeconfig.clusters.remove(0).cluster.unwrap();
    let key = certificates::new_key().unwrap();
    let request =
        certificates::new_request(&key, "system:node:n1", &["system:nodes"], &[]).unwrap();
    let request = Request::parse(request.as_bytes()).unwrap();
    let half_an_hour_ago = api_types::jiff::Timestamp::now().as_second() - 1800;
    let lifetime = Duration::from_secs(1860);
    let old = signer.sign(&request, &["client auth".to_owned()], lifetime, half_an_hour_ago);
    let old = Issued { certificate: old.unwrap(), key };
    let text = files::kubeconfig(&cluster, "system:node:n1", &old).to_string();
    files::write(&path, &text).unwrap();
    let before = files::validity(&path).unwrap();
    let shutdown = CancellationToken::new();
    let args = component::ClientArgs { kubeconfig: Some(path.clone()), ..Default::default() };
    let own = component::client(&args).await.unwrap();
    let keeping = tokio::spawn(keep_client(own, path.clone(), "n1".to_owned(), shutdown.clone()));
    wait::until("the certificate is new", async || match files::validity(&path) {
        Some(now) if now.not_after > before.not_after => Ok(()),
        now => Err(now),
    })
    .await;
    shutdown.cancel();
    keeping.await.unwrap();
    signing.abort();
}
