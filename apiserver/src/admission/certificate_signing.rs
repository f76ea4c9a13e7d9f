//! Who asks for a certificate, and who may have it signed and sign it: `approve` and `sign` on the `signers` of the API
//! group, by their names (Kubernetes: `plugin/pkg/admission/certificates`, `pkg/registry/certificates`).

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::{
    api::certificates::v1::{
        CertificateSigningRequest as Csr, CertificateSigningRequestSpec as Spec,
    },
    jiff::Timestamp,
    meta::Time,
};
use async_trait::async_trait;
use certificates::Request;
use registry::{AnyObject, Subresource};

use super::{Attributes, Claim, Operation, Plugin};
use crate::{
    authorizer::Authorizer,
    identity::{Identity, NODES},
    rbac::{Action, Asked, Decision, is_reserved_user},
};

const GROUP: &str = "certificates.k8s.io";
const PLURAL: &str = "certificatesigningrequests";
/// Signs certificates for users of the API server.
const USER_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// Nobody can take a certificate of that group back.
const MASTERS: &str = "system:masters";

/// See the module.
#[derive(Debug)]
pub(super) struct CertificateSigning {
    pub(super) authorizer: Arc<Authorizer>,
}

#[async_trait]
impl Plugin for CertificateSigning {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let Some(csr) = object.and_then(AnyObject::get_mut::<Csr>) else { return Ok(Vec::new()) };
        match (attributes.operation, attributes.subresource) {
            (Operation::Create, None) => name_requester(&mut csr.spec, attributes.identity),
            (Operation::Update, Some(_)) => {
                date_conditions(csr, attributes.old.and_then(AnyObject::get), Timestamp::now());
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let Some(csr) = object.and_then(AnyObject::get::<Csr>) else { return Ok(()) };
        let old = attributes.old.and_then(AnyObject::get::<Csr>);
        match (attributes.operation, attributes.subresource, old) {
            (Operation::Create, None, _) => check_subject(attributes, &csr.spec),
            (Operation::Update, Some(Subresource::Approval), Some(old)) => {
                self.check_signer(attributes, "approve", &old.spec.signer_name)
            }
            (Operation::Update, Some(Subresource::Status), Some(old))
                if csr.status != old.status =>
            {
                self.check_signer(attributes, "sign", &old.spec.signer_name)
            }
            _ => Ok(()),
        }
    }
}

impl CertificateSigning {
    /// The right may be to the signer, or to all of its domain.
    fn check_signer(
        &self,
        attributes: &Attributes<'_>,
        verb: &str,
        signer: &str,
    ) -> Result<(), ApiError> {
        let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
        let may = |name: &str| {
            let action =
                Action { verb, group: GROUP, resource: "signers", name, ..Action::default() };
            let decision = self.authorizer.decide(attributes.identity, Asked::Resource(action));
            matches!(decision, Decision::Allowed(_))
        };
        if may(signer) || domain.is_some_and(|domain| may(&domain)) {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
        Err(ApiError::forbidden(GROUP, PLURAL, attributes.at.name, &why))
    }
}

fn name_requester(spec: &mut Spec, identity: &Identity) {
    let info = identity.info();
    (spec.username, spec.uid) = (info.username, info.uid);
    (spec.groups, spec.extra) = (info.groups, info.extra);
}

/// Says when a condition was written, and since when it is so, if its writer does not.
fn date_conditions(csr: &mut Csr, old: Option<&Csr>, now: Timestamp) {
    let before = old.and_then(|old| old.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
    let conditions = csr.status.as_mut().and_then(|status| status.conditions.as_mut());
    for condition in conditions.into_iter().flatten() {
        condition.last_update_time.get_or_insert(Time(now));
        if condition.last_transition_time.is_none() {
            let same = before
                .iter()
                .find(|it| it.type_ == condition.type_ && it.status == condition.status)
                .and_then(|it| it.last_transition_time.clone());
            condition.last_transition_time = same.or(Some(Time(now)));
        }
    }
}

/// Kubernetes' `CertificateSubjectRestriction`; and names of programs and nodes are for those.
fn check_subject(attributes: &Attributes<'_>, spec: &Spec) -> Result<(), ApiError> {
    if spec.signer_name != USER_SIGNER {
        return Ok(());
    }
    // What can't be read is refused by the kind itself.
    let Ok(request) = Request::parse(&spec.request.0) else { return Ok(()) };
    let reserved = |group: &&String| [MASTERS, NODES].contains(&group.as_str());
    let what = match request.organizations.iter().find(reserved) {
        Some(group) => format!("{group} group"),
        None if is_reserved_user(&request.common_name) => format!("{} user", request.common_name),
        None => return Ok(()),
    };
    let why = format!("use of {USER_SIGNER} signer with {what} is not allowed");
    Err(ApiError::forbidden(GROUP, PLURAL, attributes.at.name, &why))
}
