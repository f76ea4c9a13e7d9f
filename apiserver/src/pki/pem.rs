//! Certificates as files have them.

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::error::PkiError;

/// All of a bundle.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    Ok(CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?)
}
