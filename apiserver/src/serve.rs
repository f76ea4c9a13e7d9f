//! HTTPS: connections with HTTP/1.1 or HTTP/2, each with the identity of its client certificate.

use std::{convert::Infallible, time::Duration};

use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceBuilder;
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, predicate::Predicate},
};

use crate::{
    credentials::Credentials,
    idle::UnderWay,
    peer::Peer,
    pki::{ClientVerifier, Serving},
    respond::{Long, Streamed},
    server::ApiServer,
    service::InProcess,
};

/// How long a client may take for the TLS handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing may be asked on a connection, and the head of a request take in HTTP/1.1. Clients
/// (hyper, Go) keep idle connections for 90 s: the server must not be the first to close one, or a
/// request that is sent at that moment is lost.
const IDLE: Duration = Duration::from_secs(120);

/// How often a silent HTTP/2 connection is tested.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A client whose machine went away without a word is noticed, also where nothing is said to it: in a terminal's
/// session. (Go's servers: 15 s.)
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(15));

/// Watches are streams that stay open, and a program has all of its on one connection.
const STREAMS: u32 = 1000;

/// How long the head of a request may be, of which every stream may have one (Kubernetes: 1 MiB): a selector of a thousand
/// names is some 30 KiB. In HTTP/1.1 it has at most 100 fields.
const HEAD: u32 = 256 << 10;

/// The smallest answer that is worth compressing (Kubernetes: `defaultGzipThresholdBytes`).
const COMPRESSED_FROM: u64 = 128 * 1024;

/// The clients are near: what is sent sooner is there sooner (Kubernetes: `defaultGzipContentEncodingLevel`).
const FAST: CompressionLevel = CompressionLevel::Precise(1);

impl ApiServer {
    /// Begins to serve HTTPS, until the server stops.
    pub fn serve(&self, listener: TcpListener, tls: Serving) {
        if let Some(end) = tls.not_after {
            self.state.metrics.serves_until(end);
        }
        self.state.duties.begin("the listener", self.clone().listen(listener, tls));
    }

    async fn listen(self, listener: TcpListener, tls: Serving) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = self.clone().connection(tls.clone(), stream);
                    self.state.tasks.spawn(connection);
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others have to be closed first.
                    tracing::warn!(%error, "connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn of_connection(
        &self,
        stream: &TlsStream<TcpStream>,
        clients: Option<&ClientVerifier>,
    ) -> InProcess {
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        let proxies = self.state.config.request_header.as_ref();
        InProcess::new(self.state.clone(), Credentials::shown(chain, clients, proxies))
    }

    async fn connection(self, tls: Serving, stream: TcpStream) {
        // Small events must not wait for more.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEP_ALIVE);
        let accepted = TlsAcceptor::from(tls.config).accept(stream);
        match tokio::time::timeout(PATIENCE, accepted).await {
            Ok(Ok(stream)) => {
                let answering = self.of_connection(&stream, tls.clients.as_ref());
                self.requests(answering, stream).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn requests(self, answering: InProcess, stream: TlsStream<TcpStream>) {
        let mut with_peer = http::Extensions::new();
        if let Ok(address) = stream.get_ref().0.peer_addr() {
            with_peer.insert(Peer(address.ip()));
        }
        let under_way = UnderWay::new();
        let noting = under_way.clone();
        let service = ServiceBuilder::new()
            .map_request(move |mut request: http::Request<Incoming>| {
                request.extensions_mut().extend(with_peer.clone());
                request
            })
            .layer(CompressionLayer::new().quality(FAST).compress_when(Large))
            .service_fn(move |request: http::Request<Incoming>| {
                let (answering, held) = (answering.clone(), noting.begin());
                async move { Ok::<_, Infallible>(held.until_sent(answering.handle(request).await)) }
            });
        let builder = protocols();
        let connection = builder.serve_connection_with_upgrades(
            TokioIo::new(stream),
            TowerToHyperService::new(service),
        );
        tokio::pin!(connection);
        let result = tokio::select! {
            result = &mut connection => result,
            () = self.state.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = under_way.ceased_for(IDLE) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    result = connection => result,
                    // Who does not even hear that it is over.
                    () = under_way.ceased_for(PATIENCE) => return,
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// HTTP/1.1 and HTTP/2, as far as a client may go.
fn protocols() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .keep_alive_interval(PING_INTERVAL);
    builder
}

/// Compress what is long and not streamed.
#[derive(Clone, Copy, Debug)]
struct Large;

impl Predicate for Large {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &http::Response<B>) -> bool {
        let extensions = response.extensions();
        extensions.get::<Streamed>().is_none()
            && (extensions.get::<Long>().is_some()
                || response.body().size_hint().lower() >= COMPRESSED_FROM)
    }
}
