//! The kubelet's own directories on the node.

use std::{
    fs::{DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use api_types::api::core::v1::Volume;

/// What containers see of them is mounted, and nobody else of the node has to.
const PRIVATE: u32 = 0o750;
/// Where the volumes of a pod are: those of a source in a directory of its name.
const VOLUMES: &str = "volumes";

/// The directory of a volume that lives with the pod.
pub(super) fn of_volume(pod_dir: &Path, plugin: &str, volume: &Volume) -> PathBuf {
    pod_dir.join(VOLUMES).join(format!("kubernetes.io~{plugin}")).join(&volume.name)
}

/// Those of the volumes that live with a pod, by the volumes' names.
pub(crate) fn of_volumes(pod_dir: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let plugins = entries(pod_dir.join(VOLUMES));
    plugins
        .flat_map(move |plugin| entries(plugin.path()))
        .map(|volume| (volume.file_name().to_string_lossy().into_owned(), volume.path()))
}

/// Makes a directory of the kubelet's own, and those above it.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(path)
}

/// Makes the directory that those of the pods are in, closed to the node's users.
pub(crate) fn prepare(pods: &Path) -> io::Result<()> {
    private_directory(pods)?;
    std::fs::set_permissions(pods, Permissions::from_mode(PRIVATE))
}
