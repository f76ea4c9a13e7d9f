//! Approves what kubelets ask for: their first certificate if a bootstrap token lets its bearer have one, and each further
//! one that a kubelet asks for itself (Kubernetes: `pkg/controller/certificates/approver`). Certificates for serving are
//! approved too, which Kubernetes leaves to the administrator.

use std::net::IpAddr;
use std::time::Duration;

use api_types::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use api_types::api::certificates::v1::CertificateSigningRequest as Csr;
use certificates::{Request, kubelet};
use kube::api::PostParams;
use kube::{Api, Client};

use super::{APPROVED, DENIED, has, serving, usages, with, write};
use crate::context::Context;
use crate::frame::{Controller, Error, Next, ObjectKey, Registered, Step};
use crate::informers::Informers;
use crate::network::Network;

/// What was refused is asked again: a role may come, or a node register its address.
const AGAIN: Duration = Duration::from_secs(10);

pub(crate) fn register(context: &Context) -> Registered {
    let queue = super::queue(context);
    let informers = context.informers.clone();
    let (client, pods) = (context.client(), context.settings.pod_network);
    let reserved = context.settings.reserved_addresses.clone();
    let approver = Approver { client, pods, reserved, informers: informers.clone() };
    let Informers { certificate_signing_requests, nodes, services, endpoints, .. } = &informers;
    let registered = Registered::new(approver, queue);
    registered.reads(certificate_signing_requests).reads(nodes).reads(services).reads(endpoints)
}

struct Approver {
    client: Client,
    /// Where pod addresses come from.
    pods: Network,
    /// No node's.
    reserved: Vec<IpAddr>,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for Approver {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-approving-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(csr) = self.informers.certificate_signing_requests.get(key) else {
            return Ok(Next::Change);
        };
        if has(&csr, APPROVED) || has(&csr, DENIED) {
            return Ok(Next::Change);
        }
        let Ok(request) = Request::parse(&csr.spec.request.0) else { return Ok(Next::Change) };
        let Some(message) = self.judge(&csr, &request).await? else {
            let is_of_kubelet = is_client(&csr, &request) || serving::is_one(&csr, &request);
            return Ok(if is_of_kubelet { Next::After(AGAIN) } else { Next::Change });
        };
        let approved = with(&csr, APPROVED, "AutoApproved", message);
        write(&self.client, &approved, "approval", "approving a request for a certificate").await?;
        Ok(Next::Change)
    }
}

impl Approver {
    /// Why it is approved, if it is.
    async fn judge(&self, csr: &Csr, request: &Request) -> Result<Option<&'static str>, Error> {
        if serving::is_one(csr, request) {
            let nodes = self.informers.nodes.list();
            return Ok(serving::may_have(request, &nodes, &self.foreign()).then_some(
                "Auto approving kubelet serving certificate for the name and addresses of its node.",
            ));
        }
        if !is_client(csr, request) {
            return Ok(None);
        }
        let is_own = csr.spec.username.as_ref() == Some(&request.common_name);
        if is_own && self.may(csr, "selfnodeclient").await? {
            return Ok(Some(
                "Auto approving self kubelet client certificate after SubjectAccessReview.",
            ));
        }
        // A node may do nearly everything by its group, but is not to be another one.
        if is_of_node(csr) {
            return Ok(None);
        }
        let may = self.may(csr, "nodeclient").await?;
        Ok(may.then_some("Auto approving kubelet client certificate after SubjectAccessReview."))
    }

    /// What is no node's.
    fn foreign(&self) -> serving::Foreign {
        let servers = self.informers.endpoints.get(&ObjectKey::new("default", "kubernetes"));
        let services = self.informers.services.list();
        serving::Foreign::new(self.pods, &services, servers.as_deref(), &self.reserved)
    }

    /// Whether who asks may have such a certificate.
    async fn may(&self, csr: &Csr, subresource: &str) -> Result<bool, Error> {
        let spec = &csr.spec;
        let attributes = ResourceAttributes {
            group: Some("certificates.k8s.io".to_owned()),
            resource: Some("certificatesigningrequests".to_owned()),
            verb: Some("create".to_owned()),
            subresource: Some(subresource.to_owned()),
            version: Some("*".to_owned()),
            ..ResourceAttributes::default()
        };
        let asked = SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec: asked, ..SubjectAccessReview::default() };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.step("asking what a requester may do")?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

/// Whether a node asks.
fn is_of_node(csr: &Csr) -> bool {
    let user = csr.spec.username.as_deref().unwrap_or_default();
    user.starts_with(kubelet::USER_PREFIX)
        || csr.spec.groups.iter().flatten().any(|group| group == kubelet::GROUP)
}

fn is_client(csr: &Csr, request: &Request) -> bool {
    csr.spec.signer_name == kubelet::CLIENT_SIGNER
        && kubelet::check_client(request, usages(csr)).is_ok()
}
