//! Who asks, by the client certificate of the connection, and whether that one may: the API server and the
//! administrators, and for what everything uses who monitors. What users may do with a pod is for the API server to decide.

use std::sync::Arc;

use axum::{
    Extension,
    extract::Request,
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

const API_SERVER: &str = "system:kube-apiserver";
/// To whom API servers belong that have another name, as `kube-apiserver-kubelet-client`.
const ADMINISTRATORS: &str = "system:masters";
/// Who may read what everything uses, and nothing else.
const MONITORING: &str = "system:monitoring";
/// What has a right of its own beside the one for everything; as Kubernetes names it.
const BESIDE_PROXY: [&str; 2] = ["pods", "healthz"];
/// What has a right of its own instead.
const INSTEAD: [&str; 2] = ["metrics", "stats"];

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

    fn may(&self, request: &Request) -> bool {
        self.name == API_SERVER
            || self.is_in(ADMINISTRATORS)
            || (self.is_in(MONITORING) && monitors(request.method(), request.uri().path()))
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|found| found == group)
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
    match caller {
        None => (StatusCode::UNAUTHORIZED, "Unauthorized").into_response(),
        Some(user) if user.may(&request) => next.run(request).await,
        Some(user) => (StatusCode::FORBIDDEN, forbidden(&user.name, &request)).into_response(),
    }
}

/// Kubernetes' `get` of `nodes/metrics` and `nodes/stats`.
fn monitors(method: &Method, path: &str) -> bool {
    let metrics = path == "/metrics" || path.starts_with("/metrics/");
    *method == Method::GET && (metrics || path == "/stats/summary")
}

/// In Kubernetes' words.
fn forbidden(user: &str, request: &Request) -> String {
    let verb = match *request.method() {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    };
    let first = request.uri().path().split('/').nth(1).unwrap_or_default();
    let subresources = match first {
        own if INSTEAD.contains(&own) => own.to_owned(),
        own if BESIDE_PROXY.contains(&own) => format!("{own} proxy"),
        _ => "proxy".to_owned(),
    };
    format!(
        "Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{subresources}])\n"
    )
}
