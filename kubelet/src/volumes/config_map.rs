//! `configMap`: the keys of a ConfigMap as files.

use std::path::PathBuf;

use api_types::api::core::v1::{ConfigMapVolumeSource, Volume};
use async_trait::async_trait;

use super::{
    PodContext, VolumeError,
    payload::{self, Keys, Payload},
    source::Source,
};
use crate::{container::sources::config_map_data, spec};

const PLUGIN: &str = "configmap";

pub(super) struct ConfigMapVolume;

#[async_trait]
impl Source for ConfigMapVolume {
    fn claims(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    fn read_only(&self) -> bool {
        true
    }

    async fn set_up(
        &self,
        volume: &Volume,
        context: PodContext<'_>,
    ) -> Result<PathBuf, VolumeError> {
        let source = volume.config_map.clone().unwrap_or_default();
        let ConfigMapVolumeSource { name, items, default_mode, optional } = source;
        let keys = Keys { items: items.as_deref(), mode: default_mode, optional };
        let files = files(&name, keys, context).await?;
        let path = context.directory(PLUGIN, volume);
        payload::on_disk(&files, &context.target(volume, &path))?;
        Ok(path)
    }
}

/// The files of a ConfigMap's keys.
pub(super) async fn files(
    name: &str,
    keys: Keys<'_>,
    context: PodContext<'_>,
) -> Result<Payload, VolumeError> {
    let pod = spec::identity(context.pod);
    let found = context.objects.config_map(&pod, name).await;
    let found = found.map_err(|error| VolumeError::fetch(name, error))?;
    if found.is_none() && keys.optional != Some(true) {
        return Err(VolumeError::NotFound { kind: "configmap", name: name.to_owned() });
    }
    payload::select(found.as_ref().map(config_map_data).unwrap_or_default(), keys, "config")
}
