//! Calls over HTTP/1.1 and HTTP/2 (with prior knowledge).

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{Method, Response, header, uri::PathAndQuery},
};

use crate::{
    access::Access,
    calls::Calls,
    error::CallError,
    message::{Message, for_instance},
    route::Route,
};

/// Answers calls.
#[derive(Clone, Debug)]
pub struct Gateway {
    calls: Calls,
    access: Arc<Access>,
    /// The namespace of a call that names none.
    namespace: Arc<str>,
}

impl Gateway {
    /// Answers those who have `access`. Calls that name no namespace are for functions of `namespace`.
    pub fn new(calls: Calls, access: impl Into<Arc<Access>>, namespace: &str) -> Self {
        Gateway { calls, access: access.into(), namespace: namespace.into() }
    }

    /// Every path that nobody else takes is a call.
    pub fn router(self) -> Router {
        Router::new().fallback(call).with_state(self)
    }
}

async fn call(
    State(gateway): State<Gateway>,
    request: Request,
) -> Result<Response<Body>, CallError> {
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|caller| caller.0);
    gateway.access.check(caller, request.headers())?;
    if request.method() != Method::POST {
        return Err(CallError::Method(request.method().clone()));
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let no_call = || CallError::Path(path.to_owned());
    let route = Route::of(path, &gateway.namespace).ok_or_else(no_call)?;
    let mut headers = for_instance(&parts.headers, caller.map(|caller| caller.ip()));
    if gateway.access.takes_authorization() {
        headers.remove(header::AUTHORIZATION);
    }
    let target = target(route.rest, parts.uri.query()).ok_or_else(no_call)?;
    gateway.calls.call(route.namespace, route.function, Message { target, headers, body }).await
}

/// As the caller wrote it.
fn target(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    match query {
        None => path.parse().ok(),
        Some(query) => format!("{path}?{query}").parse().ok(),
    }
}
