//! The way from an in-process client to the server, which may be away.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use apiserver::{ApiServer, Identity, InProcess};
use http::Request;
use kube::client::Body;
use tower::{BoxError, Service, ServiceExt};

/// The server behind the clients, if it is up, and what it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backend(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    server: Option<ApiServer>,
    requests: Vec<String>,
}

impl Backend {
    /// Sets the server, and gives the one before.
    pub(crate) fn replace(&self, server: Option<ApiServer>) -> Option<ApiServer> {
        std::mem::replace(&mut self.lock().server, server)
    }

    pub(crate) fn server(&self) -> Option<ApiServer> {
        self.lock().server.clone()
    }

    /// The requests so far, as "METHOD path?query".
    pub(crate) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The API as a service for one identity.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) backend: Backend,
    pub(crate) identity: Identity,
}

impl Service<Request<Body>> for Gate {
    type Response = <InProcess as Service<Request<Body>>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut state = self.backend.lock();
        state.requests.push(format!("{} {}", request.method(), request.uri()));
        let service = state.server.as_ref().map(|server| server.service(self.identity.clone()));
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let Ok(response) = service.ok_or_else(refused)?.oneshot(request).await;
            Ok(response)
        })
    }
}
