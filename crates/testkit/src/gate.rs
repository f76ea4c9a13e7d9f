//! The way from an in-process client to the server, which may be away.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use apiserver::{ApiServer, Identity, InProcess};
use http::{Request, Response, StatusCode};
use kube::client::Body;
use tokio::sync::watch;
use tower::{BoxError, Service, ServiceExt};

/// The server behind the clients, if it is up, and what it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backend(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    server: Option<ApiServer>,
    requests: Vec<String>,
    barred: Vec<Bar>,
}

/// In the way of some requests until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Obstacle {
    _up: watch::Sender<()>,
}

type Matches = dyn Fn(&Request<Body>) -> bool + Send + Sync;

/// Which requests an [`Obstacle`] is in the way of, and how.
#[derive(Clone)]
struct Bar {
    matches: Arc<Matches>,
    effect: Effect,
    up: watch::Receiver<()>,
}

/// What becomes of a request that meets an [`Obstacle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It waits for the obstacle's end.
    Hold,
    /// It does not arrive.
    Refuse,
    /// It arrives, but its answer does not.
    LoseAnswer,
    /// It does not arrive, and is answered with this.
    Answer(StatusCode),
    /// Its answer is a panic of whoever waits for it.
    Panic,
}

impl fmt::Debug for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar").field("effect", &self.effect).finish_non_exhaustive()
    }
}

impl Bar {
    fn is_up(&self) -> bool {
        self.up.has_changed().is_ok()
    }

    /// Lets the request through, now or later, or not at all.
    async fn pass(&mut self) -> Result<(), io::Error> {
        match self.effect {
            Effect::Refuse => return Err(refused()),
            // It is never changed, only dropped.
            Effect::Hold => drop(self.up.changed().await),
            Effect::Panic => panic!("as the test wants it"),
            Effect::LoseAnswer | Effect::Answer(_) => {}
        }
        Ok(())
    }

    fn loses_answer(&self) -> bool {
        self.effect == Effect::LoseAnswer
    }

    fn answer(&self) -> Option<StatusCode> {
        match self.effect {
            Effect::Answer(code) => Some(code),
            _ => None,
        }
    }
}

fn refused() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionRefused)
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

    /// Puts an obstacle in the way of the requests that match.
    pub(crate) fn bar(&self, matches: Arc<Matches>, effect: Effect) -> Obstacle {
        let (sender, up) = watch::channel(());
        self.lock().barred.push(Bar { matches, effect, up });
        Obstacle { _up: sender }
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
        state.barred.retain(Bar::is_up);
        let mut bar = state.barred.iter().find(|bar| (bar.matches)(&request)).cloned();
        let (backend, identity) = (self.backend.clone(), self.identity.clone());
        Box::pin(async move {
            if let Some(bar) = &mut bar {
                bar.pass().await?;
                if let Some(code) = bar.answer() {
                    let mut answer = Response::new(axum::body::Body::empty());
                    *answer.status_mut() = code;
                    return Ok(answer);
                }
            }
            let server = backend.server().ok_or_else(refused)?;
            let Ok(response) = server.service(identity).oneshot(request).await;
            match bar.is_some_and(|bar| bar.loses_answer()) {
                true => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
                false => Ok(response),
            }
        })
    }
}
