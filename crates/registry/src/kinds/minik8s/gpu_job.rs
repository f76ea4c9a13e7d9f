//! A CUDA job for a Slurm cluster.

use api_types::minik8s::GpuJob;

use crate::{Plain, ResourceDef, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<GpuJob, _>(Plain).short_names(&["gpu"]).status().build()
}
