//! What is scaled: an object of any kind that has the subresource `scale`.

use api_types::api::autoscaling::v1::Scale;
use api_types::api::autoscaling::v2::CrossVersionObjectReference;
use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};

use crate::discovery::{Discovered, Discovery, GroupKind, Resources};
use crate::frame::{code, reason};

/// So often a write is tried again that somebody else's write to the object came before.
const TRIES: usize = 5;

/// An object's replicas, as they were found.
pub(super) struct Target {
    api: Api<DynamicObject>,
    name: String,
    scale: Scale,
}

/// Why a target is not known, in the words of whoever found it.
pub(super) struct Unknown {
    pub(super) message: String,
    /// Whether it is not there, as far as is known.
    pub(super) is_gone: bool,
}

impl Unknown {
    fn new(error: &kube::Error) -> Self {
        Self { message: reason(error), is_gone: code(error) == Some(404) }
    }
}

impl Target {
    /// Asks for it.
    pub(super) async fn find(
        client: Client,
        discovery: &Discovery,
        namespace: &str,
        to: &CrossVersionObjectReference,
    ) -> Result<Self, Unknown> {
        let kind = GroupKind::new(to.api_version.as_deref().unwrap_or_default(), &to.kind);
        let resource = resource(discovery, &kind).await?;
        let api = Api::namespaced_with(client, namespace, &resource.resource);
        let scale = api.get_scale(&to.name).await.map_err(|error| Unknown::new(&error))?;
        Ok(Self { api, name: to.name.clone(), scale })
    }

    /// How many replicas there are to be.
    pub(super) fn wanted(&self) -> i32 {
        self.scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
    }

    /// How many there are.
    pub(super) fn there(&self) -> i32 {
        self.scale.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// Which pods they are.
    pub(super) fn selector(&self) -> &str {
        let status = self.scale.status.as_ref();
        status.and_then(|status| status.selector.as_deref()).unwrap_or_default()
    }

    /// Wants so many from now on, unless somebody else has changed that since it was found, or the object is another one.
    pub(super) async fn rescale(mut self, replicas: i32) -> Result<(), String> {
        let found = (self.scale.metadata.uid.clone(), self.wanted());
        for _ in 1..TRIES {
            match self.write(replicas).await {
                Err(error) if code(&error) == Some(409) => {}
                other => return other.map_err(|error| reason(&error)),
            }
            self.scale = self.api.get_scale(&self.name).await.map_err(|error| reason(&error))?;
            if (self.scale.metadata.uid.clone(), self.wanted()) != found {
                return Err("somebody else has scaled it".to_owned());
            }
        }
        self.write(replicas).await.map_err(|error| reason(&error))
    }

    /// With the uid and the version that were found.
    async fn write(&self, replicas: i32) -> kube::Result<()> {
        let mut scale = self.scale.clone();
        scale.spec.get_or_insert_default().replicas = Some(replicas);
        self.api.replace_scale(&self.name, &PostParams::default(), &scale).await.map(drop)
    }
}

/// In the version that the API server prefers. A kind that was not there a moment ago is asked for anew.
async fn resource(discovery: &Discovery, kind: &GroupKind) -> Result<Discovered, Unknown> {
    let find = |all: &Resources| all.all.iter().find(|it| it.group_kind() == *kind).cloned();
    let known = discovery.recent().await.map_err(|error| Unknown::new(&error))?;
    if let Some(found) = find(&known) {
        return Ok(found);
    }
    let found = find(&*discovery.fresh().await.map_err(|error| Unknown::new(&error))?);
    let GroupKind { group, kind } = kind;
    found.ok_or_else(|| Unknown {
        message: format!("no matches for kind {kind:?} in group {group:?}"),
        is_gone: true,
    })
}
