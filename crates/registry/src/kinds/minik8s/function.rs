//! A serverless function.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::minik8s::{Function, FunctionSpec};
use serde_json::json;

use crate::{NameRule, ResourceDef, Strategy, cells::or_none, resource, rules};

const RUNTIMES: [&str; 1] = ["python"];
const MAX_CODE: usize = 1024 * 1024;

pub(crate) fn definition() -> ResourceDef {
    resource::<Function, _>(FunctionStrategy)
        .short_names(&["func", "fn"])
        .categories(&["all"])
        .status_alone(|function, from| function.status.clone_from(&from.status))
        .column("Runtime", "string", 0, |f, _| json!(rules::text(f.spec.runtime.as_ref())))
        .column("Instances", "string", 0, |f, _| json!(instances(f)))
        .column("Max", "integer", 0, |f, _| json!(f.spec.max_scale))
        .age()
        .column("URL", "string", 1, |f, _| {
            json!(or_none(rules::text(f.status.as_ref().and_then(|s| s.url.as_ref()))))
        })
        .build()
}

/// Instances that answer of those there are.
fn instances(function: &Function) -> String {
    let status = function.status.clone().unwrap_or_default();
    format!("{}/{}", status.ready_replicas, status.replicas)
}

struct FunctionStrategy;

impl Strategy<Function> for FunctionStrategy {
    /// The name becomes that of a Service and a part of a URL.
    fn name_rule(&self) -> NameRule {
        names::dns1035_label
    }

    fn default(&self, function: &mut Function) {
        let FunctionSpec {
            runtime,
            min_scale,
            max_scale,
            target_concurrency,
            idle_seconds,
            timeout_seconds,
            ..
        } = &mut function.spec;
        runtime.get_or_insert_with(|| RUNTIMES[0].to_owned());
        min_scale.get_or_insert(0);
        max_scale.get_or_insert(10);
        target_concurrency.get_or_insert(1);
        idle_seconds.get_or_insert(60);
        timeout_seconds.get_or_insert(60);
    }

    fn validate(&self, function: &Function, errors: &mut FieldErrors) {
        let (spec, path) = (&function.spec, FieldPath::new("spec"));
        rules::one_of(spec.runtime.as_ref(), &RUNTIMES, &path.child("runtime"), errors);
        if spec.code.trim().is_empty() {
            errors.required(&path.child("code"), "");
        } else if spec.code.len() > MAX_CODE {
            errors.too_long(&path.child("code"), MAX_CODE);
        }
        for (i, env) in spec.env.iter().enumerate() {
            let path = path.child("env").index(i).child("name");
            rules::named(&env.name, names::env_var_name, &path, errors);
        }
        rules::positive(spec.target_concurrency, &path.child("targetConcurrency"), errors);
        rules::positive(spec.timeout_seconds, &path.child("timeoutSeconds"), errors);
        rules::not_negative(spec.idle_seconds, &path.child("idleSeconds"), errors);
        scale(spec, &path, errors);
    }
}

fn scale(spec: &FunctionSpec, path: &FieldPath, errors: &mut FieldErrors) {
    rules::not_negative(spec.min_scale, &path.child("minScale"), errors);
    rules::positive(spec.max_scale, &path.child("maxScale"), errors);
    if let (Some(min), Some(max)) = (spec.min_scale, spec.max_scale)
        && min > max
    {
        errors.invalid(&path.child("maxScale"), max, "must be greater than or equal to `minScale`");
    }
}
