//! The body of an answer that goes on, whose end is told.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// See the module: what is told is told when this is dropped, whichever side it was that ended.
pub(crate) struct Told<F: FnOnce()> {
    body: Body,
    end: Option<F>,
}

impl<F: FnOnce()> Told<F> {
    pub(crate) fn new(body: Body, end: F) -> Self {
        Self { body, end: Some(end) }
    }
}

impl<F: FnOnce()> fmt::Debug for Told<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

impl<F: FnOnce()> Drop for Told<F> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl<F: FnOnce() + Unpin> HttpBody for Told<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
