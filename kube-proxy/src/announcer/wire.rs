//! A network segment, as its ARP goes by. Needs the right to open raw sockets.

use std::{
    io::{self, Read, Write},
    net::Ipv4Addr,
    os::fd::IntoRawFd,
};

use netlink::{Link, Mac};
use pnet_datalink::{ChannelType, Config, NetworkInterface};
use socket2::{Domain, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    election::Said,
    frame::{self, ARP, Heard},
};

/// The segment behind a link.
#[derive(Debug)]
pub(super) struct Wire {
    socket: AsyncFd<Socket>,
    mac: Mac,
}

impl Wire {
    /// Of nobody else is anything heard but what is for all, or for this MAC address of the link.
    pub(super) fn open(link: &Link, mac: Mac) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        bind(&socket, link)?;
        socket.set_nonblocking(true)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe: who gives a descriptor has to keep it open, as this does"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket, mac })
    }

    pub(super) async fn hear(&self) -> io::Result<Heard> {
        let mut frame = [0; 64];
        loop {
            let read = |mut socket: &Socket| socket.read(&mut frame);
            let length = self.socket.async_io(Interest::READABLE, read).await?;
            if let Some(heard) = frame::read(&frame[..length]) {
                return Ok(heard);
            }
        }
    }

    /// To all. A segment that is full loses it.
    pub(super) fn say(&self, said: Said, address: Ipv4Addr) -> io::Result<()> {
        let mut socket = self.socket.get_ref();
        socket.write(&frame::write(said, address, self.mac)).map(drop)
    }
}

/// To ARP on the link. There is no name for that among the addresses that sockets are bound to otherwise.
fn bind(socket: &Socket, link: &Link) -> io::Result<()> {
    let interface = NetworkInterface {
        name: link.name.clone(),
        description: String::new(),
        index: link.index,
        mac: None,
        ips: Vec::new(),
        flags: 0,
    };
    let config = Config {
        channel_type: ChannelType::Layer3(ARP),
        promiscuous: false,
        // Closed with the channel.
        socket_fd: Some(socket.try_clone()?.into_raw_fd()),
        ..Config::default()
    };
    pnet_datalink::channel(&interface, config).map(drop)
}
