//! Who is asking: the owner of the client certificate of the connection, or nobody in particular.

use api_machinery::ApiError;
use http::{HeaderMap, header};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::identity::{AUTHENTICATED, Identity};

/// The identity in a certificate that the TLS handshake has verified against the cluster's CA.
pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let organizations = subject.iter_organization().filter_map(|o| o.as_str().ok());
    let mut groups: Vec<String> = organizations.map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    Some(Identity { user, groups, ..Identity::default() })
}

/// Refuses who has no certificate and shows a token: it would go on as nobody in particular, and not know why it may
/// do nothing. There are no tokens that this server has given out.
pub(crate) fn check_token(identity: &Identity, headers: &HeaderMap) -> Result<(), ApiError> {
    if identity.is_anonymous() && headers.get_all(header::AUTHORIZATION).iter().any(is_bearer) {
        return Err(ApiError::unauthorized());
    }
    Ok(())
}

/// Kubernetes: `k8s.io/apiserver/pkg/authentication/request/bearertoken`.
fn is_bearer(value: &http::HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default().trim();
    text.split_once(' ')
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_nothing_and_a_certificate_needs_none() {
        let check = |identity: &Identity, given: &'static str, expected: bool| {
            let headers = [(header::AUTHORIZATION, given.parse().unwrap())].into_iter().collect();
            assert_eq!(check_token(identity, &headers).is_ok(), expected, "{given}");
        };
        check(&Identity::anonymous(), "Bearer x", false);
        check(&Identity::anonymous(), "bearer x", false);
        check(&Identity::anonymous(), "Basic eDp5", true);
        check(&Identity::anonymous(), "Bearer", true);
        check(&Identity::admin(), "Bearer x", true);
    }
}
