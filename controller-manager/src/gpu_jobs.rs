//! What the pods of GPU jobs are made from: the flags.

/// The flags.
#[derive(clap::Args, Clone, Debug)]
pub struct GpuJobArgs {
    /// What takes GPU jobs through Slurm
    #[arg(long, value_name = "IMAGE", default_value = "minik8s/gpu-server:0.1")]
    pub gpu_server_image: String,
    /// What serves the results of GPU jobs, in the directory /results, at /files/
    #[arg(long, value_name = "IMAGE", default_value = "minik8s/gpu-file-server:0.1")]
    pub gpu_file_server_image: String,
}

impl Default for GpuJobArgs {
    fn default() -> Self {
        Self {
            gpu_server_image: "minik8s/gpu-server:0.1".to_owned(),
            gpu_file_server_image: "minik8s/gpu-file-server:0.1".to_owned(),
        }
    }
}
