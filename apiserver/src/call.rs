//! One request for a resource on its way through the server, and the options of writes.

use std::sync::Arc;

use api_machinery::{ApiError, FieldErrors, FieldPath, decode::Decoded, extent, strict};
use api_types::{Resource, jiff::Timestamp};
use bytes::Bytes;
use http::HeaderMap;
use registry::Context;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    body,
    form::Presentation,
    identity::Identity,
    query::Query,
    request::{RequestInfo, Verb},
    respond::{self, Response},
    storage::Address,
};

/// A request, read but not yet carried out.
#[derive(Debug)]
pub(crate) struct Call {
    /// Whom it acts as.
    pub(crate) identity: Arc<Identity>,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) presentation: Presentation,
}

/// What becomes of fields that the kind doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldValidation {
    Strict,
    Warn,
    Ignore,
}

/// The object that a request brings, and what its sender should be told about it.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) object: Value,
    warnings: Vec<String>,
}

impl Call {
    /// The object of the path.
    pub(crate) fn address(&self) -> Result<Address<'_>, ApiError> {
        let name = self.info.name.as_deref().ok_or_else(ApiError::method_not_allowed)?;
        Ok(Address { def: &self.info.def, namespace: self.info.namespace.as_deref(), name })
    }

    /// Whether the request is to be carried out up to the store, and not in it.
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.query.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let mut errors = FieldErrors::default();
                errors.not_supported(&FieldPath::new("dryRun"), other, &["All"]);
                Err(self.invalid_options(&errors))
            }
        }
    }

    /// What the registry needs to know of this moment.
    pub(crate) fn context(&self) -> Context {
        Context {
            now: Timestamp::now(),
            uid: Uuid::new_v4().to_string(),
            namespace: self.info.namespace.clone(),
            name: self.info.name.clone(),
            suffix: suffix(),
        }
    }

    /// The object in the body, checked for what this kind doesn't have and for what it says twice.
    pub(crate) fn given(&self) -> Result<Given, ApiError> {
        let Decoded { value, duplicates } = body::decoded(&self.headers, &self.body)?;
        self.checked(value, duplicates.iter().map(|f| duplicate(f)).collect())
    }

    /// An object that a client composed, checked as the client wishes; `faults` were found before.
    pub(crate) fn checked(&self, object: Value, faults: Vec<String>) -> Result<Given, ApiError> {
        let def = &self.info.def;
        let unknown = |object: &Value| def.unknown_fields(object);
        self.strictly(object, faults, (def.names.kind, &def.api_version()), unknown)
    }

    /// The body as an object of another kind than the resource's: what some subresources take.
    pub(crate) fn given_as<T>(&self) -> Result<Given, ApiError>
    where
        T: Resource + Serialize + DeserializeOwned,
    {
        let Decoded { value, duplicates } = body::decoded(&self.headers, &self.body)?;
        let faults = duplicates.iter().map(|f| duplicate(f)).collect();
        let unknown = |object: &Value| {
            let known = T::deserialize(object).and_then(serde_json::to_value);
            known.map(|known| strict::unknown_fields(object, &known)).map_err(|e| {
                let (kind, version) = (T::KIND, T::API_VERSION);
                ApiError::bad_request(format!(
                    "{kind} in version {version:?} cannot be handled as a {kind}: {e}"
                ))
            })
        };
        self.strictly(value, faults, (T::KIND, T::API_VERSION), unknown)
    }

    fn strictly(
        &self,
        object: Value,
        mut faults: Vec<String>,
        (kind, version): (&str, &str),
        unknown_fields: impl Fn(&Value) -> Result<Vec<String>, ApiError>,
    ) -> Result<Given, ApiError> {
        if !extent::is_within(&object, extent::MAX_DEPTH) {
            return Err(ApiError::bad_request("the object provided exceeded max depth"));
        }
        let validation = self.field_validation()?;
        if validation == FieldValidation::Ignore {
            return Ok(Given { object, warnings: Vec::new() });
        }
        let unknown = unknown_fields(&object)?;
        faults.splice(0..0, unknown.iter().map(|f| format!("unknown field {f:?}")));
        if validation == FieldValidation::Strict && !faults.is_empty() {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                faults.join(", ")
            )));
        }
        Ok(Given { object, warnings: faults })
    }

    fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.query.get("fieldValidation") {
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Warn") | None => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => {
                let mut errors = FieldErrors::default();
                let allowed = ["Ignore", "Strict", "Warn"];
                errors.not_supported(&FieldPath::new("fieldValidation"), other, &allowed);
                Err(self.invalid_options(&errors))
            }
        }
    }

    /// Refuses options of a write that Kubernetes refuses, used or not.
    pub(crate) fn check_options(&self) -> Result<(), ApiError> {
        let mut errors = FieldErrors::default();
        if let Some(manager) = self.query.get("fieldManager") {
            field_manager(manager, &mut errors);
        }
        if self.info.verb == Verb::Patch && self.query.get("force").is_some() {
            let why = "may not be specified for non-apply patch";
            errors.forbidden(&FieldPath::new("force"), why);
        }
        if !errors.is_empty() {
            return Err(self.invalid_options(&errors));
        }
        self.dry_run()?;
        self.field_validation().map(drop)
    }

    fn invalid_options(&self, errors: &FieldErrors) -> ApiError {
        let kind = match self.info.verb {
            Verb::Update => "UpdateOptions",
            Verb::Patch => "PatchOptions",
            Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
            _ => "CreateOptions",
        };
        ApiError::invalid("meta.k8s.io", kind, "", errors)
    }

    /// Makes an object be where the path says; fails if it says that it is elsewhere.
    pub(crate) fn place(&self, object: &mut Value) -> Result<(), ApiError> {
        place(object, "namespace", self.info.namespace.as_deref(), |_, _| {
            "the namespace of the provided object does not match the namespace sent on the request"
                .to_owned()
        })?;
        place(object, "name", self.info.name.as_deref(), |given, path| {
            format!("the name of the object ({given}) does not match the name on the URL ({path})")
        })
    }
}

