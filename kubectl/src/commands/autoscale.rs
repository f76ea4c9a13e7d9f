//! `kubectl autoscale`: an autoscaler made of flags, in stock's form and in the original's.

use clap::Args;
use serde_json::{Value, json};

use super::{choice, creation::Options, target::Target};
use crate::{Failure, dialect, failure::Failures, flags::Files, object, session::Session};

/// Have something get more and fewer pods by itself
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl autoscale deployment web --min=2 --max=10 --cpu-percent=80\n  kubectl autoscale rs/web --max=5\n  kubectl autoscale web --target=rs -c 25 --min=1 --max=4 -i 10"
)]
pub struct Autoscale {
    /// TYPE NAME or TYPE/NAME; with --target the autoscaler's name
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The autoscaler's name; usually the object's
    #[arg(long)]
    name: Option<String>,
    /// How many pods there are at least
    #[arg(long)]
    min: Option<i32>,
    /// How many pods there are at most
    #[arg(long)]
    max: Option<i32>,
    /// What the pods are to use of the processor time that they request, in percent; usually 80
    #[arg(long, allow_negative_numbers = true)]
    cpu_percent: Option<i32>,
    /// The name of a ReplicaSet, in the original's form, to which the following flags belong
    #[arg(short, long)]
    target: Option<String>,
    /// What each pod is to use of a processor, in percent
    #[arg(short, long, requires = "target")]
    cpu: Option<f64>,
    /// What the pods are to use of the memory that they request, in percent
    #[arg(short, long, requires = "target")]
    mem: Option<f64>,
    /// In so many seconds there is one pod more or less
    #[arg(short, long, requires = "target")]
    interval: Option<u64>,
    #[command(flatten)]
    options: Options,
}

impl Autoscale {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        if let Some(target) = &self.target {
            let autoscaler = self.of_seed(target)?;
            return self.options.create_one(session, autoscaler, "autoscaled").await;
        }
        self.check()?;
        let (mut failures, everything) = (Failures::default(), Default::default());
        let targets =
            choice::named(session, &self.files, &self.words, false, &everything, &mut failures)
                .await?;
        for target in targets {
            let autoscaled = self.autoscale(session, &target).await;
            failures.keep(autoscaled)?;
        }
        failures.finish(&session.io)
    }

    /// As the original's manifests have it, whose meaning the dialect knows.
    fn of_seed(&self, target: &str) -> Result<Value, Failure> {
        let [name] = self.words.as_slice() else {
            return Err(Failure::message("with --target one name is needed, the autoscaler's"));
        };
        let autoscaler = dialect::to_kubernetes(json!({
            "apiVersion": "v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
            "spec": {
                "scaleTargetRef": {"metadata": {"name": target}},
                "minReplicas": self.min.unwrap_or(1), "maxReplicas": self.max.unwrap_or(1),
                "metrics": {"CPUUtilizationPercentage": self.cpu, "MemUtilizationPercentage": self.mem},
                "scaleInterval": self.interval,
            },
        }));
        match dialect::refusal(&autoscaler) {
            Some(_) => Err(Failure::message("--cpu or --mem must be given, and above 0")),
            None => Ok(autoscaler),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let (min, max) = (self.min.unwrap_or(-1), self.max.unwrap_or(-1));
        if max < 1 {
            let why = format!("--max=MAXPODS is required and must be at least 1, max: {max}");
            return Err(Failure::message(why));
        }
        if max < min {
            let why = format!(
                "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}"
            );
            return Err(Failure::message(why));
        }
        Ok(())
    }

    async fn autoscale(&self, session: &Session, target: &Target) -> Result<(), Failure> {
        if target.name.is_none() {
            return Err(Failure::message("resource(s) were provided, but no name was specified"));
        }
        let scaled = target.fetch(session).await?;
        if !target.resource.subresources.iter().any(|it| it == "scale") {
            let kind = object::kind(&scaled);
            return Err(Failure::message(format!("cannot autoscale a {kind}: it has no scale")));
        }
        let mut autoscaler = self.autoscaler(&scaled);
        // As a file says it; otherwise it is that of the command.
        if target.namespace != Some(session.namespace().await?) {
            autoscaler["metadata"]["namespace"] = json!(target.namespace);
        }
        self.options.create_one(session, autoscaler, "autoscaled").await
    }

    fn autoscaler(&self, scaled: &Value) -> Value {
        let name = self.name.as_deref().unwrap_or_else(|| object::name(scaled));
        let mut spec = json!({
            "scaleTargetRef": {
                "apiVersion": scaled["apiVersion"],
                "kind": scaled["kind"],
                "name": object::name(scaled),
            },
            "maxReplicas": self.max,
        });
        if let Some(min) = self.min.filter(|min| *min > 0) {
            spec["minReplicas"] = json!(min);
        }
        if let Some(percent) = self.cpu_percent.filter(|percent| *percent >= 0) {
            spec["targetCPUUtilizationPercentage"] = json!(percent);
        }
        json!({
            "apiVersion": "autoscaling/v1",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name},
            "spec": spec,
        })
    }
}
