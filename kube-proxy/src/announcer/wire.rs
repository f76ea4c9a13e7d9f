//! A network segment, as what hosts say of their addresses goes by. Needs the right to open raw sockets.

use std::{
    io::{self, Read, Write},
    net::IpAddr,
    os::fd::IntoRawFd,
};

use netlink::{Link, Mac};
use pnet_datalink::{ChannelType, Config, NetworkInterface};
use socket2::{Domain, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    election::Said,
    frame::{self, Heard, LONGEST},
};
use crate::family::Family;

/// The segment behind a link, as far as addresses of one family are spoken of.
#[derive(Debug)]
pub(super) struct Wire {
    socket: AsyncFd<Socket>,
    mac: Mac,
}

impl Wire {
    /// Of nobody else is anything heard but what is for all, or for this MAC address of the link.
    pub(super) fn open(family: Family, link: &Link, mac: Mac) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let (kind, filter) = frame::kind(family);
        // Before anything else may have come.
        filter.map_or(Ok(()), |filter| socket.attach_filter(&filter))?;
        bind(&socket, link, kind)?;
        socket.set_nonblocking(true)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe: who gives a descriptor has to keep it open, as this does"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket, mac })
    }

    pub(super) async fn hear(&self) -> io::Result<Heard> {
        let mut frame = [0; LONGEST];
        loop {
            let read = |mut socket: &Socket| socket.read(&mut frame);
            let length = self.socket.async_io(Interest::READABLE, read).await?;
            if let Some(heard) = frame::read(&frame[..length]) {
                return Ok(heard);
            }
        }
    }

    /// To all. A segment that is full loses it.
    pub(super) fn say(&self, said: Said, address: IpAddr) -> io::Result<()> {
        let mut socket = self.socket.get_ref();
        socket.write(&frame::write(said, address, self.mac)).map(drop)
    }
}

/// To frames of a type on the link. There is no name for that among the addresses that sockets are bound to otherwise.
fn bind(socket: &Socket, link: &Link, kind: u16) -> io::Result<()> {
    let interface = NetworkInterface {
        name: link.name.clone(),
        description: String::new(),
        index: link.index,
        mac: None,
        ips: Vec::new(),
        flags: 0,
    };
    let config = Config {
        channel_type: ChannelType::Layer3(kind),
        promiscuous: false,
        // Closed with the channel.
        socket_fd: Some(socket.try_clone()?.into_raw_fd()),
        ..Config::default()
    };
    pnet_datalink::channel(&interface, config).map(drop)
}
