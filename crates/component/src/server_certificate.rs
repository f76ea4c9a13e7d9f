//! What a server proves itself with, as a Secret of the type `kubernetes.io/tls` has it: whether it can be used at all is
//! known before a server is given it.

use api_types::api::core::v1::Secret;
use rustls::{
    crypto::ring::{
        default_provider,
        kx_group::{SECP256R1, SECP384R1},
    },
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::{
    asn1_rs::Tag, certificate::X509Certificate, prelude::FromDer, public_key::RSAPublicKey,
    x509::SubjectPublicKeyInfo,
};

/// The type of such Secrets.
pub const SECRET_TYPE: &str = "kubernetes.io/tls";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
/// By RSA with SHA-256, -384 and -512, the same by ECDSA, and Ed25519. What PSS is made with is in parameters, which may
/// say SHA-1.
const SIGNATURES: [&str; 7] = [
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    ED25519,
];
const RSA: &str = "1.2.840.113549.1.1.1";
const ELLIPTIC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
/// How DER has the names of the curves.
const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: [u8; 5] = [0x2b, 0x81, 0x04, 0x00, 0x22];
/// Shorter ones of RSA are taken by no server of our days, longer ones not by OpenSSL.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=16_384;

/// A certificate and its key.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The chain, the server's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key, which `Debug` does not tell.
    pub key: PrivateKeyDer<'static>,
}

/// Why a Secret has none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no such key, or nothing in it.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// It is not what PEM has.
    #[error("{0} has no PEM that can be read")]
    Pem(&'static str, #[source] pem::Error),
    /// One of the chain is no certificate.
    #[error("tls.crt has a certificate that can't be read")]
    Certificate,
    /// One of the chain is not to be trusted by anybody.
    #[error("tls.crt has a certificate with {0}")]
    Weak(&'static str),
    /// The key is of no kind that is known, or not the certificate's.
    #[error("tls.key is not a key for the certificate of tls.crt")]
    Key(#[source] rustls::Error),
}

impl ServerCertificate {
    /// The one in a Secret.
    ///
    /// # Errors
    ///
    /// There is none, or servers would not take it.
    pub fn of(secret: &Secret) -> Result<Self, Unusable> {
        let data = |name| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(name));
            let bytes = bytes.map(|bytes| bytes.0.as_slice()).filter(|bytes| !bytes.is_empty());
            bytes.ok_or(Unusable::Missing(name))
        };
        let chain = CertificateDer::pem_slice_iter(data(CHAIN)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| Unusable::Pem(CHAIN, error))?;
        if chain.is_empty() {
            return Err(Unusable::Pem(CHAIN, pem::Error::NoItemsFound));
        }
        chain.iter().try_for_each(check)?;
        let key = PrivateKeyDer::from_pem_slice(data(KEY)?);
        let key = key.map_err(|error| Unusable::Pem(KEY, error))?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider())
            .map_err(Unusable::Key)?;
        Ok(ServerCertificate { chain, key })
    }
}

/// OpenSSL refuses some at the security level that distributions have, and a server with such a one takes nothing of its
/// configuration: so only what is known to be taken is let through.
fn check(certificate: &CertificateDer<'_>) -> Result<(), Unusable> {
    let Ok(([], certificate)) = X509Certificate::from_der(certificate) else {
        return Err(Unusable::Certificate);
    };
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    if !SIGNATURES.contains(&signature.as_str()) {
        let others =
            "a signature other than Ed25519 and those of RSA and ECDSA with SHA-2 (as by SHA-1)";
        return Err(Unusable::Weak(others));
    }
    check_key(certificate.public_key())
}

fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Unusable> {
    let bytes: &[u8] = &key.subject_public_key.data;
    let parameters = key.algorithm.parameters.as_ref();
    match key.algorithm.algorithm.to_id_string().as_str() {
        RSA if parameters.is_none_or(|it| it.tag() == Tag::Null) => check_rsa(bytes),
        ELLIPTIC => {
            let curve = parameters.filter(|it| it.tag() == Tag::Oid).map_or(&[][..], |it| it.data);
            check_point(curve, bytes)
        }
        ED25519 if bytes.len() == 32 && parameters.is_none() => Ok(()),
        _ => Err(Unusable::Weak("a key that is none of RSA, P-256, P-384 and Ed25519")),
    }
}

fn check_rsa(bytes: &[u8]) -> Result<(), Unusable> {
    let Ok(([], key)) = RSAPublicKey::from_der(bytes) else { return Err(Unusable::Certificate) };
    if !is_positive(key.modulus) || !is_positive(key.exponent) {
        return Err(Unusable::Certificate);
    }
    match RSA_BITS.contains(&key.key_size()) {
        true => Ok(()),
        false => Err(Unusable::Weak("a key of RSA with less than 2048 bits, or more than 16384")),
    }
}

/// Whether DER has a number above zero so, without zeros that only make it longer.
fn is_positive(number: &[u8]) -> bool {
    match number {
        [0, next, ..] => *next >= 0x80,
        [first, ..] => (1..0x80).contains(first),
        [] => false,
    }
}

