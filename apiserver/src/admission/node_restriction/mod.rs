//! What a kubelet may write into what it may write: its own Node and Lease, the statuses of its own pods, tokens that are
//! bound to these (Kubernetes: `plugin/pkg/admission/noderestriction`). And a kube-proxy that has no node's certificate
//! says one thing of Nodes, and a serverless gateway has Leases of its own.

mod claim;
mod node;
mod pod;
mod token;
mod why;

use std::sync::Arc;

use api_machinery::{ApiError, host_routes::HOST_PORTS_ANNOTATION};
use api_types::api::{
    authentication::v1::TokenRequest,
    certificates::v1::CertificateSigningRequest as Csr,
    core::v1::{Node, Pod},
};
use async_trait::async_trait;
use certificates::Request;
use listwatch::demand::LEASE_PREFIX;
use registry::AnyObject;

use self::why::{Why, ensure};
use super::{Attributes, Claim, Operation, Plugin};
use crate::{
    authorizer::Authorizer,
    catalogue::InForce,
    identity::{KUBE_PROXY, NODE_PREFIX, NODES, SERVERLESS_GATEWAY},
    node_authorizer::LEASE_NAMESPACE,
    objects::Objects,
    storage::Storage,
};

/// Sign what makes somebody a node.
const SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// See the module.
#[derive(Debug)]
pub(super) struct NodeRestriction {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
    pub(super) authorizer: Arc<Authorizer>,
    /// Those of tokens whose request names none.
    pub(super) audiences: Vec<String>,
}

#[async_trait]
impl Plugin for NodeRestriction {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let object = object.map(|object| &*object);
        let Some(node) = attributes.identity.node() else {
            let checked = check_proxy(attributes, object).and_then(|()| check_gateway(attributes));
            return checked.map(|()| Vec::new()).map_err(|why| refusal(attributes, &why));
        };
        let checked = if let Some(request) = object.and_then(AnyObject::get::<TokenRequest>) {
            self.token(node, attributes, request).await?
        } else if attributes.at.def.is_core("pods") {
            self.pod(node, attributes, object).await?
        } else {
            check(node, attributes, object)
        };
        checked.map(|()| Vec::new()).map_err(|why| refusal(attributes, &why))
    }

    /// A mirror pod once more, as policies and webhooks have made it.
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let makes_pod = attributes.operation == Operation::Create && attributes.is_core("pods");
        let Some(node) = attributes.identity.node().filter(|_| makes_pod) else { return Ok(()) };
        let checked = self.pod(node, attributes, object).await?;
        checked.map_err(|why| refusal(attributes, &why))
    }
}

impl NodeRestriction {
    /// # Errors
    /// If it can't be found out. Within: why the node may not do it.
    async fn pod(
        &self,
        node: &str,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<Result<(), Why>, ApiError> {
        let Attributes { operation, at, old, .. } = *attributes;
        let subresource = attributes.subresource.map(|subresource| subresource.name());
        let mut old = old.and_then(AnyObject::get::<Pod>).cloned();
        // An eviction is made; the pod that it is of is there, and the store knows where by now.
        if old.is_none() && subresource.is_some() {
            old = self.objects().stored("pods", at.namespace, at.name).await?;
        }
        let new = object.and_then(AnyObject::get::<Pod>);
        // Its Node may have been made a moment ago.
        let own = match (operation, subresource) {
            (Operation::Create, None) => self.objects().find::<Node>("nodes", None, node).await?,
            _ => None,
        };
        let own_uid = || own.and_then(|node| node.metadata.uid);
        Ok(pod::check(node, (operation, subresource), new, old.as_ref(), own_uid))
    }

    fn objects(&self) -> Objects<'_> {
        Objects { catalogue: &self.catalogue, storage: &self.storage }
    }
}

