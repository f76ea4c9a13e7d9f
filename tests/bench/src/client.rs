//! A client of the API server that costs little, as that of the store does to which it is compared: a connection,
//! HTTP/1.1, nothing decoded.

use std::{io, pin::Pin};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::TryStreamExt;
use http::{Request, header::HOST, request};
use http_body_util::{BodyDataStream, BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio_util::io::StreamReader;

pub(crate) const JSON: &str = "application/json";

/// A connection.
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn open(server: &testkit::Apiserver) -> anyhow::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(server.connect().await)).await?;
        // What is wrong with it, who asks is told.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self(sender))
    }

    /// The answer, as it comes.
    pub(crate) async fn start(
        &mut self,
        request: request::Builder,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Incoming> {
        let request = request.header(HOST, "server").body(Full::from(body.into()))?;
        self.0.ready().await?;
        let (head, body) = self.0.send_request(request).await?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let text = body.collect().await?.to_bytes();
        anyhow::bail!("{}: {}", head.status, String::from_utf8_lossy(&text))
    }

    /// The whole answer.
    pub(crate) async fn send(
        &mut self,
        request: request::Builder,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Bytes> {
        Ok(self.start(request, body).await?.collect().await?.to_bytes())
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.send(Request::get(path), Bytes::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, json: impl Into<Bytes>) -> anyhow::Result<()> {
        self.create(path, json).await.map(drop)
    }

    /// The object that was made of the one given.
    pub(crate) async fn create(
        &mut self,
        path: &str,
        json: impl Into<Bytes>,
    ) -> anyhow::Result<Bytes> {
        self.send(Request::post(path).header("content-type", JSON), json).await
    }

    pub(crate) async fn patch(&mut self, path: &str, json: impl Into<Bytes>) -> anyhow::Result<()> {
        let request = Request::patch(path).header("content-type", "application/merge-patch+json");
        self.send(request, json).await.map(drop)
    }

    /// Watches what a field selector picks. What there is already has been told when it returns, so it is known to be
    /// open.
    pub(crate) async fn watch(mut self, path: &str, field: &str) -> anyhow::Result<Watch> {
        let query =
            "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
        let path = format!("{path}?watch=true&fieldSelector={}&{query}", field.replace('=', "%3D"));
        let body = self.start(Request::get(path), Bytes::new()).await?;
        let data = BodyDataStream::new(body).map_err(io::Error::other);
        let mut watch = Watch { lines: Box::pin(StreamReader::new(data)), line: String::new() };
        while watch.next().await? != Event::Bookmark {}
        Ok(watch)
    }
}

/// What comes of a watch.
pub(crate) struct Watch {
    lines: Pin<Box<dyn AsyncBufRead + Send>>,
    line: String,
}

#[derive(PartialEq, Eq)]
enum Event {
    Bookmark,
    Change,
}

impl Watch {
    /// Waits for an object to be created, changed or deleted.
    pub(crate) async fn change(&mut self) -> anyhow::Result<()> {
        while self.next().await? != Event::Change {}
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<Event> {
        self.line.clear();
        let read = self.lines.read_line(&mut self.line).await.context("reading a watch")?;
        ensure!(read > 0, "the watch ended");
        Ok(if self.line.contains("\"BOOKMARK\"") { Event::Bookmark } else { Event::Change })
    }
}
