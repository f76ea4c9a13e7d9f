//! What is said on the segment: packets of ARP for addresses of IPv4, of its like for those of IPv6. Pure.

mod arp;
mod ethernet;
mod neighbours;

use std::net::IpAddr;

use netlink::Mac;
use socket2::SockFilter;

pub(super) use self::ethernet::Heard;

use super::election::Said;
use crate::family::Family;

/// Of what is longer no more is looked at.
pub(super) const LONGEST: usize = 256;

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
