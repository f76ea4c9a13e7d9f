//! The chain that every request passes: parse → authorize → read the body → perform, with the count, the log line
//! and the answer to a panic around it.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use api_machinery::ApiError;
use axum::body::HttpBody;
use bytes::Bytes;
use futures::FutureExt;
use http::{Method, Request, request::Parts};
use tower::Service;

use crate::{
    authorization, body,
    call::Call,
    form::Presentation,
    identity::Identity,
    nonresource,
    query::Query,
    request::{self, Target},
    respond::{self, Response},
    server::Server,
    verbs,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The API for requests of one identity: those of a connection, or of a program in the same process.
#[derive(Clone, Debug)]
pub struct InProcess {
    server: Arc<Server>,
    identity: Arc<Identity>,
}

impl InProcess {
    pub(crate) fn new(server: Arc<Server>, identity: Identity) -> Self {
        Self { server, identity: Arc::new(identity) }
    }
}

impl<B> Service<Request<B>> for InProcess
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { server, identity } = self.clone();
        Box::pin(async move { Ok(answer(&server, &identity, request).await) })
    }
}

/// Answers a request, whatever happens.
pub(crate) async fn answer<B>(server: &Server, identity: &Identity, request: Request<B>) -> Response
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let target = parse(server, &parts);
    let work = AssertUnwindSafe(perform(server, identity, &parts, &target, body)).catch_unwind();
    let response = match work.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => respond::failure(&error),
        Err(_) => respond::failure(&ApiError::internal("the request made the server panic")),
    };
    let (code, took) = (response.status().as_u16(), started.elapsed());
    server.metrics.answered(target.as_ref().ok().map(|(t, _)| t), code, took);
    tracing::debug!(
        method = %parts.method, uri = %parts.uri, user = identity.user, code,
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "request"
    );
    response
}

type Parsed = Result<(Target, Query), ApiError>;

fn parse(server: &Server, parts: &Parts) -> Parsed {
    let query = Query::of(&parts.uri)?;
    let target = request::parse(&server.catalogue, &parts.method, parts.uri.path(), &query)?;
    Ok((target, query))
}

async fn perform<B>(
    server: &Server,
    identity: &Identity,
    parts: &Parts,
    parsed: &Parsed,
    body: B,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (target, query) = match parsed {
        Ok(parsed) => parsed,
        // Who may not even ask learns nothing about what there is.
        Err(_) if identity.is_anonymous() => return Err(ApiError::unauthorized()),
        Err(error) => return Err(error.clone()),
    };
    authorization::authorize(identity, target, parts.uri.path())?;
    match target {
        Target::NonResource(_) if !matches!(parts.method, Method::GET | Method::HEAD) => {
            Err(ApiError::method_not_allowed())
        }
        Target::NonResource(what) => nonresource::answer(server, what, &parts.headers).await,
        Target::Resource(info) => {
            let call = Call {
                info: info.clone(),
                query: query.clone(),
                presentation: Presentation::of(&parts.headers, query)?,
                headers: parts.headers.clone(),
                body: body::read(body).await?,
            };
            verbs::perform(server, &call).await
        }
    }
}
