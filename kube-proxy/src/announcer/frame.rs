//! What is said on the segment: packets of ARP for addresses of IPv4, of its like for those of IPv6. Pure.

mod arp;
mod neighbours;

use std::net::IpAddr;

use netlink::Mac;
use socket2::SockFilter;

use super::election::Said;
use crate::family::Family;

/// How long the head of a frame is, with its type in the end.
const ETHERNET: usize = 14;
/// Of what is longer no more is looked at.
pub(super) const LONGEST: usize = 256;

/// What a host has said of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) said: Said,
    pub(super) address: IpAddr,
    pub(super) from: Mac,
}

/// The type of the frames in which addresses of a family are spoken of, and which of them are of any use, if not all.
pub(super) fn kind(family: Family) -> (u16, Option<Vec<SockFilter>>) {
    match family {
        Family::Ipv4 => (arp::TYPE, None),
        Family::Ipv6 => (neighbours::TYPE, Some(neighbours::filter())),
    }
}

/// To all. An answer is the kernel's matter.
pub(super) fn write(said: Said, address: IpAddr, from: Mac) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::write(said, address, from),
        IpAddr::V6(address) => neighbours::write(said, address, from),
    }
}

pub(super) fn read(frame: &[u8]) -> Option<Heard> {
    arp::read(frame).or_else(|| neighbours::read(frame))
}

fn is_of_type(frame: &[u8], kind: u16) -> bool {
    frame.get(ETHERNET - 2..ETHERNET) == Some(&kind.to_be_bytes())
}
