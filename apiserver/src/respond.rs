//! HTTP answers. Every failure becomes a `metav1.Status` here and nowhere else.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use api_machinery::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::Serialize;

/// An answer.
pub(crate) type Response = http::Response<Body>;

/// Marks answers that must reach the client piece by piece, and so can't be compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streamed;

/// JSON that is encoded already.
pub(crate) fn encoded(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A value as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => encoded(status, json),
        Err(error) => failure(&ApiError::internal(error)),
    }
}

/// Plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// JSON made of pieces, whose length is known though they are never put together.
pub(crate) fn pieces(pieces: Vec<Bytes>) -> Response {
    encoded(StatusCode::OK, Body::new(Pieces::new(pieces)))
}

/// JSON that goes on for as long as somebody listens.
pub(crate) fn streamed(body: Body) -> Response {
    let mut response = encoded(StatusCode::OK, body);
    response.extensions_mut().insert(Streamed);
    response
}

/// A failure. When to try again is said in a header too: clients look there.
pub(crate) fn failure(error: &ApiError) -> Response {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(error.status()).unwrap_or_default();
    let mut response = encoded(code, body);
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds `Warning` headers, which `kubectl` shows to its user.
pub(crate) fn warn(response: &mut Response, warnings: &[String]) {
    let lengths = warnings.iter().map(|w| w.chars().count());
    let longest =
        if lengths.sum::<usize>() > WARNINGS_LENGTH { WARNING_LENGTH } else { usize::MAX };
    let mut left = WARNINGS_LENGTH;
    for warning in warnings {
        let text: String = warning.chars().take(longest).collect();
        let Some(rest) = left.checked_sub(text.chars().count()) else { return };
        left = rest;
        response.headers_mut().append(header::WARNING, warning_header(&text));
    }
}

/// How many letters of warnings an answer carries, and how many of each if they are more: clients limit what they read of
/// headers (Kubernetes: `truncateAtTotalRunes`, `truncateItemRunes`).
const WARNINGS_LENGTH: usize = 4096;
const WARNING_LENGTH: usize = 256;

/// Letters beyond ASCII go as UTF-8, as in Go; what no header can have is left out.
fn warning_header(text: &str) -> HeaderValue {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let quoted = text.replace('\\', r"\\").replace('"', r#"\""#);
    HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes())
        .expect("a header takes whatever is no control character")
}

/// A body of pieces that are shared with others.
#[derive(Debug)]
struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|p| p.len() as u64).sum();
        Self { pieces: pieces.into(), left }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |p| p.len() as u64);
        Poll::Ready(piece.map(|p| Ok(Frame::data(p))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
