//! Where an nginx listens, by the text that it reads.

use std::{collections::BTreeSet, net::SocketAddr};

use crate::plan::Protocol;

/// Where an nginx listens.
pub type Socket = (Protocol, SocketAddr);

const LISTEN: &str = "        listen ";

/// Where one with such a configuration listens.
pub fn listened(text: &str) -> BTreeSet<Socket> {
    text.lines().filter_map(socket).collect()
}

/// That of a line.
pub(crate) fn socket(line: &str) -> Option<Socket> {
    let mut words = line.strip_prefix(LISTEN)?.trim_end_matches(';').split(' ');
    let socket: SocketAddr = words.next()?.parse().ok()?;
    let protocol = if words.any(|word| word == "udp") { Protocol::Udp } else { Protocol::Tcp };
    Some((protocol, socket))
}

/// At how many sockets servers listen, those in files included.
pub(crate) fn count(text: &str) -> usize {
    text.matches(LISTEN).count()
}
