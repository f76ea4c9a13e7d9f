//! A kind with its strategy behind an interface that all kinds have.

use std::{fmt, sync::OnceLock};

use api_machinery::{
    FieldErrors,
    strict::{self, Undecodable},
};
use api_types::jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{
    any_object::AnyObject,
    conditions,
    context::Context,
    description::Scope,
    metadata,
    object::Object,
    quantities::Quantities,
    strategy::{Exists, Strategy},
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

/// An object that a client gave.
#[derive(Debug)]
pub struct Decoded {
    /// As far as its kind has it.
    pub object: AnyObject,
    /// The paths of the fields that its kind doesn't have.
    pub unknown: Vec<String>,
}

/// What of an object an update is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status, and the metadata as far as the kind lets them be changed on the way.
    Status,
    /// The finalizers of the kind's own, and the metadata.
    Finalizers,
    /// What is decided of it, and the metadata.
    Approval,
    /// The containers that are added to it while it runs.
    EphemeralContainers,
    /// How much its containers may take.
    Size,
}

/// A kind, as the stages of a write and the forms of an object need it.
///
/// *Assumptions*: the objects are of the kind.
pub(crate) trait ErasedKind: fmt::Debug + Send + Sync {
    /// The object that a client gave, its quantities in canonical form or as `old` has them.
    fn decode(&self, given: Value, old: Option<&Value>) -> Result<Decoded, Fault>;
    /// An object that is stored.
    fn stored(&self, object: &Value) -> Result<AnyObject, Fault>;
    /// The same from its JSON, without a reason if it can't be read, or lacks what [`Self::complete`] adds.
    fn stored_json(&self, json: &str) -> Option<AnyObject>;
    /// Says what a stored object doesn't say, if the defaults are data: they may be newer than the object.
    fn complete(&self, _object: &mut Value) {}
    /// Takes from an object that was converted what the version doesn't have, if what it has is data.
    fn adapt(&self, _object: &mut Value) {}
    fn default(&self, object: &mut AnyObject);
    fn before_create(
        &self,
        object: &mut AnyObject,
        scope: Scope,
        context: &Context,
    ) -> Result<(), Fault>;
    fn before_update(&self, part: Part, new: &mut AnyObject, old: &AnyObject) -> Result<(), Fault>;
    /// What is to be told of this part of the object though it is taken; `old` is what it was before.
    fn warnings(
        &self,
        _part: Part,
        _new: &AnyObject,
        _old: Option<&AnyObject>,
        _exists: &Exists<'_>,
    ) -> Vec<String> {
        Vec::new()
    }
    /// Makes the object what it is while it is being deleted.
    fn prepare_delete(&self, object: &mut AnyObject);
    fn grace_period(&self, object: &AnyObject, requested: Option<i64>) -> i64;
    /// Whether something beside `metadata.finalizers` and the grace period keeps the object.
    fn is_held(&self, object: &AnyObject) -> bool;
    /// Whether its dependents stay when it is deleted and nothing is said of them.
    fn orphans(&self) -> bool {
        false
    }
    /// What whoever does so is to be told.
    fn deletion_warning(&self) -> Option<&'static str> {
        None
    }
    /// The fields of the kind's own that field selectors can name.
    fn field_names(&self) -> Vec<String>;
    /// What they are in an object, in the same order.
    fn field_values(&self, object: &AnyObject) -> Vec<String>;
    /// The same of what is stored, be it an object of the kind or not.
    fn stored_field_values(&self, object: &Value) -> Vec<String>;
    fn row(&self, object: &Value, now: Timestamp) -> Result<Vec<Value>, Fault>;
    fn schema(&self) -> Value;
    /// Whether it is known of its lists how they are merged.
    fn knows_list_merges(&self) -> bool;
}

/// One cell of an object.
pub(crate) type Cell<K> = Box<dyn Fn(&K, Timestamp) -> Value + Send + Sync>;

/// A status that only its subresource writes.
#[derive(Debug)]
pub(crate) struct Status<K> {
    /// Gives an object the status of another.
    pub(crate) copy: fn(&mut K, &K),
    /// Whether an object may be created with one.
    pub(crate) is_kept_at_creation: bool,
    /// Whether an update of the status changes metadata too.
    pub(crate) has_metadata: bool,
}

/// Which changes of an object are counted.
#[derive(Debug)]
pub(crate) struct Generation<K> {
    /// Of a new object.
    pub(crate) first: Option<i64>,
    /// Whether an object that was the second one is another one now.
    pub(crate) is_raised: fn(&K, &K) -> bool,
}

