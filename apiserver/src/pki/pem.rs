//! Certificates as files have them.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::error::PkiError;

/// All of a bundle.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    Ok(CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?)
}

/// All of a bundle, as what others lead to.
pub(crate) fn authorities(pem: &str) -> Result<RootCertStore, PkiError> {
    let mut authorities = RootCertStore::empty();
    for authority in certificates(pem)? {
        authorities.add(authority).map_err(|error| PkiError::Tls(error.to_string()))?;
    }
    Ok(authorities)
}
