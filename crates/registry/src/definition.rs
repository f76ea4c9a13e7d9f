//! A resource's definition: what the types lack (short names, columns, subresources), and its erased behaviour.

use std::sync::{Arc, OnceLock};

use api_machinery::{ApiError, FieldSelector, managed_fields::Shapes};
use api_types::{
    jiff::Timestamp,
    meta::{DeleteOptions, ObjectMeta},
};
use serde_json::{Value, json};

use crate::{
    any_object::AnyObject,
    context::Context,
    conversion::{Conversion, ConversionWebhook},
    deletion::{self, Deletion},
    description::{Column, Names, Scope, Subresource},
    erased::{Decoded, ErasedKind, Fault, Part},
    fields,
    scale::ScalePaths,
    strategy::Exists,
};

/// A kind as the server sees it.
#[derive(Debug)]
pub struct ResourceDef {
    /// What it is called.
    pub names: Names,
    /// Where in the store its objects are, below `/registry/`. Kinds that are kept at the same place show the same objects.
    pub collection: String,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// The paths below its objects.
    pub subresources: Vec<Subresource>,
    /// The columns of its table, as a row's cells are ordered.
    pub columns: Vec<Column>,
    /// The field that most watches of a part of its objects select by (Kubernetes: `TriggerFunc`).
    pub trigger: String,
    /// The fields that field selectors can name, in the order of their values.
    pub fields: Vec<String>,
    /// Where the subresource `scale` finds its fields.
    pub scale: ScalePaths,
    /// Whether its objects are but asked for an answer, and not kept.
    pub is_review: bool,
    /// Whether its objects are made when they are read, and not kept.
    pub is_computed: bool,
    /// Whether who replaces an object has to say which version of it (Kubernetes: `AllowUnconditionalUpdate`).
    pub replaces_by_version: bool,
    /// Whether who replaces an object that is not there creates it (Kubernetes: `AllowCreateOnUpdate`).
    pub is_created_by_put: bool,
    /// Whether whoever deletes an object is answered with it, and not with a `Status`.
    pub is_shown_when_deleted: bool,
    /// Whether clients may ask for it; others are there for what is stored in them.
    pub is_served: bool,
    /// What whoever asks for this version is told.
    pub deprecation_warning: Option<String>,
    /// Who converts objects between the versions, if it is another server.
    pub webhook: Option<Arc<ConversionWebhook>>,
    /// Absent with the version that is stored.
    pub(crate) conversion: Option<Box<dyn Conversion>>,
    pub(crate) kind: Box<dyn ErasedKind>,
    pub(crate) shapes: OnceLock<Shapes>,
}

