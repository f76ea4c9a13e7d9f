//! What the pods of GPU jobs are made from, and which directories of nodes they may have: the flags.

use std::path::{Component, Path, PathBuf};

/// The flags.
#[derive(clap::Args, Clone, Debug)]
pub struct GpuJobArgs {
    /// What takes GPU jobs through Slurm
    #[arg(long, value_name = "IMAGE", default_value = "minik8s/gpu-server:0.1")]
    pub gpu_server_image: String,
    /// What serves the results of GPU jobs, in the directory /results, at /files/
    #[arg(long, value_name = "IMAGE", default_value = "minik8s/gpu-file-server:0.1")]
    pub gpu_file_server_image: String,
    /// Where GPU jobs may have directories of their nodes (volume, sources.hostPath): in this one; may be given several
    /// times
    #[arg(long = "gpu-volume-root", value_name = "DIR", default_value = DEFAULT_VOLUME_ROOT, value_parser = volume_root)]
    pub gpu_volume_roots: Vec<PathBuf>,
}

/// That of the original's manifests.
const DEFAULT_VOLUME_ROOT: &str = "/gpu";

fn volume_root(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err("must be an absolute path without '..'".to_owned());
    }
    Ok(path.to_owned())
}

impl Default for GpuJobArgs {
    fn default() -> Self {
        Self {
            gpu_server_image: "minik8s/gpu-server:0.1".to_owned(),
            gpu_file_server_image: "minik8s/gpu-file-server:0.1".to_owned(),
            gpu_volume_roots: vec![PathBuf::from(DEFAULT_VOLUME_ROOT)],
        }
    }
}
