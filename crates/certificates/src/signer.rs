//! A certificate authority that signs what is asked for (Kubernetes: `pkg/controller/certificates/authority`).

use std::{fmt, time::Duration};

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use time::OffsetDateTime;

use crate::{certificate, request::Request, usage};

/// Clocks differ: a certificate is good from a moment before.
const BACKDATE: i64 = 5 * 60;
/// Of certificates that are good for less, the end is not brought forward for that.
const SHORT: i64 = 8 * 60 * 60;

/// A CA's certificate with its key.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    /// Nothing that it signs lasts longer. In seconds since 1970.
    not_after: i64,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The authority can't be used.
    #[error("cannot use the authority's certificate and key")]
    Authority(#[source] rcgen::Error),
    /// What was read as the authority's certificate is none.
    #[error("the authority's certificate is not PEM of a certificate")]
    NoCertificate,
    /// The authority's own certificate has ended.
    #[error("the signer has expired")]
    Expired,
    /// Of each attribute of a subject, one can be signed.
    #[error("a subject with several attributes of one type (organizations) can't be signed here")]
    Subject,
    /// A certificate can't be made.
    #[error("cannot sign the certificate")]
    Sign(#[source] rcgen::Error),
}

impl SignError {
    /// Whether that is the fault of who asks, who had better ask for something else.
    #[must_use]
    pub fn is_of_the_request(&self) -> bool {
        matches!(self, Self::Subject)
    }
}

impl Signer {
    /// An authority, of its certificate and its key as PEM.
    ///
    /// # Errors
    /// If they are none.
    pub fn new(certificate: &str, key: &str) -> Result<Self, SignError> {
        let key = KeyPair::from_pem(key).map_err(SignError::Authority)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(SignError::Authority)?;
        let validity = certificate::validity(certificate).ok_or(SignError::NoCertificate)?;
        Ok(Self { issuer, not_after: validity.not_after })
    }

    /// Signs, for these usages and this long from `now` (seconds since 1970) on.
    ///
    /// # Errors
    /// If the request can't be signed, or the authority has ended.
    pub fn sign(
        &self,
        request: &Request,
        usages: &[String],
        lifetime: Duration,
        now: i64,
    ) -> Result<String, SignError> {
        if now >= self.not_after {
            return Err(SignError::Expired);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = request.subject.clone().ok_or(SignError::Subject)?;
        params.subject_alt_names = request.names();
        params.key_usages = usage::of_keys(usages);
        params.extended_key_usages = usage::extended(usages);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial().into());
        (params.not_before, params.not_after) = self.validity(lifetime, now);
        let certificate = params.signed_by(&request.public_key, &self.issuer);
        certificate.map(|certificate| certificate.pem()).map_err(SignError::Sign)
    }

    fn validity(&self, lifetime: Duration, now: i64) -> (OffsetDateTime, OffsetDateTime) {
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2);
        let backdated = if lifetime < SHORT { 0 } else { BACKDATE };
        let end = now.saturating_add(lifetime - backdated).min(self.not_after);
        let time = |seconds| {
            OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
        };
        (time(now - BACKDATE), time(end))
    }
}

/// Positive, and no two alike.
fn serial() -> Vec<u8> {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    bytes.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Validity, new_key, new_request, validity};
    use rcgen::BasicConstraints;

    const HOUR: i64 = 3600;
    const NOW: i64 = 1_800_000_000;

    fn authority(until: i64) -> Signer {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = OffsetDateTime::from_unix_timestamp(until).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Signer::new(&certificate, &key.serialize_pem()).unwrap()
    }

    fn request(groups: &[&str]) -> Request {
        let text = new_request(&new_key().unwrap(), "jane", groups, &["a.b".to_owned()]).unwrap();
        Request::parse(text.as_bytes()).unwrap()
    }

    fn sign(signer: &Signer, hours: i64, now: i64) -> Result<String, SignError> {
        let lifetime = Duration::from_secs(u64::try_from(hours * HOUR).unwrap());
        signer.sign(&request(&["dev"]), &["client auth".to_owned()], lifetime, now)
    }

    #[test]
    fn a_certificate_lasts_as_long_as_was_asked_for_and_no_longer_than_its_authority() {
        let signer = authority(NOW + 100 * HOUR);
        let check = |hours, not_after| {
            let signed = validity(&sign(&signer, hours, NOW).unwrap());
            assert_eq!(signed, Some(Validity { not_before: NOW - 300, not_after }), "{hours}");
        };
        check(1, NOW + HOUR);
        check(50, NOW + 50 * HOUR - 300);
        check(200, NOW + 100 * HOUR);
        let expired = sign(&signer, 1, NOW + 100 * HOUR);
        assert!(matches!(expired, Err(SignError::Expired)), "{expired:?}");
    }

    #[test]
    fn a_certificate_says_what_was_asked_for_and_what_it_is_for() {
        use x509_parser::{certificate::X509Certificate, prelude::FromDer};
        let text = sign(&authority(NOW + 100 * HOUR), 1, NOW).unwrap();
        let block = pem::parse(text).unwrap();
        let (_, certificate) = X509Certificate::from_der(block.contents()).unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=jane, O=dev");
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !certificate.is_ca());
        let names = certificate.subject_alternative_name().unwrap().unwrap().value;
        assert_eq!(names.general_names.len(), 1);
    }

    #[test]
    fn a_user_of_several_groups_can_not_be_signed() {
        // What makes requests here has one organization, too: two, as openssl writes them.
        let text = include_str!("testdata/two-organizations.csr");
        let request = Request::parse(text.as_bytes()).unwrap();
        assert_eq!(request.organizations, ["dev", "qa"]);
        let signed = authority(NOW + HOUR).sign(&request, &[], Duration::from_secs(600), NOW);
        assert!(signed.unwrap_err().is_of_the_request());
    }
}
