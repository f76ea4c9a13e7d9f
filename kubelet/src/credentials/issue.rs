//! One certificate: asked for with a CertificateSigningRequest, and waited for.

use std::time::Duration;

use api_types::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest as Csr, CertificateSigningRequestSpec},
};
use certificates::{KeyError, kubelet, new_key, new_request};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::wait::{self, await_condition},
};

/// A request that nobody has decided by then is made anew (Kubernetes: 15 minutes).
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) node: String,
    pub(super) signer: &'static str,
    pub(super) usages: [&'static str; 2],
    /// Of a server.
    pub(super) names: Vec<String>,
}

impl Wanted {
    /// For the API server.
    pub(super) fn client(node: &str) -> Self {
        let (signer, usages) = (kubelet::CLIENT_SIGNER, kubelet::CLIENT_USAGES);
        Self { node: node.to_owned(), signer, usages, names: Vec::new() }
    }

    /// For who connects to this kubelet at one of these names.
    pub(super) fn serving(node: &str, names: Vec<String>) -> Self {
        let (signer, usages) = (kubelet::SERVING_SIGNER, kubelet::SERVING_USAGES);
        Self { node: node.to_owned(), signer, usages, names }
    }

    /// The kubelet as a user.
    pub(super) fn user(&self) -> String {
        format!("{}{}", kubelet::USER_PREFIX, self.node)
    }
}

/// A certificate and its key, PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error("cannot ask for a certificate")]
    Ask(#[source] kube::Error),
    #[error("cannot make a request for a certificate")]
    Key(#[from] KeyError),
    #[error("cannot wait for the certificate {0}")]
    Wait(String, #[source] wait::Error),
    #[error(
        "nobody has approved the certificate {0} (kubectl get csr; kubectl certificate approve {0})"
    )]
    Undecided(String),
    #[error("the certificate {name} was {decision}: {why}")]
    Refused { name: String, decision: String, why: String },
}

impl IssueError {
    /// Whether the request was made, and nobody gave a certificate for it.
    pub(super) fn is_fruitless(&self) -> bool {
        matches!(self, Self::Undecided(_) | Self::Refused { .. })
    }
}

/// Asks for a certificate of a new key and waits for it.
pub(super) async fn issue(client: &Client, wanted: &Wanted) -> Result<Issued, IssueError> {
    let key = new_key()?;
    let request = new_request(&key, &wanted.user(), &[kubelet::GROUP], &wanted.names)?;
    let mut csr = Csr {
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.into_bytes()),
            signer_name: wanted.signer.to_owned(),
            usages: Some(wanted.usages.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        ..Csr::default()
    };
    csr.metadata.generate_name = Some("csr-".to_owned());
    let api = Api::<Csr>::all(client.clone());
    let made = api.create(&PostParams::default(), &csr).await.map_err(IssueError::Ask)?;
    let name = made.metadata.name.unwrap_or_default();
    tracing::info!(csr = name, signer = wanted.signer, "waiting for a certificate");
    // One that is deleted is decided by nobody any more.
    let decided = await_condition(api, &name, |csr: Option<&Csr>| {
        csr.is_none_or(|csr| outcome(csr).is_some())
    });
    let decided = tokio::time::timeout(PATIENCE, decided).await;
    let decided = decided.map_err(|_| IssueError::Undecided(name.clone()))?;
    let decided = decided.map_err(|error| IssueError::Wait(name.clone(), error))?;
    match decided.as_ref().and_then(outcome) {
        Some(Ok(certificate)) => Ok(Issued { certificate, key }),
        Some(Err((decision, why))) => Err(IssueError::Refused { name, decision, why }),
        None => Err(IssueError::Undecided(name)),
    }
}

/// The certificate, or what was decided instead; `None` as long as nothing is.
fn outcome(csr: &Csr) -> Option<Result<String, (String, String)>> {
    let status = csr.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let refused = conditions.iter().find(|it| ["Denied", "Failed"].contains(&it.type_.as_str()));
    if let Some(refused) = refused {
        return Some(Err((
            refused.type_.to_lowercase(),
            refused.message.clone().unwrap_or_default(),
        )));
    }
    let ByteString(certificate) = status.certificate.as_ref().filter(|it| !it.0.is_empty())?;
    Some(Ok(String::from_utf8_lossy(certificate).into_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_request_is_decided_by_a_certificate_or_a_refusal() {
        let check = |status: Value, expected: Option<Result<&str, (&str, &str)>>| {
            let csr = json!({"spec": {"request": "", "signerName": ""}, "status": status});
            let found = outcome(&serde_json::from_value(csr).unwrap());
            let found = found.as_ref().map(|it| {
                it.as_deref().map_err(|(decision, why)| (decision.as_str(), why.as_str()))
            });
            assert_eq!(found, expected, "{status}");
        };
        check(json!({"conditions": [{"type": "Approved", "status": "True"}]}), None);
        check(json!({"certificate": "eA=="}), Some(Ok("x")));
        let denied = json!([{"type": "Denied", "status": "True", "message": "no"}]);
        check(json!({"conditions": denied}), Some(Err(("denied", "no"))));
    }
}
