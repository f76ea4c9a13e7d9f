//! What a caller is told when there is no answer of the function: a `metav1.Status`, as from the API
//! server.

use api_machinery::status::ApiError;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::directory::Missing;

/// How soon a caller may try again what was refused for now.
const RETRY_AFTER_SECONDS: u16 = 5;

/// Why a call was not answered by the function. The names are `<namespace>/<function>`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// There is no such function, or it is not known yet whether there is.
    #[error("no function {namespace}/{name}")]
    Missing { namespace: String, name: String, why: Missing },
    /// No instance is ready.
    #[error("{0} has no ready instance")]
    NoInstance(String),
    /// All that were tried refused the connection.
    #[error("no instance of {0} accepts connections")]
    Unreachable(String, #[source] reqwest::Error),
    /// The function took too long.
    #[error("{0} did not answer within {1} s")]
    Timeout(String, u64),
    /// The connection broke after the call was sent, so that it must not be repeated.
    #[error("{0} broke off the call")]
    Broken(String, #[source] reqwest::Error),
    /// The body could not be received, or is too long.
    #[error("the request's body cannot be taken: {1}")]
    Body(StatusCode, String),
    /// Functions are called with POST.
    #[error("functions are called with POST, not {0}")]
    Method(axum::http::Method),
}

impl CallError {
    /// The HTTP code of the answer.
    pub(crate) fn code(&self) -> u16 {
        self.status().code()
    }

    /// The same as the API server would say it.
    fn status(&self) -> ApiError {
        match self {
            CallError::Missing { name, why: Missing::Unknown, .. } => {
                ApiError::not_found("minik8s.io", "functions", name)
            }
            CallError::Missing { .. } => {
                ApiError::unavailable("the gateway has not learnt yet which functions there are")
            }
            CallError::NoInstance(_) => ApiError::unavailable(format!(
                "{self}, and this version starts none when a function is called"
            )),
            CallError::Unreachable(..) => ApiError::unavailable(self.to_string()),
            CallError::Timeout(..) => ApiError::new(504, "Timeout", self.to_string()),
            CallError::Broken(..) => ApiError::new(502, "InternalError", self.to_string()),
            CallError::Body(code, _) if *code == StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(413, "RequestEntityTooLarge", self.to_string())
            }
            CallError::Body(StatusCode::REQUEST_TIMEOUT, _) => {
                ApiError::new(408, "Timeout", self.to_string())
            }
            CallError::Body(..) => ApiError::bad_request(self.to_string()),
            CallError::Method(_) => ApiError::new(405, "MethodNotAllowed", self.to_string()),
        }
    }
}

impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        let error = self.status();
        let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, Json(error.status())).into_response();
        let headers = response.headers_mut();
        if code == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if code == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
