//! A GPU job has the Secrets and ConfigMaps that it names sent to the host that it names: nobody has those sent that it may
//! not read itself.

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::minik8s::{GpuJob, GpuJobSpec};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Operation, Plugin};
use crate::{
    authorizer::Authorizer,
    rbac::{Action, Asked, Decision, has_every_right},
};

/// See the module.
#[derive(Debug)]
pub(super) struct GpuJobSources {
    pub(super) authorizer: Arc<Authorizer>,
}

#[async_trait]
impl Plugin for GpuJobSources {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        // What a job names can't be changed.
        let is_new = attributes.operation == Operation::Create;
        let Some(job) = object.and_then(|object| object.get::<GpuJob>()).filter(|_| is_new) else {
            return Ok(());
        };
        if has_every_right(attributes.identity) {
            return Ok(());
        }
        let unreadable =
            named(&job.spec).into_iter().find(|named| !self.may_get(attributes, named));
        unreadable.map_or(Ok(()), |named| Err(refusal(attributes, &named)))
    }
}

/// The field, and the resource and the name of what it names.
type Named<'a> = (&'static str, &'static str, &'a str);

fn named(spec: &GpuJobSpec) -> Vec<Named<'_>> {
    let sources = spec.sources.as_ref();
    let secret = sources.and_then(|sources| sources.secret.as_ref());
    let config_map = sources.and_then(|sources| sources.config_map.as_ref());
    let cluster = spec.cluster.as_ref().and_then(|cluster| cluster.config_map_ref.as_ref());
    let all = [
        ("credentials.secretRef", "secrets", Some(&spec.credentials.secret_ref)),
        ("sources.secret", "secrets", secret),
        ("sources.configMap", "configmaps", config_map),
        ("cluster.configMapRef", "configmaps", cluster),
    ];
    let all = all.into_iter();
    all.filter_map(|(field, resource, it)| Some((field, resource, it?.name.as_str()))).collect()
}

impl GpuJobSources {
    fn may_get(&self, attributes: &Attributes<'_>, &(_, resource, name): &Named<'_>) -> bool {
        let namespace = attributes.at.namespace;
        let action = Action { verb: "get", resource, namespace, name, ..Action::default() };
        let decision = self.authorizer.decide(attributes.identity, Asked::Resource(action));
        matches!(decision, Decision::Allowed(_))
    }
}

fn refusal(attributes: &Attributes<'_>, (field, resource, name): &Named<'_>) -> ApiError {
    let at = attributes.at;
    let why = format!(
        "spec.{field}: user {:?} cannot get resource {resource:?} in API group \"\" in the namespace {:?}, which is needed for {name:?} \
         to be sent to a Slurm cluster",
        attributes.identity.user,
        at.namespace.unwrap_or_default(),
    );
    ApiError::forbidden(&at.def.names.group, &at.def.names.plural, at.name, &why)
}
