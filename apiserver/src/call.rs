//! One request for a resource on its way through the server, and the options of writes.

use std::sync::Arc;

use api_machinery::{ApiError, FieldErrors, FieldPath, extent, managed_fields::Managers, strict};
use api_types::{
    Resource,
    api::{
        authentication::v1::TokenRequest, autoscaling::v1::Scale, core::v1::Binding,
        policy::v1::Eviction,
    },
    jiff::Timestamp,
};
use bytes::Bytes;
use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use registry::{AnyObject, Context, Object, Subresource, scale};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    admission::{Attributes, Feedback, Operation, Sender},
    body,
    form::Presentation,
    identity::Identity,
    query::Query,
    request::{RequestInfo, Verb},
    storage::Address,
    suffix,
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
    /// The client's connection, if it asks for another protocol on it.
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) presentation: Presentation,
    pub(crate) feedback: Arc<Feedback>,
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
    pub(crate) object: AnyObject,
    pub(crate) warnings: Vec<String>,
    /// Who manages its fields, if that is known already.
    pub(crate) managers: Option<Managers>,
}

impl Call {
    /// The object of the path.
    pub(crate) fn address(&self) -> Result<Address<'_>, ApiError> {
        let name = self.info.name.as_deref().ok_or_else(ApiError::method_not_allowed)?;
        Ok(Address { def: &self.info.def, namespace: self.info.namespace.as_deref(), name })
    }

    /// Whether the request is to be carried out up to the store, and not in it.
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        let (given, mut errors) = (self.query.all("dryRun"), FieldErrors::default());
        check_dry_run(given, &mut errors);
        match errors.is_empty() {
            true => Ok(!given.is_empty()),
            false => Err(self.invalid_options(&errors)),
        }
    }

    /// What the registry needs to know of this moment.
    pub(crate) fn context(&self) -> Context {
        Context {
            now: Timestamp::now(),
            uid: Uuid::new_v4().to_string(),
            namespace: self.info.namespace.clone(),
            name: self.info.name.clone(),
            suffix: suffix::random(),
        }
    }

    /// What is in the body, and what is wrong with it already: what it says twice.
    pub(crate) fn body(&self) -> Result<(Value, Vec<String>), ApiError> {
        let decoded = body::decoded(&self.headers, &self.body)?;
        let faults = decoded.faults();
        Ok((decoded.value, faults))
    }

    /// The object that a client composed, of the kind that the path takes, with defaults, and checked as the client
    /// wishes; `faults` were found before. An amount is spelled as in the `old` object if they are equal.
    pub(crate) fn decode(
        &self,
        given: Value,
        faults: Vec<String>,
        old: Option<&Value>,
    ) -> Result<Given, ApiError> {
        if !extent::is_within(&given, extent::MAX_DEPTH) {
            return Err(ApiError::bad_request("the object provided exceeded max depth"));
        }
        let def = &self.info.def;
        let (decoded, kind, version) = match self.info.subresource {
            Some(Subresource::Scale) => (scale::decode(&given)?, Scale::KIND, Scale::API_VERSION),
            Some(Subresource::Binding) => made_of::<Binding>(&given)?,
            Some(Subresource::Eviction) => made_of::<Eviction>(&given)?,
            Some(Subresource::Token) => made_of::<TokenRequest>(&given)?,
            _ => (def.decode(given, old)?, def.names.kind.as_str(), &*def.api_version()),
        };
        let registry::Decoded { mut object, unknown } = decoded;
        let warnings = self.strictly(&unknown, faults, kind, version)?;
        let RequestInfo { namespace, name, subresource, .. } = &self.info;
        // That of a token's request may be wrong in a way of its own.
        let name = name.as_deref().filter(|_| *subresource != Some(Subresource::Token));
        registry::place(object.metadata_mut(), namespace.as_deref(), name)?;
        let is_composed = matches!(
            self.info.subresource,
            None | Some(Subresource::EphemeralContainers | Subresource::Resize)
        );
        if is_composed {
            def.default(&mut object);
        }
        Ok(Given { object, warnings, managers: None })
    }

    /// What the client is to be told; fails if it wanted to be refused for that.
    fn strictly(
        &self,
        unknown: &[String],
        mut faults: Vec<String>,
        kind: &str,
        version: &str,
    ) -> Result<Vec<String>, ApiError> {
        let validation = self.field_validation()?;
        if validation == FieldValidation::Ignore {
            return Ok(Vec::new());
        }
        faults.splice(0..0, unknown.iter().map(|f| format!("unknown field {f:?}")));
        if validation == FieldValidation::Strict && !faults.is_empty() {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                faults.join(", ")
            )));
        }
        Ok(faults)
    }

    /// What admission may know of this request, which is about the object at this address.
    pub(crate) fn attributes<'a>(
        &'a self,
        operation: Operation,
        at: Address<'a>,
        uid: &'a str,
        old: Option<&'a AnyObject>,
    ) -> Attributes<'a> {
        Attributes {
            operation,
            at,
            subresource: self.info.subresource,
            uid,
            old,
            options: None,
            deletion: None,
            sender: Some(Sender {
                query: &self.query,
                is_patch: self.info.verb == Verb::Patch,
                feedback: &self.feedback,
            }),
            identity: &self.identity,
            dry_run: false,
        }
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
        match self.applies() {
            true if self.query.get("fieldManager").is_none_or(str::is_empty) => {
                errors.required(&FieldPath::new("fieldManager"), "is required for apply patch");
            }
            false if self.info.verb == Verb::Patch && self.query.get("force").is_some() => {
                let why = "may not be specified for non-apply patch";
                errors.forbidden(&FieldPath::new("force"), why);
            }
            _ => {}
        }
        if !errors.is_empty() {
            return Err(self.invalid_options(&errors));
        }
        self.dry_run()?;
        self.field_validation().map(drop)
    }

    /// Whether it is a server-side apply.
    pub(crate) fn applies(&self) -> bool {
        self.info.verb == Verb::Patch && body::is_applied(&self.headers)
    }

    /// 422: faults in the options of a write.
    pub(crate) fn invalid_options(&self, errors: &FieldErrors) -> ApiError {
        let kind = match self.info.verb {
            Verb::Update => "UpdateOptions",
            Verb::Patch => "PatchOptions",
            Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
            _ => "CreateOptions",
        };
        ApiError::invalid("meta.k8s.io", kind, "", errors)
    }
}

/// Kubernetes: `ValidateDryRun`.
pub(crate) fn check_dry_run(given: &[String], errors: &mut FieldErrors) {
    if given.iter().any(|value| value != "All") {
        errors.not_supported(&FieldPath::new("dryRun"), given, &["All"]);
    }
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

/// The object that a subresource is made of, its kind and its version.
fn made_of<K: Object>(
    given: &Value,
) -> Result<(registry::Decoded, &'static str, &'static str), ApiError> {
    let (object, unknown) = strict::decode_strictly::<K>(given).map_err(|error| {
        let (kind, version) = (K::KIND, K::VERSION);
        ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {error}"
        ))
    })?;
    let decoded = registry::Decoded { object: AnyObject::new(object), unknown };
    Ok((decoded, K::KIND, K::API_VERSION))
}
