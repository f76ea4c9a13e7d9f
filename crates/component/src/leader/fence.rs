//! Until when a leader may write.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{BoxError, Service};

/// Open during one term of a leader, as far as its renewals reach; never again after the term.
#[derive(Clone, Debug)]
pub struct Fence {
    /// `None` when the term is over.
    until: Arc<Mutex<Option<Instant>>>,
}

/// A write came after the leader's time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the leader election lease is lost: nothing is written any more")]
struct Closed;

impl Fence {
    pub(super) fn new(until: Instant) -> Self {
        Self { until: Arc::new(Mutex::new(Some(until))) }
    }

    /// Whether a write may be sent now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.until.lock().is_some_and(|until| Instant::now() < until)
    }

    /// The end of the last renewal; `None` when the term is over.
    pub(super) fn until(&self) -> Option<Instant> {
        *self.until.lock()
    }

    pub(super) fn extend(&self, until: Instant) {
        if let Some(current) = self.until.lock().as_mut() {
            *current = until.max(*current);
        }
    }

    pub(super) fn close(&self) {
        *self.until.lock() = None;
    }

    /// A client that reads whenever it likes, and writes only while the fence is open.
    #[must_use]
    pub fn client(&self, client: &Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(Fenced { client: client.clone(), fence: self.clone() }, namespace)
    }
}

struct Fenced {
    client: Client,
    fence: Fence,
}

impl Service<Request<Body>> for Fenced {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if !reads && !self.fence.is_open() {
            return futures::future::err(Closed.into()).boxed();
        }
        let client = self.client.clone();
        async move { client.send(request).await.map_err(Into::into) }.boxed()
    }
}
