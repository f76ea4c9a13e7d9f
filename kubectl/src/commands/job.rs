//! `kubectl create job` and `kubectl create cronjob`: what runs to its end, now or by a schedule.

use clap::Args;
use serde_json::{Value, json};

use super::{creation::Options, target};
use crate::{
    Failure,
    object::{map, name, text},
    session::Session,
};

const GROUP_VERSION: &str = "batch/v1";

/// Create a Job: a pod that runs to its end
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl create job once --image=busybox:1 -- date\n  kubectl create job now --from=cronjob/nightly"
)]
pub(super) struct Job {
    /// Its name
    name: String,
    /// The image
    #[arg(long)]
    image: Option<String>,
    /// The CronJob whose Job is to run now: cronjob/NAME
    #[arg(long, value_name = "cronjob/NAME")]
    from: Option<String>,
    /// What the container runs, instead of what its image says
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// Create a CronJob: Jobs by a schedule
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl create cronjob nightly --image=busybox:1 --schedule='0 3 * * *' -- date"
)]
pub(super) struct CronJob {
    /// Its name
    name: String,
    /// The image
    #[arg(long)]
    image: String,
    /// When: minute, hour, day, month and day of the week, or @daily and the like
    #[arg(long)]
    schedule: String,
    /// Whether a container that fails is started again: OnFailure, Never
    #[arg(long, default_value = "OnFailure")]
    restart: String,
    /// What the container runs, instead of what its image says
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    options: Options,
}

impl Job {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let object = match (&self.image, &self.from) {
            (Some(image), None) => {
                let spec = spec(&self.name, image, &self.command, "Never");
                object("Job", &self.name, &spec)
            }
            (None, Some(_)) if !self.command.is_empty() => {
                return Err(Failure::message("cannot specify --from and command"));
            }
            (None, Some(from)) => instantiated(&self.name, &cron_job(session, from).await?),
            _ => return Err(Failure::message("either --image or --from must be specified")),
        };
        self.options.create_one(session, object, "created").await
    }
}

impl CronJob {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { name, image, schedule, restart, command, options } = self;
        let job = spec(&name, &image, &command, &restart);
        let template = json!({"metadata": {"name": name}, "spec": job});
        let spec = json!({"schedule": schedule, "jobTemplate": template});
        options.create_one(session, object("CronJob", &name, &spec), "created").await
    }
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": GROUP_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn spec(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"name": name, "image": image});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    json!({"template": {"spec": {"containers": [container], "restartPolicy": restart}}})
}

async fn cron_job(session: &Session, word: &str) -> Result<Value, Failure> {
    let found = target::of_words(session, &[word.to_owned()], false).await?.into_iter().next();
    match found.filter(|target| target.resource.kind == "CronJob") {
        Some(target) => target.fetch(session).await,
        None => Err(Failure::message("from must be an existing cronjob")),
    }
}

/// The Job that the CronJob would make, and that belongs to it.
fn instantiated(name_of_job: &str, cron_job: &Value) -> Value {
    let template = &cron_job["spec"]["jobTemplate"];
    let mut annotations = map(template, "/metadata/annotations");
    annotations.insert("cronjob.kubernetes.io/instantiate".to_owned(), "manual".to_owned());
    let mut job = object("Job", name_of_job, &template["spec"]);
    job["metadata"]["annotations"] = json!(annotations);
    job["metadata"]["labels"] = template["metadata"]["labels"].clone();
    job["metadata"]["ownerReferences"] = json!([{
        "apiVersion": GROUP_VERSION, "kind": "CronJob", "name": name(cron_job),
        "uid": text(cron_job, "/metadata/uid"), "controller": true,
    }]);
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_a_cron_job_is_its_template_and_belongs_to_it() {
        let template = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"completions": 2}});
        let cron_job =
            json!({"metadata": {"name": "nightly", "uid": "u"}, "spec": {"jobTemplate": template}});
        let expected = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "now", "labels": {"a": "b"},
                "annotations": {"c": "d", "cronjob.kubernetes.io/instantiate": "manual"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly",
                    "uid": "u", "controller": true}],
            },
            "spec": {"completions": 2},
        });
        assert_eq!(instantiated("now", &cron_job), expected);
    }
}
