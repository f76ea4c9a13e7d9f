//! What may go wrong with certificates.

use std::{io, path::PathBuf};

/// Why certificates can't be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file can't be read or written.
    #[error("cannot access {path}")]
    File { path: PathBuf, source: io::Error },
    /// There is no CA yet, and it isn't this caller's job to make one.
    #[error(
        "there is no certificate authority under {0}: start the apiserver once with this data directory"
    )]
    NoCa(PathBuf),
    /// A certificate can't be made or read.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The CA's key is another's.
    #[error("the key of the certificate authority is not that of its certificate")]
    OtherKey,
    /// What was read is not PEM.
    #[error("not a PEM file")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// TLS does not take the certificates.
    #[error("cannot use the certificates for TLS: {0}")]
    Tls(String),
    /// A kubeconfig can't be encoded.
    #[error("cannot encode the kubeconfig")]
    Kubeconfig(#[from] serde_yaml::Error),
}
