//! Calling a function: the path that all calls take, those that come over HTTP and the steps of workflows.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use api_machinery::names::function_name;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request, Response, StatusCode},
};
use kube::Client;
use tokio::time::{Instant, timeout_at};

use crate::{
    answer::{self, Failure},
    cold_start::{Milestones, server_timing},
    dispatch::{Refusal, SendError, Slot},
    error::CallError,
    failures,
    functions::{Function, Functions, Missing},
    message::{self, Message, Progress, REQUEST_ID, Repeat, RequestBody, State, is_not_started},
    metrics::InFlight,
    unheard::Unheard,
};

/// A caller that asks for `cold-start` in it is told, in `Server-Timing`, what its call waited for.
const TRACE: HeaderName = HeaderName::from_static("x-minik8s-trace");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// In the last such part of the time that a call may wait, an instance is not told that it can be sent to another: those that can
/// wait behind all that cannot, and would else never be begun where there are always some of these.
const LAST: u32 = 10;

/// What calls may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body of a request, in bytes.
    pub request_bytes: u64,
    /// How long a call may wait for an instance.
    pub queue_time: Duration,
}

/// Calls functions. Clones share the functions.
#[derive(Clone, Debug)]
pub struct Calls {
    functions: Functions,
    limits: Limits,
    /// Nothing: there is no function but those that the watches tell of.
    unheard: Option<Unheard>,
}

/// One call.
struct Call {
    function: Arc<Function>,
    came: Instant,
    timeout: Duration,
    limits: Limits,
    progress: Progress,
    repeat: Option<Repeat>,
    id: HeaderValue,
}

/// With less than this left of its time a call goes to no other instance: that would pass for one that takes no connection.
const LEAST_TIME: Duration = Duration::from_millis(10);

/// The place of a call that goes on to another instance, and why if it is not that the instance is busy.
type NotTaken = (Slot, Option<io::Error>);

impl Calls {
    /// Of these functions.
    pub fn new(functions: Functions, limits: Limits) -> Self {
        Calls { functions, limits, unheard: None }
    }

    /// Before it is said that a function does not exist, the API server is asked.
    #[must_use]
    pub fn asking(self, client: Client) -> Self {
        Calls { unheard: Some(Unheard::new(client)), ..self }
    }

    /// Waits until it is known which functions there are.
    pub(crate) async fn known(&self) {
        self.functions.known().await;
    }

    /// A function, if it exists, is about to be called.
    pub(crate) fn expect(&self, namespace: &str, function: &str) {
        if let Ok(function) = self.functions.find(namespace, function) {
            function.dispatcher.expect();
        }
    }

    /// Calls a function: waits for an instance, and gives its answer, whatever its code, whose body comes as the
    /// instance sends it. It goes from instance to instance for no longer than it may wait for one; all of it from when it has the last,
    /// and what went by at those that took no connection, is bounded by the function's timeout. To drop it, or the body, ends the
    /// call.
    ///
    /// # Errors
    /// There is no answer. A call that failed with [`CallError::Broken`] or [`CallError::Timeout`] may have had its
    /// effect; after the other errors it certainly had none.
    pub(crate) async fn call(
        &self,
        namespace: &str,
        function: &str,
        mut message: Message,
    ) -> Result<Response<Body>, CallError> {
        let came = Instant::now();
        let function = self.find(namespace, function, came).await?;
        let id = message.request_id();
        let mut in_flight = Some(function.metrics.begin());
        let answer = self.call_known(function.clone(), message, came, &mut in_flight).await;
        if let (Err(error), Some(in_flight)) = (&answer, in_flight) {
            in_flight.ended(error.code());
        }
        let mut answer = answer?;
        answer.headers_mut().entry(REQUEST_ID).or_insert(id);
        Ok(answer)
    }

