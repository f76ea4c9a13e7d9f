//! What is called with: a request on its way to an instance. Its body is passed on as it comes, and only one that is short is
//! kept.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
        uri::PathAndQuery,
    },
};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

/// Headers that are about one connection and not about the message (RFC 9110, 7.6.1), besides those that
/// `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];
const OLD_HOP_BY_HOP: [&str; 2] = ["keep-alive", "proxy-connection"];

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";
/// Names a call, for callers, logs and instances.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A body of no more bytes is kept until there is an answer, so that a call which an instance did not begin can be sent to another.
const KEPT: u64 = 64 << 10;
/// Tells an instance that a call can be.
const REPEATABLE: HeaderName = HeaderName::from_static("x-minik8s-repeatable");
/// In the answer, a 503, to a call that an instance has not begun, since it has as many as it may have.
const NOT_STARTED: HeaderName = HeaderName::from_static("x-minik8s-not-started");

/// What a function is called with.
#[derive(Debug)]
pub(crate) struct Message {
    /// Path and query for the instance.
    pub(crate) target: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Message {
    /// The request to an instance, of whose body no more than `most` bytes are taken; how far the body is; and what the request
    /// can be made of once more, if the body is short.
    pub(crate) fn into_request(
        mut self,
        most: u64,
    ) -> (Request<RequestBody>, Progress, Option<Repeat>) {
        let progress = Progress::default();
        let short = self.body.size_hint().exact().filter(|length| *length <= KEPT);
        self.headers.remove(&REPEATABLE);
        let repeat = short.and_then(|length| usize::try_from(length).ok()).map(|length| {
            self.headers.insert(REPEATABLE, HeaderValue::from_static("true"));
            let (target, headers) = (self.target.clone(), self.headers.clone());
            // Copied: however small the pieces, they take no more room than this, and none of the connection's.
            let body = Arc::new(Mutex::new(Vec::with_capacity(length)));
            Repeat { target, headers, body }
        });
        let kept = repeat.as_ref().map(|repeat| repeat.body.clone());
        let body = RequestBody { body: self.body, left: most, progress: progress.clone(), kept };
        if body.is_end_stream() {
            progress.set(State::Whole);
        }
        (request(self.target, self.headers, body), progress, repeat)
    }

    /// Whether the body says of itself that it is longer than `most` bytes.
    pub(crate) fn is_longer_than(&self, most: u64) -> bool {
        self.body.size_hint().lower() > most
    }

    /// The call's id; it gets one if it has none.
    pub(crate) fn request_id(&mut self) -> HeaderValue {
        let fresh = || HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).ok();
        let id = self.headers.get(REQUEST_ID).cloned().or_else(fresh);
        let id = id.unwrap_or(HeaderValue::from_static("unknown"));
        self.headers.insert(REQUEST_ID, id.clone());
        id
    }
}

/// A call that can be sent once more.
#[derive(Debug)]
pub(crate) struct Repeat {
    target: PathAndQuery,
    headers: HeaderMap,
    /// As far as it has come.
    body: Arc<Mutex<Vec<u8>>>,
}

impl Repeat {
    /// The request, of whose body all has come.
    pub(crate) fn request(&self) -> Request<RequestBody> {
        let body = Body::from(self.body.lock().clone());
        // It is kept already.
        let (left, progress, kept) = (KEPT, Progress::default(), None);
        let body = RequestBody { body, left, progress, kept };
        request(self.target.clone(), self.headers.clone(), body)
    }
}

fn request(target: PathAndQuery, headers: HeaderMap, body: RequestBody) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.into();
    *request.headers_mut() = headers;
    request
}

/// An instance is not told that the call can be sent to another.
pub(crate) fn must_be_taken(request: &mut Request<RequestBody>) {
    request.headers_mut().remove(&REPEATABLE);
}

/// Whether an answer says that the call was not begun.
pub(crate) fn is_not_started<B>(answer: &Response<B>) -> bool {
    answer.status() == StatusCode::SERVICE_UNAVAILABLE
        && answer.headers().get(&NOT_STARTED).is_some_and(|why| why == "busy")
}

/// How far a request's body has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Coming,
    Whole,
    TooLong,
    Broken,
}

/// Tells how far a request's body has been received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU8>);

impl Progress {
    pub(crate) fn state(&self) -> State {
        let states = [State::Coming, State::Whole, State::TooLong, State::Broken];
        states[usize::from(self.0.load(Ordering::Relaxed)).min(3)]
    }

    fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Relaxed);
    }
}

/// The body of a request, up to a limit.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Body,
    left: u64,
    progress: Progress,
    /// Where it is kept.
    kept: Option<Arc<Mutex<Vec<u8>>>>,
}

/// Why a body was not passed on to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("it is too long")]
    TooLong,
    #[error("it broke off")]
    Broken(#[source] axum::Error),
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.progress.set(State::Broken);
                return Poll::Ready(Some(Err(BodyError::Broken(error))));
            }
            None => {
                self.progress.set(State::Whole);
                return Poll::Ready(None);
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => {
                self.progress.set(State::TooLong);
                return Poll::Ready(Some(Err(BodyError::TooLong)));
            }
        }
        if let (Some(kept), Some(data)) = (&self.kept, frame.data_ref()) {
            kept.lock().extend_from_slice(data);
        }
        if self.body.is_end_stream() {
            self.progress.set(State::Whole);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The headers that an intermediary passes on.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')).chain(OLD_HOP_BY_HOP) {
        kept.remove(name.trim());
    }
    HOP_BY_HOP.iter().for_each(|name| drop(kept.remove(name)));
    kept
}

/// The headers of a call for an instance. What the caller addressed, and who that is, it learns from the
/// usual two.
pub(crate) fn for_instance(headers: &HeaderMap, caller: Option<IpAddr>) -> HeaderMap {
    let mut kept = end_to_end(headers);
    // Who waits for leave to send the body gets it from this server, once the body is wanted.
    kept.remove(header::EXPECT);
    if let Some(host) = kept.remove(header::HOST) {
        kept.entry(FORWARDED_HOST).or_insert(host);
    }
    if let Some(value) = caller.and_then(|caller| forwarded_for(&kept, caller)) {
        kept.insert(FORWARDED_FOR, value);
    }
    kept
}

/// Each intermediary adds from whom it had the message.
fn forwarded_for(headers: &HeaderMap, caller: IpAddr) -> Option<HeaderValue> {
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<String> = before.map(str::to_owned).chain([caller.to_string()]).collect();
    all.join(", ").parse().ok()
}
