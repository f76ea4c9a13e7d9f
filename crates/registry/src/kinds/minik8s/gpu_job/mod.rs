//! A CUDA job for a Slurm cluster.

mod cluster;
mod paths;
mod slurm;
mod validation;

use api_machinery::{FieldErrors, FieldPath, names, table::human_duration};
use api_types::{
    jiff::Timestamp,
    minik8s::{GpuJob, GpuJobSpec, GpuJobStatus, GpuJobTask},
};
use serde_json::{Value, json};

use crate::{
    NameRule, ResourceDef, Strategy,
    cells::{NONE, or_none},
    resource, rules,
};

/// A job's pod has the name in a label.
const MAX_NAME: usize = 63;

pub(crate) fn definition() -> ResourceDef {
    resource::<GpuJob, _>(GpuJobStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["gpu", "gj"])
        .categories(&["all"])
        .status_alone(|job, from| job.status.clone_from(&from.status))
        .column("State", "string", 0, |job, _| json!(state(job)))
        .column("Job ID", "string", 0, |job, _| json!(told(job, |s| s.job_id.as_ref())))
        .column("Partition", "string", 0, |job, _| json!(told(job, |s| s.partition.as_ref())))
        .column("Elapsed", "string", 0, |job, now| json!(elapsed(job, now)))
        .column("Exit Code", "string", 0, |job, _| json!(exit_code(job)))
        .age()
        .column("Pod", "string", 1, |job, _| json!(told(job, |s| s.pod_name.as_ref())))
        .column("Message", "string", 1, |job, _| json!(told(job, |s| s.message.as_ref())))
        .column("GPUs", "string", 1, |job, _| json!(gpus(&job.spec)))
        .build()
}

/// Slurm's word, `Unknown` before there is one.
fn state(job: &GpuJob) -> &str {
    let state = job.status.as_ref().and_then(|s| s.state.as_deref());
    state.filter(|s| !s.is_empty()).unwrap_or("Unknown")
}

fn told(job: &GpuJob, get: impl Fn(&GpuJobStatus) -> Option<&String>) -> &str {
    or_none(rules::text(job.status.as_ref().and_then(get)))
}

/// How long the task that was last heard of took, or takes.
fn elapsed(job: &GpuJob, now: Timestamp) -> String {
    let task = job.status.as_ref().and_then(|status| {
        let is_it = |task: &&GpuJobTask| task.job_id.is_some() && task.job_id == status.job_id;
        status.tasks.iter().find(is_it)
    });
    task.and_then(|task| seconds(task, now)).map_or_else(|| NONE.to_owned(), human_duration)
}

/// As Slurm counts once the task has ended; until then its last count is as old as the status.
fn seconds(task: &GpuJobTask, now: Timestamp) -> Option<i64> {
    let since = task.start_time.as_ref().filter(|_| task.end_time.is_none());
    let running = since.map(|start| now.duration_since(start.0).as_secs().max(0));
    running.max(task.elapsed_seconds)
}

fn exit_code(job: &GpuJob) -> String {
    let code = job.status.as_ref().and_then(|status| status.exit_code);
    code.map_or_else(|| NONE.to_owned(), |code| code.to_string())
}

/// Those of each node.
fn gpus(spec: &GpuJobSpec) -> String {
    let gres = spec.gres.clone();
    gres.unwrap_or_else(|| spec.num_gpus.unwrap_or_default().to_string())
}

struct GpuJobStrategy;

impl Strategy<GpuJob> for GpuJobStrategy {
    fn name_rule(&self) -> NameRule {
        |name| {
            let mut faults = names::dns1123_subdomain(name);
            if name.len() > MAX_NAME {
                faults.push(format!("must be no more than {MAX_NAME} characters"));
            }
            faults
        }
    }

    fn default(&self, job: &mut GpuJob) {
        name_files(job);
        let spec = &mut job.spec;
        for number in [&mut spec.num_process, &mut spec.num_tasks_per_node, &mut spec.cpus_per_task]
        {
            if *number == 0 {
                *number = 1;
            }
        }
        if spec.gres.is_none() {
            spec.num_gpus.get_or_insert(1);
        }
        spec.work_dir.take_if(|dir| dir.is_empty());
        spec.completions.get_or_insert(1);
        spec.parallelism.get_or_insert(1);
        spec.backoff_limit.get_or_insert(0);
        spec.suspend.get_or_insert(false);
    }

    /// A name may have been made up only now.
    fn prepare_create(&self, job: &mut GpuJob) {
        name_files(job);
    }

    fn validate(&self, job: &GpuJob, errors: &mut FieldErrors) {
        validation::validate(&job.spec, &FieldPath::new("spec"), errors);
    }

    /// Who only takes a finalizer away, or cancels, is not held up by what a job's directives were before they were refused.
    fn lasting(&self, _: &GpuJob, old: &GpuJob) -> FieldErrors {
        self.faults(old)
    }

    /// What was submitted can't be submitted otherwise.
    fn validate_update(&self, new: &GpuJob, old: &GpuJob, errors: &mut FieldErrors) {
        const CHANGEABLE: [&str; 4] =
            ["suspend", "parallelism", "activeDeadlineSeconds", "ttlSecondsAfterFinished"];
        let path = FieldPath::new("spec");
        for field in changed(&new.spec, &old.spec) {
            if !CHANGEABLE.contains(&field.as_str()) {
                errors.forbidden(&path.child(&field), rules::IMMUTABLE);
            }
        }
    }

    fn validate_status(&self, new: &GpuJob, old: &GpuJob, errors: &mut FieldErrors) {
        validation::validate_status(new, old, &FieldPath::new("status"), errors);
    }

    fn fields(&self, job: &GpuJob) -> Vec<(&'static str, String)> {
        vec![("status.state", state(job).to_owned())]
    }
}

fn name_files(job: &mut GpuJob) {
    let Some(name) = job.metadata.name.as_ref().filter(|name| !name.is_empty()) else { return };
    let GpuJobSpec { output_file, error_file, .. } = &mut job.spec;
    for (file, ending) in [(output_file, "out"), (error_file, "err")] {
        if file.as_ref().is_none_or(String::is_empty) {
            *file = Some(format!("{name}.{ending}"));
        }
    }
}

/// The fields at the top that are not as they were.
fn changed(new: &GpuJobSpec, old: &GpuJobSpec) -> Vec<String> {
    let [new, old] = [new, old].map(|spec| json!(spec));
    let (Value::Object(new), Value::Object(old)) = (new, old) else { return Vec::new() };
    let added = new.keys().filter(|field| !old.contains_key(*field));
    let other = old.iter().filter(|(field, value)| new.get(*field) != Some(value));
    other.map(|(field, _)| field).chain(added).cloned().collect()
}
