//! Tells a waiting instance which function it is.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An instance that takes longer to load than one takes to start is of no use.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(1);

/// Why an instance is not the function now.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The source is at fault; no instance can load it.
    #[error("{0}")]
    Source(String),
    #[error("it answered {0}")]
    Answer(StatusCode),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    #[error("reaching it")]
    Connect(#[source] std::io::Error),
    #[error("asking it")]
    Call(#[from] hyper::Error),
}

impl LoadError {
    /// Whether any instance would fare like this one.
    pub(super) fn is_the_functions(&self) -> bool {
        matches!(self, Self::Source(_) | Self::Slow | Self::Answer(StatusCode::BAD_REQUEST))
    }
}

/// Returns when the function can be called.
pub(super) async fn load(
    address: SocketAddr,
    token: &str,
    request: &Value,
) -> Result<(), LoadError> {
    timeout(PATIENCE, post(address, token, request)).await.unwrap_or(Err(LoadError::Slow))
}

async fn post(address: SocketAddr, token: &str, load: &Value) -> Result<(), LoadError> {
    let connecting = timeout(CONNECT, TcpStream::connect(address));
    let connected = connecting.await.unwrap_or_else(|elapsed| Err(elapsed.into()));
    let stream = connected.map_err(LoadError::Connect)?;
    stream.set_nodelay(true).map_err(LoadError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post("/_minik8s/load")
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONNECTION, "close")
        .body(Full::<Bytes>::from(load.to_string()))
        .expect("a path and plain headers make a request");
    let answer = async {
        let answer = sender.send_request(request).await?;
        drop(sender);
        let status = answer.status();
        Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
    };
    let (answer, _) = join(answer, connection).await;
    match answer? {
        (StatusCode::OK, _) => Ok(()),
        (StatusCode::UNPROCESSABLE_ENTITY, said) => Err(LoadError::Source(fault(&said))),
        (status, _) => Err(LoadError::Answer(status)),
    }
}

fn fault(said: &[u8]) -> String {
    let error = serde_json::from_slice::<Value>(said).unwrap_or_default();
    let text = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", text("type"), text("message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that is found at fault is started without the pool from then on.
    #[test]
    fn only_what_every_instance_would_say_is_the_functions_fault() {
        let check = |error: LoadError, expected| {
            assert_eq!(error.is_the_functions(), expected, "{error:?}");
        };
        check(LoadError::Source("SyntaxError".to_owned()), true);
        check(LoadError::Slow, true);
        check(LoadError::Answer(StatusCode::BAD_REQUEST), true);
        check(LoadError::Answer(StatusCode::UNAUTHORIZED), false);
        check(LoadError::Answer(StatusCode::CONFLICT), false);
        check(LoadError::Connect(std::io::ErrorKind::TimedOut.into()), false);
    }
}
