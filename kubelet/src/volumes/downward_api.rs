//! `downwardAPI`: fields of the pod as files.

use std::path::PathBuf;

use api_types::api::core::v1::{DownwardAPIVolumeFile, Volume};
use async_trait::async_trait;

use super::{
    PodContext, VolumeError,
    payload::{self, DEFAULT_MODE, File, Payload, permissions},
    source::Source,
};
use crate::{container::env, spec};

const PLUGIN: &str = "downward-api";

pub(super) struct DownwardApi;

#[async_trait]
impl Source for DownwardApi {
    fn claims(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    fn read_only(&self) -> bool {
        true
    }

    async fn set_up(
        &self,
        volume: &Volume,
        context: PodContext<'_>,
    ) -> Result<PathBuf, VolumeError> {
        let source = volume.downward_api.clone().unwrap_or_default();
        let files = files(source.items.as_deref(), source.default_mode, context)?;
        let path = context.directory(PLUGIN, volume);
        payload::in_memory(&files, &context.target(volume, &path))?;
        Ok(path)
    }
}

/// The files of a pod's fields; `mode` is that of files that have none of their own.
pub(super) fn files(
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: Option<i32>,
    context: PodContext<'_>,
) -> Result<Payload, VolumeError> {
    let usual = mode.unwrap_or(DEFAULT_MODE);
    let file = |item: &DownwardAPIVolumeFile| {
        let mode = permissions(item.mode.unwrap_or(usual));
        Ok((item.path.clone(), File::new(content(item, context)?.into_bytes(), mode)))
    };
    items.unwrap_or_default().iter().map(file).collect()
}

fn content(item: &DownwardAPIVolumeFile, context: PodContext<'_>) -> Result<String, VolumeError> {
    let facts = env::Facts {
        pod: context.pod,
        pod_ip: context.pod_ip,
        second_pod_ip: None,
        host_ip: context.host_ip,
        second_host_ip: None,
        allocatable: context.allocatable,
    };
    if let Some(field) = &item.field_ref {
        return Ok(env::pod_field(field, &facts)?);
    }
    let wanted = item.resource_field_ref.clone().unwrap_or_default();
    let name = wanted.container_name.as_deref().unwrap_or_default();
    let unknown = || env::EnvError::UnknownResource(wanted.resource.clone());
    let container = spec::container(context.pod, name).ok_or_else(unknown)?;
    Ok(env::resource_field(&container, &wanted, &facts)?)
}
