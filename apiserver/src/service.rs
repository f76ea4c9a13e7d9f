//! The chain that every request passes: parse → authenticate → authorize → read the body → perform, with the count, the log line,
//! the deadline and the answer to a panic around it.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use api_machinery::{ApiError, duration};
use axum::body::HttpBody;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Method, Request, header, request::Parts};
use registry::Subresource;
use tokio::time::{Instant, timeout, timeout_at};
use tower::Service;
use tracing::Instrument;

use crate::{
    admission::Feedback,
    authorization::{authorize, authorize_action, authorize_path},
    body,
    call::Call,
    catalogue::Catalogue,
    form::Presentation,
    identity::Identity,
    impersonation, nonresource,
    query::Query,
    rbac::Action,
    request::{self, Target},
    respond::{self, Response},
    state::State,
    subresources::proxy,
    verbs,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The API for requests of one identity: those of a connection, or of a program in the same process.
#[derive(Clone, Debug)]
pub struct InProcess {
    state: Arc<State>,
    identity: Arc<Identity>,
    /// When the certificate ends that says so, in seconds since 1970.
    not_after: Option<i64>,
}

impl InProcess {
    pub(crate) fn new(state: Arc<State>, identity: Identity) -> Self {
        Self { state, identity: Arc::new(identity), not_after: None }
    }

    /// By a certificate that ends then, in seconds since 1970.
    pub(crate) fn until(self, not_after: Option<i64>) -> Self {
        Self { not_after, ..self }
    }

    /// Answers a request, whatever happens.
    pub(crate) async fn handle<B>(&self, request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { state, identity, not_after } = self;
        let started = Instant::now();
        not_after.inspect(|not_after| state.metrics.certificate_shown(*not_after));
        let (parts, body) = request.into_parts();
        let head = Head::of(&state.catalogue.load(), parts);
        let _counted = state.metrics.under_way(head.target());
        let work = AssertUnwindSafe(respond_and_drain(state, identity, &head, body)).catch_unwind();
        let response = match work.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => respond::failure(&error),
            Err(_) => respond::failure(&panicked()),
        };
        let (code, took) = (response.status().as_u16(), started.elapsed());
        state.metrics.answered(head.target(), code, took);
        tracing::debug!(
            method = %head.parts.method, uri = %head.parts.uri, user = head.user(), code,
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "request"
        );
        response
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
        let this = self.clone();
        Box::pin(async move { Ok(this.handle(request).await) })
    }
}

/// A request's head, as far as it could be made out.
#[derive(Debug)]
struct Head {
    parts: Parts,
    target: Result<(Target, Query), ApiError>,
    /// Whom it acts as, once that is known.
    identity: OnceLock<Arc<Identity>>,
}

impl Head {
    fn of(catalogue: &Catalogue, parts: Parts) -> Self {
        Self { target: parse(catalogue, &parts), identity: OnceLock::new(), parts }
    }

    fn target(&self) -> Option<&Target> {
        self.target.as_ref().ok().map(|(target, _)| target)
    }

    /// How long the answer may take: what the client says, but no longer than the server allows.
    fn patience(&self, most: Duration) -> Result<Duration, ApiError> {
        let query = self.target.as_ref().ok().map(|(_, query)| query);
        let Some(given) = query.and_then(|query| query.get("timeout")) else { return Ok(most) };
        let given = duration::parse(given).map_err(|error| {
            ApiError::bad_request(format!("invalid timeout specified in the request URL: {error}"))
        })?;
        Ok(if given.is_zero() { most } else { given.min(most) })
    }

    /// Whether the client waits to be asked for its body, and was answered before: it is not going to send it.
    fn is_put_off(&self, answer: &Result<Response, ApiError>) -> bool {
        let was_too_long = matches!(answer, Err(error) if error.code() == 413);
        self.parts.headers.contains_key(header::EXPECT) && !was_too_long
    }

    fn user(&self) -> &str {
        self.identity.get().map_or("", |identity| &identity.user)
    }
}

fn parse(catalogue: &Catalogue, parts: &Parts) -> Result<(Target, Query), ApiError> {
    let query = Query::of(&parts.uri)?;
    let target = request::parse(catalogue, &parts.method, parts.uri.path(), &query)?;
    Ok((target, query))
}

/// Whom a request acts as. To know may need the store, within a deadline that holds for streams too.
async fn caller(
    state: &State,
    connection: &Arc<Identity>,
    headers: &HeaderMap,
) -> Result<Arc<Identity>, ApiError> {
    let found = state.authenticator().of_request(connection, headers);
    let identity =
        timeout(state.config.request_timeout, found).await.unwrap_or_else(|_| Err(too_late()))?;
    let authorize = |action: Action<'_>| authorize_action(&state.rbac, &identity, action);
    impersonation::effective(&identity, headers, authorize)
}

