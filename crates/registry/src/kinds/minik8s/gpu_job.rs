//! A CUDA job for a Slurm cluster.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::minik8s::{GpuJob, GpuJobSpec, GpuJobStatus};
use serde_json::json;

use crate::{ResourceDef, Strategy, cells::or_none, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<GpuJob, _>(GpuJobStrategy)
        .short_names(&["gpu", "gj"])
        .categories(&["all"])
        .status_alone(|job, from| job.status.clone_from(&from.status))
        .column("State", "string", 0, |job, _| json!(state(job)))
        .column("Job ID", "string", 0, |job, _| json!(status_text(job, |s| s.job_id.as_ref())))
        .column("GPUs", "integer", 0, |job, _| json!(job.spec.num_gpus))
        .age()
        .column("Pod", "string", 1, |job, _| json!(status_text(job, |s| s.pod_name.as_ref())))
        .column("Message", "string", 1, |job, _| json!(status_text(job, |s| s.message.as_ref())))
        .build()
}

/// Slurm's word, `Unknown` before there is one.
fn state(job: &GpuJob) -> &str {
    let state = job.status.as_ref().and_then(|s| s.state.as_deref());
    state.filter(|s| !s.is_empty()).unwrap_or("Unknown")
}

fn status_text(job: &GpuJob, get: impl Fn(&GpuJobStatus) -> Option<&String>) -> &str {
    or_none(rules::text(job.status.as_ref().and_then(get)))
}

struct GpuJobStrategy;

impl Strategy<GpuJob> for GpuJobStrategy {
    fn default(&self, job: &mut GpuJob) {
        let spec = &mut job.spec;
        spec.num_gpus.get_or_insert(1);
        let GpuJobSpec { num_process, num_tasks_per_node, cpus_per_task, .. } = spec;
        for number in [num_process, num_tasks_per_node, cpus_per_task] {
            if *number == 0 {
                *number = 1;
            }
        }
    }

    fn validate(&self, job: &GpuJob, errors: &mut FieldErrors) {
        let (spec, path) = (&job.spec, FieldPath::new("spec"));
        for (field, number) in [
            ("numProcess", spec.num_process),
            ("numTasksPerNode", spec.num_tasks_per_node),
            ("cpusPerTask", spec.cpus_per_task),
        ] {
            rules::positive(Some(number), &path.child(field), errors);
        }
        rules::not_negative(spec.num_gpus, &path.child("numGpus"), errors);
        if spec.run_scripts.iter().all(|s| s.trim().is_empty()) {
            errors.required(&path.child("runScripts"), "");
        }
        if let Some(volume) = &spec.volume {
            directory(volume, &path.child("volume"), errors);
        }
        let secret = path.child("credentials").child("secretRef").child("name");
        rules::named(&spec.credentials.secret_ref.name, names::dns1123_subdomain, &secret, errors);
    }

    /// What was submitted can't be submitted otherwise.
    fn validate_update(&self, new: &GpuJob, old: &GpuJob, errors: &mut FieldErrors) {
        if new.spec != old.spec {
            errors.forbidden(&FieldPath::new("spec"), rules::IMMUTABLE);
        }
    }

    fn fields(&self, job: &GpuJob) -> Vec<(&'static str, String)> {
        vec![("status.state", state(job).to_owned())]
    }
}

fn directory(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.is_empty() {
        errors.required(path, "");
    } else if !value.starts_with('/') {
        errors.invalid(path, value, "must be an absolute path");
    }
}
