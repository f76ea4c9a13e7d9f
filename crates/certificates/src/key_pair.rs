//! Whether a certificate and a private key belong together, in the words of Go (`crypto/tls`, `X509KeyPair`).

use pem::Pem;
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, x509::SubjectPublicKeyInfo};

const CERTIFICATE: &str = "CERTIFICATE";
const KEY: &str = "PRIVATE KEY";

/// What is wrong with PEM files of certificates and of the first one's private key. Nothing is said of what can't be read here,
/// which others may be able to read.
#[must_use]
pub fn fault_of_pair(certificates: &[u8], key: &[u8]) -> Option<String> {
    let (certificates, keys) = (pem::parse_many(certificates).ok()?, pem::parse_many(key).ok()?);
    let Some(certificate) = certificates.iter().find(|block| block.tag() == CERTIFICATE) else {
        return Some(no_certificate(&tags(&certificates)));
    };
    let Some(key) = keys.iter().find(|block| is_key(block.tag())) else {
        return Some(no_key(&tags(&keys)));
    };
    let (_, certificate) = X509Certificate::from_der(certificate.contents()).ok()?;
    let key = KeyPair::try_from(key.contents()).ok()?.subject_public_key_info();
    let (_, of_key) = SubjectPublicKeyInfo::from_der(&key).ok()?;
    mismatch(certificate.public_key(), &of_key)
}

fn tags(blocks: &[Pem]) -> Vec<&str> {
    blocks.iter().map(Pem::tag).collect()
}

fn is_key(tag: &str) -> bool {
    tag == KEY || tag.ends_with(&format!(" {KEY}"))
}

fn no_certificate(tags: &[&str]) -> String {
    match tags {
        [] => "tls: failed to find any PEM data in certificate input".to_owned(),
        [tag] if tag.ends_with(KEY) => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned(),
        _ => format!(
            "tls: failed to find {CERTIFICATE:?} PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            tags.join(" ")
        ),
    }
}

fn no_key(tags: &[&str]) -> String {
    match tags {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        [CERTIFICATE] => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        _ => format!(
            "tls: failed to find PEM block with type ending in {KEY:?} in key input after skipping PEM blocks of the following types: [{}]",
            tags.join(" ")
        ),
    }
}

fn mismatch(one: &SubjectPublicKeyInfo<'_>, other: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    if one.algorithm.algorithm != other.algorithm.algorithm {
        Some("tls: private key type does not match public key type".to_owned())
    } else if one.subject_public_key.data != other.subject_public_key.data {
        Some("tls: private key does not match public key".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_key_belongs_to_the_certificate_of_its_public_key() {
        let told = |certificate: &str, key: &str| {
            fault_of_pair(certificate.as_bytes(), key.as_bytes()).unwrap_or_default()
        };
        let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (_, another) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (_, edwards) = pair(&rcgen::PKCS_ED25519);
        let unreadable = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
        assert_eq!(told(&certificate, &key), "");
        assert_eq!(told(&certificate, unreadable), "");
        for (certificate, key, fault) in [
            (&*certificate, &*another, "private key does not match public key"),
            (&*certificate, &*edwards, "private key type does not match public key type"),
            ("x", &*key, "failed to find any PEM data in certificate input"),
            (&*certificate, "x", "failed to find any PEM data in key input"),
            (
                &*key,
                &*certificate,
                "failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
            ),
            (
                &*certificate,
                &*certificate,
                "found a certificate rather than a key in the PEM for the private key",
            ),
        ] {
            assert_eq!(told(certificate, key), format!("tls: {fault}"));
        }
    }
}
