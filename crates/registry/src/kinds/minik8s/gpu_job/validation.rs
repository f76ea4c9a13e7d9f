//! The faults of a job.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    api::core::v1::EnvVar,
    minik8s::{GpuJob, GpuJobSources, GpuJobSpec, NameRef},
};

use super::{cluster, paths, slurm};
use crate::rules;

/// The object with it must stay below what can be stored, 1.5 MiB in etcd; base64 makes it larger by a third.
const MAX_ARCHIVE: usize = 768 * 1024;
/// The status tells of each task.
const MAX_COMPLETIONS: i32 = 1000;
/// What every task is told by itself.
const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";

pub(super) fn validate(spec: &GpuJobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    numbers(spec, path, errors);
    resources(spec, path, errors);
    for (i, value) in spec.directives.iter().enumerate() {
        slurm::directive(value, &path.child("directives").index(i), errors);
    }
    for (i, variable) in spec.env.iter().enumerate() {
        variable_of_script(variable, &path.child("env").index(i), errors);
    }
    scripts(spec, path, errors);
    if let Some(sources) = &spec.sources {
        validate_sources(sources, &path.child("sources"), errors);
    }
    files(spec, path, errors);
    names::validate_labels(&spec.node_selector, &path.child("nodeSelector"), errors);
    if let Some(cluster) = &spec.cluster {
        cluster::validate(cluster, &path.child("cluster"), errors);
    }
    let secret = path.child("credentials").child("secretRef").child("name");
    rules::named(&spec.credentials.secret_ref.name, names::dns1123_subdomain, &secret, errors);
}

fn numbers(spec: &GpuJobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    for (field, number) in [
        ("numProcess", Some(spec.num_process)),
        ("numTasksPerNode", Some(spec.num_tasks_per_node)),
        ("cpusPerTask", Some(spec.cpus_per_task)),
        ("completions", spec.completions),
    ] {
        rules::positive(number, &path.child(field), errors);
    }
    for (field, number) in [
        ("numGpus", spec.num_gpus.map(i64::from)),
        ("parallelism", spec.parallelism.map(i64::from)),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
    ] {
        rules::not_negative(number, &path.child(field), errors);
    }
    if let Some(completions) = spec.completions.filter(|number| *number > MAX_COMPLETIONS) {
        let why = format!("must be less than or equal to {MAX_COMPLETIONS}");
        errors.invalid(&path.child("completions"), completions, &why);
    }
}

fn resources(spec: &GpuJobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    for (field, value) in [
        ("gres", &spec.gres),
        ("partition", &spec.partition),
        ("account", &spec.account),
        ("qos", &spec.qos),
    ] {
        slurm::word(value.as_ref(), &path.child(field), errors);
    }
    if spec.gres.is_some() && spec.num_gpus.is_some_and(|number| number > 0) {
        errors.forbidden(&path.child("numGpus"), "may not be specified with `gres`");
    }
    slurm::time_limit(spec.time_limit.as_ref(), &path.child("timeLimit"), errors);
    slurm::memory(spec.memory.as_ref(), &path.child("memory"), errors);
    slurm::array(spec.array.as_ref(), &path.child("array"), errors);
}

/// A variable that a shell exports.
fn variable_of_script(variable: &EnvVar, path: &FieldPath, errors: &mut FieldErrors) {
    let EnvVar { name, value, value_from } = variable;
    let is_identifier = !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else if !is_identifier {
        let why = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
                   characters or '_' (e.g. 'my_name', or 'MY_NAME', or 'MyName', regex used for validation is \
                   '[A-Za-z_][A-Za-z0-9_]*')";
        errors.invalid(&path.child("name"), name, why);
    } else if name == COMPLETION_INDEX {
        errors.invalid(&path.child("name"), name, "must not be a variable that every task has");
    }
    if rules::text(value.as_ref()).contains('\0') {
        errors.invalid(&path.child("value"), rules::text(value.as_ref()), "must not contain NUL");
    }
    if value_from.is_some() {
        let why = "may not be set: what it names would be written into the batch script on the Slurm cluster; use `value`";
        errors.forbidden(&path.child("valueFrom"), why);
    }
}

fn scripts(spec: &GpuJobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if spec.run_scripts.iter().all(|s| s.trim().is_empty()) {
        errors.required(&path.child("runScripts"), "");
    }
    for (field, scripts) in
        [("compileScripts", &spec.compile_scripts), ("runScripts", &spec.run_scripts)]
    {
        for (i, script) in scripts.iter().enumerate().filter(|(_, script)| script.contains('\0')) {
            errors.invalid(&path.child(field).index(i), script, "must not contain NUL");
        }
    }
}

fn validate_sources(sources: &GpuJobSources, path: &FieldPath, errors: &mut FieldErrors) {
    let GpuJobSources { config_map, secret, archive, host_path } = sources;
    let given: Vec<_> = [
        ("configMap", config_map.is_some()),
        ("secret", secret.is_some()),
        ("archive", archive.is_some()),
        ("hostPath", host_path.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, is_given)| is_given.then_some(field))
    .collect();
    if given.is_empty() {
        let why = "must specify one of: `configMap`, `secret`, `archive` or `hostPath`";
        errors.required(path, why);
    }
    for other in given.iter().skip(1) {
        errors.forbidden(&path.child(other), "may not specify more than 1 kind of sources");
    }
    for (field, object) in [("configMap", config_map), ("secret", secret)] {
        if let Some(NameRef { name }) = object {
            let path = path.child(field).child("name");
            rules::named(name, names::dns1123_subdomain, &path, errors);
        }
    }
    match archive.as_ref().map_or(1, |archive| archive.0.len()) {
        0 => errors.required(&path.child("archive"), ""),
        size if size > MAX_ARCHIVE => errors.too_long(&path.child("archive"), MAX_ARCHIVE),
        _ => {}
    }
    if let Some(host_path) = host_path {
        paths::absolute(host_path, &path.child("hostPath"), errors);
    }
}

fn files(spec: &GpuJobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(volume) = &spec.volume {
        paths::absolute(volume, &path.child("volume"), errors);
    }
    if let Some(dir) = &spec.work_dir {
        paths::relative(dir, &path.child("workDir"), errors);
    }
    for (field, file) in [("outputFile", &spec.output_file), ("errorFile", &spec.error_file)] {
        if let Some(file) = file {
            paths::file(file, &path.child(field), errors);
        }
    }
    for (i, pattern) in spec.results.iter().enumerate() {
        paths::relative(pattern, &path.child("results").index(i), errors);
    }
}

pub(super) fn validate_status(
    new: &GpuJob,
    old: &GpuJob,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let status = new.status.clone().unwrap_or_default();
    for (field, number) in
        [("active", status.active), ("succeeded", status.succeeded), ("failed", status.failed)]
    {
        rules::not_negative(Some(number), &path.child(field), errors);
    }
    let (mut indexes, tasks) = (BTreeSet::new(), path.child("tasks"));
    for (i, task) in status.tasks.iter().enumerate() {
        rules::unique(&mut indexes, &task.index, &tasks.index(i).child("index"), errors);
    }
    let conditions = path.child("conditions");
    let is_true =
        |type_: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == "True");
    if is_true(GpuJob::COMPLETE) && is_true(GpuJob::FAILED) {
        errors.invalid(&conditions, "", "cannot set Complete=True and Failed=True conditions");
    }
    if let Some(ended) = old.ended().filter(|ended| !is_true(&ended.type_)) {
        let why = format!("cannot disable {}=True condition", ended.type_);
        errors.invalid(&conditions, "", &why);
    }
}
