//! A resource's definition: what the types lack (short names, columns, subresources), and its erased behaviour.

use api_machinery::{ApiError, FieldSelector, strict};
use api_types::{
    jiff::Timestamp,
    meta::{DeleteOptions, ObjectMeta},
};
use serde_json::{Value, json};

use crate::{
    context::Context,
    deletion::{self, Deletion},
    description::{Column, Names, Scope, Subresource},
    erased::{ErasedKind, Fault},
};

/// A kind as the server sees it.
#[derive(Debug)]
pub struct ResourceDef {
    /// What it is called.
    pub names: Names,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// The paths below its objects.
    pub subresources: Vec<Subresource>,
    /// The columns of its table, as a row's cells are ordered.
    pub columns: Vec<Column>,
    /// The field that most watches of a part of its objects select by (Kubernetes: `TriggerFunc`).
    pub trigger: &'static str,
    /// Whether an update of the status changes metadata too.
    pub(crate) status_has_metadata: bool,
    pub(crate) kind: Box<dyn ErasedKind>,
}

impl ResourceDef {
    /// The group's segment in keys: the core group, which has no name, is `core`.
    #[must_use]
    pub fn group_segment(&self) -> &'static str {
        if self.names.group.is_empty() { "core" } else { self.names.group }
    }

    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        let Names { group, version, .. } = &self.names;
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    }

    /// `pods`, `replicasets.apps`.
    #[must_use]
    pub fn qualified(&self) -> String {
        let Names { group, plural, .. } = &self.names;
        if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") }
    }

    /// `PodList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.names.kind)
    }

    /// Whether the resource has this path below its objects.
    #[must_use]
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    /// The prefix of the keys of all objects, or of those of a namespace. Ends with a slash.
    #[must_use]
    pub fn prefix(&self, namespace: Option<&str>) -> String {
        let collection = format!("/registry/{}/{}/", self.group_segment(), self.names.plural);
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

    /// The object as this server understands it: unknown fields gone, spelled in the one way.
    ///
    /// # Errors
    /// 400 for a value of the wrong type, kind or API version.
    pub fn decode(&self, given: Value) -> Result<Value, ApiError> {
        self.check_type(&given)?;
        self.kind.decode(given).map_err(|fault| self.error(fault))
    }

    /// The paths of the fields that this kind doesn't have.
    ///
    /// # Errors
    /// 400 for a value of the wrong type, kind or API version.
    pub fn unknown_fields(&self, given: &Value) -> Result<Vec<String>, ApiError> {
        self.check_type(given)?;
        let known = self.kind.known(given).map_err(|fault| self.error(fault))?;
        Ok(strict::unknown_fields(given, &known))
    }

    /// The object that a create request stores: defaults, server-set metadata and no faults.
    ///
    /// # Errors
    /// 400 if it is no such object or is addressed otherwise than the path says, 422 with all faults.
    pub fn create(&self, mut given: Value, context: &Context) -> Result<Value, ApiError> {
        self.check_type(&given)?;
        self.address(&mut given, context)?;
        if self.kind.drops_status_at_creation() {
            set(&mut given, "status", None);
        }
        self.kind.create(given, self.scope, context).map_err(|fault| self.error(fault))
    }

    /// The object that an update of the main resource stores. The status, the identity and the
    /// deletion's fields stay as they are in `old`; `generation` grows if the spec changed.
    ///
    /// # Errors
    /// 400 as for `create`, 409 if `new` is of another UID, 422 with all faults.
    pub fn update(
        &self,
        old: &Value,
        mut new: Value,
        context: &Context,
    ) -> Result<Value, ApiError> {
        self.check_type(&new)?;
        self.address(&mut new, context)?;
        self.check_uid(old, &new)?;
        if self.has(Subresource::Status) {
            set(&mut new, "status", old.get("status").cloned());
        }
        self.kind.update(old, new).map_err(|fault| self.error(fault))
    }

    /// `old` with the status of `new`, and with its metadata as far as the kind lets them be changed on the way.
    ///
    /// # Errors
    /// 400 for a status of the wrong type, 409 if `new` is of another UID, 422 with all faults.
    pub fn update_status(&self, old: &Value, mut new: Value) -> Result<Value, ApiError> {
        self.check_type(&new)?;
        self.check_uid(old, &new)?;
        let mut merged = old.clone();
        set(&mut merged, "status", new.get_mut("status").map(Value::take));
        if self.status_has_metadata {
            set(&mut merged, "metadata", new.get_mut("metadata").map(Value::take));
        }
        self.kind.update_status(old, merged).map_err(|fault| self.error(fault))
    }

    /// `old` with `new`'s metadata and `spec.finalizers`: what `namespaces/finalize` does.
    ///
    /// # Errors
    /// 400 for finalizers of the wrong type, 409 if `new` is of another UID, 422 with all faults.
    pub fn finalize(&self, old: &Value, mut new: Value) -> Result<Value, ApiError> {
        self.check_type(&new)?;
        self.check_uid(old, &new)?;
        let mut merged = old.clone();
        let finalizers = new.pointer("/spec/finalizers").cloned();
        if let Some(spec) = merged.get_mut("spec") {
            set(spec, "finalizers", finalizers);
        }
        set(&mut merged, "metadata", new.get_mut("metadata").map(Value::take));
        self.kind.update_status(old, merged).map_err(|fault| self.error(fault))
    }

    /// What a delete request does to the object.
    ///
    /// # Errors
    /// 500 if the object is stored and can't be read.
    pub fn begin_deletion(
        &self,
        object: &Value,
        options: &DeleteOptions,
        now: Timestamp,
    ) -> Result<Deletion, ApiError> {
        deletion::begin(self.kind.as_ref(), object, options, now).map_err(|fault| self.error(fault))
    }

    /// Whether the object is being deleted and nothing holds it any longer: a write that leaves an object so removes it.
    ///
    /// # Errors
    /// 500 if the object is stored and can't be read.
    pub fn is_finished(&self, object: &Value) -> Result<bool, ApiError> {
        deletion::is_finished(self.kind.as_ref(), object).map_err(|fault| self.error(fault))
    }

    /// What field selectors see of the object.
    #[must_use]
    pub fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let text =
            |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut fields = self.kind.fields(object);
        fields.push(("metadata.name", text("/metadata/name")));
        if self.scope == Scope::Namespaced {
            fields.push(("metadata.namespace", text("/metadata/namespace")));
        }
        fields
    }

    /// Refuses a field selector that names a field that can't be selected by.
    ///
    /// # Errors
    /// 400 for the first such field.
    pub fn check_fields(&self, selector: &FieldSelector) -> Result<(), ApiError> {
        let own = self.kind.field_names();
        let is_known = |field: &str| match field {
            "metadata.name" => true,
            "metadata.namespace" => self.scope == Scope::Namespaced,
            other => own.contains(&other),
        };
        match selector.fields().find(|f| !is_known(f)) {
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
                "format": if c.name == "Name" { "name" } else { "" },
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

    /// The object's metadata, typed.
    ///
    /// # Errors
    /// 400 if it is no `ObjectMeta`.
    pub fn metadata(&self, object: &Value) -> Result<ObjectMeta, ApiError> {
        let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
        serde_json::from_value(metadata).map_err(|e| self.error(Fault::Decode(e.to_string())))
    }

    /// Takes the namespace and name of the path where the object has none, and refuses others.
    fn address(&self, given: &mut Value, context: &Context) -> Result<(), ApiError> {
        let Some(metadata) =
            given.as_object_mut().map(|o| o.entry("metadata").or_insert(json!({})))
        else {
            return Err(self.error(Fault::Decode("not an object".to_owned())));
        };
        if let Some(namespace) = &context.namespace
            && !agree(metadata, "namespace", namespace)
        {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let given_name =
            metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        match &context.name {
            Some(name) if !agree(metadata, "name", name) => Err(ApiError::bad_request(format!(
                "the name of the object ({given_name}) does not match the name on the URL ({name})"
            ))),
            _ => Ok(()),
        }
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
    pub fn check_uid(&self, old: &Value, new: &Value) -> Result<(), ApiError> {
        let uid = |o: &Value| {
            o.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (old_uid, new_uid) = (uid(old), uid(new));
        if new_uid.is_empty() || new_uid == old_uid {
            return Ok(());
        }
        let name = old.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let why = format!(
            "Precondition failed: UID in precondition: {new_uid}, UID in object meta: {old_uid}"
        );
        Err(ApiError::conflict(self.names.group, self.names.plural, name, &why))
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

/// Sets the field if it is absent or empty; whether it then is `value`.
fn agree(object: &mut Value, field: &str, value: &str) -> bool {
    let given = object.get(field).and_then(Value::as_str).unwrap_or_default();
    if !given.is_empty() {
        return given == value;
    }
    set(object, field, Some(value.into()));
    true
}

/// Sets or removes a field of an object.
fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(object) = object.as_object_mut() else { return };
    match value {
        Some(value) => object.insert(field.to_owned(), value),
        None => object.remove(field),
    };
}
