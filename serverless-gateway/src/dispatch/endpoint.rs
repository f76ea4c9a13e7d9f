//! One instance over HTTP/1.1: connections that are used again.
//!
//! hyper's own connections, and no pool of a client: these give a request back that was not written, body and all, so
//! that it can go to another instance without having been kept.

use std::{any::Any, future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::HeaderValue;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::stream::Stream;
use crate::{cold_start::Milestones, message::RequestBody};

/// Instances are near; one that takes longer to accept is gone.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that wait for their next call. An instance may hold a thread for each.
const MOST_IDLE: usize = 64;
/// For how long after its last sign of life an instance is taken to be there: what is written on an open connection to a host
/// that is gone is just not answered.
const ALIVE: Duration = Duration::from_millis(500);

/// Of an answer that nobody wants any more so much is taken, and for so long; then its instance is given so long to notice it.
const UNWANTED: usize = 1 << 20;
const UNWANTED_TIME: Duration = Duration::from_secs(2);
const NOTICED: Duration = Duration::from_millis(500);

/// The UID of an instance's pod.
pub(crate) type Uid = Arc<str>;

/// A connection to an instance.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    /// Told when its call is given up.
    given_up: oneshot::Sender<GivenUp>,
}

/// A call that nobody wants any more: its place at the instance, free once this is dropped, and until when it may be
/// working on it.
#[derive(Debug)]
struct GivenUp {
    place: Box<dyn Any + Send>,
    deadline: Instant,
}

/// An instance.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) uid: Uid,
    pub(crate) address: SocketAddr,
    /// How it became ready.
    pub(crate) milestones: Milestones,
    pub(super) host: Option<HeaderValue>,
    /// Nothing: the instance gets no more calls.
    idle: Mutex<Option<Vec<Connection>>>,
    /// When it has shown last that it is there.
    alive: Mutex<Option<Instant>>,
}

impl Endpoint {
    pub(crate) fn new(uid: Uid, address: SocketAddr, milestones: Milestones) -> Self {
        let host = HeaderValue::try_from(address.to_string()).ok();
        let idle = Mutex::new(Some(Vec::new()));
        Endpoint { uid, address, milestones, host, idle, alive: Mutex::default() }
    }

    pub(super) fn keep(&self, connection: Connection) {
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

    /// Whether it gets no more calls.
    pub(super) fn is_closed(&self) -> bool {
        self.idle.lock().is_none()
    }

    /// Whether it takes connections. This one waits for a call.
    pub(super) async fn accepts(&self) -> bool {
        let connection = self.connect(CONNECT_TIMEOUT).await;
        connection.map(|connection| self.keep(connection)).is_ok()
    }

    /// A connection, and whether it was used before. A new one takes the place of one that may lead nowhere.
    pub(super) async fn connection(&self, within: Duration) -> io::Result<(Connection, bool)> {
        let idle = self.take_idle();
        let alive = self.alive.lock().is_some_and(|last| last.elapsed() < ALIVE);
        match idle.filter(|_| alive) {
            Some(connection) => Ok((connection, true)),
            None => Ok((self.connect(within).await?, false)),
        }
    }

    pub(super) fn is_alive(&self) {
        *self.alive.lock() = Some(Instant::now());
    }

    /// The connection that was used last. One whose last answer has only just ended may not be ready yet.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let idle = idle.as_mut()?;
        idle.retain(|connection| !connection.sender.is_closed());
        let ready = idle.iter().rposition(|connection| connection.sender.is_ready())?;
        Some(idle.remove(ready))
    }

    async fn connect(&self, within: Duration) -> io::Result<Connection> {
        let stream = timeout(within, TcpStream::connect(self.address)).await??;
        self.is_alive();
        let handshake = http1::handshake(TokioIo::new(Stream::new(stream)?)).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        let (given_up, told) = oneshot::channel();
        tokio::spawn(drive(connection, told));
        Ok(Connection { sender, given_up })
    }
}

impl Connection {
    /// Ends it, and the call on it. The place stays taken until the instance has ended the call.
    pub(super) fn give_up(self, place: impl Any + Send, deadline: Instant) {
        // If the connection is over already, so is the call.
        let _ = self.given_up.send(GivenUp { place: Box::new(place), deadline });
    }
}

/// Ends with the connection, which a call that is given up ends. How it was given up is told before that.
async fn drive(
    mut connection: http1::Connection<TokioIo<Stream>, RequestBody>,
    mut given_up: oneshot::Receiver<GivenUp>,
) {
    if let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await {
        tracing::debug!(%error, "connection to an instance");
    }
    if let Ok(GivenUp { place, deadline }) = given_up.try_recv() {
        let stream = connection.into_parts().io.into_inner().tcp;
        let _ = timeout_at(deadline, until_closed(stream)).await;
        drop(place);
    }
}

/// Tells an instance that nothing more comes, which for a server means that its client is gone, and waits until it closes the
/// connection: then it has ended the call, whether or not it answers it first. One that goes on answering learns of it when it
/// cannot write any more.
async fn until_closed(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut piece = vec![0; 16 << 10];
    let (mut taken, mut since) = (0, None);
    loop {
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        taken += length;
        if taken > UNWANTED || since.get_or_insert_with(Instant::now).elapsed() > UNWANTED_TIME {
            break;
        }
    }
    drop(stream);
    sleep(NOTICED).await;
    Ok(())
}
