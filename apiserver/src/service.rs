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
use http::{HeaderValue, Method, Request, header, request::Parts};
use registry::{ResourceDef, Subresource};
use tokio::time::{Instant, timeout, timeout_at};
use tower::Service;
use tracing::Instrument;

use crate::{
    admission::Feedback,
    audit::{self, AUDIT_ID, Trail},
    audited,
    authorization::{authorize, authorize_action, authorize_unknown},
    body,
    call::Call,
    credentials::Credentials,
    delegation,
    flow_control::{Flow, Passage},
    form::Presentation,
    identity::Identity,
    impersonation, nonresource, passage,
    query::{Query, ReadAt},
    rbac::{Action, is_program},
    representation,
    request::{self, RequestInfo, Target, Verb},
    respond::{self, Response},
    state::State,
    subresources::proxy,
    verbs,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The API for requests with the same credentials: those of a connection, or of a program in the same process.
#[derive(Clone, Debug)]
pub struct InProcess {
    state: Arc<State>,
    credentials: Credentials,
}

impl InProcess {
    pub(crate) fn new(state: Arc<State>, credentials: Credentials) -> Self {
        Self { state, credentials }
    }

    /// Answers a request, whatever happens.
    pub(crate) async fn handle<B>(&self, request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { state, credentials } = self;
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let proxies = state.config.request_header.as_ref();
        let proxied = credentials.take_proxied(proxies, &mut parts.headers);
        let shown = credentials.not_after.filter(|_| proxied.is_none());
        shown.inspect(|not_after| state.metrics.certificate_shown(*not_after));
        let head = Head::of(state, parts, proxied);
        let _counted = state.metrics.under_way(head.target());
        let work = respond_and_drain(state, credentials, &head, body);
        let work = AssertUnwindSafe(work).catch_unwind();
        let response = match work.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => respond::failure(&error),
            Err(_) => {
                head.trail.iter().for_each(|trail| trail.panicked(&panicked()));
                respond::failure(&panicked())
            }
        };
        let response = match &head.trail {
            Some(trail) => trail.end(response).await,
            None => response,
        };
        let mut response = representation::represented(&head.parts.headers, response).await;
        if let Ok(id) = HeaderValue::from_str(&head.audit_id) {
            response.headers_mut().insert(AUDIT_ID, id);
        }
        for (name, value) in head.flow.get().into_iter().flat_map(|flow| flow.headers()) {
            response.headers_mut().insert(name, value.clone());
        }
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
    /// For whom it is made, if a front proxy says that.
    proxied: Option<Arc<Identity>>,
    target: Result<(Target, Query), ApiError>,
    /// Whom it acts as, once that is known.
    identity: OnceLock<Arc<Identity>>,
    /// Under which name it is told, here and by the server that it is led on to.
    audit_id: String,
    /// What is told of it.
    trail: Option<Trail>,
    /// By what it was decided whether it waits.
    flow: OnceLock<Arc<Flow>>,
}

impl Head {
    fn of(state: &State, parts: Parts, proxied: Option<Arc<Identity>>) -> Self {
        let (target, audit_id) = (parse(state, &parts), audit::id(&parts.headers));
        let audit = state.config.audit.as_ref();
        let trail = audit.map(|audit| Trail::new(audit.clone(), &parts, audit_id.clone()));
        let (identity, flow) = (OnceLock::new(), OnceLock::new());
        Self { proxied, target, identity, audit_id, trail, flow, parts }
    }

    fn target(&self) -> Option<&Target> {
        self.target.as_ref().ok().map(|(target, _)| target)
    }

    /// How long the answer may take: what the client says, but no longer than the server allows.
    fn patience(&self, most: Duration) -> Result<Duration, ApiError> {
        let query = self.target.as_ref().ok().map(|(_, query)| query);
        let Some(given) = query.and_then(|query| query.get("timeout")) else { return Ok(most) };
        let given = duration::parse(given).map_err(|error| {
            ApiError::bad_request(format!("invalid timeout specified in the request URL - {error}"))
        })?;
        Ok(if given.is_zero() { most } else { given.min(most) })
    }

    /// Whether the client waits to be asked for its body, and was answered before: it is not going to send it.
    fn is_put_off(&self, answer: &Result<Response, ApiError>) -> bool {
        let was_too_long = matches!(answer, Err(error) if error.code() == 413);
        self.parts.headers.contains_key(header::EXPECT) && !was_too_long
    }

    /// The audit log is told what is asked for; by whom, if that is known.
    fn tell(&self, user: Result<&Arc<Identity>, &ApiError>) {
        let Some(trail) = &self.trail else { return };
        let method = self.parts.method.as_str().to_lowercase();
        let known = user.ok().map(|user| &**user);
        let begin = audited::begin(&self.parts, &method, self.target(), known);
        match user {
            Ok(user) => trail.begin(&begin, user),
            Err(error) => trail.refuse_unknown(&begin, &self.parts.headers, error),
        }
    }

    /// The audit log is told that it is refused, whoever asks.
    fn tell_refused(&self, error: &ApiError) {
        let Some(trail) = &self.trail else { return };
        let method = self.parts.method.as_str().to_lowercase();
        trail.refuse(&audited::begin(&self.parts, &method, self.target(), None), error);
    }

    fn user(&self) -> &str {
        self.identity.get().map_or("", |identity| &identity.user)
    }
}

fn parse(state: &State, parts: &Parts) -> Result<(Target, Query), ApiError> {
    let (query, method, path) = (Query::of(&parts.uri)?, &parts.method, parts.uri.path());
    let target = match state.delegates.of_path(path) {
        Some(delegate) => Target::Delegated(request::delegated(delegate, method, path, &query)?),
        None => request::parse(&state.catalogue.load(), method, path, &query)?,
    };
    Ok((target, query))
}

/// Who makes a request. To know may need the store, within a deadline that holds for streams too.
async fn authenticate(
    state: &State,
    credentials: &Credentials,
    head: &Head,
) -> Result<Arc<Identity>, ApiError> {
    if let Some(identity) = &head.proxied {
        return Ok(identity.clone());
    }
    let known = credentials.identity.as_ref();
    let found = state.authenticator().of_request(known, &head.parts.headers);
    let found = timeout(state.config.request_timeout, found).await;
    found.unwrap_or_else(|_| Err(too_late()))
}

/// Whom a request acts as.
async fn caller(
    state: &State,
    credentials: &Credentials,
    head: &Head,
) -> Result<Arc<Identity>, ApiError> {
    let headers = &head.parts.headers;
    let found = authenticate(state, credentials, head).await;
    head.tell(found.as_ref());
    let identity = found?;
    let authorize =
        |action: Action<'_>| authorize_action(&state.authorizer, &identity, action).map(drop);
    let effective = impersonation::effective(&identity, headers, authorize)?;
    if let Some(trail) = head.trail.as_ref().filter(|_| !Arc::ptr_eq(&identity, &effective)) {
        trail.act_as(&effective);
    }
    Ok(effective)
}

fn too_late() -> ApiError {
    ApiError::timeout("request did not complete within the allotted timeout")
}

/// A body that was not read, or not to its end, is taken while its sender reads why, within the server's patience.
async fn respond_and_drain<B>(
    state: &Arc<State>,
    credentials: &Credentials,
    head: &Head,
    body: B,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Some(Box::pin(body));
    let deadline = Instant::now() + state.config.request_timeout;
    let answer = in_time(state, credentials, head, &mut body).await;
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
    credentials: &Credentials,
    head: &Head,
    body: &mut Option<Pin<Box<B>>>,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let work = perform(state, credentials, head, body);
    if head.target().is_some_and(Target::is_long_running) {
        return work.await;
    }
    let patience = head.patience(state.config.request_timeout);
    let patience = patience.inspect_err(|error| head.tell_refused(error))?;
    timeout(patience, work).await.unwrap_or_else(|_| Err(too_late()))
}

async fn perform<B>(
    state: &Arc<State>,
    credentials: &Credentials,
    head: &Head,
    body: &mut Option<Pin<Box<B>>>,
) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Head { parts, identity, audit_id, trail, .. } = head;
    let caller = caller(state, credentials, head).await?;
    let identity = identity.get_or_init(|| caller);
    let (target, query) = known(state, identity, head)?;
    let request = passage::Request { identity, target, query, parts };
    let patience = head.patience(state.config.request_timeout);
    let passage = passage::enter(state, request, patience, &head.flow).await?;
    let permitted = permit(state, identity, (target, query), parts).await;
    trail.iter().for_each(|trail| trail.decided(&permitted));
    permitted?;
    match target {
        Target::NonResource(_) if !matches!(parts.method, Method::GET | Method::HEAD) => {
            Err(ApiError::method_not_allowed())
        }
        Target::NonResource(what) => {
            let answer = nonresource::get(state, what, &parts.headers).await?;
            representation::prepared(answer).await
        }
        Target::Delegated(delegated) => {
            // A watch has its seat until it begins: when that is, is up to the other server, which may take for ever.
            let _passage = (!target.is_watch()).then_some(passage);
            let request = delegation::Request { identity, delegated, parts, audit_id };
            delegation::forward(state, request, body).await
        }
        Target::Resource(info) if info.subresource == Some(Subresource::Proxy) => {
            let request = proxy::Request { identity, info, parts };
            proxy::forward(state, request, body).await
        }
        Target::Resource(info) => {
            let bytes = match body {
                Some(body) if info.verb.is_write() => body::read(body.as_mut()).await?,
                _ => Bytes::new(),
            };
            trail.iter().for_each(|trail| trail.bring(&parts.headers, &bytes));
            let call = call(identity, parts, (info, query), bytes)?;
            on_resource(state, call, passage, trail.as_ref()).await
        }
    }
}