    async fn find(
        &self,
        namespace: &str,
        function: &str,
        came: Instant,
    ) -> Result<Arc<Function>, CallError> {
        let name = function_name(function);
        let found = match (self.functions.find(namespace, &name), &self.unheard) {
            (Err(Missing::Unknown), Some(unheard)) => {
                let key = (namespace.to_owned(), name);
                unheard.find(&self.functions, &key, came + self.limits.queue_time).await?
            }
            (found, _) => found,
        };
        found.map_err(|missing| missing_error(missing, function))
    }

    async fn call_known(
        &self,
        function: Arc<Function>,
        message: Message,
        came: Instant,
        in_flight: &mut Option<InFlight>,
    ) -> Result<Response<Body>, CallError> {
        let settings = function.settings();
        if message.is_longer_than(self.limits.request_bytes) {
            return Err(CallError::TooLong(self.limits.request_bytes));
        }
        function.dispatcher.arrived();
        let traced = message.headers.get(TRACE).is_some_and(|value| value == "cold-start");
        let id = message.headers.get(REQUEST_ID).cloned().unwrap_or(HeaderValue::from_static(""));
        let (request, progress, repeat) = message.into_request(self.limits.request_bytes);
        let (timeout, limits) = (settings.timeout, self.limits);
        let call = Call { function, came, timeout, limits, progress, repeat, id };
        call.answer(&self.functions, request, in_flight, traced).await
    }
}

impl Call {
    async fn answer(
        &self,
        functions: &Functions,
        mut request: Request<RequestBody>,
        in_flight: &mut Option<InFlight>,
        traced: bool,
    ) -> Result<Response<Body>, CallError> {
        let (mut not_taken, mut left, mut cold) = (None, self.timeout, false);
        loop {
            let slot = self.acquire(functions, not_taken.take()).await;
            let slot = slot.map_err(|error| self.failed(error, None))?;
            let (instance, milestones) = (slot.endpoint.address.ip(), slot.endpoint.milestones);
            cold |= slot.cold && milestones.was_awaited(self.came);
            // The wait is not the function's, at instances that have no room either: it may be longer than that is given.
            let began = Instant::now();
            let deadline = began + left;
            let note_taken = || self.note_cold_start(&milestones, began, cold, traced);
            if self.is_last(Instant::now()) {
                message::must_be_taken(&mut request);
            }
            let sent = timeout_at(deadline, slot.send(request, deadline)).await;
            match sent {
                Err(_) => {
                    note_taken();
                    return Err(self.failed(self.too_slow(), Some(instance)));
                }
                Ok(Ok((answer, in_hand))) => {
                    if let Some(again) = self.again(&answer) {
                        request = again;
                        not_taken = Some((answer::refused(answer, in_hand).await, None));
                        continue;
                    }
                    let timing = note_taken();
                    let tell = self.tell_failure(answer.status(), instance);
                    let mut answer = answer::pass_on(answer, in_hand, in_flight.take(), tell);
                    if let Some(timing) = timing {
                        answer.headers_mut().insert(SERVER_TIMING, timing);
                    }
                    return Ok(answer);
                }
                Ok(Err(SendError::NotStarted(unsent, error, slot))) => {
                    slot.distrust();
                    left = left.saturating_sub(began.elapsed());
                    if left < LEAST_TIME {
                        return Err(self.failed(self.not_taken(error), Some(instance)));
                    }
                    request = *unsent;
                    not_taken = Some((slot, Some(error)));
                }
                Ok(Err(SendError::Broken(source, slot))) => {
                    note_taken();
                    let error = self.broken(source);
                    if matches!(error, CallError::Broken { .. }) {
                        // If it dies, it may go on to take connections for a moment.
                        slot.distrust();
                    }
                    return Err(self.failed(error, Some(instance)));
                }
            }
        }
    }

    /// The request for another instance, if this one says that it has not begun it. One that says so of what cannot be sent once
    /// more has given its answer.
    fn again<B>(&self, answer: &Response<B>) -> Option<Request<RequestBody>> {
        let whole = is_not_started(answer) && self.progress.state() == State::Whole;
        self.repeat.as_ref().filter(|_| whole).map(Repeat::request)
    }

