//! One instance over HTTP/1.1: connections that are used again.
//!
//! hyper's own connections, and no pool of a client: these give a request back that was not written, body and all, so
//! that it can go to another instance without having been kept.

use std::{future::poll_fn, io, net::SocketAddr, pin::pin, time::Duration};

use axum::http::{HeaderValue, Request, Response, header};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use super::{Slot, Uid};
use crate::{cold_start::Milestones, message::RequestBody};

/// Instances are near; one that takes longer to accept is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that wait for their next call. An instance may hold a thread for each.
const MOST_IDLE: usize = 64;

/// A connection to an instance.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    /// Told when its call is given up.
    given_up: oneshot::Sender<GivenUp>,
}

/// A call that nobody wants any more: the instance's place, and until when it may be working on it.
#[derive(Debug)]
struct GivenUp {
    slot: Slot,
    deadline: Instant,
}

/// A call that an instance is working on, or whose answer it is sending. To drop it is to give the call up: the place at
/// the instance stays taken until the instance has ended the call.
#[derive(Debug)]
pub(crate) struct InHand {
    /// Until it has ended.
    held: Option<(Slot, Connection)>,
    deadline: Instant,
}

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

/// Why there is no answer, and the place that is free again.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The request was certainly not begun. Here it is again.
    NotStarted(Box<Request<RequestBody>>, io::Error, Slot),
    /// It may have been.
    Broken(hyper::Error, Slot),
}

impl Endpoint {
    pub(crate) fn new(uid: Uid, address: SocketAddr, milestones: Milestones) -> Self {
        let host = HeaderValue::try_from(address.to_string()).ok();
        Endpoint { uid, address, milestones, host, idle: Mutex::new(Some(Vec::new())) }
    }

    fn keep(&self, connection: Connection) {
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
        idle.retain(|connection| !connection.sender.is_closed());
        let ready = idle.iter().rposition(|connection| connection.sender.is_ready())?;
        Some(idle.remove(ready))
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        let (given_up, told) = oneshot::channel();
        tokio::spawn(drive(connection, told));
        Ok(Connection { sender, given_up })
    }
}

/// Ends with the connection, which a call that is given up ends. How it was given up is told before that.
async fn drive(
    mut connection: http1::Connection<TokioIo<TcpStream>, RequestBody>,
    mut given_up: oneshot::Receiver<GivenUp>,
) {
    if let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await {
        tracing::debug!(%error, "connection to an instance");
    }
    if let Ok(GivenUp { slot, deadline }) = given_up.try_recv() {
        let stream = connection.into_parts().io.into_inner();
        let _ = timeout_at(deadline, until_closed(stream)).await;
        drop(slot);
    }
}

/// Tells an instance that nothing more comes, which for a server means that its client is gone, and waits until it closes the
/// connection: then it has ended the call, whether or not it answers it first.
async fn until_closed(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

// === impl Slot ===

impl Slot {
    /// Sends a request to the instance, which may work on it until the deadline; gives the answer's head, and the call, which
    /// is to be finished after its body.
    pub(crate) async fn send(
        self,
        mut request: Request<RequestBody>,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, InHand), SendError> {
        if let Some(host) = &self.endpoint.host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        let mut slot = self;
        loop {
            let idle = slot.endpoint.take_idle();
            let reused = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                None => match slot.endpoint.connect().await {
                    Ok(connection) => connection,
                    Err(error) => return Err(SendError::NotStarted(request.into(), error, slot)),
                },
            };
            // Dropped after `in_hand`: that a call is given up is told before its connection ends.
            let mut answer = pin!(connection.sender.try_send_request(request));
            let in_hand = InHand { held: Some((slot, connection)), deadline };
            let mut error = match answer.as_mut().await {
                Ok(answer) => return Ok((answer, in_hand)),
                Err(error) => error,
            };
            (slot, _) = in_hand.end();
            match error.take_message() {
                // It was closed while it was idle.
                Some(unsent) if reused => request = unsent,
                Some(unsent) => {
                    let error = io::Error::other(error.into_error());
                    return Err(SendError::NotStarted(unsent.into(), error, slot));
                }
                None => return Err(SendError::Broken(error.into_error(), slot)),
            }
        }
    }
}

// === impl InHand ===

impl InHand {
    /// The answer was received to its end: the place is free, and the connection can be used again.
    pub(crate) fn finish(self) {
        let (slot, connection) = self.end();
        slot.endpoint.keep(connection);
    }

    /// Until when the instance may work on it.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    fn end(mut self) -> (Slot, Connection) {
        self.held.take().expect("whoever ends it has it")
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some((slot, connection)) = self.held.take() {
            // If the connection is over already, so is the call.
            let _ = connection.given_up.send(GivenUp { slot, deadline: self.deadline });
        }
    }
}
