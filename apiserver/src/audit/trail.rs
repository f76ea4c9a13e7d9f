//! What becomes of one request, as far as it is told.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts, uri::PathAndQuery};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::{
    backend::Audit,
    event::{Annotations, Event, ObjectRef, Status, object},
    policy::{Asked, Level, Stage},
    sources::sources,
};
use crate::{
    body,
    ending::Told,
    identity::Identity,
    respond::{self, Response, Streamed},
};

/// The header that says under which name a request is told.
pub(crate) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const LONGEST_ID: usize = 64;

/// Under which name a request is told: the one it has been given, if that is short enough.
pub(crate) fn id(headers: &HeaderMap) -> String {
    let given = headers.get(AUDIT_ID).and_then(|it| it.to_str().ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID);
    given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Trail(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    audit: Arc<Audit>,
    id: String,
    received: Timestamp,
    uri: Option<PathAndQuery>,
    sources: Vec<IpAddr>,
    agent: Option<HeaderValue>,
    /// Once it is known who asks, and unless nothing is told.
    begun: OnceLock<Begun>,
    acts_as: OnceLock<Arc<Identity>>,
    object: OnceLock<Box<RawValue>>,
    annotations: Mutex<Annotations>,
    /// Of the answer, once there is one, whether or not somebody waits for it.
    code: OnceLock<u16>,
    /// Set once the last is told: what came of it, that it panicked, or why nobody knows who asks.
    is_over: OnceLock<()>,
}

#[derive(Debug)]
struct Begun {
    level: Level,
    /// In the order of [`Stage::ALL`].
    omitted: [bool; Stage::ALL.len()],
    omits_managed_fields: bool,
    verb: String,
    user: Arc<Identity>,
    is_long: bool,
    about: Option<Mutex<ObjectRef>>,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Begin<'a> {
    pub(crate) asked: Asked<'a>,
    /// Of what it is about.
    pub(crate) version: &'a str,
    /// Whether the answer may go on for as long as the client listens.
    pub(crate) is_long: bool,
}

/// What came of it.
#[derive(Debug, Default)]
struct Came {
    status: Option<Status>,
    object: Option<Box<RawValue>>,
}

impl Trail {
    /// Of a request that just came.
    pub(crate) fn new(audit: Arc<Audit>, head: &Parts, id: String) -> Self {
        Self(Arc::new(Shared {
            audit,
            id,
            received: Timestamp::now(),
            uri: head.uri.path_and_query().cloned(),
            sources: sources(&head.headers, head.extensions.get()),
            agent: head.headers.get(header::USER_AGENT).cloned(),
            begun: OnceLock::new(),
            acts_as: OnceLock::new(),
            object: OnceLock::new(),
            annotations: Mutex::default(),
            code: OnceLock::new(),
            is_over: OnceLock::new(),
        }))
    }

    /// It is known who asks for what.
    pub(crate) fn begin(&self, begin: &Begin<'_>, user: &Arc<Identity>) {
        if self.is_told(begin, user) {
            self.0.tell(Stage::RequestReceived, &Came::default());
        }
    }

    /// It is answered before anybody knows who asks (Kubernetes: `withFailedRequestAudit`).
    pub(crate) fn refuse(&self, begin: &Begin<'_>, error: &ApiError) {
        self.refuse_with(begin, error, &error.to_string());
    }

    /// Nobody knows who asks (Kubernetes: `WithFailedAuthenticationAudit`).
    pub(crate) fn refuse_unknown(&self, begin: &Begin<'_>, headers: &HeaderMap, error: &ApiError) {
        let attempted = match headers.contains_key(header::AUTHORIZATION) {
            true => "Authentication failed, attempted: bearer",
            false => "Authentication failed, no credentials provided",
        };
        self.refuse_with(begin, error, attempted);
    }

    fn refuse_with(&self, begin: &Begin<'_>, error: &ApiError, message: &str) {
        if self.is_told(begin, &Arc::default()) {
            let status = json!({"metadata": {}, "message": message, "code": error.code()});
            self.end_with(Stage::ResponseStarted, status);
        }
    }

    fn is_told(&self, begin: &Begin<'_>, user: &Arc<Identity>) -> bool {
        let Begin { asked, version, is_long } = begin;
        let told = self.0.audit.policy.of(asked);
        if told.level == Level::None {
            return false;
        }
        let begun = Begun {
            level: told.level,
            omitted: Stage::ALL.map(|stage| told.omits(stage)),
            omits_managed_fields: told.omits_managed_fields,
            verb: asked.verb.to_owned(),
            user: user.clone(),
            is_long: *is_long,
            about: asked.resource.map(|it| Mutex::new(ObjectRef::of(&it, version))),
        };
        self.0.begun.set(begun).is_ok()
    }

    /// Whom it acts as.
    pub(crate) fn act_as(&self, identity: &Arc<Identity>) {
        self.0.acts_as.get_or_init(|| identity.clone());
    }

    /// Whether it is told what objects are.
    pub(crate) fn has_objects(&self) -> bool {
        self.0.begun.get().is_some_and(|begun| begun.level >= Level::Request)
    }

    /// What plugins have to say, each thing once (Kubernetes: what is said first stays).
    pub(crate) fn annotate<K, V>(&self, annotations: impl IntoIterator<Item = (K, V)>)
    where
        K: Into<Cow<'static, str>>,
        V: Into<Cow<'static, str>>,
    {
        if self.0.begun.get().is_some() {
            let mut known = self.0.annotations.lock();
            for (key, value) in annotations {
                known.entry(key.into()).or_insert_with(|| value.into());
            }
        }
    }

    /// Whether it was let through, and why.
    pub(crate) fn decided(&self, allowed: &Result<String, ApiError>) {
        let (decision, reason) = match allowed {
            Ok(why) => ("allow", Cow::from(why.clone())),
            Err(error) if error.code() == 403 => ("forbid", "".into()),
            Err(_) => return,
        };
        self.annotate([
            ("authorization.k8s.io/decision", decision.into()),
            ("authorization.k8s.io/reason", reason),
        ]);
    }

    /// What it brings.
    pub(crate) fn bring(&self, headers: &HeaderMap, bytes: &Bytes) {
        let Some(begun) = self.0.begun.get().filter(|_| !bytes.is_empty()) else { return };
        let Some(json) = as_json(headers, bytes) else { return };
        if let Some(about) = &begun.about {
            about.lock().complete(&json);
        }
        if begun.level >= Level::Request
            && let Some(found) = object(&json, begun.omits_managed_fields)
        {
            self.0.object.get_or_init(|| found);
        }
    }

    /// It panicked.
    pub(crate) fn panicked(&self, error: &ApiError) {
        let status = json!({
            "metadata": {}, "status": "Failure", "reason": error.reason(), "code": error.code(),
            "message": error.to_string(),
        });
        self.end_with(Stage::Panic, status);
    }

    fn end_with(&self, stage: Stage, status: Value) {
        self.0.finish(stage, &Came { status: Some(Status::Whole(status)), object: None });
    }

    /// What came of a write that is carried out, even if nobody waits for the answer any more.
    pub(crate) fn performed(&self, performed: &Result<Response, ApiError>) {
        let code = match performed {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.code(),
        };
        self.0.code.get_or_init(|| code);
    }

    /// The answer, when what is to be told of it is.
    pub(crate) async fn end(&self, mut response: Response) -> Response {
        let is_told = self.0.is_over.get().is_none();
        let Some(begun) = self.0.begun.get().filter(|_| is_told) else { return response };
        let code = response.status().as_u16();
        self.0.code.get_or_init(|| code);
        let mut came = Came { status: Some(Status::of_code(code)), object: None };
        if begun.is_long {
            self.0.tell(Stage::ResponseStarted, &came);
        }
        if code == 101 || response.extensions().get::<Streamed>().is_some() {
            let trail = self.clone();
            let end = move || trail.0.finish(Stage::ResponseComplete, &came);
            return response.map(|body| Body::new(Told::new(body, end)));
        }
        let wants = begun.level == Level::RequestResponse && begun.about.is_some();
        if is_json(&response) && (wants || code >= 400) {
            // Apart, or there would be room for it in the future of each request.
            response = Box::pin(self.read(response, &mut came, wants)).await;
        }
        self.0.finish(Stage::ResponseComplete, &came);
        response
    }

    /// Takes what there is to tell from an answer.
    async fn read(&self, response: Response, came: &mut Came, wants: bool) -> Response {
        let (parts, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => return respond::failure(&ApiError::internal(error)),
        };
        if parts.status.as_u16() >= 400
            && let Ok(status) = serde_json::from_slice::<Value>(&bytes)
        {
            let mut told = json!({ "metadata": {} });
            for field in ["status", "message", "reason", "details", "code"] {
                if !status[field].is_null() {
                    told[field] = status[field].clone();
                }
            }
            came.status = Some(Status::Whole(told));
        }
        let omits = self.0.begun.get().is_some_and(|begun| begun.omits_managed_fields);
        came.object = wants.then(|| object(&bytes, omits)).flatten();
        Response::from_parts(parts, Body::from(bytes))
    }
}

/// Whoever asked may go away before there is an answer, which drops all that waits for it; what was asked for may be
/// done nevertheless, and is told when that has ended, too (Kubernetes: in a `defer`).
impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_over.get().is_none() {
            let status = self.code.get().copied().map(Status::of_code);
            self.finish(Stage::ResponseComplete, &Came { status, object: None });
        }
    }
}

