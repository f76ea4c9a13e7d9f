//! One request for a resource on its way through the server, and the options of writes.

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use bytes::Bytes;
use http::HeaderMap;
use registry::Context;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    body,
    form::Presentation,
    query::Query,
    request::RequestInfo,
    respond::{self, Response},
    storage::Address,
};

/// A request, read but not yet carried out.
#[derive(Debug)]
pub(crate) struct Call {
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
            Some(other) => Err(ApiError::bad_request(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))),
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

    /// The object in the body, checked for unknown fields.
    pub(crate) fn given(&self) -> Result<Given, ApiError> {
        let object = body::object(&self.headers, &self.body)?;
        self.checked(object)
    }

    /// An object that a client composed, checked for unknown fields as the client wishes.
    pub(crate) fn checked(&self, object: Value) -> Result<Given, ApiError> {
        let def = &self.info.def;
        let validation = self.field_validation()?;
        if validation == FieldValidation::Ignore {
            return Ok(Given { object, warnings: Vec::new() });
        }
        let warnings: Vec<_> =
            def.unknown_fields(&object).iter().map(|f| format!("unknown field {f:?}")).collect();
        if validation == FieldValidation::Strict && !warnings.is_empty() {
            let (kind, version) = (def.names.kind, def.api_version());
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                warnings.join(", ")
            )));
        }
        Ok(Given { object, warnings })
    }

    fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.query.get("fieldValidation") {
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Warn") | None => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
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
        for warning in warnings {
            respond::warn(response, warning);
        }
    }

    /// The object and the warnings.
    pub(crate) fn into_parts(self) -> (Value, Vec<String>) {
        (self.object, self.warnings)
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