    /// Whether an instance is rather to let the call wait than to say that it has not begun it.
    fn is_last(&self, now: Instant) -> bool {
        now + self.limits.queue_time / LAST >= self.until()
    }

    fn until(&self) -> Instant {
        self.came + self.limits.queue_time
    }

    /// There is no answer, which is not the caller's fault.
    fn failed(&self, error: CallError, instance: Option<IpAddr>) -> CallError {
        if error.code() >= 500 {
            self.function.failures.note(error.code(), self.id(), instance, &error.to_string());
        }
        error
    }

    /// To be told what is wrong with an answer that has this status.
    fn tell_failure(&self, status: StatusCode, instance: IpAddr) -> answer::Tell {
        let (function, id) = (self.function.clone(), self.id().to_owned());
        let late = format!("the answer was not whole within {} s", self.timeout.as_secs());
        Box::new(move |failure| {
            let (code, why) = match failure {
                Failure::Said(answer) => (status.as_u16(), failures::why(&answer)),
                Failure::Broken(error) => (502, format!("the answer broke off: {error}")),
                Failure::Late => (504, late),
            };
            function.failures.note(code, &id, Some(instance), &why);
        })
    }

    fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// A place at an instance, within the time that a call may wait.
    async fn acquire(
        &self,
        functions: &Functions,
        not_taken: Option<NotTaken>,
    ) -> Result<Slot, CallError> {
        let wait = self.limits.queue_time;
        let queued = self.function.metrics.queue();
        let (dispatcher, until) = (&self.function.dispatcher, self.until());
        let (slot, refused) = match not_taken {
            None => (dispatcher.acquire(until).await, None),
            Some((left, error)) => (dispatcher.acquire_another(left, until).await, error),
        };
        drop(queued);
        let function = self.function.name();
        slot.map_err(|refusal| match refusal {
            Refusal::Full => CallError::QueueFull { function },
            Refusal::Busy => CallError::Busy { function, seconds: wait.as_secs() },
            Refusal::Gone => missing_error(Missing::Unknown, &self.function.key.1),
            Refusal::NoInstance => match refused {
                Some(source) => CallError::Unreachable { function, source },
                None => {
                    let why = functions.why_not(&self.function.key);
                    let why = why.unwrap_or_else(|| format!("none within {} s", wait.as_secs()));
                    CallError::NoInstance { function, why }
                }
            },
        })
    }

    /// Of a call that an instance took; what to tell the caller of it, if it has asked.
    fn note_cold_start(
        &self,
        milestones: &Milestones,
        taken: Instant,
        cold: bool,
        traced: bool,
    ) -> Option<HeaderValue> {
        if !cold && !traced {
            return None;
        }
        let breakdown = milestones.breakdown(self.came, taken);
        if cold {
            self.function.metrics.cold_start(&breakdown);
        }
        traced.then(|| HeaderValue::try_from(server_timing(&breakdown)).ok()).flatten()
    }

    fn not_taken(&self, source: io::Error) -> CallError {
        let (function, seconds) = (self.function.name(), self.timeout.as_secs());
        CallError::NotTaken { function, seconds, source }
    }

    fn too_slow(&self) -> CallError {
        let seconds = self.timeout.as_secs();
        match self.progress.state() {
            State::Coming => CallError::BodySlow(seconds),
            _ => CallError::Timeout { function: self.function.name(), seconds },
        }
    }

    fn broken(&self, source: hyper::Error) -> CallError {
        match self.progress.state() {
            State::TooLong => CallError::TooLong(self.limits.request_bytes),
            State::Broken => CallError::BodyBroken,
            State::Coming | State::Whole => {
                CallError::Broken { function: self.function.name(), source }
            }
        }
    }
}

fn missing_error(missing: Missing, name: &str) -> CallError {
    match missing {
        Missing::NotYetKnown => CallError::NotYetKnown,
        Missing::Unknown => CallError::Unknown { name: name.to_owned() },
    }
}
