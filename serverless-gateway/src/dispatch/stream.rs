//! A connection to an instance, which breaks when the instance's host is silent.
//!
//! TCP asks a silent host for a sign of life (keepalive) only while all that was written is acknowledged; what was not is sent anew for
//! a quarter of an hour. The limit to that, `TCP_USER_TIMEOUT`, is also one to how long a host that is there may take nothing,
//! since the instance does not read. So it holds only for what a host takes without its being read: a connection that had
//! more to carry goes without.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A host that is silent for so long is asked for a sign of life, so often and so many times.
const SILENCE: Duration = Duration::from_secs(5);
const QUESTIONS: Duration = Duration::from_secs(2);
const MOST_QUESTIONS: u32 = 3;
/// For so long it need not say that it has what was written.
const UNACKNOWLEDGED: Duration = Duration::from_secs(11);

/// So many bytes a host takes that nobody reads: Linux, 64 KiB.
const UNREAD: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) tcp: TcpStream,
    /// So many bytes since anything was read last, or so many that they may have been too many.
    written: usize,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(QUESTIONS);
        let socket = SockRef::from(&tcp);
        socket.set_tcp_keepalive(&keepalive.with_retries(MOST_QUESTIONS))?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        Ok(Stream { tcp, written: 0 })
    }

    fn wrote(&mut self, length: usize) -> io::Result<usize> {
        let before = self.written;
        self.written = before.saturating_add(length);
        if before <= UNREAD && self.written > UNREAD {
            SockRef::from(&self.tcp).set_tcp_user_timeout(None)?;
        }
        Ok(length)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        if self.written <= UNREAD {
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(context, piece))?;
        Poll::Ready(self.wrote(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, pieces))?;
        Poll::Ready(self.wrote(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
