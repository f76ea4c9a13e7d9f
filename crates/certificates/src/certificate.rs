//! What can be read of certificates.

use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

const LABEL: &str = "CERTIFICATE";

/// From when until when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: i64,
    /// Its last second.
    pub not_after: i64,
}

/// From when until when the first certificate of a PEM file is good; `None` if there is none.
#[must_use]
pub fn validity(text: &str) -> Option<Validity> {
    with_first(text, |certificate| Validity {
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// The hash of the first certificate's public key, as `kubeadm` has it: `sha256:` and the digest of its
/// `SubjectPublicKeyInfo`.
#[must_use]
pub fn public_key_hash(text: &str) -> Option<String> {
    with_first(text, |certificate| {
        let digest = Sha256::digest(certificate.public_key().raw);
        digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    })
}

fn with_first<T>(text: &str, read: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let block = pem::parse(text).ok().filter(|block| block.tag() == LABEL)?;
    let (_, certificate) = X509Certificate::from_der(block.contents()).ok()?;
    Some(read(&certificate))
}

/// Whether a text has certificates as PEM, at least one, and nothing else as PEM.
///
/// # Errors
/// What is wrong with it.
pub fn are_certificates(text: &[u8]) -> Result<(), String> {
    let blocks = pem::parse_many(text).map_err(|error| error.to_string())?;
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    for block in blocks {
        if block.tag() != LABEL {
            let found = block.tag();
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {found:?}"));
        }
        if block.headers().iter().next().is_some() {
            return Err("no PEM block headers are permitted".to_owned());
        }
        X509Certificate::from_der(block.contents()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by openssl, which has told the hash.
    const AUTHORITY: &str = include_str!("testdata/ca.crt");
    const HASH: &str = include_str!("testdata/ca.hash");

    #[test]
    fn the_hash_is_openssls() {
        assert_eq!(public_key_hash(AUTHORITY).as_deref(), Some(HASH.trim()));
        assert_eq!(public_key_hash("x"), None);
    }

    #[test]
    fn certificates_alone_are_certificates() {
        assert_eq!(are_certificates(AUTHORITY.as_bytes()), Ok(()));
        assert_eq!(are_certificates(AUTHORITY.repeat(2).as_bytes()), Ok(()));
        let told = |text: &str| are_certificates(text.as_bytes()).unwrap_err();
        assert_eq!(told("x"), "must contain at least one CERTIFICATE PEM block");
        let key = crate::new_key().unwrap();
        let why = "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\"";
        assert_eq!(told(&(AUTHORITY.to_owned() + &key)), why);
    }
}
