//! `configMap`: the keys of a ConfigMap as files.

use std::path::PathBuf;

use api_types::api::core::v1::Volume;
use async_trait::async_trait;

use super::{PodContext, VolumeError, payload, source::Source};
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
        let optional = source.optional == Some(true);
        let pod = spec::identity(context.pod);
        let found = context.objects.config_map(&pod, &source.name).await.map_err(|error| {
            VolumeError::Fetch { name: source.name.clone(), source: Box::new(error) }
        })?;
        if found.is_none() && !optional {
            return Err(VolumeError::NotFound { kind: "configmap", name: source.name });
        }
        let data = found.as_ref().map(config_map_data).unwrap_or_default();
        let items = source.items.as_deref();
        let files = payload::select(data, items, source.default_mode, optional, "config")?;
        let path = context.directory(PLUGIN, volume);
        payload::on_disk(&path, &files, context.fs_group())?;
        Ok(path)
    }
}