/// Of all that is no pod and no token.
fn check(node: &str, attributes: &Attributes<'_>, object: Option<&AnyObject>) -> Result<(), Why> {
    let Attributes { operation, at, old, .. } = *attributes;
    let subresource = attributes.subresource.map(|subresource| subresource.name());
    match (at.def.names.group.as_str(), at.def.names.plural.as_str()) {
        ("", "nodes") => {
            ensure(at.name == node, || {
                format!("node {node:?} is not allowed to modify node {:?}", at.name)
            })?;
            let read =
                |object: Option<&AnyObject>| object.and_then(AnyObject::get::<Node>).cloned();
            node::check(node, operation, read(object).as_ref(), read(old).as_ref())
        }
        ("", "persistentvolumeclaims") => {
            let new = object.and_then(AnyObject::get);
            claim::check(node, (operation, subresource), new, old.and_then(AnyObject::get))
        }
        ("coordination.k8s.io", "leases") => check_lease(node, attributes),
        ("storage.k8s.io", "csinodes") => ensure(at.name == node, || {
            "can only access CSINode with the same name as the requesting node".to_owned()
        }),
        ("certificates.k8s.io", "certificatesigningrequests") => {
            check_csr(node, operation, object.and_then(AnyObject::get))
        }
        _ => Ok(()),
    }
}

fn refusal(attributes: &Attributes<'_>, why: &str) -> ApiError {
    let (at, user) = (attributes.at, &attributes.identity.user);
    let resource = at.def.qualified();
    tracing::warn!(user, %resource, namespace = at.namespace, name = at.name, why, "a program of the cluster is refused");
    let names = &at.def.names;
    ApiError::forbidden(&names.group, &names.plural, at.name, why)
}

fn check_lease(node: &str, attributes: &Attributes<'_>) -> Result<(), Why> {
    ensure(attributes.at.namespace == Some(LEASE_NAMESPACE), || {
        format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace")
    })?;
    ensure(attributes.at.name == node, || {
        "can only access node lease with the same name as the requesting node".to_owned()
    })
}

/// Of a node that asks for a certificate: it is its own.
fn check_csr(node: &str, operation: Operation, csr: Option<&Csr>) -> Result<(), Why> {
    let Some(csr) = csr.filter(|_| operation == Operation::Create) else { return Ok(()) };
    if !SIGNERS.contains(&csr.spec.signer_name.as_str()) {
        return Ok(());
    }
    let request = Request::parse(&csr.spec.request.0);
    let request = request.map_err(|error| format!("unable to parse csr: {error}"))?;
    let wanted = format!("{NODE_PREFIX}{node}");
    ensure(request.common_name == wanted, || format!("can only create a node CSR with CN={wanted}"))
}

/// A kube-proxy tells whether Ingresses are served at a host's addresses, and nothing else of a Node. Who is among the nodes
/// and none of them has its role, too.
fn check_proxy(attributes: &Attributes<'_>, object: Option<&AnyObject>) -> Result<(), Why> {
    let is_proxy = attributes.identity.user == KUBE_PROXY || attributes.identity.is_in(NODES);
    if !is_proxy || !attributes.is_core("nodes") || attributes.operation != Operation::Update {
        return Ok(());
    }
    let rest = |object: Option<&AnyObject>| {
        let mut node = object.and_then(AnyObject::get::<Node>)?.clone();
        node.metadata.annotations.get_or_insert_default().remove(HOST_PORTS_ANNOTATION);
        (node.metadata.managed_fields, node.metadata.resource_version) = (None, None);
        Some(node)
    };
    ensure(rest(object) == rest(attributes.old), || {
        let user = &attributes.identity.user;
        format!("{user} may change the annotation {HOST_PORTS_ANNOTATION} of nodes alone")
    })
}

/// By other Leases of the namespace controllers and schedulers lead.
fn check_gateway(attributes: &Attributes<'_>) -> Result<(), Why> {
    let names = &attributes.at.def.names;
    let is_lease = names.group == "coordination.k8s.io" && names.plural == "leases";
    let is_gateway = attributes.identity.user == SERVERLESS_GATEWAY;
    let is_own = attributes.at.name.starts_with(LEASE_PREFIX);
    ensure(!(is_gateway && is_lease) || is_own, || {
        format!("a serverless gateway can only access leases whose names begin with {LEASE_PREFIX}")
    })
}
