//! What `kubectl func add` and `update` set of a function beside what it is made of.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::Failure;

#[derive(Args, Debug)]
pub(super) struct Settings {
    /// KEY=VALUE: an environment variable of the instances; replaces those that there are
    #[arg(long)]
    env: Vec<String>,
    /// secret/NAME or configmap/NAME: all of its entries are environment variables; replaces those that there are
    #[arg(long, value_name = "KIND/NAME")]
    env_from: Vec<String>,
    /// What an instance needs, e.g. cpu=100m,memory=64Mi
    #[arg(long, value_delimiter = ',', value_name = "RESOURCE=QUANTITY")]
    requests: Vec<String>,
    /// What an instance may use at most
    #[arg(long, value_delimiter = ',', value_name = "RESOURCE=QUANTITY")]
    limits: Vec<String>,
    /// The fewest instances
    #[arg(long)]
    min_scale: Option<u32>,
    /// The most instances
    #[arg(long)]
    max_scale: Option<u32>,
    /// The most calls that an instance has in hand at a time; 0 is no limit
    #[arg(long)]
    concurrency: Option<u32>,
    /// The calls that an instance is to have in hand at a time, on average
    #[arg(long, value_name = "CALLS")]
    target_concurrency: Option<u32>,
    /// The calls a second that an instance is to take, on average
    #[arg(long, value_name = "CALLS")]
    target_rps: Option<u32>,
    /// How many seconds a call may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// After how many seconds without calls the last instance goes
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u32>,
    /// For how many seconds fewer instances must have been enough before some go
    #[arg(long, value_name = "SECONDS")]
    scale_down_delay: Option<u32>,
    /// How many versions are kept to return to
    #[arg(long, value_name = "VERSIONS")]
    history_limit: Option<u32>,
}

impl Settings {
    /// Sets what the flags say.
    pub(super) fn apply(&self, spec: &mut Map<String, Value>) -> Result<(), Failure> {
        if !self.env.is_empty() {
            let variables: Result<Vec<_>, _> = self.env.iter().map(|text| variable(text)).collect();
            spec.insert("env".to_owned(), json!(variables?));
        }
        if !self.env_from.is_empty() {
            let sources: Result<Vec<_>, _> =
                self.env_from.iter().map(|text| source(text)).collect();
            spec.insert("envFrom".to_owned(), json!(sources?));
        }
        for (field, given) in [("requests", &self.requests), ("limits", &self.limits)] {
            if !given.is_empty() {
                let resources = spec.entry("resources").or_insert_with(|| json!({}));
                resources[field] = Value::Object(quantities(field, given)?);
            }
        }
        for (field, value) in self.numbers().into_iter().filter_map(|(f, v)| Some((f, v?))) {
            spec.insert(field.to_owned(), json!(value));
        }
        Ok(())
    }

    fn numbers(&self) -> [(&'static str, Option<u32>); 9] {
        [
            ("minScale", self.min_scale),
            ("maxScale", self.max_scale),
            ("containerConcurrency", self.concurrency),
            ("targetConcurrency", self.target_concurrency),
            ("targetRequestsPerSecond", self.target_rps),
            ("timeoutSeconds", self.timeout),
            ("idleSeconds", self.idle),
            ("scaleDownDelaySeconds", self.scale_down_delay),
            ("historyLimit", self.history_limit),
        ]
    }
}

fn quantities(flag: &str, given: &[String]) -> Result<Map<String, Value>, Failure> {
    let one = |text: &String| match text.split_once('=') {
        Some((name, quantity)) if !name.is_empty() => Ok((name.to_owned(), json!(quantity))),
        _ => {
            let fault = format!("invalid --{flag} {text:?}, expected RESOURCE=QUANTITY");
            Err(Failure::message(fault))
        }
    };
    given.iter().map(one).collect()
}

fn variable(text: &str) -> Result<Value, Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        _ => Err(Failure::message(format!("invalid --env {text:?}, expected KEY=VALUE"))),
    }
}

fn source(text: &str) -> Result<Value, Failure> {
    match text.split_once('/') {
        Some(("secret", name)) if !name.is_empty() => Ok(json!({"secretRef": {"name": name}})),
        Some(("configmap" | "cm", name)) if !name.is_empty() => {
            Ok(json!({"configMapRef": {"name": name}}))
        }
        _ => {
            let expected = "expected secret/NAME or configmap/NAME";
            Err(Failure::message(format!("invalid --env-from {text:?}, {expected}")))
        }
    }
}
