//! Whether an nginx could listen somewhere, of which it is only known that it does not.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use tokio::net::TcpSocket;

use crate::{nginx::Socket, plan::Protocol};

/// Where this host's servers listen.
pub trait Sockets: Send {
    /// Whether one could be had.
    ///
    /// # Errors
    ///
    /// Somebody has it, or the address is not this host's.
    fn try_bind(&self, protocol: Protocol, socket: SocketAddr) -> io::Result<()>;
}

/// Those of this network namespace.
#[derive(Debug)]
pub struct HostSockets;

impl Sockets for HostSockets {
    /// As nginx would, but for listening: nobody is to be answered.
    fn try_bind(&self, protocol: Protocol, socket: SocketAddr) -> io::Result<()> {
        match protocol {
            Protocol::Udp => UdpSocket::bind(socket).map(drop),
            Protocol::Tcp => {
                let free = match socket {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                free.set_reuseaddr(true)?;
                free.bind(socket)
            }
        }
    }
}

/// For people.
pub(super) fn name((protocol, socket): &Socket) -> String {
    format!("{protocol} {socket}")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_free_unless_somebody_listens_there_be_it_at_all_addresses() {
        let taken = |listener: &TcpListener| {
            let port = listener.local_addr().unwrap().port();
            let here = SocketAddr::new([127, 0, 0, 1].into(), port);
            HostSockets.try_bind(Protocol::Tcp, here).is_err()
        };
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(taken(&here));
        assert!(taken(&TcpListener::bind("0.0.0.0:0").unwrap()));
        let elsewhere = TcpListener::bind("127.0.0.2:0").unwrap();
        assert!(!taken(&elsewhere));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(HostSockets.try_bind(Protocol::Udp, udp.local_addr().unwrap()).is_err());
        // Nobody's address.
        let stranger = "192.0.2.1:80".parse().unwrap();
        assert!(HostSockets.try_bind(Protocol::Tcp, stranger).is_err());
    }
}
