//! Who is at the other end of a connection.

use std::net::IpAddr;

/// The client's address, among the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);
