//! The only meeting of typed and untyped: a kind with its strategy behind an interface over JSON values.

use std::{fmt, sync::OnceLock};

use api_machinery::FieldErrors;
use api_types::jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{
    context::Context, description::Scope, metadata, object::Object, quantities::Quantities,
    strategy::Strategy,
};

/// What can be wrong with an object.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is not one.
    Decode(String),
    /// It is one, with faults; with its name.
    Invalid(String, FieldErrors),
    /// It is what is stored, and not an object of this kind (any more).
    Damaged(String),
}

/// What field selectors see, by the name of the field.
pub(crate) type Fields = Vec<(&'static str, String)>;

/// A kind over JSON values. Each method gives what is to be stored.
pub(crate) trait ErasedKind: fmt::Debug + Send + Sync {
    fn decode(&self, given: Value) -> Result<Value, Fault>;
    /// What of the object this kind has; quantities and all as they were written.
    fn known(&self, given: &Value) -> Result<Value, Fault>;
    fn create(&self, given: Value, scope: Scope, context: &Context) -> Result<Value, Fault>;
    fn update(&self, old: &Value, new: Value) -> Result<Value, Fault>;
    fn update_status(&self, old: &Value, new: Value) -> Result<Value, Fault>;
    /// The object as it is while it is being deleted.
    fn prepare_delete(&self, object: Value) -> Result<Value, Fault>;
    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Result<i64, Fault>;
    /// Whether something beside `metadata.finalizers` and the grace period keeps the object.
    fn is_held(&self, object: &Value) -> Result<bool, Fault>;
    fn drops_status_at_creation(&self) -> bool;
    fn fields(&self, object: &Value) -> Fields;
    fn field_names(&self) -> Vec<&'static str>;
    fn row(&self, object: &Value, now: Timestamp) -> Result<Vec<Value>, Fault>;
    fn schema(&self) -> Value;
}

/// One cell of an object.
pub(crate) type Cell<K> = Box<dyn Fn(&K, Timestamp) -> Value + Send + Sync>;

/// The type `K` with its strategy and columns.
pub(crate) struct Typed<K, S> {
    pub(crate) strategy: S,
    pub(crate) cells: Vec<Cell<K>>,
    pub(crate) drops_status: bool,
    /// Read from the schema at the first use.
    quantities: OnceLock<Option<Quantities>>,
}

impl<K: Object, S> Typed<K, S> {
    pub(crate) fn new(strategy: S, cells: Vec<Cell<K>>, drops_status: bool) -> Self {
        Self { strategy, cells, drops_status, quantities: OnceLock::new() }
    }

    /// The object that a client gave, its quantities in canonical form or as `old` has them.
    fn given(&self, mut given: Value, old: Option<&Value>) -> Result<K, Fault> {
        let quantities = self.quantities.get_or_init(|| Quantities::of_schema(&schema_of::<K>()));
        if let Some(quantities) = quantities {
            quantities.canonicalize(&mut given, old).map_err(|e| Fault::Decode(e.describe()))?;
        }
        typed(&given)
    }
}

impl<K: Object, S> fmt::Debug for Typed<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&K::KIND).finish()
    }
}

impl<K: Object, S: Strategy<K>> ErasedKind for Typed<K, S> {
    fn decode(&self, given: Value) -> Result<Value, Fault> {
        encode(&self.given(given, None)?)
    }

    fn known(&self, given: &Value) -> Result<Value, Fault> {
        encode(&typed::<K>(given)?)
    }

    fn create(&self, given: Value, scope: Scope, context: &Context) -> Result<Value, Fault> {
        let mut object = self.given(given, None)?;
        metadata::prepare_create(object.metadata_mut(), scope, context);
        self.strategy.default(&mut object);
        self.strategy.prepare_create(&mut object);
        let mut errors = FieldErrors::default();
        metadata::validate(object.metadata(), scope, self.strategy.name_rule(), &mut errors);
        self.strategy.validate(&object, &mut errors);
        let mut stored = finish(&object, errors)?;
        metadata::first_generation(&mut stored);
        Ok(stored)
    }

