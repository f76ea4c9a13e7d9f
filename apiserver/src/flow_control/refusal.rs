//! What is said to who is not served.

use api_machinery::ApiError;

/// 429; it is to come again after so many seconds.
pub(super) fn too_many_requests(retry_after: i32) -> ApiError {
    let message = "Too many requests, please try again later.";
    ApiError::new(429, "TooManyRequests", message).retry_after(retry_after)
}
