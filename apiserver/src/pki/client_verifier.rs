//! Which certificates are good for a client.

use std::sync::Arc;

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{error::PkiError, pem};

/// Goes by some authorities.
#[derive(Clone, Debug)]
pub(crate) struct ClientVerifier(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientVerifier {
    /// By these, PEM.
    ///
    /// # Errors
    /// If there is none, or one can't be used.
    pub(crate) fn of(authorities: &str) -> Result<Self, PkiError> {
        component::install_crypto_provider();
        let authorities = Arc::new(pem::authorities(authorities)?);
        let verifier = WebPkiClientVerifier::builder(authorities).allow_unauthenticated();
        verifier.build().map(Self).map_err(|error| PkiError::Tls(error.to_string()))
    }

    /// Whether the first certificate leads to one of them now, be it over the others.
    pub(crate) fn verifies(&self, chain: &[CertificateDer<'_>]) -> bool {
        let [certificate, others @ ..] = chain else { return false };
        self.0.verify_client_cert(certificate, others, UnixTime::now()).is_ok()
    }
}
