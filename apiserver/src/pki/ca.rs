//! The certificate authority: keys and signatures, no files.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::error::PkiError;
use crate::identity::Identity;

/// Certificates aren't renewed yet, so they have to last.
const LIFETIME: Duration = Duration::days(3650);

/// Clocks differ: a certificate made here may be looked at a moment before.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
    Both,
}

/// A certificate and its key, as PEM.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A CA that can sign.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new CA's certificate and key, as PEM.
    pub(super) fn generate(name: &str) -> Result<(String, String), PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params(&Identity::new(name, &[]));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    }

    /// A CA as it was written down.
    pub(super) fn load(certificate: String, key: &str) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { certificate, issuer })
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate for an identity, good for these DNS names and addresses.
    pub(super) fn issue(
        &self,
        identity: &Identity,
        names: &[String],
        usage: Usage,
    ) -> Result<Certificate, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params(identity);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.use_authority_key_identifier_extension = true;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = match usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Both => {
                vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth]
            }
        };
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { certificate, key: key.serialize_pem() })
    }

    /// Whether this CA's key has signed the certificate.
    pub(super) fn signed(&self, certificate: &str) -> bool {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).ok();
        let (Some(leaf), Some(ca)) = (der(certificate), der(&self.certificate)) else {
            return false;
        };
        let parse = |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed);
        let (Ok(leaf), Ok(ca)) = (parse(&leaf), parse(&ca)) else { return false };
        leaf.issuer() == ca.subject() && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }
}

fn params(identity: &Identity) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, identity.user.as_str());
    for group in &identity.groups {
        name.push(DnType::OrganizationName, group.as_str());
    }
    params.distinguished_name = name;
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - CLOCK_SKEW, now + LIFETIME);
    params
}
