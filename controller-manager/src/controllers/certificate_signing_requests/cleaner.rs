//! Removes old requests: decided ones an hour after that, others after a day, and those whose certificate has ended
//! (Kubernetes: `pkg/controller/certificates/cleaner`).

use std::time::Duration;

use api_types::api::certificates::v1::CertificateSigningRequest as Csr;
use api_types::jiff::{SignedDuration, Timestamp};
use kube::api::DeleteParams;
use kube::{Api, Client};

use super::{APPROVED, DENIED, FAILED, certificate, conditions};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Controller, Error, Next, ObjectKey, Registered, Step};
use crate::informers::Informers;

const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub(crate) fn register(context: &Context) -> Registered {
    let queue = super::queue(context);
    let informers = context.informers.clone();
    let cleaner =
        Cleaner { client: context.client(), clock: context.clock, informers: informers.clone() };
    Registered::new(cleaner, queue).reads(&*informers.certificate_signing_requests)
}

struct Cleaner {
    client: Client,
    clock: Clock,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for Cleaner {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-cleaner-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(csr) = self.informers.certificate_signing_requests.get(key) else {
            return Ok(Next::Change);
        };
        let Some(end) = end(&csr) else { return Ok(Next::Change) };
        let left = end.duration_since(self.clock.now());
        if left.is_positive() {
            return Ok(Next::After(Duration::try_from(left).unwrap_or(Duration::MAX)));
        }
        let api = Api::<Csr>::all(self.client.clone());
        let deleted = api.delete(&key.name, &DeleteParams::default()).await;
        deleted.unless_gone("removing an old request for a certificate")?;
        Ok(Next::Change)
    }
}

/// When it is of no use any more.
fn end(csr: &Csr) -> Option<Timestamp> {
    let created = csr.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let certificate = certificate(csr);
    let decided = conditions(csr).iter().filter_map(|condition| {
        let since = condition.last_update_time.as_ref().map(|time| time.0);
        match condition.type_.as_str() {
            // One that nobody signs may yet be.
            APPROVED if certificate.is_empty() => since.map(|since| since + PENDING),
            APPROVED | DENIED | FAILED => since.map(|since| since + DECIDED),
            _ => None,
        }
    });
    let ended = std::str::from_utf8(certificate).ok().and_then(certificates::validity);
    let ended = ended.and_then(|validity| Timestamp::from_second(validity.not_after).ok());
    let pending = created.filter(|_| conditions(csr).is_empty()).map(|created| created + PENDING);
    decided.chain(ended).chain(pending).min()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn requests_go_an_hour_after_they_were_decided_and_a_day_after_nobody_did() {
        let check = |status: Value, expected: &str| {
            let csr = json!({
                "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"request": "", "signerName": ""}, "status": status,
            });
            let end = end(&serde_json::from_value(csr).unwrap());
            assert_eq!(end, expected.parse().ok(), "{status}");
        };
        let at = |type_: &str| json!([{"type": type_, "status": "True", "lastUpdateTime": "2026-01-01T02:00:00Z"}]);
        check(json!({}), "2026-01-02T00:00:00Z");
        check(json!({"conditions": at("Denied")}), "2026-01-01T03:00:00Z");
        check(json!({"conditions": at("Failed")}), "2026-01-01T03:00:00Z");
        check(json!({"conditions": at("Approved")}), "2026-01-02T02:00:00Z");
        check(json!({"conditions": at("Approved"), "certificate": "eA=="}), "2026-01-01T03:00:00Z");
        check(json!({"conditions": at("Other")}), "never");
    }
}
