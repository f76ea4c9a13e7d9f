//! The schemas of a document, each there once that is referred to.

use api_machinery::patch::{ListMerge, merge_key, patch_strategy};
use api_types::{
    api::{
        authentication::v1::TokenRequest, autoscaling::v1::Scale, core::v1::Binding,
        policy::v1::Eviction,
    },
    meta,
};
use registry::{ResourceDef, schema_of};
use serde_json::{Map, Value, json};

use super::operation::{Schema, group_version_kind, schema_name};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The schemas so far.
#[derive(Debug)]
pub(super) struct Schemas {
    /// What references begin with.
    root: &'static str,
    schemas: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new(root: &'static str) -> Self {
        Self { root, schemas: Map::new() }
    }

    pub(super) fn into_inner(self) -> Map<String, Value> {
        self.schemas
    }

    /// Adds the schemas of a kind and of its list, and those of the types it uses.
    pub(super) fn add_kind(&mut self, def: &ResourceDef) {
        let names = &def.names;
        let kind = |kind: &str| json!([group_version_kind(&names.group, &names.version, kind)]);
        let name = schema_name(def);
        let mut schema = self.import(def.schema());
        schema["x-kubernetes-group-version-kind"] = kind(&names.kind);
        self.schemas.insert(name.clone(), schema);
        if def.knows_list_merges() {
            self.tell_merges(&name, &names.kind);
        }
        let metadata = self.shared(format!("{META}.ListMeta"), schema_of::<meta::ListMeta>);
        let list = json!({
            "description": format!("{} is a list of {} objects.", names.list_kind, names.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": metadata,
                "items": { "type": "array", "items": { "$ref": format!("{}{name}", self.root) } },
            },
            "x-kubernetes-group-version-kind": kind(&names.list_kind),
        });
        self.schemas.insert(format!("{name}List"), list);
    }

    /// A reference to a schema, which is added if it isn't there.
    pub(super) fn reference(&mut self, schema: &Schema) -> Value {
        match schema {
            Schema::Named(name) => json!({ "$ref": format!("{}{name}", self.root) }),
            Schema::Text => json!({ "type": "string" }),
            Schema::Status => self.shared(format!("{META}.Status"), schema_of::<meta::Status>),
            Schema::DeleteOptions => {
                self.shared(format!("{META}.DeleteOptions"), schema_of::<meta::DeleteOptions>)
            }
            Schema::Patch => self.shared(format!("{META}.Patch"), patch),
            Schema::Scale => {
                self.shared("io.k8s.api.autoscaling.v1.Scale".to_owned(), schema_of::<Scale>)
            }
            Schema::Binding => {
                self.shared("io.k8s.api.core.v1.Binding".to_owned(), schema_of::<Binding>)
            }
            Schema::Eviction => {
                self.shared("io.k8s.api.policy.v1.Eviction".to_owned(), schema_of::<Eviction>)
            }
            Schema::TokenRequest => self.shared(
                "io.k8s.api.authentication.v1.TokenRequest".to_owned(),
                schema_of::<TokenRequest>,
            ),
        }
    }

    fn shared(&mut self, name: String, schema: fn() -> Value) -> Value {
        let reference = json!({ "$ref": format!("{}{name}", self.root) });
        if !self.schemas.contains_key(&name) {
            let schema = self.import(schema());
            self.schemas.insert(name, schema);
        }
        reference
    }

    /// A schema without the definitions it came with, which are added to the others.
    fn import(&mut self, mut schema: Value) -> Value {
        if let Some(Value::Object(used)) = schema.as_object_mut().and_then(|s| s.remove("$defs")) {
            for (name, mut used) in used {
                adapt(&mut used, self.root);
                self.schemas.entry(name).or_insert(used);
            }
        }
        adapt(&mut schema, self.root);
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("$schema");
            schema.remove("title");
        }
        schema
    }

    /// Says of each field below a kind how a strategic merge patch merges it: `kubectl` makes its patches by that.
    fn tell_merges(&mut self, name: &str, kind: &str) {
        let mut todo = vec![(name.to_owned(), vec![kind.to_owned()])];
        while let Some((name, path)) = todo.pop() {
            let Some(properties) =
                self.schemas.get_mut(&name).and_then(|s| s.get_mut("properties"))
            else {
                continue;
            };
            for (field, schema) in properties.as_object_mut().into_iter().flatten() {
                let path: Vec<String> = path.iter().cloned().chain([field.clone()]).collect();
                tell_merge(schema, &path);
                let inner = type_of(schema).and_then(|t| t.strip_prefix(self.root));
                // A type within itself would have no end.
                if let Some(inner) = inner.filter(|_| path.len() < MAX_DEPTH) {
                    todo.push((inner.to_owned(), path));
                }
            }
        }
    }
}

/// Deeper than any field that is merged, the kind included.
const MAX_DEPTH: usize = 9;

/// The type that a field refers to, itself or in its list.
fn type_of(schema: &Value) -> Option<&str> {
    ["/$ref", "/allOf/0/$ref", "/items/$ref", "/items/allOf/0/$ref"]
        .into_iter()
        .find_map(|place| schema.pointer(place).and_then(Value::as_str))
}

fn tell_merge(schema: &mut Value, path: &[String]) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let (merge, strategy) = (merge_key(&path), patch_strategy(&path));
    let is_other = merge != ListMerge::Atomic && schema["type"] != "array";
    if strategy.is_empty() || is_other {
        return;
    }
    schema["x-kubernetes-patch-strategy"] = strategy.into();
    if let ListMerge::Key(key) = merge {
        schema["x-kubernetes-patch-merge-key"] = key.into();
    }
}

/// What a patch is depends on its media type.
fn patch() -> Value {
    json!({ "type": "object", "description": "A patch of the request's media type." })
}

/// Turns JSON Schema into OpenAPI's dialect of it: references point into the document, and `null` is no type.
fn adapt(schema: &mut Value, root: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, root)),
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = reference.replace("#/$defs/", root);
            }
            if let Some(Value::Array(types)) = fields.get("type").cloned().as_ref() {
                let real = types.iter().find(|t| *t != "null").cloned().unwrap_or_default();
                fields.insert("type".to_owned(), real);
            }
            unwrap_nullable(fields);
            fields.values_mut().for_each(|field| adapt(field, root));
        }
        _ => {}
    }
}

/// `anyOf: [X, null]` is X.
fn unwrap_nullable(fields: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = fields.get("anyOf") else { return };
    let real: Vec<Value> = options.iter().filter(|o| o["type"] != "null").cloned().collect();
    if real.len() < options.len() && real.len() == 1 {
        fields.remove("anyOf");
        fields.insert("allOf".to_owned(), real.into());
    }
}