fn call(
    identity: &Arc<Identity>,
    parts: &Parts,
    (info, query): (&RequestInfo, &Query),
    body: Bytes,
) -> Result<Call, ApiError> {
    let is_watch = info.verb == Verb::Watch;
    Ok(Call {
        identity: identity.clone(),
        info: info.clone(),
        query: query.clone(),
        presentation: Presentation::of(
            &parts.headers,
            query,
            &info.def,
            info.subresource,
            is_watch,
        )?,
        headers: parts.headers.clone(),
        feedback: Arc::default(),
        upgrade: parts.extensions.get().cloned(),
        body,
    })
}

/// What comes of it is told, whatever it is.
async fn on_resource(
    state: &Arc<State>,
    call: Call,
    passage: Passage,
    trail: Option<&Trail>,
) -> Result<Response, ApiError> {
    let (def, feedback) = (call.info.def.clone(), call.feedback.clone());
    let answer = carry_out(state, call, passage, trail).await;
    if let Some(trail) = trail {
        trail.annotate(feedback.take_annotations(trail.has_objects()));
    }
    deprecated(&def, answer)
}

/// What is asked for. Who may not even ask learns nothing about what there is.
fn known<'h>(
    state: &State,
    identity: &Identity,
    head: &'h Head,
) -> Result<(&'h Target, &'h Query), ApiError> {
    let error = match &head.target {
        Ok((target, query)) => return Ok((target, query)),
        Err(_) if identity.is_anonymous() => return Err(ApiError::unauthorized()),
        Err(error) => error,
    };
    let Parts { method, uri, .. } = &head.parts;
    authorize_unknown(&state.authorizer, identity, method, uri)?;
    Err(error.clone())
}

