//! What a caller is told when there is no answer of the function: a `metav1.Status`, as from the API
//! server.

use std::io;

use api_machinery::status::ApiError;
use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

/// How soon a caller may try again what was refused for now.
const RETRY_AFTER_SECONDS: u16 = 5;

/// Why a call was not answered by the function. `function` is `<namespace>/<name>`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// There is no such function.
    #[error("functions.minik8s.io {name:?} not found")]
    Unknown { name: String },
    /// The path names no function.
    #[error("the path {0:?} calls no function: it is /<function> or /<namespace>/<function>/…")]
    Path(String),
    /// It is not known yet whether there is.
    #[error("the gateway has not learnt yet which functions there are")]
    NotYetKnown,
    /// No watch has told of it, and the API server does not say.
    #[error("it is not known whether there is a function {function}: {why}")]
    NotTold { function: String, why: String },
    /// Nobody may call from there.
    #[error("calls are answered from this host and from the cluster's networks, not from {0}")]
    Forbidden(String),
    /// The caller has to say who it is.
    #[error("Unauthorized")]
    Unauthorized,
    /// No instance becomes ready.
    #[error("function {function} has no instance that is ready: {why}")]
    NoInstance { function: String, why: String },
    /// Too many wait already.
    #[error("too many calls of function {function} wait for an instance")]
    QueueFull { function: String },
    /// All instances had as much to do as they may have, for too long.
    #[error("all instances of function {function} were busy for {seconds} s")]
    Busy { function: String, seconds: u64 },
    /// The function took too long.
    #[error("function {function} did not answer within {seconds} s")]
    Timeout { function: String, seconds: u64 },
    /// The connection broke after the call was sent, so that it must not be repeated.
    #[error("function {function} broke off the call")]
    Broken { function: String, source: hyper::Error },
    /// An instance is ready, and refuses connections.
    #[error("no instance of function {function} accepts connections")]
    Unreachable { function: String, source: io::Error },
    /// All its time went by at instances that are ready, and whose hosts are silent.
    #[error("no instance of function {function} took the connection within {seconds} s")]
    NotTaken { function: String, seconds: u64, source: io::Error },
    /// The body is longer than what is passed on.
    #[error("the request's body is longer than {0} bytes")]
    TooLong(u64),
    /// The body broke off.
    #[error("the request's body broke off")]
    BodyBroken,
    /// The body did not come.
    #[error("the request's body has not come within the {0} s that a call may take")]
    BodySlow(u64),
    /// Functions are called with POST.
    #[error("functions are called with POST, not {0}")]
    Method(Method),
}

impl CallError {
    /// The HTTP code of the answer.
    pub(crate) fn code(&self) -> u16 {
        self.status().code()
    }

    /// The same as the API server would say it.
    fn status(&self) -> ApiError {
        let status = |code, reason| ApiError::new(code, reason, self.to_string());
        match self {
            CallError::Unknown { name } => ApiError::not_found("minik8s.io", "functions", name),
            CallError::Path(_) => status(404, "NotFound"),
            CallError::Forbidden(_) => status(403, "Forbidden"),
            CallError::Unauthorized => ApiError::unauthorized(),
            CallError::NotYetKnown
            | CallError::NotTold { .. }
            | CallError::NoInstance { .. }
            | CallError::Unreachable { .. } => status(503, "ServiceUnavailable"),
            CallError::QueueFull { .. } | CallError::Busy { .. } => status(429, "TooManyRequests"),
            CallError::Timeout { .. } | CallError::NotTaken { .. } => status(504, "Timeout"),
            CallError::Broken { .. } => status(502, "InternalError"),
            CallError::TooLong(_) => status(413, "RequestEntityTooLarge"),
            CallError::BodyBroken => ApiError::bad_request(self.to_string()),
            CallError::BodySlow(_) => status(408, "Timeout"),
            CallError::Method(_) => status(405, "MethodNotAllowed"),
        }
    }
}

impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        let error = self.status();
        let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, Json(error.status())).into_response();
        let headers = response.headers_mut();
        if matches!(code, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if code == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if code == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