/// Whether the point is on the curve: whoever exchanges keys has to look at it.
fn check_point(curve: &[u8], point: &[u8]) -> Result<(), Unusable> {
    let group = if *curve == P256 {
        SECP256R1
    } else if *curve == P384 {
        SECP384R1
    } else {
        return Err(Unusable::Weak("a key of a curve other than P-256 and P-384"));
    };
    let exchanged = group.start().and_then(|exchange| exchange.complete(point));
    exchanged.map(drop).map_err(|_| Unusable::Certificate)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
        SignatureAlgorithm,
    };
    use serde_json::json;

    use super::*;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn of(chain: &str, key: &str) -> Result<ServerCertificate, Unusable> {
        let secret = json!({"stringData": null});
        let mut secret: Secret = serde_json::from_value(secret).unwrap();
        let bytes = |text: &str| api_types::ByteString(text.as_bytes().to_vec());
        let data = [(CHAIN, chain), (KEY, key)].map(|(name, it)| (name.to_owned(), bytes(it)));
        secret.data = Some(data.into());
        ServerCertificate::of(&secret)
    }

    fn fault(chain: &str, key: &str) -> String {
        of(chain, key).unwrap_err().to_string()
    }

    #[test]
    fn a_certificate_with_its_key_can_be_used_and_no_key_is_told() {
        let ((mine, key), (theirs, _)) = (pair(), pair());
        let found = of(&format!("{mine}{theirs}"), &key).unwrap();
        assert_eq!(found.chain.len(), 2);
        let told = format!("{found:?}");
        assert!(!told.contains(&key[40..60]) && told.contains("elided"), "{told}");
    }

    #[test]
    fn what_no_server_would_take_is_found_out() {
        let ((mine, key), (_, other)) = (pair(), pair());
        let wrong = "tls.key is not a key for the certificate of tls.crt";
        assert_eq!(fault(&mine, &other), wrong);
        assert_eq!(fault("", &key), "tls.crt is missing");
        assert_eq!(fault(&mine, ""), "tls.key is missing");
        assert_eq!(fault("x", &key), "tls.crt has no PEM that can be read");
        assert_eq!(fault(&mine, "x"), "tls.key has no PEM that can be read");
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let unreadable = "tls.crt has a certificate that can't be read";
        assert_eq!(fault(no_certificate, &key), unreadable);
        assert_eq!(fault(&format!("{mine}{no_certificate}"), &key), unreadable);
    }

    /// Made by `openssl req -x509 -newkey rsa:1024 -sha256` and `-newkey rsa:2048 -sha1`, `-days 36500 -subj /CN=weak.test`.
    #[test]
    fn nor_is_what_openssl_refuses_taken() {
        let (_, key) = pair();
        let short = include_str!("server_certificate/rsa1024.pem");
        assert!(fault(short, &key).contains("less than 2048 bits"));
        let old = include_str!("server_certificate/sha1.pem");
        assert!(fault(old, &key).contains("SHA-1"));
    }

    fn der(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn checked(der: Vec<u8>) -> String {
        check(&CertificateDer::from(der)).map_or_else(|fault| fault.to_string(), |()| String::new())
    }

    /// With something else of the same length in place of this, wherever it is.
    fn with(mut der: Vec<u8>, this: &[u8], other: &[u8]) -> Vec<u8> {
        let at: Vec<_> = (0..der.len()).filter(|at| der[*at..].starts_with(this)).collect();
        assert!(!at.is_empty());
        at.into_iter().for_each(|at| der[at..at + other.len()].copy_from_slice(other));
        der
    }

    #[test]
    fn the_kinds_of_keys_and_signatures_of_our_days_are_taken() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            assert_eq!(checked(der(algorithm)), "");
        }
    }

    #[test]
    fn what_is_not_known_to_be_taken_is_refused() {
        let good = || der(&PKCS_ECDSA_P256_SHA256);
        let by_sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let by_sha224 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01];
        assert!(checked(with(good(), &by_sha256, &by_sha224)).contains("a signature other than"));
        // Ed448.
        let other = with(der(&PKCS_ED25519), &[0x2b, 0x65, 0x70], &[0x2b, 0x65, 0x71]);
        assert!(checked(other).contains("a signature other than"));
        // prime239v3.
        let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x06];
        assert!(checked(with(good(), &P256, &curve)).contains("a curve other than"));
        // Of no kind.
        let kind = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        let no_kind = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x02];
        assert!(checked(with(good(), &kind, &no_kind)).contains("a key that is none of"));
    }

    #[test]
    fn a_key_that_is_no_point_of_its_curve_is_refused() {
        let good = der(&PKCS_ECDSA_P256_SHA256);
        let point = [0x03, 0x42, 0x00, 0x04];
        let at = good.windows(4).position(|bytes| bytes == point).unwrap();
        let mut bad = good;
        bad[at + 10] ^= 1;
        assert_eq!(checked(bad), "tls.crt has a certificate that can't be read");
    }
}
