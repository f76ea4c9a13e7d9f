//! How many pods the owners of pods want together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_types::api::core::v1::Pod;
use api_types::meta::OwnerReference;
use kube::{Api, Client};

use crate::context::Context;
use crate::discovery::{Discovery, GroupKind};
use crate::frame::{Error, ObjectKey, code};
use crate::informers::Informers;
use crate::owners::controller_of;

/// What owners want.
pub(super) struct Wanted {
    pub(super) replicas: i32,
    /// Whether pods have no owner, and so are not counted.
    pub(super) has_unmanaged: bool,
}

/// Why it is not known.
pub(super) enum Unscaled {
    /// An owner does not say how many pods it wants.
    Unknown(String),
    Call(Error),
}

/// Asks owners, whatever their kinds.
pub(super) struct Scales {
    client: Client,
    informers: Informers,
    discovery: Arc<Discovery>,
}

/// An owner: API version, kind and name.
type Owner = [String; 3];

impl Scales {
    pub(super) fn new(context: &Context) -> Self {
        let (client, informers) = (context.client(), context.informers.clone());
        Self { client, informers, discovery: context.discovery.clone() }
    }

    /// What the owners of these pods of a namespace want.
    pub(super) async fn of(&self, pods: &[Arc<Pod>]) -> Result<Wanted, Unscaled> {
        let mut replicas = BTreeMap::new();
        let mut asked = BTreeSet::new();
        let mut has_unmanaged = false;
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                has_unmanaged = true;
                continue;
            };
            if !asked.insert(&owner.uid) {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let scale = self.scale(namespace, owner).await?;
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let unknown = || Unscaled::Unknown(format!("found no controllers for pod {name:?}"));
            let (owner, wanted) = scale.ok_or_else(unknown)?;
            replicas.insert(owner, wanted);
        }
        let replicas = replicas.into_values().fold(0, i32::saturating_add);
        Ok(Wanted { replicas, has_unmanaged })
    }

    /// The sets of a Deployment stand for it.
    async fn scale(
        &self,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<Option<(Owner, i32)>, Unscaled> {
        if owner.kind != "ReplicaSet" {
            return self.asked(namespace, owner).await;
        }
        let key = ObjectKey::new(namespace, &owner.name);
        let set = self.informers.replica_sets.get(&key);
        let Some(set) = set.filter(|set| set.metadata.uid.as_ref() == Some(&owner.uid)) else {
            return Ok(None);
        };
        let Some(above) = controller_of(&set.metadata).filter(|it| it.kind == "Deployment") else {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
            return Ok(Some((named(owner), wanted.unwrap_or(1))));
        };
        let key = ObjectKey::new(namespace, &above.name);
        let deployment = self.informers.deployments.get(&key);
        let wanted = deployment.map(|it| it.spec.as_ref().and_then(|spec| spec.replicas));
        Ok(wanted.map(|wanted| (named(above), wanted.unwrap_or(1))))
    }

    async fn asked(
        &self,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<Option<(Owner, i32)>, Unscaled> {
        let call = |source| Unscaled::Call(Error::Call { step: "asking for a scale", source });
        let kind = GroupKind::new(&owner.api_version, &owner.kind);
        let all = self.discovery.recent().await.map_err(call)?;
        let Some(found) = all.all.iter().find(|it| it.group_kind() == kind) else {
            return Ok(None);
        };
        let api = Api::<kube::api::DynamicObject>::namespaced_with(
            self.client.clone(),
            namespace,
            &found.resource,
        );
        match api.get_scale(&owner.name).await {
            Ok(scale) if scale.metadata.uid.as_ref() == Some(&owner.uid) => {
                let wanted = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                Ok(Some((named(owner), wanted)))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(code(&error), Some(404 | 405)) => Ok(None),
            Err(error) => Err(call(error)),
        }
    }
}

fn named(owner: &OwnerReference) -> Owner {
    [owner.api_version.clone(), owner.kind.clone(), owner.name.clone()]
}
