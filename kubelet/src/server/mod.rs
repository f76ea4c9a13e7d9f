//! The kubelet's own HTTPS server, for the API server and administrators: the list of pods, and of a
//! container its logs, its process and commands in it, and its network; for who monitors, too: what
//! everything uses.

mod authorization;
mod channels;
mod logs;
mod port_forward;
mod refusal;
mod remote_command;
mod shared;
#[cfg(test)]
mod tests;
mod usage;

use std::{sync::Arc, time::Duration};

use api_types::api::core::v1::Pod;
use axum::{Extension, Json, Router, extract::State, middleware, routing::get};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde::Serialize;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::authorization::{Caller, User};

pub use self::shared::Shared;

/// A client that has not finished the handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long an HTTP/1.1 connection may be idle before, and while, the head of a request comes. The API
/// server keeps idle ones for 90 s, and is to be the first that closes them.
const IDLE: Duration = Duration::from_secs(120);
/// How often a silent HTTP/2 connection is tested.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A client whose machine went away without a word is noticed, also where nothing is said to it: in a
/// terminal's session. (Go's servers: 15 s.)
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(15));

/// The routes.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/stats/summary", get(usage::summary))
        .route("/metrics", get(async |State(shared): State<Shared>| shared.metrics))
        .route("/metrics/resource", get(usage::resource))
        .route("/metrics/cadvisor", get(usage::cadvisor))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
        .route("/exec/{namespace}/{pod}/{container}", get(remote_command::exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", get(remote_command::exec))
        .route("/attach/{namespace}/{pod}/{container}", get(remote_command::attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", get(remote_command::attach))
        .route("/portForward/{namespace}/{pod}", get(port_forward::serve))
        .route("/portForward/{namespace}/{pod}/{uid}", get(port_forward::serve))
        .layer(middleware::from_fn(authorization::authorize))
        .with_state(shared)
}

/// Serves until shutdown.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: let others end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        tokio::spawn(connection(stream, acceptor.clone(), router.clone()));
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    // A key that was pressed must not wait for the next.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEP_ALIVE);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        tracing::debug!("no TLS, or a certificate that is not of the cluster");
        return;
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let caller: Caller = certificate.and_then(User::of_certificate).map(Arc::new);
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "connection ended");
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodList {
    kind: &'static str,
    api_version: &'static str,
    items: Vec<Pod>,
}

async fn pods(State(shared): State<Shared>) -> Json<PodList> {
    let items = shared.pods.pods().iter().map(|pod| Pod::clone(pod)).collect();
    Json(PodList { kind: "PodList", api_version: "v1", items })
}
