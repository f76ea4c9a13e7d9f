//! A serverless function.

mod validation;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    meta::Condition,
    minik8s::{Function, FunctionVersionPhase, Runtime},
};
use serde_json::json;

use crate::{NameRule, ResourceDef, Strategy, cells::or_none, resource, rules};

/// The instances' names are the function's and more.
const MAX_NAME: usize = 52;
/// What the gateway itself answers at the path of a name.
const RESERVED: [&str; 4] = ["healthz", "livez", "metrics", "readyz"];
const TARGET_CONCURRENCY: i32 = 10;

pub(crate) fn definition() -> ResourceDef {
    resource::<Function, _>(FunctionStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["func", "fn"])
        .categories(&["all"])
        .status_alone(|function, from| function.status.clone_from(&from.status))
        .column("Ready", "string", 0, |f, _| json!(ready(f)))
        .column("Instances", "string", 0, |f, _| json!(instances(f)))
        .column("URL", "string", 0, |f, _| {
            json!(or_none(rules::text(f.status.as_ref().and_then(|s| s.url.as_ref()))))
        })
        .column("Version", "string", 0, |f, _| json!(version(f)))
        .age()
        .column("Runtime", "string", 1, |f, _| json!(rules::text(f.spec.runtime.as_ref())))
        .column("Max", "integer", 1, |f, _| json!(f.spec.max_scale))
        .build()
}

/// The status of the condition; while it is not known yet, what is being done for it.
fn ready(function: &Function) -> &str {
    let condition = |kind| {
        let mut conditions = function.status.iter().flat_map(|status| &status.conditions);
        conditions.find(|condition| condition.type_ == kind)
    };
    let is_open = |condition: &&Condition| condition.status == "Unknown";
    match (condition("Ready"), condition("Built").filter(is_open)) {
        (None, _) => "Unknown",
        (Some(ready), None) if is_open(&ready) => &ready.reason,
        (Some(ready), Some(built)) if is_open(&ready) => &built.reason,
        (Some(ready), _) => &ready.status,
    }
}

/// Instances that answer of those there are.
fn instances(function: &Function) -> String {
    let status = function.status.clone().unwrap_or_default();
    format!("{}/{}", status.ready_replicas, status.replicas)
}

fn version(function: &Function) -> String {
    let version = function.status.as_ref().and_then(|status| status.version);
    version.map_or_else(|| or_none("").to_owned(), |version| version.to_string())
}

struct FunctionStrategy;

impl Strategy<Function> for FunctionStrategy {
    /// The name becomes part of a URL and of the names of instances and images.
    fn name_rule(&self) -> NameRule {
        |name| {
            let mut faults = names::dns1035_label(name);
            if name.len() > MAX_NAME {
                faults.push(format!("must be no more than {MAX_NAME} characters"));
            }
            if RESERVED.contains(&name) {
                faults.push("is a path of the serverless gateway itself".to_owned());
            }
            faults
        }
    }

    fn default(&self, function: &mut Function) {
        let spec = &mut function.spec;
        spec.runtime.get_or_insert_with(|| Runtime::ALL[0].name.to_owned());
        spec.min_scale.get_or_insert(0);
        spec.max_scale.get_or_insert(10);
        if *spec.container_concurrency.get_or_insert(0) == 0 {
            spec.target_concurrency.get_or_insert(TARGET_CONCURRENCY);
        }
        spec.idle_seconds.get_or_insert(60);
        spec.timeout_seconds.get_or_insert(60);
        spec.scale_down_delay_seconds.get_or_insert(0);
        spec.history_limit.get_or_insert(3);
    }

    /// Whoever changes the code wants it to serve, also if another version was asked for before.
    fn prepare_update(&self, new: &mut Function, old: &Function) {
        let (now, before) = (&mut new.spec, &old.spec);
        if now.rollback_to == before.rollback_to && now.template() != before.template() {
            now.rollback_to = None;
        }
    }

    fn validate(&self, function: &Function, errors: &mut FieldErrors) {
        validation::validate(&function.spec, &FieldPath::new("spec"), errors);
    }

    /// Who only takes a finalizer away is not held up by what was taken before it was refused.
    fn lasting(&self, _: &Function, old: &Function) -> FieldErrors {
        self.faults(old)
    }

    fn validate_update(&self, new: &Function, old: &Function, errors: &mut FieldErrors) {
        let wanted = new.spec.rollback_to.filter(|_| new.spec.rollback_to != old.spec.rollback_to);
        let Some(wanted) = wanted else { return };
        let path = FieldPath::new("spec").child("rollbackTo");
        let mut versions = old.status.iter().flat_map(|status| &status.versions);
        match versions.find(|version| version.version == wanted) {
            None => errors.not_found(&path, wanted),
            // One that was never ready may have no instances to come back to.
            Some(version) if version.phase != FunctionVersionPhase::Ready => {
                errors.invalid(&path, wanted, "this version was never ready");
            }
            Some(_) => {}
        }
    }
}
