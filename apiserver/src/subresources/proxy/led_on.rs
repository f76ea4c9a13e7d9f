//! The body of a request that is led on.

use std::{io, pin::Pin, time::Duration};

use axum::body::HttpBody;
use bytes::Bytes;
use futures::stream;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::{sync::mpsc, time::timeout};

use crate::body;

/// What comes of a client, as it comes and no faster than it is read. If who reads it has had enough, the rest is taken
/// from the client all the same, for so long: most read an answer only when they have sent all.
pub(crate) fn led_on<B>(mut body: Pin<Box<B>>, patience: Duration) -> reqwest::Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, mut read) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await.map(|frame| frame.map_err(io::Error::other)) {
            let part = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => Ok(data),
                // Trailers.
                Ok(Err(_)) => continue,
                Err(error) => Err(error),
            };
            let failed = part.is_err();
            if parts.send(part).await.is_err() {
                let _ = timeout(patience, body::discard(body)).await;
                return;
            }
            if failed {
                return;
            }
        }
    });
    reqwest::Body::wrap_stream(stream::poll_fn(move |context| read.poll_recv(context)))
}
