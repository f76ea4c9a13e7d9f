//! What a server proves itself with, as a Secret of the type `kubernetes.io/tls` has it: whether it can be used at all is
//! known before a server is given it.

use api_types::api::core::v1::Secret;
use rustls::{
    crypto::ring::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, public_key::PublicKey};

/// The type of such Secrets.
pub const SECRET_TYPE: &str = "kubernetes.io/tls";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Shorter ones of RSA are taken by no server of our days.
const RSA_BITS: usize = 2048;
/// Signatures by RSA with MD5 and SHA-1, and by ECDSA with SHA-1.
const BROKEN: [&str; 3] = ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];

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

/// What OpenSSL refuses at the security level that distributions have, and a server with it as a whole.
fn check(certificate: &CertificateDer<'_>) -> Result<(), Unusable> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Err(Unusable::Certificate);
    };
    if BROKEN.contains(&certificate.signature_algorithm.algorithm.to_id_string().as_str()) {
        return Err(Unusable::Weak("a signature by SHA-1 or MD5"));
    }
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS => {
            Err(Unusable::Weak("a key of RSA with less than 2048 bits"))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(Unusable::Certificate),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
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
}
