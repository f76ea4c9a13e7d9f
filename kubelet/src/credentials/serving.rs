//! The certificate that the kubelet's server shows: asked for like the other one, and exchanged while it serves.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use api_types::{api::core::v1::Node, jiff::Timestamp};
use kube::{Api, Client};
use parking_lot::RwLock;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use super::{
    files,
    issue::{IssueError, Issued, Wanted, issue},
    renewal,
};

/// How often the time is looked at: a machine may sleep.
const LOOK: Duration = Duration::from_secs(30);
/// Until it is looked again whether the node is registered, or the API server there.
const RETRY: Duration = Duration::from_secs(1);

/// The certificate of the moment. Without one, nobody is served.
#[derive(Debug, Default)]
pub(crate) struct Serving(RwLock<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }
}

impl Serving {
    fn show(&self, pem: &str) -> anyhow::Result<()> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
        *self.0.write() = Some(Arc::new(CertifiedKey::new(certificates, key)));
        Ok(())
    }
}

/// Has the server show the certificate in the file, and renews it whenever it is due, until shutdown. It is of the node's
/// name and address.
pub(crate) async fn keep_serving(
    serving: Arc<Serving>,
    (client, kubeconfig): (Client, PathBuf),
    (file, node, address): (PathBuf, String, String),
    shutdown: CancellationToken,
) {
    let wanted = Wanted::serving(&node, vec![node.clone(), address]);
    let keep = async {
        let mut fruitless = 0;
        loop {
            let pause = match keep(&serving, (&client, kubeconfig.as_path()), &file, &wanted).await
            {
                Ok(()) => {
                    fruitless = 0;
                    LOOK
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "no certificate to serve with yet"
                    );
                    let is_fruitless =
                        error.downcast_ref::<IssueError>().is_some_and(IssueError::is_fruitless);
                    fruitless += u32::from(is_fruitless);
                    if is_fruitless { renewal::pause(fruitless) } else { RETRY }
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    shutdown.run_until_cancelled(keep).await;
}

async fn keep(
    serving: &Serving,
    (client, kubeconfig): (&Client, &Path),
    file: &Path,
    wanted: &Wanted,
) -> anyhow::Result<()> {
    let now = Timestamp::now().as_second();
    let kept = fs::read_to_string(file).unwrap_or_default();
    let validity = certificates::validity(&kept);
    let is_good = validity.is_some_and(|validity| validity.not_after > now);
    let is_shown = serving.0.read().is_some();
    // What is kept may be of another address or cluster, or half a file.
    let authority = files::authority(kubeconfig);
    let shows = is_shown
        || is_good && fits(&kept, wanted, authority.as_deref()) && serving.show(&kept).is_ok();
    if shows && validity.is_some_and(|validity| now < renewal::due(validity, &wanted.node)) {
        return Ok(());
    }
    // A node's certificate is approved for the addresses that it says there.
    let node = Api::<Node>::all(client.clone()).get_opt(&wanted.node).await?;
    let addresses = node.and_then(|node| node.status?.addresses).unwrap_or_default();
    anyhow::ensure!(!addresses.is_empty(), "the node is not registered yet");
    let Issued { certificate, key } = issue(client, wanted).await?;
    let pem = certificate + &key;
    files::write(file, &pem).with_context(|| format!("cannot write {}", file.display()))?;
    serving.show(&pem)?;
    tracing::info!("the certificate of the kubelet's server is new");
    Ok(())
}

/// Whether a certificate is of all names that are wanted, and of the cluster's authority, if that is known.
fn fits(kept: &str, wanted: &Wanted, authority: Option<&str>) -> bool {
    let names = certificates::names(kept);
    let is_ours = authority.is_none_or(|authority| certificates::is_signed_by(kept, authority));
    is_ours && wanted.names.iter().all(|name| names.contains(name))
}
