//! Requests for certificates: those of kubelets are approved, those that are approved are signed, and all of them go in the
//! end (Kubernetes: `pkg/controller/certificates`).

mod approver;
mod cleaner;
mod serving;
mod signer;

use std::sync::Arc;

use api_types::api::certificates::v1::{
    CertificateSigningRequest as Csr, CertificateSigningRequestCondition as Condition,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::context::Context;
use crate::frame::{Change, Error, Informer, ObjectKey, Step, WorkQueue};

pub(super) use approver::register as register_approver;
pub(super) use cleaner::register as register_cleaner;
pub(super) use signer::register as register_signer;

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// A queue of the requests that change.
fn queue(context: &Context) -> Arc<WorkQueue> {
    let queue = Arc::new(WorkQueue::default());
    let changed = queue.clone();
    requests(context).on_change(move |change: &Change<Csr>| {
        change.new.iter().for_each(|csr| changed.add(ObjectKey::of(&csr.metadata)));
    });
    queue
}

fn requests(context: &Context) -> &Arc<Informer<Csr>> {
    &context.informers.certificate_signing_requests
}

fn conditions(csr: &Csr) -> &[Condition] {
    csr.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn has(csr: &Csr, type_: &str) -> bool {
    conditions(csr).iter().any(|condition| condition.type_ == type_)
}

/// The certificate that was signed, or nothing.
fn certificate(csr: &Csr) -> &[u8] {
    let certificate = csr.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.map(|bytes| &*bytes.0).unwrap_or_default()
}

fn usages(csr: &Csr) -> &[String] {
    csr.spec.usages.as_deref().unwrap_or_default()
}

/// The request with one condition more.
fn with(csr: &Csr, type_: &str, reason: &str, message: &str) -> Csr {
    let mut csr = csr.clone();
    let conditions = csr.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.push(Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..Condition::default()
    });
    csr
}

/// Writes a subresource of a request. If it has changed or gone meanwhile, that change is looked at.
async fn write(client: &Client, csr: &Csr, part: &str, step: &'static str) -> Result<(), Error> {
    let name = csr.metadata.name.as_deref().unwrap_or_default();
    let api = Api::<Csr>::all(client.clone());
    let written = api.replace_subresource(part, name, &PostParams::default(), csr).await;
    written.unless_gone(step).map(|_| ())
}
