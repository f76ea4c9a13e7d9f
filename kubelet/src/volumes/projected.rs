//! `projected`: several sources as the files of one directory, in memory, since one of them may be a token
//! (Kubernetes: `pkg/volume/projected`).

use std::path::PathBuf;

use api_types::api::core::v1::{
    ConfigMapProjection, Pod, SecretProjection, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use async_trait::async_trait;

use super::{
    PodContext, VolumeError, config_map, downward_api,
    payload::{self, DEFAULT_MODE, File, Keys, Payload, permissions},
    secret,
    source::Source,
};
use crate::spec;

const PLUGIN: &str = "projected";
/// Of a token that belongs to whom it is for.
const PRIVATE: u32 = 0o600;

pub(super) struct Projected;

#[async_trait]
impl Source for Projected {
    fn claims(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    fn read_only(&self) -> bool {
        true
    }

    async fn set_up(
        &self,
        volume: &Volume,
        context: PodContext<'_>,
    ) -> Result<PathBuf, VolumeError> {
        let source = volume.projected.clone().unwrap_or_default();
        let mut files = Payload::new();
        for projection in source.sources.iter().flatten() {
            let of_one = project(projection, source.default_mode, context).await?;
            let of_one = of_one.ok_or_else(|| VolumeError::Unsupported(volume.name.clone()))?;
            files.extend(of_one);
        }
        let path = context.directory(PLUGIN, volume);
        payload::in_memory(&files, &context.target(volume, &path))?;
        Ok(path)
    }
}

/// The files of one source; `None` if it is of no known kind.
async fn project(
    projection: &VolumeProjection,
    mode: Option<i32>,
    context: PodContext<'_>,
) -> Result<Option<Payload>, VolumeError> {
    let VolumeProjection { config_map, downward_api, secret, service_account_token, .. } =
        projection;
    if let Some(ConfigMapProjection { name, items, optional }) = config_map {
        let keys = Keys { items: items.as_deref(), mode, optional: *optional };
        return config_map::files(name, keys, context).await.map(Some);
    }
    if let Some(SecretProjection { name, items, optional }) = secret {
        let keys = Keys { items: items.as_deref(), mode, optional: *optional };
        return secret::files(name, keys, context).await.map(Some);
    }
    if let Some(source) = downward_api {
        return downward_api::files(source.items.as_deref(), mode, context).map(Some);
    }
    match service_account_token {
        Some(source) => token(source, mode, context).await.map(Some),
        None => Ok(None),
    }
}

/// A token that belongs to somebody is nobody else's to read.
async fn token(
    source: &ServiceAccountTokenProjection,
    mode: Option<i32>,
    context: PodContext<'_>,
) -> Result<Payload, VolumeError> {
    let token = context.tokens.get(context.pod, source).await;
    let token = token.map_err(|error| VolumeError::Token(Box::new(error)))?;
    let user = only_user(context.pod);
    let is_owned = user.is_some() || context.fs_group().is_some();
    let mode = if is_owned { PRIVATE } else { permissions(mode.unwrap_or(DEFAULT_MODE)) };
    Ok(Payload::from([(source.path.clone(), File { user, ..File::new(token.into(), mode) })]))
}

/// The user as whom all containers run, if they say so (Kubernetes: `FsUserFrom`).
fn only_user(pod: &Pod) -> Option<u32> {
    let usual = spec::spec(pod)?.security_context.as_ref().and_then(|it| it.run_as_user);
    let mut users = spec::init_containers(pod).chain(spec::containers(pod)).map(|container| {
        container.security_context.as_ref().and_then(|it| it.run_as_user).or(usual)
    });
    let first = users.next().flatten()?;
    users.all(|user| user == Some(first)).then_some(first)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_token_belongs_to_the_user_that_all_containers_run_as() {
        let check = |usual: Value, users: &[Value], expected: Option<u32>| {
            let container =
                |user: &Value| json!({"name": "c", "securityContext": {"runAsUser": user}});
            let containers: Vec<_> = users.iter().map(container).collect();
            let pod = json!({"spec": {"securityContext": {"runAsUser": usual}, "containers": containers}});
            assert_eq!(only_user(&serde_json::from_value(pod.clone()).unwrap()), expected, "{pod}");
        };
        let none = Value::Null;
        check(none.clone(), std::slice::from_ref(&none), None);
        check(json!(7), &[none.clone(), none.clone()], Some(7));
        check(none.clone(), &[json!(7), json!(7)], Some(7));
        check(json!(7), &[none.clone(), json!(8)], None);
        check(none.clone(), &[json!(7), none], None);
    }
}
