//! Work in another network namespace.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use tokio::{runtime::Builder, sync::oneshot};

use crate::{Error, Netlink};

/// A server on the same machine that has not answered by then has no room for one more client.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does the work in a network namespace.
///
/// # Errors
/// The namespace cannot be entered; those of the work.
pub async fn inside<T: Send + 'static>(
    namespace: File,
    work: impl AsyncFnOnce(Netlink) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    enter(namespace, || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map_err(Error::Namespace)?.block_on(async { work(Netlink::open()?).await })
    })
    .await
}

/// Connects to a server in a network namespace, at its `localhost`.
///
/// # Errors
/// The namespace cannot be entered; [`Error::Connect`].
pub async fn connect_inside(namespace: File, port: u16) -> Result<TcpStream, Error> {
    enter(namespace, move || {
        let connect = |host: IpAddr| TcpStream::connect_timeout(&(host, port).into(), PATIENCE);
        // Why not is told of IPv4: many a namespace has no other.
        connect(Ipv4Addr::LOCALHOST.into())
            .or_else(|source| connect(Ipv6Addr::LOCALHOST.into()).map_err(|_| source))
            .map_err(|source| Error::Connect { port, source })
    })
    .await
}

/// On a thread of its own: a namespace belongs to a thread, and this one ends with the work.
async fn enter<T: Send + 'static>(
    namespace: File,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, result) = oneshot::channel();
    thread::spawn(move || {
        let entered = setns(&namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::Namespace(errno.into()));
        // The receiver is gone only if the caller was dropped.
        let _ = done.send(entered.and_then(|()| work()));
    });
    let lost = |_| Error::Namespace(io::Error::other("the thread in it died"));
    result.await.map_err(lost)?
}
