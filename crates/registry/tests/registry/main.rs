//! The catalogue as its users see it: what becomes of objects, of which faults they are told, what tables show.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain fails, as it should")]

mod binding;
mod deletion;
mod every_kind;
mod faults;
mod immutability;
mod pod_status;
mod quantities;
mod session_affinity;
mod tables;

use std::{fs, path::Path};

use api_types::jiff::Timestamp;
use registry::{Context, ResourceDef};
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
    let path = folder.join(format!("{}.yaml", def.names.plural));
    let missing = |e| panic!("{} needs an example: {}: {e}", def.names.kind, path.display());
    yaml(&fs::read_to_string(&path).unwrap_or_else(missing))
}

fn create(def: &ResourceDef, given: Value) -> Value {
    def.create(given, &context(def)).unwrap_or_else(|e| panic!("{e}"))
}