impl Given {
    /// Puts the warnings on the answer.
    pub(crate) fn warn(warnings: &[String], response: &mut Response) {
        respond::warn(response, warnings);
    }

    /// The object and the warnings.
    pub(crate) fn into_parts(self) -> (Value, Vec<String>) {
        (self.object, self.warnings)
    }
}

/// How Kubernetes tells of a field that was given twice.
pub(crate) fn duplicate(path: &str) -> String {
    format!("duplicate field {path:?}")
}

/// Kubernetes: `ValidateFieldManager`.
fn field_manager(name: &str, errors: &mut FieldErrors) {
    const MAX_LENGTH: usize = 128;
    let path = FieldPath::new("fieldManager");
    if name.len() > MAX_LENGTH {
        errors.too_long(&path, MAX_LENGTH);
    }
    if name.chars().any(char::is_control) {
        errors.invalid(&path, name, "should only contain printable characters");
    }
}

/// A random end for `metadata.generateName`, of the letters that Kubernetes uses: none that make words.
fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = Uuid::new_v4();
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    random.as_bytes()[..5].iter().map(letter).collect()
}

fn place(
    object: &mut Value,
    field: &str,
    path: Option<&str>,
    mismatch: impl Fn(&str, &str) -> String,
) -> Result<(), ApiError> {
    let Some(path) = path else { return Ok(()) };
    let Some(object) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the body is not an object"));
    };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Default::default()));
    match metadata.get(field).and_then(Value::as_str) {
        Some(given) if !given.is_empty() && given != path => {
            Err(ApiError::bad_request(mismatch(given, path)))
        }
        _ => {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert(field.to_owned(), path.into());
            }
            Ok(())
        }
    }
}
