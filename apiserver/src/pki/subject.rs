//! Whom a certificate names.

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::identity::{AUTHENTICATED, Identity};

/// The identity in a certificate that is of an authority of clients, and when the certificate ends, in seconds since 1970.
pub(crate) fn identity_of(certificate: &CertificateDer<'_>) -> Option<(Identity, i64)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let organizations = subject.iter_organization().filter_map(|o| o.as_str().ok());
    let mut groups: Vec<String> = organizations.map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    let not_after = certificate.validity().not_after.timestamp();
    Some((Identity { user, groups, ..Identity::default() }, not_after))
}