/// What of a kind is looked at before it is decoded.
struct Places {
    quantities: Option<Quantities>,
    timed_conditions: bool,
}

impl Places {
    fn of_schema(schema: &Value) -> Self {
        let timed_conditions = conditions::are_timed(schema);
        Self { quantities: Quantities::of_schema(schema), timed_conditions }
    }
}

/// The type `K` with its strategy and columns.
pub(crate) struct Typed<K, S> {
    strategy: S,
    cells: Vec<Cell<K>>,
    status: Option<Status<K>>,
    generation: Option<Generation<K>>,
    /// Read from the schema at the first use.
    places: OnceLock<Places>,
}

impl<K: Object, S: Strategy<K>> Typed<K, S> {
    pub(crate) fn new(
        strategy: S,
        cells: Vec<Cell<K>>,
        status: Option<Status<K>>,
        generation: Option<Generation<K>>,
    ) -> Self {
        Self { strategy, cells, status, generation, places: OnceLock::new() }
    }

    /// Takes back what this part of `new` may not change.
    fn confine(&self, part: Part, new: &mut K, old: &K) {
        if part == Part::Main {
            if let Some(status) = &self.status {
                (status.copy)(new, old);
            }
            return;
        }
        let given = std::mem::replace(new, old.clone());
        match part {
            Part::Finalizers => self.strategy.finalize(new, &given),
            Part::Approval => self.strategy.approve(new, &given),
            Part::EphemeralContainers => self.strategy.add_containers(new, &given),
            Part::Size => self.strategy.resize(new, &given),
            Part::Main | Part::Status => {
                self.status.iter().for_each(|status| (status.copy)(new, &given))
            }
        }
        let has_metadata = match part {
            Part::Status => self.status.as_ref().is_some_and(|s| s.has_metadata),
            Part::EphemeralContainers | Part::Size => false,
            Part::Main | Part::Finalizers | Part::Approval => true,
        };
        if has_metadata {
            new.metadata_mut().clone_from(given.metadata());
        }
    }

    fn prepare_and_validate(&self, part: Part, new: &mut K, old: &K, errors: &mut FieldErrors) {
        match part {
            Part::Main => self.strategy.prepare_update(new, old),
            Part::Status | Part::Finalizers => self.strategy.prepare_status_update(new, old),
            Part::Approval | Part::EphemeralContainers | Part::Size => {}
        }
        metadata::validate_update(new.metadata(), old.metadata(), errors);
        match part {
            Part::Main => {}
            Part::Status | Part::Finalizers => {
                return self.strategy.validate_status(new, old, errors);
            }
            Part::Approval => return self.strategy.validate_approval(new, old, errors),
            Part::EphemeralContainers => {
                return self.strategy.validate_added_containers(new, old, errors);
            }
            Part::Size => return self.strategy.validate_resize(new, old, errors),
        }
        let mut faults = self.strategy.faults(new);
        if !faults.is_empty() {
            faults.forget(&self.strategy.lasting(new, old));
        }
        errors.extend(faults);
        self.strategy.validate_update(new, old, errors);
    }
}

impl<K: Object, S> fmt::Debug for Typed<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&K::KIND).finish()
    }
}

impl<K: Object, S: Strategy<K>> ErasedKind for Typed<K, S> {
    fn decode(&self, mut given: Value, old: Option<&Value>) -> Result<Decoded, Fault> {
        let places = self.places.get_or_init(|| Places::of_schema(&schema_of::<K>()));
        if let Some(quantities) = &places.quantities {
            quantities.canonicalize(&mut given, old).map_err(|e| Fault::Decode(e.describe()))?;
        }
        if places.timed_conditions {
            conditions::date(&mut given);
        }
        let (object, unknown) = strict::decode_strictly::<K>(&given).map_err(undecodable)?;
        Ok(Decoded { object: AnyObject::new(object), unknown })
    }

    fn stored(&self, object: &Value) -> Result<AnyObject, Fault> {
        let object = strict::decode::<K>(object);
        object.map(AnyObject::new).map_err(|error| Fault::Damaged(error.to_string()))
    }

    fn stored_json(&self, json: &str) -> Option<AnyObject> {
        serde_json::from_str::<K>(json).ok().map(AnyObject::new)
    }

    fn default(&self, object: &mut AnyObject) {
        self.strategy.default(own_mut(object));
    }

