//! The one error type of the API: a `metav1.Status` with the reason, code and wording of Kubernetes
//! (`k8s.io/apimachinery/pkg/api/errors`).

use std::fmt;

use api_types::meta;

use crate::FieldErrors;

/// A failed request, as the client will read it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError(Box<meta::Status>);

/// A resource named as Kubernetes names it in messages: `pods`, `replicasets.apps`.
fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

impl ApiError {
    /// An error with this code, reason and message. Its details are empty, but there: clients read them without asking.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(meta::Status {
            status: Some("Failure".to_owned()),
            code: Some(i32::from(code)),
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            details: Some(meta::StatusDetails::default()),
            ..meta::Status::default()
        }))
    }

    /// 404: no object of this name.
    #[must_use]
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(group, plural)))
            .details(group, plural, name)
    }

    /// 404: no such path.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: an object of this name is there already.
    #[must_use]
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", qualified(group, plural)),
        )
        .details(group, plural, name)
    }

    /// 409: the object is not as the request took it to be.
    #[must_use]
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, plural);
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {what} {name:?}: {why}"),
        )
        .details(group, plural, name)
    }

    /// 409: the object's `resourceVersion` is not the one the request was made with.
    #[must_use]
    pub fn modified(group: &str, plural: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, plural, name, why)
    }

    /// 422: faults in the object, each with its field.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &FieldErrors) -> Self {
        let what = qualified(group, kind);
        let mut error = Self::new(422, "Invalid", format!("{what} {name:?} is invalid: {errors}"))
            .details(group, kind, name);
        error.details_mut().causes = Some(errors.causes());
        error
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 504: the version asked for is not there yet. client-go knows by the cause that it has to list anew.
    #[must_use]
    pub fn too_large_resource_version(wanted: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let mut error = Self::new(504, "Timeout", message);
        let details = error.details_mut();
        details.retry_after_seconds = Some(1);
        details.causes = Some(vec![meta::StatusCause {
            reason: Some("ResourceVersionTooLarge".to_owned()),
            message: Some("Too large resource version".to_owned()),
            field: None,
        }]);
        error
    }

    /// 403 for an object.
    #[must_use]
    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let what = qualified(group, plural);
        let object = if name.is_empty() { what } else { format!("{what} {name:?}") };
        Self::new(403, "Forbidden", format!("{object} is forbidden: {why}"))
            .details(group, plural, name)
    }

    /// The same error with one more cause for programs to tell it by.
    #[must_use]
    pub fn because(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        let cause = meta::StatusCause {
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            field: Some(field.to_owned()).filter(|field| !field.is_empty()),
        };
        self.details_mut().causes.get_or_insert_default().push(cause);
        self
    }

    /// 405: the resource is there, this verb is not.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 410: the version asked for is older than what is kept.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The same error with a token by which a list can go on, though not as of the time at which it began.
    #[must_use]
    pub fn continuing(mut self, token: String) -> Self {
        self.0.metadata.continue_ = Some(token);
        self
    }

    /// 413: the body is longer than the server reads.
    #[must_use]
    pub fn request_entity_too_large(why: impl fmt::Display) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: {why}"))
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 500.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {cause}"))
    }

    /// 500: what is stored can't be read.
    #[must_use]
    pub fn store_read(why: impl fmt::Display) -> Self {
        Self::new(500, "StoreReadError", format!("data from the storage is not decodable: {why}"))
    }

    /// 503.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504: it took too long, and may yet be done.
    #[must_use]
    pub fn timeout(why: impl fmt::Display) -> Self {
        Self::new(504, "Timeout", format!("Timeout: {why}"))
    }

    /// Tells the client to try again after so many seconds. Only for what was certainly not done: clients repeat any
    /// request, writes included.
    #[must_use]
    pub fn retry_after(mut self, seconds: i32) -> Self {
        self.details_mut().retry_after_seconds = Some(seconds);
        self
    }

    /// After how many seconds the client may try again.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<i32> {
        self.0.details.as_ref().and_then(|d| d.retry_after_seconds).filter(|s| *s > 0)
    }

    /// The HTTP status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.code.and_then(|c| u16::try_from(c).ok()).unwrap_or(500)
    }

    /// The reason, e.g. `NotFound`.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.0.reason.as_deref().unwrap_or_default()
    }

    /// The `Status` object that the client gets.
    #[must_use]
    pub fn status(&self) -> &meta::Status {
        &self.0
    }

    /// The same error with what a server beside says of it.
    #[must_use]
    pub fn with_details(mut self, details: Option<meta::StatusDetails>) -> Self {
        if let Some(details) = details {
            self.0.details = Some(details);
        }
        self
    }

    fn details(mut self, group: &str, kind: &str, name: &str) -> Self {
        let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        let details = self.details_mut();
        (details.group, details.kind, details.name) = (some(group), some(kind), some(name));
        self
    }

    fn details_mut(&mut self) -> &mut meta::StatusDetails {
        self.0.details.get_or_insert_default()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message.as_deref().unwrap_or_default())
    }
}

impl std::error::Error for ApiError {}
