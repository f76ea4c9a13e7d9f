//! How long a request to the API server may take, as a layer of the client: until it is answered, and, unless
//! the answer is a stream, until the answer is complete.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header::UPGRADE};
use http_body_util::{BodyExt, Either, Full};
use kube::client::Body;
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};

/// A whole answer, or a stream.
type Answer<B> = Response<Either<Full<Bytes>, B>>;
type Pending<B> = Pin<Box<dyn Future<Output = Result<Answer<B>, BoxError>> + Send>>;

/// The server did not answer, or not to the end.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {0:?}")]
struct Late(Duration);

/// Gives each request so much time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PatienceLayer {
    limit: Duration,
}

impl PatienceLayer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for PatienceLayer {
    type Service = Patience<S>;

    fn layer(&self, inner: S) -> Patience<S> {
        Patience { inner, limit: self.limit }
    }
}

/// The client below the layer.
#[derive(Clone, Debug)]
pub(crate) struct Patience<S> {
    inner: S,
    limit: Duration,
}

impl<S, B> Service<Request<Body>> for Patience<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer<B>;
    type Error = BoxError;
    type Future = Pending<B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Pending<B> {
        let (streams, limit) = (is_stream(&request), self.limit);
        let answer = self.inner.call(request);
        let late = move |_| Late(limit);
        if streams {
            return Box::pin(async move {
                let response = timeout(limit, answer).await.map_err(late)?.map_err(Into::into)?;
                Ok(response.map(Either::Right))
            });
        }
        let whole = async move {
            let (head, body) = answer.await.map_err(Into::into)?.into_parts();
            let bytes = body.collect().await.map_err(Into::into)?.to_bytes();
            Ok(Response::from_parts(head, Either::Left(Full::new(bytes))))
        };
        Box::pin(async move { timeout(limit, whole).await.map_err(late)? })
    }
}

fn is_stream(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let set = |pair: &str| matches!(pair, "watch=true" | "watch=1" | "follow=true" | "follow=1");
    query.split('&').any(set) || request.headers().contains_key(UPGRADE)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use api_types::api::core::v1::Pod;
    use futures::StreamExt;
    use kube::{
        Api, Client, Config,
        api::{Patch, PatchParams, WatchParams},
        client::ClientBuilder,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A client that waits for a short time only, of a server that says `answer` and then nothing more.
    async fn client(answer: &'static str) -> Client {
        crate::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                held.push(stream);
            }
        });
        let config = Config::new(format!("http://{address}").parse().unwrap());
        let layer = PatienceLayer::new(Duration::from_millis(50));
        ClientBuilder::try_from(config).unwrap().with_layer(&layer).build()
    }

    const BEGUN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";

    async fn write(answer: &'static str) -> String {
        let pods: Api<Pod> = Api::default_namespaced(client(answer).await);
        let patch = Patch::Merge(serde_json::json!({}));
        let error = pods.patch_status("p", &PatchParams::default(), &patch).await.unwrap_err();
        format!("{:#}", anyhow::Error::from(error))
    }

    #[tokio::test]
    async fn a_write_ends_even_if_the_server_never_answers_or_not_to_the_end() {
        for answer in ["", BEGUN] {
            let error = write(answer).await;
            assert!(error.contains("did not answer within"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_watch_may_be_silent_for_longer() {
        let pods: Api<Pod> = Api::default_namespaced(client(BEGUN).await);
        let mut events = pods.watch(&WatchParams::default(), "1").await.unwrap().boxed();
        let longer = timeout(Duration::from_millis(200), events.next()).await;
        assert!(longer.is_err(), "{longer:?}");
        let pods: Api<Pod> = Api::default_namespaced(client("").await);
        assert!(pods.watch(&WatchParams::default(), "1").await.is_err(), "it was never answered");
    }
}