/// Why the identity may do it; fails with 403 unless it may. A node may have been told of a pod by another server: this one catches up
/// before it refuses.
async fn permit(
    state: &State,
    identity: &Identity,
    asked: (&Target, &Query),
    Parts { method, uri, .. }: &Parts,
) -> Result<String, ApiError> {
    let authorize = || authorize(&state.authorizer, identity, asked, method, uri.path());
    let mut permitted = authorize();
    if permitted.is_err() && identity.node().is_some() {
        state.storage.reach(ReadAt::MostRecent).await?;
        permitted = authorize();
    }
    permitted.inspect_err(|error| {
        if is_program(identity) {
            tracing::warn!(%method, %uri, %error, "a program of the cluster is refused");
        }
    })
}

/// What is told of a version that is not to be used any more, whatever came of the request.
fn deprecated(
    def: &ResourceDef,
    performed: Result<Response, ApiError>,
) -> Result<Response, ApiError> {
    let Some(warning) = &def.deprecation_warning else { return performed };
    let mut response = performed.unwrap_or_else(|error| respond::failure(&error));
    respond::warn(&mut response, std::slice::from_ref(warning));
    Ok(response)
}

/// A write is carried out to its end, in a task of its own: a client that goes away must not cut it in half. A seat is taken until
/// the answer is encoded: a list in another form than JSON is a copy of everything in it.
async fn carry_out(
    state: &Arc<State>,
    call: Call,
    passage: Passage,
    trail: Option<&Trail>,
) -> Result<Response, ApiError> {
    let media = call.presentation.media;
    if !call.info.verb.is_write() {
        let work = async {
            let answer = verbs::perform(state, &call).await?;
            representation::prepared(representation::wanted(media, answer)).await
        };
        // Apart, or the future of each write would be moved about with room for this one in it.
        return Box::pin(work).await;
    }
    let span =
        tracing::info_span!("write", verb = call.info.verb.as_str(), user = call.identity.user);
    let (owned, feedback) = (state.clone(), call.feedback.clone());
    // Dropped with this future: who is asked about the write need not answer for nobody.
    let _listening = feedback.gone().clone().drop_guard();
    let told = trail.cloned();
    let work = async move {
        // Its seat is taken as long as the work goes on.
        let _passage = passage;
        let performed = verbs::perform(&owned, &call).await;
        if let Some(trail) = told {
            trail.annotate(call.feedback.take_annotations(trail.has_objects()));
            trail.performed(&performed);
        }
        representation::prepared(representation::wanted(media, performed?)).await
    };
    let performed = state.tasks.spawn(work.instrument(span)).await.unwrap_or_else(|_| {
        trail.inspect(|trail| trail.panicked(&panicked()));
        Err(panicked())
    });
    with_warnings(&feedback, performed)
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