impl Shared {
    /// Tells the last that is told.
    fn finish(&self, stage: Stage, came: &Came) {
        self.tell(stage, came);
        self.is_over.get_or_init(|| ());
    }

    fn tell(&self, stage: Stage, came: &Came) {
        let Some(begun) = self.begun.get().filter(|it| !it.omitted[stage as usize]) else {
            return;
        };
        let is_answered = stage != Stage::RequestReceived;
        let about = begun.about.as_ref().map(Mutex::lock);
        let annotations = self.annotations.lock();
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: begun.level,
            audit_id: &self.id,
            stage,
            request_uri: self.uri.as_ref().map_or("", PathAndQuery::as_str),
            verb: &begun.verb,
            user: (&*begun.user).into(),
            impersonated_user: self.acts_as.get().map(|it| (&**it).into()),
            source_ips: &self.sources,
            user_agent: self.agent.as_ref().and_then(|it| it.to_str().ok()).unwrap_or_default(),
            object_ref: about.as_deref(),
            response_status: came.status.as_ref(),
            request_object: self.object.get().map(|it| &**it).filter(|_| is_answered),
            response_object: came.object.as_deref(),
            request_received_timestamp: self.received,
            stage_timestamp: if is_answered { Timestamp::now() } else { self.received },
            annotations: &annotations,
        };
        self.audit.tell(&event);
    }
}

/// A body, whatever form it has.
fn as_json(headers: &HeaderMap, bytes: &Bytes) -> Option<Bytes> {
    if serde_json::from_slice::<&RawValue>(bytes).is_ok() {
        return Some(bytes.clone());
    }
    let decoded = match body::is_applied(headers) {
        true => body::applied(headers, bytes),
        false => body::decoded(headers, bytes),
    };
    Some(decoded.ok()?.value.to_string().into())
}

fn is_json(response: &Response) -> bool {
    let type_ = response.headers().get(header::CONTENT_TYPE);
    type_.is_some_and(|it| it.as_bytes().starts_with(b"application/json"))
}
