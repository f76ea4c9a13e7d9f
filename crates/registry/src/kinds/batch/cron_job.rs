//! Jobs that are made again and again, when a schedule says so.

use api_machinery::{FieldErrors, FieldPath, cron::Schedule, table::age};
use api_types::{
    api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, JobSpec, JobTemplateSpec},
    jiff::tz::TimeZone,
};
use serde_json::json;

use super::job;
use crate::{
    Exists, ResourceDef, Strategy, cells,
    kinds::apps::pods,
    resource, rules,
    warnings::{has_new_generation, name_of_pods},
};

/// Of the Job's 63, eleven are its time.
const LONGEST_NAME: usize = 52;
const LONGEST_PART_OF_ZONE: usize = 14;

pub(crate) fn definition() -> ResourceDef {
    resource::<CronJob, _>(CronJobStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["cj"])
        .categories(&["all"])
        .status(|cron_job, from| cron_job.status.clone_from(&from.status))
        .column("Schedule", "string", 0, |it, _| json!(it.spec.schedule))
        .column("Timezone", "string", 0, |it, _| {
            json!(it.spec.time_zone.as_deref().unwrap_or(cells::NONE))
        })
        .column("Suspend", "boolean", 0, |it, _| {
            json!(match it.spec.suspend {
                Some(true) => "True",
                Some(false) => "False",
                None => "<unset>",
            })
        })
        .column("Active", "integer", 0, |it, _| {
            let active = it.status.as_ref().and_then(|status| status.active.as_ref());
            json!(active.map_or(0, Vec::len))
        })
        .column("Last Schedule", "string", 0, |it, now| {
            let last = it.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
            json!(last.map_or_else(|| cells::NONE.to_owned(), |last| age(Some(last.0), now)))
        })
        .age()
        .column("Containers", "string", 1, |it, _| {
            json!(job_spec(it).map(|job| pods::of_containers(&job.template, |c| Some(&c.name))))
        })
        .column("Images", "string", 1, |it, _| {
            json!(job_spec(it).map(|job| pods::of_containers(&job.template, |c| c.image.as_ref())))
        })
        .column("Selector", "string", 1, |it, _| {
            let selector = job_spec(it).and_then(|job| job.selector.as_ref());
            json!(selector.map_or_else(|| cells::NONE.to_owned(), cells::selector))
        })
        .build()
}

fn job_spec(cron_job: &CronJob) -> Option<&JobSpec> {
    cron_job.spec.job_template.spec.as_ref()
}

struct CronJobStrategy;

impl Strategy<CronJob> for CronJobStrategy {
    /// Kubernetes: `SetDefaults_CronJob`. The Job of the template gets its own when it is made, but for its pods.
    fn default(&self, cron_job: &mut CronJob) {
        let spec = &mut cron_job.spec;
        let policy = spec.concurrency_policy.take().filter(|policy| !policy.is_empty());
        spec.concurrency_policy = Some(policy.unwrap_or_else(|| "Allow".to_owned()));
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        if let Some(spec) = &mut spec.job_template.spec {
            job::default_template(spec);
        }
    }

    fn prepare_create(&self, cron_job: &mut CronJob) {
        cron_job.status = Some(CronJobStatus::default());
    }

    fn validate_create(&self, cron_job: &CronJob, errors: &mut FieldErrors) {
        let name = rules::text(cron_job.metadata.name.as_ref());
        if name.len() > LONGEST_NAME {
            let path = FieldPath::new("metadata").child("name");
            errors.invalid(&path, name, "must be no more than 52 characters");
        }
    }

    fn validate(&self, cron_job: &CronJob, errors: &mut FieldErrors) {
        validate_spec(&cron_job.spec, &FieldPath::new("spec"), errors);
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &CronJob, old: &CronJob) -> FieldErrors {
        self.faults(old)
    }

    fn warnings(&self, new: &CronJob, old: Option<&CronJob>, _: &Exists<'_>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() {
            name_of_pods(&new.metadata, &mut warnings);
        }
        if let Some(spec) = job_spec(new).filter(|_| has_new_generation(new, old)) {
            let path = FieldPath::new("spec").child("jobTemplate").child("spec");
            job::spec_warnings(spec, &path, &mut warnings);
        }
        warnings
    }
}

fn validate_spec(spec: &CronJobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    schedule(&spec.schedule, &path.child("schedule"), errors);
    let deadline = spec.starting_deadline_seconds;
    rules::not_negative(deadline, &path.child("startingDeadlineSeconds"), errors);
    if let Some(zone) = &spec.time_zone {
        time_zone(zone, &path.child("timeZone"), errors);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    let policy = spec.concurrency_policy.as_ref();
    rules::one_of(policy, &policies, &path.child("concurrencyPolicy"), errors);
    template(&spec.job_template, &path.child("jobTemplate").child("spec"), errors);
    let kept = spec.successful_jobs_history_limit;
    rules::not_negative(kept, &path.child("successfulJobsHistoryLimit"), errors);
    let kept = spec.failed_jobs_history_limit;
    rules::not_negative(kept, &path.child("failedJobsHistoryLimit"), errors);
}

fn schedule(schedule: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if schedule.is_empty() {
        return errors.required(path, "");
    }
    if schedule.contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(path, schedule, why);
    } else if let Err(why) = Schedule::parse(schedule) {
        errors.invalid(path, schedule, &why);
    }
}

fn time_zone(zone: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if zone.is_empty() {
        return errors.invalid(path, zone, "timeZone must be nil or non-empty string");
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
    let is_part = |part: &str| {
        let length = (1..=LONGEST_PART_OF_ZONE).contains(&part.len());
        let named = !matches!(part, "." | "..") && !part.starts_with('-');
        length && named && part.chars().all(is_allowed)
    };
    if zone.eq_ignore_ascii_case("local") {
        let why =
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(path, zone, why);
    } else if !zone.split('/').all(is_part) || TimeZone::get(zone).is_err() {
        errors.invalid(path, zone, &format!("unknown time zone {zone}"));
    }
}

/// The Job's selector is made when the Job is.
fn template(template: &JobTemplateSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let none = JobSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&none);
    job::validate_spec(spec, path, errors);
    if let Some(selector) = &spec.selector {
        let shown = serde_json::to_value(selector).unwrap_or_default();
        let why = "`selector` will be auto-generated";
        errors.invalid(&path.child("selector"), format_args!("{shown}"), why);
    }
    if spec.manual_selector == Some(true) {
        errors.not_supported(&path.child("manualSelector"), "true", &["nil", "false"]);
    }
}