impl ResourceDef {
    /// Whether both show the same objects: as versions of a kind do, and as kinds of several groups may.
    #[must_use]
    pub fn is_of_one_kind(&self, other: &Self) -> bool {
        self.collection == other.collection
    }

    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.names.api_version()
    }

    /// `pods`, `replicasets.apps`.
    #[must_use]
    pub fn qualified(&self) -> String {
        let Names { group, plural, .. } = &self.names;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }

    /// Whether the resource has this path below its objects.
    #[must_use]
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    /// Whether it is this resource of the core group.
    #[must_use]
    pub fn is_core(&self, plural: &str) -> bool {
        self.names.group.is_empty() && self.names.plural == plural
    }

    /// The prefix of the keys of all objects, or of those of a namespace. Ends with a slash.
    #[must_use]
    pub fn prefix(&self, namespace: Option<&str>) -> String {
        let collection = format!("/registry/{}/", self.collection);
        match namespace {
            Some(namespace) if self.scope == Scope::Namespaced => {
                format!("{collection}{namespace}/")
            }
            _ => collection,
        }
    }

    /// The key of an object.
    #[must_use]
    pub fn key(&self, namespace: Option<&str>, name: &str) -> String {
        self.prefix(namespace) + name
    }

    /// The object that a client gave; an amount that equals the one in the `old` object is spelled as that is.
    ///
    /// # Errors
    /// 400 for a value of the wrong type, kind or API version.
    pub fn decode(&self, given: Value, old: Option<&Value>) -> Result<Decoded, ApiError> {
        self.check_type(&given)?;
        self.kind.decode(given, old).map_err(|fault| self.error(fault))
    }

    /// An object that is stored.
    ///
    /// # Errors
    /// 500 if it can't be read.
    pub fn stored(&self, object: &Value) -> Result<AnyObject, ApiError> {
        self.kind.stored(object).map_err(|fault| self.error(fault))
    }

    /// The same from its JSON, without a reason if it can't be read, or lacks what [`Self::complete`] adds.
    #[must_use]
    pub fn stored_json(&self, json: &str) -> Option<AnyObject> {
        self.kind.stored_json(json)
    }

    /// Says what a stored object of this version doesn't say, if the kind's defaults are data, and so may be newer than the
    /// object (Kubernetes: defaults apply when objects are read from etcd).
    pub fn complete(&self, object: &mut Value) {
        self.kind.complete(object);
    }

    /// Makes what was converted to this version an object of it: what its schema doesn't have goes.
    pub fn adapt(&self, object: &mut Value) {
        self.kind.adapt(object);
    }

    /// Says what the object doesn't say.
    pub fn default(&self, object: &mut AnyObject) {
        self.kind.default(object);
    }

    /// Makes a new object what is going to be stored, with the metadata that the server sets
    /// (Kubernetes: `rest.BeforeCreate`).
    ///
    /// # Errors
    /// 422 with all faults.
    pub fn before_create(&self, object: &mut AnyObject, context: &Context) -> Result<(), ApiError> {
        let created = self.kind.before_create(object, self.scope, context);
        created.map_err(|fault| self.error(fault))
    }

    /// Makes a changed object what is going to be stored. All that is no part of the change, the identity and the
    /// deletion's fields are as in `old`; `generation` grows as the kind says (Kubernetes: `rest.BeforeUpdate`).
    ///
    /// # Errors
    /// 422 with all faults.
    pub fn before_update(
        &self,
        part: Part,
        new: &mut AnyObject,
        old: &AnyObject,
    ) -> Result<(), ApiError> {
        self.kind.before_update(part, new, old).map_err(|fault| self.error(fault))
    }

    /// What a delete request does to the object.
    #[must_use]
    pub fn begin_deletion(
        &self,
        object: &AnyObject,
        options: &DeleteOptions,
        now: Timestamp,
    ) -> Deletion {
        deletion::begin(self.kind.as_ref(), object, options, now)
    }

    /// What whoever makes such a request is to be told, whatever comes of it.
    #[must_use]
    pub fn deletion_warning(&self, options: &DeleteOptions) -> Option<&'static str> {
        deletion::warning(self.kind.as_ref(), options)
    }

    /// Whether the object is being deleted and nothing holds it any longer: a write that leaves an object so removes it.
    #[must_use]
    pub fn is_finished(&self, object: &AnyObject) -> bool {
        deletion::is_finished(self.kind.as_ref(), object)
    }

    /// Whether objects are kept at all.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.is_review && !self.is_computed
    }

    /// Whether objects are stored in this version.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.conversion.is_none() && self.is_kept()
    }

    /// An object of the stored version in this one, but for its `apiVersion`.
    ///
    /// # Errors
    /// If it can't be converted.
    pub fn to_served(&self, object: Value) -> Result<Value, ApiError> {
        match &self.conversion {
            Some(conversion) => conversion.to_served(object),
            None => Ok(object),
        }
    }

    /// An object of this version in the stored one, but for its `apiVersion`.
    ///
    /// # Errors
    /// If it can't be converted.
    pub fn to_stored(&self, object: Value) -> Result<Value, ApiError> {
        match &self.conversion {
            Some(conversion) => conversion.to_stored(object),
            None => Ok(object),
        }
    }

    /// What whoever brings this part of the object, as it is going to be stored, is to be told though it is taken; `old` is
    /// what it was before (Kubernetes: `WarningsOnCreate`, `WarningsOnUpdate`).
    #[must_use]
    pub fn warnings(
        &self,
        part: Part,
        new: &AnyObject,
        old: Option<&AnyObject>,
        exists: &Exists<'_>,
    ) -> Vec<String> {
        self.kind.warnings(part, new, old, exists)
    }

    /// What field selectors see of the object, in the order of `fields`.
    #[must_use]
    pub fn field_values(&self, object: &AnyObject) -> Vec<String> {
        fields::values(self.kind.as_ref(), self.scope, object)
    }

    /// The same of what is stored, even if it can't be read as an object of the kind.
    #[must_use]
    pub fn stored_field_values(&self, object: &Value) -> Vec<String> {
        fields::stored_values(self.kind.as_ref(), self.scope, object)
    }

    /// Refuses a field selector that names a field that can't be selected by.
    ///
    /// # Errors
    /// 400 for the first such field.
    pub fn check_fields(&self, selector: &FieldSelector) -> Result<(), ApiError> {
        match selector.fields().find(|field| self.fields.iter().all(|known| known != field)) {
            Some(field) => {
                Err(ApiError::bad_request(format!("field label not supported: {field}")))
            }
            None => Ok(()),
        }
    }

    /// The cells of the object's row, in the order of `columns`.
    ///
    /// # Errors
    /// 400 if it is no object of this kind.
    pub fn row(&self, object: &Value, now: Timestamp) -> Result<Vec<Value>, ApiError> {
        self.kind.row(object, now).map_err(|fault| self.error(fault))
    }

    /// The columns as `metav1.Table` has them.
    #[must_use]
    pub fn column_definitions(&self) -> Vec<Value> {
        let definition = |c: &Column| {
            json!({
                "name": c.name,
                "type": c.type_,
                "format": c.format,
                "description": c.description,
                "priority": c.priority,
            })
        };
        self.columns.iter().map(definition).collect()
    }

    /// The JSON schema of the kind; the types that it uses are under `$defs`.
    #[must_use]
    pub fn schema(&self) -> Value {
        self.kind.schema()
    }

    /// What of an object is owned field by field, and what as a whole.
    pub fn shapes(&self) -> &Shapes {
        self.shapes.get_or_init(|| Shapes::of_schema(&self.schema()))
    }

    /// Whether it is known of its lists how they are merged: only then it takes strategic merge patches.
    #[must_use]
    pub fn knows_list_merges(&self) -> bool {
        self.kind.knows_list_merges()
    }

    fn check_type(&self, given: &Value) -> Result<(), ApiError> {
        let text = |field| given.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if !version.is_empty() && version != self.api_version() {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({})",
                self.api_version()
            )));
        }
        if !kind.is_empty() && kind != self.names.kind {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {}: no kind {kind:?} is registered for it",
                self.api_version(),
                self.names.kind
            )));
        }
        Ok(())
    }

    /// An update of an object that was deleted and made anew in the meantime is a conflict.
    ///
    /// # Errors
    /// 409 if `new` names another UID than `old` has.
    pub fn check_uid(&self, old: &ObjectMeta, new: &ObjectMeta) -> Result<(), ApiError> {
        let uid = |meta: &ObjectMeta| meta.uid.clone().unwrap_or_default();
        let (old_uid, new_uid) = (uid(old), uid(new));
        if new_uid.is_empty() || new_uid == old_uid {
            return Ok(());
        }
        let name = old.name.as_deref().unwrap_or_default();
        let why = format!(
            "Precondition failed: UID in precondition: {new_uid}, UID in object meta: {old_uid}"
        );
        Err(ApiError::conflict(&self.names.group, &self.names.plural, name, &why))
    }

    fn error(&self, fault: Fault) -> ApiError {
        let Names { group, version, kind, .. } = &self.names;
        match fault {
            Fault::Decode(why) => ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
            )),
            Fault::Invalid(name, errors) => ApiError::invalid(group, kind, &name, &errors),
            Fault::Damaged(why) => ApiError::store_read(format!(
                "what is stored cannot be handled as a {kind} in version {version:?}: {why}"
            )),
        }
    }
}
