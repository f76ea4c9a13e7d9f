//! Server-side apply: an object, then configurations, a line each, which two managers apply in turn.

use std::sync::LazyLock;

use api_machinery::managed_fields::{
    FieldSet, Manager, Managers, Rules, Shapes, apply, check, set_of,
};
use api_types::jiff::Timestamp;
use serde_json::{Value, json};

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let text = json!({"type": "string"});
    let list = |kind: &str, items: &Value| json!({"type": "array", "items": items, "x-kubernetes-list-type": kind});
    let element = object(json!({"name": text, "port": {"type": "integer"}, "value": text}));
    let mut keyed = list("map", &element);
    keyed["x-kubernetes-list-map-keys"] = json!(["name", "port"]);
    Shapes::of_schema(&object(json!({
        "a": text, "set": list("set", &text), "keyed": keyed, "whole": list("atomic", &element),
        "map": {"type": "object", "additionalProperties": text}, "nested": element,
    })))
});

fn manager(name: &str) -> Manager {
    let api_version = "v1".to_owned();
    Manager { name: name.to_owned(), applies: true, api_version, subresource: String::new() }
}

/// What was forced is there, and the same once more changes nothing.
pub fn run(input: &[u8]) {
    let shape = SHAPES.root();
    let fits = |value: &Value| value.is_object() && check(value, shape).is_ok();
    let mut documents = super::documents(input).take_while(fits);
    let Some(mut live) = documents.next() else { return };
    let rules = Rules { owned: FieldSet::clone, completed: Value::clone };
    let mut managers = Managers::default();
    for (i, config) in documents.enumerate().take(8) {
        let manager = manager(["one", "two"][i % 2]);
        let force = (true, Timestamp::UNIX_EPOCH);
        let applied = apply((&live, &managers), &config, shape, &manager, &rules, force);
        let applied = applied.expect("it was forced");
        let given = set_of(&config, shape);
        let written = given.to_fields_v1();
        let read = serde_json::from_str(written.get()).ok();
        assert_eq!(read.as_ref(), Some(&given), "{written}");
        let now = (&applied.object, &applied.managers);
        let again = apply(now, &config, shape, &manager, &rules, (false, Timestamp::UNIX_EPOCH));
        if is_full(&config) {
            assert_eq!(again.as_ref().map(|again| &again.object), Ok(&applied.object));
            let there = set_of(&applied.object, shape);
            assert!(given.difference(&there).is_empty(), "{}", applied.object);
        }
        (live, managers) = (applied.object, applied.managers);
    }
}

/// What is empty is owned as a whole as long as it is.
fn is_full(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty() && items.iter().all(is_full),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(is_full),
        _ => true,
    }
}
