//! An authority of a test's own, with certificates in files as servers read them.

use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

/// An authority that has signed one certificate, for 127.0.0.1, with which servers serve and clients show themselves.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// If its files can't be written.
    #[expect(clippy::new_without_default, reason = "it makes keys and files")]
    pub fn new() -> Self {
        component::install_crypto_provider();
        let this = Self { folder: tempfile::tempdir().expect("a folder can be made") };
        let key = || KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of the same name, the other certificate would be taken for its own issuer.
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("it signs itself");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]);
        let mut params = params.expect("an address is a name");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = key();
        let certificate = params.signed_by(&key, &issuer).expect("it signs");
        for (path, text) in [
            (this.authority(), issuer.pem()),
            (this.certificate(), certificate.pem()),
            (this.key(), key.serialize_pem()),
        ] {
            fs::write(path, text).expect("the folder can be written to");
        }
        this
    }

    /// The file with its own certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The file with the certificate that it has signed.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// The file with that certificate's key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    /// Connects to who shows its certificate, and shows it.
    pub(crate) fn connector(&self) -> TlsConnector {
        let certificate =
            |path: PathBuf| CertificateDer::from_pem_file(path).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate(self.authority())).expect("an authority");
        let key = PrivateKeyDer::from_pem_file(self.key()).expect("a key");
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = config.with_client_auth_cert(vec![certificate(self.certificate())], key);
        TlsConnector::from(Arc::new(config.expect("the key is the certificate's")))
    }
}
