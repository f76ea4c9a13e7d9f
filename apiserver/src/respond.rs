//! HTTP answers. Every failure becomes a `metav1.Status` here and nowhere else.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use api_machinery::ApiError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::Serialize;

/// An answer.
pub(crate) type Response = http::Response<Body>;

/// Marks answers that must reach the client piece by piece, and so can't be compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streamed;

/// Marks answers that are long, though nobody knows yet how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Long;

/// Marks failures that are told in whatever encoding the client takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure;

/// How much is sent at once of what is long.
const CHUNK: usize = 64 << 10;

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

/// What was made, or done, as JSON.
pub(crate) fn created(value: &impl Serialize, warnings: &[String]) -> Response {
    let mut response = json(StatusCode::CREATED, value);
    warn(&mut response, warnings);
    response
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

/// JSON of elements that are made while they are sent, with what comes before and after them.
///
/// # Errors
/// The first fault, if it comes early; a later one breaks the answer off.
pub(crate) fn elements<I>(head: String, elements: I, tail: String) -> Result<Response, ApiError>
where
    I: Iterator<Item = Result<String, ApiError>> + Send + 'static,
{
    let mut chunks = Elements { begun: head, elements, separator: "", tail: Some(tail) };
    let first = chunks.next().transpose()?.unwrap_or_default();
    if chunks.tail.is_none() {
        return Ok(encoded(StatusCode::OK, first));
    }
    let chunks = stream::iter(std::iter::once(Ok(first)).chain(chunks)).then(async |chunk| {
        // Others may have something to do that takes less long.
        tokio::task::yield_now().await;
        chunk
    });
    let mut response = encoded(StatusCode::OK, Body::from_stream(chunks));
    response.extensions_mut().insert(Long);
    Ok(response)
}

/// What is of this type.
pub(crate) fn of_type(type_: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(type_));
    response
}

/// The same that goes on for as long as somebody listens.
pub(crate) fn streamed(type_: &'static str, body: Body) -> Response {
    let mut response = of_type(type_, body);
    response.extensions_mut().insert(Streamed);
    response
}

/// A failure. When to try again is said in a header too: clients look there.
pub(crate) fn failure(error: &ApiError) -> Response {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(error.status()).unwrap_or_default();
    let mut response = encoded(code, body);
    response.extensions_mut().insert(Failure);
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
pub(crate) const WARNINGS_LENGTH: usize = 4096;
pub(crate) const WARNING_LENGTH: usize = 256;

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

    /// Small pieces put together; a large one is not copied.
    fn next_chunk(&mut self) -> Option<Bytes> {
        let first = self.pieces.pop_front()?;
        if first.len() >= CHUNK || self.pieces.is_empty() {
            return Some(first);
        }
        let mut chunk = BytesMut::with_capacity(CHUNK);
        chunk.extend_from_slice(&first);
        while let Some(next) = self.pieces.pop_front_if(|next| chunk.len() + next.len() <= CHUNK) {
            chunk.extend_from_slice(&next);
        }
        Some(chunk.freeze())
    }
}

/// The chunks of [`elements`].
#[derive(Debug)]
struct Elements<I> {
    begun: String,
    elements: I,
    separator: &'static str,
    /// Absent when all is made.
    tail: Option<String>,
}

impl<I: Iterator<Item = Result<String, ApiError>>> Iterator for Elements<I> {
    type Item = Result<Bytes, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        let tail = self.tail.as_ref()?;
        let mut chunk = std::mem::take(&mut self.begun);
        while chunk.len() < CHUNK {
            match self.elements.next() {
                Some(Ok(element)) => {
                    chunk.push_str(std::mem::replace(&mut self.separator, ","));
                    chunk.push_str(&element);
                }
                Some(Err(error)) => {
                    self.tail = None;
                    return Some(Err(error));
                }
                None => {
                    chunk.push_str(tail);
                    self.tail = None;
                    break;
                }
            }
        }
        Some(Ok(chunk.into()))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.next_chunk();
        self.left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
