//! Whom a webhook's server, or another API server, has to be: whoever has a certificate of one of the configuration's authorities, or shows the
//! very certificate of one. Such a server is its own authority, which rustls would not have; Kubernetes takes it, and
//! operators make their certificates so (Go: `crypto/x509`, `Certificate.Verify`).

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The protocols that are spoken, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("the CA bundle has what is not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("a certificate can't be read or used: {0}")]
    Certificate(#[from] Error),
    #[error("the CA bundle has no certificates: {0}")]
    Empty(#[from] rustls::client::VerifierBuilderError),
}

/// What a client shows: certificates that lead to its authority, and the key of the first.
pub(crate) type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// How to speak to servers that a bundle of certificates vouches for, and are shown others if there are.
pub(crate) fn client_config(
    bundle: &[u8],
    shown: Option<Shown>,
) -> Result<ClientConfig, TrustError> {
    let (mut roots, mut authorities) = (RootCertStore::empty(), Vec::new());
    let mut unreadable = None;
    for read in CertificateDer::pem_slice_iter(bundle) {
        match read.map_err(TrustError::from).and_then(|read| added(&mut roots, read)) {
            Ok(authority) => authorities.push(authority),
            Err(error) => unreadable = Some(error),
        }
    }
    // The others do (Go: `AppendCertsFromPEM`).
    if let Some(error) = unreadable.filter(|_| authorities.is_empty()) {
        return Err(error);
    }
    let signed = WebPkiServerVerifier::builder(Arc::new(roots)).build()?;
    let verifier = Arc::new(Verifier { signed, authorities });
    let config = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn added(
    roots: &mut RootCertStore,
    authority: CertificateDer<'static>,
) -> Result<CertificateDer<'static>, TrustError> {
    roots.add(authority.clone())?;
    Ok(authority)
}

#[derive(Debug)]
struct Verifier {
    signed: Arc<WebPkiServerVerifier>,
    authorities: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.signed.verify_server_cert(shown, intermediates, name, ocsp_response, now);
        if verified.is_err() && self.authorities.iter().any(|authority| authority == shown) {
            return verify_authority(shown, name, now);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, shown, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// All that is asked of a certificate but for who has signed it: it is one of those that are trusted.
fn verify_authority(
    shown: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let (_, parsed) =
        X509Certificate::from_der(shown).map_err(|_| CertificateError::BadEncoding)?;
    let (validity, now) = (parsed.validity(), i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
    };

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    /// A certificate that is its own authority, of the year 2026.
    fn own_authority(change: impl Fn(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::new(vec!["hook.ns.svc".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    /// What becomes of a server that shows a certificate, so many days after 2026 began.
    fn check(bundle: &str, shown: &str, name: &str, days: u64) -> Result<(), Error> {
        component::install_crypto_provider();
        let authorities = vec![CertificateDer::from_pem_slice(bundle.as_bytes()).unwrap()];
        let mut roots = RootCertStore::empty();
        roots.add(authorities[0].clone()).unwrap();
        let signed = WebPkiServerVerifier::builder(Arc::new(roots)).build().unwrap();
        let began = 1_767_225_600;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(began + days * DAY));
        let shown = CertificateDer::from_pem_slice(shown.as_bytes()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let verifier = Verifier { signed, authorities };
        verifier.verify_server_cert(&shown, &[], &name, &[], now).map(drop)
    }

    #[test]
    fn certificates_that_can_not_be_read_are_left_out_of_a_bundle() {
        component::install_crypto_provider();
        let odd = |content: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n")
        };
        let (no_certificate, no_text) = (odd("AAAA"), odd("!"));
        let own = own_authority(|_| {});
        let check = |bundle: &str| client_config(bundle.as_bytes(), None).map(drop);
        check(&format!("{no_certificate}{own}{no_text}")).unwrap();
        assert!(matches!(check(&no_certificate), Err(TrustError::Certificate(_))));
        assert!(matches!(check(&no_text), Err(TrustError::Pem(_))));
        assert!(matches!(check(""), Err(TrustError::Empty(_))));
    }

    #[test]
    fn a_server_may_be_its_own_authority() {
        let own = own_authority(|_| {});
        check(&own, &own, "hook.ns.svc", 1).unwrap();
    }

    #[test]
    fn who_is_its_own_authority_must_be_trusted_and_of_the_name_the_time_and_the_use() {
        let own = own_authority(|_| {});
        let other = own_authority(|_| {});
        assert!(check(&other, &own, "hook.ns.svc", 1).is_err(), "another's");
        assert!(check(&own, &own, "other.ns.svc", 1).is_err(), "the name");
        assert!(check(&own, &own, "hook.ns.svc", 400).is_err(), "it is over");
        let early = own_authority(|params| params.not_before = date_time_ymd(2026, 6, 1));
        assert!(check(&early, &early, "hook.ns.svc", 1).is_err(), "not yet");
        let of = |usage: ExtendedKeyUsagePurpose| {
            own_authority(|params| params.extended_key_usages = vec![usage.clone()])
        };
        let client = of(ExtendedKeyUsagePurpose::ClientAuth);
        assert!(check(&client, &client, "hook.ns.svc", 1).is_err(), "the use");
        let server = of(ExtendedKeyUsagePurpose::ServerAuth);
        check(&server, &server, "hook.ns.svc", 1).unwrap();
    }
}
