//! Who asks, by the client certificate of the connection, and whether that one may read here: the API
//! server and the administrators. What users may read of a pod is for the API server to decide.

use std::sync::Arc;

use axum::{
    Extension,
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// The names of API servers in their client certificates: this cluster's, and Kubernetes' own.
const API_SERVERS: [&str; 2] = ["kube-apiserver-kubelet-client", "system:kube-apiserver"];
const ADMINISTRATORS: &str = "system:masters";
/// Says only that the kubelet is there.
const PUBLIC: &str = "/healthz";

/// The owner of a certificate that the handshake has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    name: String,
    groups: Vec<String>,
}

impl User {
    /// `None` if the certificate names nobody.
    pub(super) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let organizations = subject.iter_organization().filter_map(|o| o.as_str().ok());
        Some(Self { name, groups: organizations.map(str::to_owned).collect() })
    }

    fn may_read(&self) -> bool {
        API_SERVERS.contains(&self.name.as_str())
            || self.groups.iter().any(|group| group == ADMINISTRATORS)
    }
}

/// Who asks on a connection; `None` is anonymous.
pub(super) type Caller = Option<Arc<User>>;

/// Lets a request through, or refuses it.
pub(super) async fn authorize(
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path() == PUBLIC {
        return next.run(request).await;
    }
    match caller {
        None => (StatusCode::UNAUTHORIZED, "Unauthorized").into_response(),
        Some(user) if user.may_read() => next.run(request).await,
        Some(user) => (StatusCode::FORBIDDEN, forbidden(&user.name)).into_response(),
    }
}

fn forbidden(user: &str) -> String {
    format!("Forbidden (user={user}, verb=get, resource=nodes, subresource=proxy)")
}