    fn before_create(
        &self,
        object: &mut AnyObject,
        scope: Scope,
        context: &Context,
    ) -> Result<(), Fault> {
        let object: &mut K = own_mut(object);
        if let Some(status) = self.status.as_ref().filter(|s| !s.is_kept_at_creation) {
            (status.copy)(object, &K::default());
        }
        metadata::prepare_create(object.metadata_mut(), scope, context);
        self.strategy.prepare_create(object);
        let mut errors = FieldErrors::default();
        metadata::validate(object.metadata(), scope, self.strategy.name_rule(), &mut errors);
        self.strategy.validate(object, &mut errors);
        self.strategy.validate_create(object, &mut errors);
        faultless(object, errors)?;
        object.metadata_mut().generation = self.generation.as_ref().and_then(|it| it.first);
        Ok(())
    }

    fn before_update(&self, part: Part, new: &mut AnyObject, old: &AnyObject) -> Result<(), Fault> {
        let (new, old): (&mut K, &K) = (own_mut(new), own(old));
        self.confine(part, new, old);
        metadata::prepare_update(new.metadata_mut(), old.metadata());
        let mut errors = FieldErrors::default();
        self.prepare_and_validate(part, new, old, &mut errors);
        faultless(new, errors)?;
        if matches!(part, Part::Main | Part::EphemeralContainers | Part::Size)
            && self.generation.as_ref().is_some_and(|it| (it.is_raised)(new, old))
        {
            let before = old.metadata().generation.unwrap_or(0);
            new.metadata_mut().generation = Some(before + 1);
        }
        Ok(())
    }

    fn warnings(
        &self,
        part: Part,
        new: &AnyObject,
        old: Option<&AnyObject>,
        exists: &Exists<'_>,
    ) -> Vec<String> {
        match part {
            Part::Main => self.strategy.warnings(own(new), old.map(own), exists),
            Part::Status => self.strategy.status_warnings(own(new)),
            Part::Finalizers | Part::Approval | Part::EphemeralContainers | Part::Size => {
                Vec::new()
            }
        }
    }

    fn prepare_delete(&self, object: &mut AnyObject) {
        self.strategy.prepare_delete(own_mut(object));
    }

    fn grace_period(&self, object: &AnyObject, requested: Option<i64>) -> i64 {
        self.strategy.grace_period(own(object), requested)
    }

    fn is_held(&self, object: &AnyObject) -> bool {
        self.strategy.is_held(own(object))
    }

    fn orphans(&self) -> bool {
        self.strategy.orphans()
    }

    fn deletion_warning(&self) -> Option<&'static str> {
        self.strategy.deletion_warning()
    }

    fn field_names(&self) -> Vec<String> {
        self.strategy.fields(&K::default()).into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    fn field_values(&self, object: &AnyObject) -> Vec<String> {
        self.strategy.fields(own(object)).into_iter().map(|(_, value)| value).collect()
    }

    fn stored_field_values(&self, object: &Value) -> Vec<String> {
        let fields = match strict::decode(object) {
            Ok(object) => self.strategy.fields(&object),
            // Whoever selects by a field must not take a damaged object for one that is gone.
            Err(_) => bare_fields(self.strategy.fields(&K::default()), object),
        };
        fields.into_iter().map(|(_, value)| value).collect()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Result<Vec<Value>, Fault> {
        let object: K = strict::decode(object).map_err(undecodable)?;
        Ok(self.cells.iter().map(|cell| cell(&object, now)).collect())
    }

    fn schema(&self) -> Value {
        schema_of::<K>()
    }

    fn knows_list_merges(&self) -> bool {
        true
    }
}

/// The JSON schema of a type; the types that it uses are under `$defs`.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|s| s.definitions_path = "/$defs".into());
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

const OWN: &str = "a kind is asked about its own objects";

fn own<K: Object>(object: &AnyObject) -> &K {
    object.get().expect(OWN)
}

fn own_mut<K: Object>(object: &mut AnyObject) -> &mut K {
    object.get_mut().expect(OWN)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn undecodable(error: Undecodable) -> Fault {
    Fault::Decode(error.to_string())
}

/// The fields as they stand in the object, whatever else is in it: their names are their paths.
fn bare_fields(
    mut fields: Vec<(&'static str, String)>,
    object: &Value,
) -> Vec<(&'static str, String)> {
    for (name, value) in &mut fields {
        match object.pointer(&format!("/{}", name.replace('.', "/"))) {
            Some(Value::String(text)) => value.clone_from(text),
            Some(other @ (Value::Bool(_) | Value::Number(_))) => *value = other.to_string(),
            _ => {}
        }
    }
    fields
}

fn faultless<K: Object>(object: &K, errors: FieldErrors) -> Result<(), Fault> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Fault::Invalid(object.metadata().name.clone().unwrap_or_default(), errors))
}
