//! Requests: find the function, choose an instance, pass the call on.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Path, Request, State},
    http::{Method, Response, StatusCode},
    routing::any,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    directory::{SharedDirectory, Target},
    error::CallError,
    forward::{self, Message},
    metrics::Metrics,
};

/// The port that instances serve on.
pub const INSTANCE_PORT: u16 = 8080;
/// The longest body of a call: it is held until an instance has taken it.
const MAX_BODY: usize = 10 << 20;
/// The namespace of a call that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Answers calls.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: Arc<SharedDirectory>,
    port: u16,
    client: reqwest::Client,
    metrics: Metrics,
    /// Where the next call begins to look for an instance.
    turn: AtomicUsize,
}

/// One call, with its body received.
struct Call {
    namespace: String,
    function: String,
    message: Message,
    /// When it has to be over, its answer received.
    deadline: Instant,
}

impl Gateway {
    /// Answers from `directory`; instances serve on `port`.
    pub fn new(
        directory: Arc<SharedDirectory>,
        port: u16,
        metrics: &component::Metrics,
    ) -> anyhow::Result<Self> {
        let client = forward::client().context("cannot make an HTTP client")?;
        let (metrics, turn) = (Metrics::register(metrics), AtomicUsize::new(0));
        Ok(Gateway(Arc::new(Inner { directory, port, client, metrics, turn })))
    }

    /// The routes of calls.
    pub fn router(self) -> Router {
        Router::new()
            .route("/{function}", any(call_in_default_namespace))
            .route("/{namespace}/{function}", any(call))
            .with_state(self)
    }
}

async fn call_in_default_namespace(
    gateway: State<Gateway>,
    Path(function): Path<String>,
    request: Request,
) -> Result<Response<Body>, CallError> {
    call(gateway, Path((DEFAULT_NAMESPACE.to_owned(), function)), request).await
}

async fn call(
    State(Gateway(gateway)): State<Gateway>,
    Path((namespace, function)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, CallError> {
    if request.method() != Method::POST {
        return Err(CallError::Method(request.method().clone()));
    }
    let target = gateway.directory.target(&namespace, &function).map_err(|why| {
        CallError::Missing { namespace: namespace.clone(), name: function.clone(), why }
    })?;
    let deadline = Instant::now() + target.timeout;
    let message = receive(request, deadline).await?;
    let call = Call { namespace, function, message, deadline };
    let answer = gateway.answer(&call, &target).await;
    let code = answer.as_ref().map_or_else(CallError::code, |answer| answer.status().as_u16());
    gateway.metrics.answered(&call.namespace, &call.function, code);
    answer
}

impl Inner {
    async fn answer(&self, call: &Call, target: &Target) -> Result<Response<Body>, CallError> {
        timeout_at(call.deadline, self.try_instances(call, &target.instances))
            .await
            .unwrap_or_else(|_| Err(CallError::Timeout(call.to_string(), target.timeout.as_secs())))
    }

    /// In turn, so that calls spread. Another instance is tried only if one cannot be connected to: a
    /// call that was sent may have had its effect.
    async fn try_instances(
        &self,
        call: &Call,
        instances: &[IpAddr],
    ) -> Result<Response<Body>, CallError> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut fault = CallError::NoInstance(call.to_string());
        for offset in 0..instances.len() {
            let instance = instances[(first.wrapping_add(offset)) % instances.len()];
            match self.post(call, instance).await {
                Ok(response) => return Ok(response),
                Err(error) if error.is_connect() => {
                    fault = CallError::Unreachable(call.to_string(), error);
                }
                Err(error) => return Err(CallError::Broken(call.to_string(), error)),
            }
        }
        Err(fault)
    }

    async fn post(&self, call: &Call, instance: IpAddr) -> reqwest::Result<Response<Body>> {
        let root = format!("http://{}/", SocketAddr::new(instance, self.port));
        let (message, in_flight) = (call.message.clone(), self.metrics.begin());
        forward::post(&self.client, root, message, call.deadline, in_flight).await
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}/{}", self.namespace, self.function)
    }
}

async fn receive(request: Request, deadline: Instant) -> Result<Message, CallError> {
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let headers = forward::for_instance(request.headers(), caller.map(|caller| caller.0.ip()));
    let query = request.uri().query().map(str::to_owned);
    let body = timeout_at(deadline, receive_body(request.into_body()));
    let body = body.await.unwrap_or_else(|_| Err(slow()))?;
    Ok(Message { query, headers, body })
}

fn slow() -> CallError {
    let why = "it has not come within the time that a call may take".to_owned();
    CallError::Body(StatusCode::REQUEST_TIMEOUT, why)
}

async fn receive_body(body: Body) -> Result<Bytes, CallError> {
    to_bytes(body, MAX_BODY).await.map_err(|error| {
        let too_long = error.to_string().contains("length limit");
        let code = if too_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        CallError::Body(code, error.to_string())
    })
}
