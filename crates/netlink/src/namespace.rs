//! Work in another network namespace.

use std::{fs::File, io, thread};

use nix::sched::{CloneFlags, setns};
use tokio::{runtime::Builder, sync::oneshot};

use crate::{Error, Netlink};

/// Does the work in a network namespace. On a thread of its own: a namespace belongs to a thread, and this
/// one ends with it.
///
/// # Errors
/// The namespace cannot be entered; those of the work.
pub async fn inside<T: Send + 'static>(
    namespace: File,
    work: impl AsyncFnOnce(Netlink) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, result) = oneshot::channel();
    thread::spawn(move || {
        // The receiver is gone only if the caller was dropped.
        let _ = done.send(enter(&namespace, work));
    });
    let lost = |_| Error::Namespace(io::Error::other("the thread in it died"));
    result.await.map_err(lost)?
}

fn enter<T>(
    namespace: &File,
    work: impl AsyncFnOnce(Netlink) -> Result<T, Error>,
) -> Result<T, Error> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Namespace(errno.into()))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Namespace)?;
    runtime.block_on(async { work(Netlink::open()?).await })
}
