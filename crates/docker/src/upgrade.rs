//! Requests that turn their connection into one of bytes both ways.
//!
//! `bollard` has them too, but takes all that comes for frames: what a terminal says is none, and is lost
//! or waited for without end where it looks like one.

use bollard::errors::Error as EngineError;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1,
    upgrade::{self, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::{Docker, Error, Host, version};

/// Bytes both ways.
pub(crate) type Connection = TokioIo<Upgraded>;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Docker {
    /// Asks for such a connection with what is posted.
    pub(crate) async fn upgrade(&self, path: &str, body: String) -> Result<Connection, Error> {
        let request = || {
            Request::builder()
                .method(Method::POST)
                .uri(path)
                .header(header::HOST, "localhost")
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "tcp")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::from(body.clone()))
        };
        self.ask_agreed(async |agreed| {
            let request = version::with_version(request()?, agreed.version);
            begin(&self.host, request).await
        })
        .await
    }
}

async fn begin(host: &Host, request: Request<Full<Bytes>>) -> Result<Connection, EngineError> {
    let stream: Box<dyn Io> = match host {
        Host::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Host::Http(address) => Box::new(TcpStream::connect(address).await?),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await?;
    match answer.status() {
        StatusCode::SWITCHING_PROTOCOLS => Ok(TokioIo::new(upgrade::on(answer).await?)),
        _ => Err(refusal(answer).await?),
    }
}

async fn refusal(answer: Response<Incoming>) -> Result<EngineError, EngineError> {
    let status_code = answer.status().as_u16();
    let said = answer.into_body().collect().await?.to_bytes();
    let message = serde_json::from_slice(&said).map_or_else(
        |_| String::from_utf8_lossy(&said).into_owned(),
        |bollard::models::ErrorResponse { message }| message,
    );
    Ok(EngineError::DockerResponseServerError { status_code, message })
}
