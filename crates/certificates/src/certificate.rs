//! What can be read of certificates.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::request::address;

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

/// The host names and addresses of which the first certificate of a PEM file is.
#[must_use]
pub fn names(text: &str) -> BTreeSet<String> {
    let names = with_first(text, |certificate| {
        let Ok(Some(names)) = certificate.subject_alternative_name() else {
            return BTreeSet::new();
        };
        names.value.general_names.iter().filter_map(name).collect()
    });
    names.unwrap_or_default()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    }
}

/// Whether the first certificate of a PEM file was signed by the first of another one.
#[must_use]
pub fn is_signed_by(text: &str, authority: &str) -> bool {
    let signed = with_first(authority, |authority| {
        with_first(text, |certificate| {
            certificate.issuer() == authority.subject()
                && certificate.verify_signature(Some(authority.public_key())).is_ok()
        })
    });
    signed.flatten().unwrap_or_default()
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
    fn a_certificate_says_whose_it_is_and_who_signed_it() {
        let authority = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).unwrap().pem();
            let signer = crate::Signer::new(&certificate, &key.serialize_pem()).unwrap();
            (certificate, signer)
        };
        let ((ours, signer), (theirs, _)) = (authority(), authority());
        let wanted = ["n1", "10.0.0.1"].map(str::to_owned);
        let request = crate::new_request(&crate::new_key().unwrap(), "n1", &[], &wanted).unwrap();
        let request = crate::Request::parse(request.as_bytes()).unwrap();
        let hour = std::time::Duration::from_secs(3600);
        let signed = signer.sign(&request, &["server auth".to_owned()], hour, 1_800_000_000);
        let signed = signed.unwrap();
        assert_eq!(names(&signed), BTreeSet::from(wanted));
        assert!(is_signed_by(&signed, &ours) && !is_signed_by(&signed, &theirs));
        assert!(names("x").is_empty() && !is_signed_by("x", &ours));
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
