//! Who is asking: the owner of the client certificate of the connection, or nobody in particular.

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::identity::Identity;

/// The identity in a certificate that the TLS handshake has verified against the cluster's CA.
pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let organizations = subject.iter_organization().filter_map(|o| o.as_str().ok());
    let mut groups: Vec<String> = organizations.map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Some(Identity { user, groups })
}
