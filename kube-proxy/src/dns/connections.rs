//! Questions on TCP connections, of which there are so many at most: of all clients, and of each, so that one pod's leave
//! the others theirs. A connection on which nothing comes, or whose client does not read, ends.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use hickory_proto::op::MessageType;
use hickory_server::{
    net::{BufDnsStreamHandle, runtime::TokioTime, xfer::Protocol},
    server::{Request, RequestHandler, ResponseHandle},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::debug;

/// For how long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// Until connections are taken again after there were no files left, or the like.
const RETRY: Duration = Duration::from_millis(100);

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) of_each: usize,
}

/// What is asked rarely comes by TCP.
pub(super) const LIMITS: Limits = Limits { all: 512, of_each: 32 };

/// How many there are, by client.
#[derive(Debug, Default)]
struct Open(Mutex<HashMap<IpAddr, usize>>);

/// One of them, until dropped.
struct Turn(Arc<Open>, IpAddr);

impl Open {
    fn take(self: &Arc<Self>, client: IpAddr, limits: Limits) -> Option<Turn> {
        let mut open = self.0.lock();
        let (all, own) = (open.values().sum::<usize>(), open.get(&client).copied());
        let own = own.unwrap_or_default();
        if all >= limits.all || own >= limits.of_each {
            return None;
        }
        open.insert(client, own + 1);
        Some(Turn(self.clone(), client))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.0.0.lock();
        if let Some(own) = open.get_mut(&self.1) {
            *own -= 1;
        }
        open.retain(|_, own| *own > 0);
    }
}

/// Answers on all connections that come, until the listener gives none any more; then says why.
pub(super) async fn serve(
    listener: TcpListener,
    handler: Arc<impl RequestHandler>,
    limits: Limits,
) -> io::Error {
    let (open, mut tasks) = (Arc::<Open>::default(), JoinSet::new());
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Others would be refused no less.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return error,
            Err(error) => {
                debug!(%error, "cannot take a connection");
                sleep(RETRY).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        let Some(turn) = open.take(client.ip(), limits) else {
            debug!(%client, "too many connections");
            continue;
        };
        let handler = handler.clone();
        tasks.spawn(async move {
            let _turn = turn;
            if let Err(error) = answer(stream, client, &*handler).await {
                debug!(%client, %error, "a connection has ended");
            }
        });
    }
}

/// One question after the other, so that a client has no more than one under way. Whoever answers asks nothing.
async fn answer(
    mut stream: TcpStream,
    client: SocketAddr,
    handler: &impl RequestHandler,
) -> io::Result<()> {
    loop {
        let question = timeout(IDLE, read(&mut stream)).await??;
        let request = Request::from_bytes(question, client, Protocol::Tcp);
        let request = request.map_err(io::Error::other)?;
        if request.metadata.message_type == MessageType::Response {
            return Err(io::Error::other("an answer came in place of a question"));
        }
        let (to, mut answers) = BufDnsStreamHandle::new(client);
        let to = ResponseHandle::new(client, to, Protocol::Tcp);
        handler.handle_request::<_, TokioTime>(&request, to).await;
        if let Some(answer) = answers.next().await {
            timeout(IDLE, write(&mut stream, answer.bytes())).await??;
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_so_many_and_all_have() {
        let (open, limits) = (Arc::<Open>::default(), Limits { all: 3, of_each: 2 });
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let first = open.take(one, limits).unwrap();
        let _second = open.take(one, limits).unwrap();
        assert!(open.take(one, limits).is_none());
        let _third = open.take(two, limits).unwrap();
        assert!(open.take(two, limits).is_none());
        drop(first);
        let _fourth = open.take(two, limits).unwrap();
        assert_eq!(open.0.lock().len(), 2);
    }
}
