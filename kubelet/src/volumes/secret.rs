//! `secret`: the keys of a Secret as files.

use std::path::PathBuf;

use api_types::api::core::v1::{SecretVolumeSource, Volume};
use async_trait::async_trait;

use super::{
    PodContext, VolumeError,
    payload::{self, Keys, Payload},
    source::Source,
};
use crate::{container::sources::secret_data, spec};

const PLUGIN: &str = "secret";

pub(super) struct SecretVolume;

#[async_trait]
impl Source for SecretVolume {
    fn claims(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    fn read_only(&self) -> bool {
        true
    }

    async fn set_up(
        &self,
        volume: &Volume,
        context: PodContext<'_>,
    ) -> Result<PathBuf, VolumeError> {
        let source = volume.secret.clone().unwrap_or_default();
        let SecretVolumeSource { secret_name, items, default_mode, optional } = source;
        let keys = Keys { items: items.as_deref(), mode: default_mode, optional };
        let files = files(&secret_name.unwrap_or_default(), keys, context).await?;
        let path = context.directory(PLUGIN, volume);
        payload::in_memory(&files, &context.target(volume, &path))?;
        Ok(path)
    }
}

/// The files of a Secret's keys.
pub(super) async fn files(
    name: &str,
    keys: Keys<'_>,
    context: PodContext<'_>,
) -> Result<Payload, VolumeError> {
    let found = context.objects.secret(&spec::identity(context.pod), name).await;
    let found = found.map_err(|error| VolumeError::fetch(name, error))?;
    if found.is_none() && keys.optional != Some(true) {
        return Err(VolumeError::NotFound { kind: "secret", name: name.to_owned() });
    }
    payload::select(found.as_ref().map(secret_data).unwrap_or_default(), keys, "secret")
}