fn too_late() -> ApiError {
    ApiError::timeout("request did not complete within the allotted timeout")
}

/// A body that was not read, or not to its end, is taken while its sender reads why, within the server's patience.
async fn respond_and_drain<B>(
    state: &Arc<State>,
    connection: &Arc<Identity>,
    head: &Head,
    body: B,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Some(Box::pin(body));
    let deadline = Instant::now() + state.config.request_timeout;
    let answer = in_time(state, connection, head, &mut body).await;
    if let Some(body) = body
        && !body.is_end_stream()
        && !head.is_put_off(&answer)
    {
        tokio::spawn(async move { timeout_at(deadline, body::discard(body)).await });
    }
    answer
}

/// A request that is no stream is answered within the server's patience, however slowly its body comes.
async fn in_time<B>(
    state: &Arc<State>,
    connection: &Arc<Identity>,
    head: &Head,
    body: &mut Option<Pin<Box<B>>>,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let work = perform(state, connection, head, body);
    if head.target().is_some_and(Target::is_long_running) {
        return work.await;
    }
    let patience = head.patience(state.config.request_timeout)?;
    timeout(patience, work).await.unwrap_or_else(|_| Err(too_late()))
}

async fn perform<B>(
    state: &Arc<State>,
    connection: &Arc<Identity>,
    head: &Head,
    body: &mut Option<Pin<Box<B>>>,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Head { parts, target, identity } = head;
    let caller = caller(state, connection, &parts.headers).await?;
    let identity = identity.get_or_init(|| caller);
    let (method, path) = (&parts.method, parts.uri.path());
    let (target, query) = match target {
        Ok(parsed) => parsed,
        // Who may not even ask learns nothing about what there is.
        Err(_) if identity.is_anonymous() => return Err(ApiError::unauthorized()),
        Err(error) => {
            authorize_path(&state.rbac, identity, method, path)?;
            return Err(error.clone());
        }
    };
    authorize(&state.rbac, identity, (target, query), method, path)?;
    match target {
        Target::NonResource(_) if !matches!(*method, Method::GET | Method::HEAD) => {
            Err(ApiError::method_not_allowed())
        }
        Target::NonResource(what) => nonresource::get(state, what, &parts.headers).await,
        Target::Resource(info) if info.subresource == Some(Subresource::Proxy) => {
            let request = proxy::Request { identity, info, parts };
            proxy::forward(state, request, body).await
        }
        Target::Resource(info) => {
            let call = Call {
                identity: identity.clone(),
                info: info.clone(),
                query: query.clone(),
                presentation: Presentation::of(&parts.headers, query)?,
                headers: parts.headers.clone(),
                feedback: Arc::default(),
                upgrade: parts.extensions.get().cloned(),
                body: match body {
                    Some(body) if info.verb.is_write() => body::read(body.as_mut()).await?,
                    _ => Bytes::new(),
                },
            };
            carry_out(state, call).await
        }
    }
}

/// A write is carried out to its end, in a task of its own: a client that goes away must not cut it in half.
async fn carry_out(state: &Arc<State>, call: Call) -> Result<Response, ApiError> {
    if !call.info.verb.is_write() {
        // Apart, or the future of each write would be moved about with room for this one in it.
        return Box::pin(verbs::perform(state, &call)).await;
    }
    let span =
        tracing::info_span!("write", verb = call.info.verb.as_str(), user = call.identity.user);
    let (owned, feedback) = (state.clone(), call.feedback.clone());
    // Dropped with this future: who is asked about the write need not answer for nobody.
    let _listening = feedback.gone().clone().drop_guard();
    let work = async move { verbs::perform(&owned, &call).await };
    let performed = state.tasks.spawn(work.instrument(span)).await;
    with_warnings(&feedback, performed.unwrap_or_else(|_| Err(panicked())))
}

/// What admission has to tell, whatever came of the write.
fn with_warnings(
    feedback: &Feedback,
    performed: Result<Response, ApiError>,
) -> Result<Response, ApiError> {
    let warnings = feedback.take();
    if warnings.is_empty() {
        return performed;
    }
    let mut response = performed.unwrap_or_else(|error| respond::failure(&error));
    respond::warn(&mut response, &warnings);
    Ok(response)
}

fn panicked() -> ApiError {
    ApiError::internal("the request made the server panic")
}
