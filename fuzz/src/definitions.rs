//! Kinds that come from data: the schema of a spec, and then specs, a line each, of which each changes the one before.

use std::sync::LazyLock;

use api_types::{apiextensions::CustomResourceDefinition, jiff::Timestamp};
use registry::{Context, Part, ResourceDef, versions};
use serde_json::{Value, json};

static DEFINITIONS: LazyLock<ResourceDef> = LazyLock::new(|| {
    let mut kinds = registry::all().into_iter();
    kinds.find(|def| def.names.plural == "customresourcedefinitions").expect("there are such")
});

fn context(namespace: Option<&str>) -> Context {
    Context {
        now: Timestamp::UNIX_EPOCH,
        uid: "a".to_owned(),
        namespace: namespace.map(str::to_owned),
        name: None,
        suffix: "aaaaa".to_owned(),
    }
}

fn definition(schema: &Value) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": schema}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "as.e.com"},
        "spec": {
            "group": "e.com", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// A definition that is taken can be served, and its objects are taken or refused; what is stored can be read again.
pub fn run(input: &[u8]) {
    let mut documents = super::documents(input);
    let Some(schema) = documents.next() else { return };
    let Ok(mut decoded) = DEFINITIONS.decode(definition(&schema), None) else { return };
    DEFINITIONS.default(&mut decoded.object);
    if DEFINITIONS.before_create(&mut decoded.object, &context(None)).is_err() {
        return;
    }
    let stored = decoded.object.to_value().expect("it can be stored");
    let made: CustomResourceDefinition = serde_json::from_value(stored).expect("it is one");
    let kinds = versions(&made, &made.spec.names).expect("what is taken can be served");
    let Some(kind) = kinds.first() else { return };
    let mut last: Option<Value> = None;
    for spec in documents.take(4) {
        if let Some(stored) = write(kind, &spec, last.as_ref()) {
            last = Some(stored);
        }
    }
}

/// What is stored, if it is taken.
fn write(kind: &ResourceDef, spec: &Value, last: Option<&Value>) -> Option<Value> {
    let given =
        json!({"apiVersion": "e.com/v1", "kind": "A", "metadata": {"name": "a"}, "spec": spec});
    let old = last.map(|last| kind.stored(last).expect("what is stored can be read"));
    let mut object = kind.decode(given, last).ok()?.object;
    kind.default(&mut object);
    match &old {
        Some(old) => kind.before_update(Part::Main, &mut object, old).ok()?,
        None => kind.before_create(&mut object, &context(Some("default"))).ok()?,
    }
    Some(object.to_value().expect("it can be stored"))
}
