//! The kubelet's own HTTPS server: logs and the list of pods, for the API server and administrators.

mod authorization;
mod logs;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use api_types::api::core::v1::Pod;
use axum::{Extension, Json, Router, extract::State, middleware, routing::get};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::authorization::{Caller, User};
use crate::{pod::manager::PodManager, runtime::Runtime};

/// A client that has not finished the handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The pods of the node.
    pub pods: Arc<PodManager>,
    /// Their containers.
    pub runtime: Arc<dyn Runtime>,
}

/// The routes.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
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
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        tracing::debug!("no TLS, or a certificate that is not of the cluster");
        return;
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let caller: Caller = certificate.and_then(User::of_certificate).map(Arc::new);
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let builder = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
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
