//! The TLS material in a kubeconfig: who this program is, and whom it trusts. A kubelet serves its own
//! HTTPS with the certificate it has as a client.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::Engine;
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use secrecy::ExposeSecret;

/// A certificate with its key, and the authority of the cluster.
#[derive(Debug)]
pub struct Credentials {
    /// Where the API server is.
    pub server: String,
    /// The certificate of this program, with its chain.
    pub certificate: Vec<CertificateDer<'static>>,
    /// The certificate's key.
    pub key: PrivateKeyDer<'static>,
    /// The cluster's authorities.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Why a kubeconfig gives no [`Credentials`].
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read, or is no kubeconfig.
    #[error("cannot read kubeconfig {path}")]
    Read {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// Something is not in the kubeconfig.
    #[error("kubeconfig {path} has no {what}")]
    Missing {
        /// The kubeconfig.
        path: PathBuf,
        /// What it has not.
        what: &'static str,
    },
    /// A field's base64 is wrong.
    #[error("{what} is not base64")]
    Base64 {
        /// Which field.
        what: &'static str,
        /// Where it is wrong.
        #[source]
        source: base64::DecodeError,
    },
    /// A file that the kubeconfig names cannot be read.
    #[error("cannot read {what} from {path}")]
    File {
        /// Which field.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A field holds no certificate or key.
    #[error("{what} is not PEM")]
    Pem {
        /// Which field.
        what: &'static str,
        /// Why not.
        #[source]
        source: pem::Error,
    },
    /// rustls does not accept the material.
    #[error("certificate and key cannot be used for TLS")]
    Tls(#[from] rustls::Error),
    /// rustls does not accept the authorities.
    #[error("the cluster's authority cannot be used to verify clients")]
    Verifier(#[from] VerifierBuilderError),
}

impl Credentials {
    /// Reads the current context of a kubeconfig.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, CredentialsError> {
        let missing = |what| CredentialsError::Missing { path: path.to_owned(), what };
        let kubeconfig = Kubeconfig::read_from(path).map_err(|source| CredentialsError::Read {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let (cluster, user) =
            current(&kubeconfig).ok_or_else(|| missing("context with a cluster and a user"))?;
        let server = cluster.server.clone().ok_or_else(|| missing("server"))?;
        Ok(Self { server, ..read(cluster, user, &missing)? })
    }

    /// A server that shows this certificate. A client may show one of its own, which the cluster's authority
    /// must have signed; whom to serve is for the server to decide.
    pub fn server_config(&self) -> Result<ServerConfig, CredentialsError> {
        let (certificate, key) = (self.certificate.clone(), self.key.clone_key());
        let provider = rustls::crypto::ring::default_provider();
        let own = CertifiedKey::from_der(certificate, key, &provider)?;
        self.server_config_with(Arc::new(SingleCertAndKey::from(own)))
    }

    /// The same with another certificate, which may be exchanged while it is served.
    pub fn server_config_with(
        &self,
        shown: Arc<dyn ResolvesServerCert>,
    ) -> Result<ServerConfig, CredentialsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(self.root_store()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let verifier = verifier.allow_unauthenticated().build()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(shown);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The cluster's authorities as rustls takes them.
    pub fn root_store(&self) -> Result<RootCertStore, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone())?;
        }
        Ok(roots)
    }
}

fn current(kubeconfig: &Kubeconfig) -> Option<(&Cluster, &AuthInfo)> {
    let name = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|c| &c.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|c| c.name == context.cluster)?;
    let user = kubeconfig.auth_infos.iter().find(|u| Some(&u.name) == context.user.as_ref())?;
    Some((cluster.cluster.as_ref()?, user.auth_info.as_ref()?))
}

fn read(
    cluster: &Cluster,
    user: &AuthInfo,
    missing: &impl Fn(&'static str) -> CredentialsError,
) -> Result<Credentials, CredentialsError> {
    let key_data = user.client_key_data.as_ref().map(|secret| secret.expose_secret().to_owned());
    let authority = material(
        "certificate-authority",
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
    )?;
    let certificate = material(
        "client-certificate",
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
    )?;
    let key = material("client-key", key_data.as_deref(), user.client_key.as_deref())?
        .ok_or_else(|| missing("client-key"))?;
    Ok(Credentials {
        server: String::new(),
        certificate: certificates("client-certificate", certificate, missing)?,
        key: PrivateKeyDer::from_pem_slice(&key)
            .map_err(|source| CredentialsError::Pem { what: "client-key", source })?,
        authorities: certificates("certificate-authority", authority, missing)?,
    })
}

/// A field's bytes: inline as base64, or in a file.
fn material(
    what: &'static str,
    data: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Vec<u8>>, CredentialsError> {
    match (data, file) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD
            .decode(data)
            .map(Some)
            .map_err(|source| CredentialsError::Base64 { what, source }),
        (None, Some(path)) => std::fs::read(path)
            .map(Some)
            .map_err(|source| CredentialsError::File { what, path: path.into(), source }),
        (None, None) => Ok(None),
    }
}

fn certificates(
    what: &'static str,
    pem: Option<Vec<u8>>,
    missing: &impl Fn(&'static str) -> CredentialsError,
) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let pem = pem.ok_or_else(|| missing(what))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|source| CredentialsError::Pem { what, source })?;
    if certificates.is_empty() { Err(missing(what)) } else { Ok(certificates) }
}
