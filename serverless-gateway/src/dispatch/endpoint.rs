//! One instance over HTTP/1.1: connections that are used again.
//!
//! hyper's own connections, and no pool of a client: these give a request back that was not written, body and all, so
//! that it can go to another instance without having been kept.

use std::{io, net::SocketAddr, time::Duration};

use axum::http::{HeaderValue, Request, Response, header};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{net::TcpStream, time::timeout};

use super::Uid;
use crate::{cold_start::Milestones, message::RequestBody};

/// Instances are near; one that takes longer to accept is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that wait for their next call. An instance may hold a thread for each.
const MOST_IDLE: usize = 64;

/// A connection to an instance.
pub(crate) type Connection = SendRequest<RequestBody>;

/// An instance.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) uid: Uid,
    pub(crate) address: SocketAddr,
    /// How it became ready.
    pub(crate) milestones: Milestones,
    host: Option<HeaderValue>,
    /// Nothing: the instance gets no more calls.
    idle: Mutex<Option<Vec<Connection>>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The request was certainly not begun. Here it is again.
    NotStarted(Box<Request<RequestBody>>, io::Error),
    /// It may have been.
    Broken(hyper::Error),
}

impl Endpoint {
    pub(crate) fn new(uid: Uid, address: SocketAddr, milestones: Milestones) -> Self {
        let host = HeaderValue::try_from(address.to_string()).ok();
        Endpoint { uid, address, milestones, host, idle: Mutex::new(Some(Vec::new())) }
    }

    /// Sends a request; gives the answer's head, and the connection, which can be used again after its body.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Connection), SendError> {
        if let Some(host) = &self.host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        loop {
            let idle = self.take_idle();
            let reused = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                None => match self.connect().await {
                    Ok(connection) => connection,
                    Err(error) => return Err(SendError::NotStarted(Box::new(request), error)),
                },
            };
            match connection.try_send_request(request).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(mut error) => match error.take_message() {
                    // It was closed while it was idle.
                    Some(unsent) if reused => request = unsent,
                    Some(unsent) => {
                        let error = io::Error::other(error.into_error());
                        return Err(SendError::NotStarted(Box::new(unsent), error));
                    }
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
    }

    /// The connection's answer was received to its end.
    pub(crate) fn keep(&self, connection: Connection) {
        if let Some(idle) = self.idle.lock().as_mut()
            && idle.len() < MOST_IDLE
        {
            idle.push(connection);
        }
    }

    /// No more calls come: connections end with theirs.
    pub(crate) fn close(&self) {
        *self.idle.lock() = None;
    }

    /// The connection that was used last. One whose last answer has only just ended may not be ready yet.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let idle = idle.as_mut()?;
        idle.retain(|connection| !connection.is_closed());
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.remove(ready))
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an instance");
            }
        });
        Ok(sender)
    }
}
