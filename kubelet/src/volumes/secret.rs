//! `secret`: the keys of a Secret as files.

use std::path::PathBuf;

use api_types::api::core::v1::Volume;
use async_trait::async_trait;

use super::{PodContext, VolumeError, payload, source::Source};
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
        let name = source.secret_name.unwrap_or_default();
        let optional = source.optional == Some(true);
        let found =
            context.objects.secret(&spec::identity(context.pod), &name).await.map_err(|error| {
                VolumeError::Fetch { name: name.clone(), source: Box::new(error) }
            })?;
        if found.is_none() && !optional {
            return Err(VolumeError::NotFound { kind: "secret", name });
        }
        let data = found.as_ref().map(secret_data).unwrap_or_default();
        let items = source.items.as_deref();
        let files = payload::select(data, items, source.default_mode, optional, "secret")?;
        let path = context.directory(PLUGIN, volume);
        payload::in_memory(&path, &files, context.fs_group())?;
        Ok(path)
    }
}
