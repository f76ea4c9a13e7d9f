//! The catalogue as its users see it: what becomes of objects, of which faults they are told, what tables show.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain fails, as it should")]

mod addresses;
mod autoscaling;
mod batch;
mod binding;
mod certificates;
mod conditions;
mod cron_jobs;
mod custom_resource;
mod custom_resource_definition;
mod custom_resource_rules;
mod daemon_sets;
mod deletion;
mod devices;
mod ephemeral_containers;
mod events;
mod every_kind;
mod faults;
mod immutability;
mod ingress;
mod network_policy;
mod pod_disruption_budgets;
mod pod_faults;
mod pod_status;
mod policies;
mod priority_classes;
mod quantities;
mod resizing;
mod rule_costs;
mod session_affinity;
mod stateful_sets;
mod storage;
mod tables;
mod warnings;
mod webhooks;

use std::{fs, path::Path};

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use registry::{Context, Part, ResourceDef, place};
use serde_json::Value;

/// The time at which all tests play.
const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn def(plural: &str) -> ResourceDef {
    registry::all().into_iter().find(|d| d.names.plural == plural).unwrap()
}

/// A request for an object of the kind, in the namespace `default`.
fn context(def: &ResourceDef) -> Context {
    Context {
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        uid: "0ab1".to_owned(),
        namespace: (def.scope == registry::Scope::Namespaced).then(|| "default".to_owned()),
        name: None,
        suffix: "x7k2p".to_owned(),
    }
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// The example of the kind that the tests of the whole use, too.
fn example(def: &ResourceDef) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/catalogue");
    let version = if def.is_stored() { String::new() } else { format!(".{}", def.names.version) };
    let path = folder.join(format!("{}{version}.yaml", def.names.plural));
    let missing = |e| panic!("{} needs an example: {}: {e}", def.names.kind, path.display());
    yaml(&fs::read_to_string(&path).unwrap_or_else(missing))
}

fn create(def: &ResourceDef, given: Value) -> Value {
    try_create(def, given, &context(def)).unwrap_or_else(|e| panic!("{e}"))
}

/// What a create request stores.
fn try_create(def: &ResourceDef, given: Value, context: &Context) -> Result<Value, ApiError> {
    let mut object = def.decode(given, None)?.object;
    place(object.metadata_mut(), context.namespace.as_deref(), context.name.as_deref())?;
    def.default(&mut object);
    def.before_create(&mut object, context)?;
    object.to_value()
}

/// What an update stores over `old`.
fn update(def: &ResourceDef, old: &Value, new: Value) -> Result<Value, ApiError> {
    let (old, mut new) = (def.stored(old)?, def.decode(new, Some(old))?.object);
    def.check_uid(old.metadata(), new.metadata())?;
    def.default(&mut new);
    def.before_update(Part::Main, &mut new, &old)?;
    new.to_value()
}

/// What an update through a subresource stores over `old`.
fn update_part(def: &ResourceDef, part: Part, old: &Value, new: Value) -> Result<Value, ApiError> {
    let (old, mut new) = (def.stored(old)?, def.decode(new, Some(old))?.object);
    def.before_update(part, &mut new, &old)?;
    new.to_value()
}

fn update_status(def: &ResourceDef, old: &Value, new: Value) -> Result<Value, ApiError> {
    update_part(def, Part::Status, old, new)
}
