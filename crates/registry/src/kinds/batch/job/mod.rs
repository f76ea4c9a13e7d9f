//! Pods that run to their end, as many as are to succeed.

mod columns;
mod generated;
mod policies;
mod state;
mod status;
mod update;
mod validation;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::batch::v1::{Job, JobSpec, JobStatus};
use serde_json::json;

use crate::{
    Exists, ResourceDef, Strategy, cells,
    kinds::{
        apps::pods,
        core::pod::{template, warnings},
    },
    resource,
    warnings::{has_new_generation, name_of_pods, tell},
};

/// Of an indexed Job with more completions and more parallelism than that not all that fails may be kept track of.
const TRACKED_COMPLETIONS: i32 = 100_000;
const TRACKED_PARALLELISM: i32 = 10_000;
const TOO_MANY: &str = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";

pub(crate) fn definition() -> ResourceDef {
    resource::<Job, _>(JobStrategy)
        .generation(|new, old| new.spec != old.spec)
        .categories(&["all"])
        .status(|job, from| job.status.clone_from(&from.status))
        .column("Status", "string", 0, |job, _| json!(columns::status(job)))
        .column("Completions", "string", 0, |job, _| json!(columns::completions(job)))
        .column("Duration", "string", 0, |job, now| json!(columns::duration(job, now)))
        .age()
        .column("Containers", "string", 1, |job, _| {
            json!(job.spec.as_ref().map(|s| pods::of_containers(&s.template, |c| Some(&c.name))))
        })
        .column("Images", "string", 1, |job, _| {
            json!(job.spec.as_ref().map(|s| pods::of_containers(&s.template, |c| c.image.as_ref())))
        })
        .column("Selector", "string", 1, |job, _| {
            let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            json!(selector.map_or_else(|| cells::NONE.to_owned(), cells::selector))
        })
        .build()
}

/// What a Job has where nothing is said (Kubernetes: `SetDefaults_Job`).
fn default(spec: &mut JobSpec) {
    if spec.parallelism.is_none() && spec.completions.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let of_all = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    spec.backoff_limit.get_or_insert(of_all);
    spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
    spec.suspend.get_or_insert(false);
    spec.manual_selector.get_or_insert(false);
    let replacing =
        if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacing.to_owned());
    default_template(spec);
}

/// What the pods of a Job have where nothing is said, and the patterns of their failures.
pub(super) fn default_template(spec: &mut JobSpec) {
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for pattern in rules.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        let status = pattern.status.take().filter(|status| !status.is_empty());
        pattern.status = Some(status.unwrap_or_else(|| "True".to_owned()));
    }
    template::default(&mut spec.template);
}

/// The faults of a Job's spec but for the selector, which a template of Jobs does not have.
pub(super) use validation::spec as validate_spec;

/// Adds what is told of a Job's spec.
pub(super) fn spec_warnings(spec: &JobSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
    if is_indexed
        && spec.completions > Some(TRACKED_COMPLETIONS)
        && spec.parallelism > Some(TRACKED_PARALLELISM)
    {
        tell(path, TOO_MANY, warnings);
    }
    warnings::template(&spec.template, &path.child("template"), warnings);
}

/// The template's labels stand for missing ones, those that the server makes among them.
fn default_labels(job: &mut Job) {
    if job.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
        let template = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
        let labels = template.and_then(|metadata| metadata.labels.clone());
        job.metadata.labels = labels.or(job.metadata.labels.take());
    }
}

struct JobStrategy;

/// As Kubernetes tells it.
const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

impl Strategy<Job> for JobStrategy {
    /// As it was before there was a choice.
    fn orphans(&self) -> bool {
        true
    }

    fn deletion_warning(&self) -> Option<&'static str> {
        Some(PODS_STAY)
    }

    fn default(&self, job: &mut Job) {
        job.spec.iter_mut().for_each(default);
        default_labels(job);
    }

    fn prepare_create(&self, job: &mut Job) {
        job.status = Some(JobStatus::default());
        generated::selector(job);
        default_labels(job);
    }

    fn validate(&self, job: &Job, errors: &mut FieldErrors) {
        let (none, path) = (JobSpec::default(), FieldPath::new("spec"));
        let spec = job.spec.as_ref().unwrap_or(&none);
        generated::validate(job, spec, &path, errors);
        validation::spec(spec, &path, errors);
        validation::selector(spec, &path, errors);
        validation::hostname(job, spec, errors);
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &Job, old: &Job) -> FieldErrors {
        self.faults(old)
    }

    fn validate_update(&self, new: &Job, old: &Job, errors: &mut FieldErrors) {
        update::validate(new, old, errors);
    }

    fn validate_status(&self, new: &Job, old: &Job, errors: &mut FieldErrors) {
        status::validate(new, old, errors);
    }

    fn warnings(&self, new: &Job, old: Option<&Job>, _: &Exists<'_>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() {
            name_of_pods(&new.metadata, &mut warnings);
        }
        if let Some(spec) = new.spec.as_ref().filter(|_| has_new_generation(new, old)) {
            spec_warnings(spec, &FieldPath::new("spec"), &mut warnings);
        }
        warnings
    }

    fn fields(&self, job: &Job) -> Vec<(&'static str, String)> {
        let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
        vec![("status.successful", succeeded.to_string())]
    }
}
