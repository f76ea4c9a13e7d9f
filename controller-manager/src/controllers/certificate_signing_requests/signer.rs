//! Signs approved requests with the cluster's authority, if it is at hand
//! (Kubernetes: `pkg/controller/certificates/signer`).

use std::time::Duration;

use api_types::ByteString;
use api_types::api::certificates::v1::CertificateSigningRequest as Csr;
use certificates::{Request, SignError, kubelet};
use kube::Client;

use super::{APPROVED, DENIED, FAILED, certificate, has, usages, with, write};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Controller, Error, Fault, Next, ObjectKey, Registered};
use crate::informers::Informers;
use crate::signing::Signing;

/// Signs certificates for users of the API server.
const USER_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// Kubernetes' limit from below, whatever was asked for.
const SHORTEST: Duration = Duration::from_secs(600);

/// `None` without an authority.
pub(crate) fn register(context: &Context) -> Option<Registered> {
    let signing = context.settings.signing.clone()?;
    let queue = super::queue(context);
    let (client, clock) = (context.client(), context.clock);
    let informers = context.informers.clone();
    let signer = SigningController { client, clock, signing, informers: informers.clone() };
    Some(Registered::new(signer, queue).reads(&*informers.certificate_signing_requests))
}

struct SigningController {
    client: Client,
    clock: Clock,
    signing: Signing,
    informers: Informers,
}

/// The authority can't be used (any more).
#[derive(Debug, thiserror::Error)]
#[error("cannot sign a certificate: {0}")]
struct Unusable(SignError);

impl Fault for Unusable {
    fn may_pass(&self) -> bool {
        false
    }
}

#[async_trait::async_trait]
impl Controller for SigningController {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-signing-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(csr) = self.informers.certificate_signing_requests.get(key) else {
            return Ok(Next::Change);
        };
        if !waits(&csr) {
            return Ok(Next::Change);
        }
        let signed = match self.sign(&csr) {
            Ok(Some(signed)) => signed,
            Ok(None) => return Ok(Next::Change),
            Err(Refusal::Request(why)) => with(&csr, FAILED, "SignerValidationFailure", &why),
            Err(Refusal::Authority(error)) => return Err(Unusable(error).into()),
        };
        write(&self.client, &signed, "status", "signing a certificate").await?;
        Ok(Next::Change)
    }
}

enum Refusal {
    /// It is not what its signer signs.
    Request(String),
    Authority(SignError),
}

impl SigningController {
    /// The request with its certificate; `None` if its signer is another.
    fn sign(&self, csr: &Csr) -> Result<Option<Csr>, Refusal> {
        let request = Request::parse(&csr.spec.request.0);
        let request = request.map_err(|error| Refusal::Request(error.to_string()))?;
        let Some(checked) = check(csr, &request) else { return Ok(None) };
        checked.map_err(Refusal::Request)?;
        let lifetime = lifetime(csr.spec.expiration_seconds, self.signing.longest);
        let now = self.clock.now().as_second();
        let certificate = self.signing.signer.sign(&request, usages(csr), lifetime, now);
        let certificate = certificate.map_err(|error| match error {
            error if error.is_of_the_request() => Refusal::Request(error.to_string()),
            error => Refusal::Authority(error),
        })?;
        let mut signed = csr.clone();
        let status = signed.status.get_or_insert_default();
        status.certificate = Some(ByteString(certificate.into_bytes()));
        Ok(Some(signed))
    }
}

fn waits(csr: &Csr) -> bool {
    let is_approved = has(csr, APPROVED) && !has(csr, DENIED);
    is_approved && !has(csr, FAILED) && certificate(csr).is_empty()
}

/// Whether it is what its signer signs; `None` if that is none of ours.
fn check(csr: &Csr, request: &Request) -> Option<Result<(), String>> {
    match csr.spec.signer_name.as_str() {
        kubelet::CLIENT_SIGNER => Some(kubelet::check_client(request, usages(csr))),
        kubelet::SERVING_SIGNER => Some(kubelet::check_serving(request, usages(csr))),
        USER_SIGNER => Some(check_user(usages(csr))),
        _ => None,
    }
}

fn check_user(usages: &[String]) -> Result<(), String> {
    const ALLOWED: [&str; 3] = ["digital signature", "key encipherment", "client auth"];
    if let Some(usage) = usages.iter().find(|usage| !ALLOWED.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    match usages.iter().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

fn lifetime(seconds: Option<i32>, longest: Duration) -> Duration {
    let wanted = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    wanted.map_or(longest, |wanted| wanted.max(SHORTEST).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_lasts_as_long_as_was_asked_for_within_limits() {
        let check = |seconds: Option<i32>, expected: u64| {
            let found = lifetime(seconds, Duration::from_secs(86_400));
            assert_eq!(found, Duration::from_secs(expected), "{seconds:?}");
        };
        check(None, 86_400);
        check(Some(3600), 3600);
        check(Some(1), 600);
        check(Some(1_000_000), 86_400);
    }

    #[test]
    fn a_user_has_certificates_for_itself_as_a_client_alone() {
        let check = |usages: &[&str], expected: Result<(), &str>| {
            let usages: Vec<_> = usages.iter().map(|&usage| usage.to_owned()).collect();
            assert_eq!(check_user(&usages), expected.map_err(str::to_owned));
        };
        check(&["client auth", "key encipherment"], Ok(()));
        check(&["server auth"], Err("invalid usage for client certificate: server auth"));
        let missing = "missing required usage for client certificate: client auth";
        check(&["digital signature"], Err(missing));
    }
}
