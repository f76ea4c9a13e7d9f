//! What frames of both families begin with, and what is heard by them.

use std::net::IpAddr;

use netlink::Mac;

use crate::announcer::election::Said;

/// How long the head of a frame is, with its type in the end.
pub(super) const HEAD: usize = 14;

/// What a host has said of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) said: Said,
    pub(crate) address: IpAddr,
    pub(crate) from: Mac,
}

pub(super) fn is_of_type(frame: &[u8], kind: u16) -> bool {
    frame.get(HEAD - 2..HEAD) == Some(&kind.to_be_bytes())
}