    fn update(&self, old: &Value, new: Value) -> Result<Value, Fault> {
        let (previous, mut object): (K, K) = (stored(old)?, self.given(new, Some(old))?);
        metadata::prepare_update(object.metadata_mut(), previous.metadata());
        self.strategy.default(&mut object);
        self.strategy.prepare_update(&mut object, &previous);
        let mut errors = FieldErrors::default();
        metadata::validate_update(object.metadata(), previous.metadata(), &mut errors);
        self.strategy.validate(&object, &mut errors);
        self.strategy.validate_update(&object, &previous, &mut errors);
        let mut stored = finish(&object, errors)?;
        metadata::count_generation(&mut stored, old);
        Ok(stored)
    }

    fn update_status(&self, old: &Value, new: Value) -> Result<Value, Fault> {
        let (previous, mut object): (K, K) = (stored(old)?, self.given(new, Some(old))?);
        metadata::prepare_update(object.metadata_mut(), previous.metadata());
        self.strategy.prepare_status_update(&mut object, &previous);
        let mut errors = FieldErrors::default();
        metadata::validate_update(object.metadata(), previous.metadata(), &mut errors);
        self.strategy.validate_status(&object, &previous, &mut errors);
        finish(&object, errors)
    }

    fn prepare_delete(&self, object: Value) -> Result<Value, Fault> {
        let mut object: K = stored(&object)?;
        self.strategy.prepare_delete(&mut object);
        encode(&object)
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Result<i64, Fault> {
        stored(object).map(|object: K| self.strategy.grace_period(&object, requested))
    }

    fn is_held(&self, object: &Value) -> Result<bool, Fault> {
        stored(object).map(|object: K| self.strategy.is_held(&object))
    }

    fn drops_status_at_creation(&self) -> bool {
        self.drops_status
    }

    fn fields(&self, object: &Value) -> Fields {
        match typed(object) {
            Ok(object) => self.strategy.fields(&object),
            // Whoever selects by a field must not take a damaged object for one that is gone.
            Err(_) => bare_fields(self.strategy.fields(&K::default()), object),
        }
    }

    fn field_names(&self) -> Vec<&'static str> {
        self.strategy.fields(&K::default()).into_iter().map(|(name, _)| name).collect()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Result<Vec<Value>, Fault> {
        let object: K = typed(object)?;
        Ok(self.cells.iter().map(|cell| cell(&object, now)).collect())
    }

    fn schema(&self) -> Value {
        schema_of::<K>()
    }
}

/// The JSON schema of a type; the types that it uses are under `$defs`.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|s| s.definitions_path = "/$defs".into());
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn typed<K: Object>(given: &Value) -> Result<K, Fault> {
    serde_path_to_error::deserialize(given).map_err(|e| Fault::Decode(describe(&e)))
}

/// What is stored was an object of the kind when it was written.
fn stored<K: Object>(object: &Value) -> Result<K, Fault> {
    serde_path_to_error::deserialize(object).map_err(|e| Fault::Damaged(describe(&e)))
}

/// The fields as they stand in the object, whatever else is in it: their names are their paths.
fn bare_fields(mut fields: Fields, object: &Value) -> Fields {
    for (name, value) in &mut fields {
        match object.pointer(&format!("/{}", name.replace('.', "/"))) {
            Some(Value::String(text)) => value.clone_from(text),
            Some(other @ (Value::Bool(_) | Value::Number(_))) => *value = other.to_string(),
            _ => {}
        }
    }
    fields
}

/// The error with its field, which serde's own message doesn't name.
fn describe(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    if path == "." { error.inner().to_string() } else { format!("{path}: {}", error.inner()) }
}

fn encode<K: Object>(object: &K) -> Result<Value, Fault> {
    serde_json::to_value(object).map_err(|e| Fault::Decode(e.to_string()))
}

fn finish<K: Object>(object: &K, errors: FieldErrors) -> Result<Value, Fault> {
    if errors.is_empty() {
        return encode(object);
    }
    let name = object.metadata().name.clone().unwrap_or_default();
    Err(Fault::Invalid(name, errors))
}
