//! Of addresses of IPv6: solicitations and advertisements of neighbours (RFC 4861).
//!
//! All is said to all nodes: those who want an address, and don't have it, are in no other group. Who is asked so answers
//! to the one who asks alone, by which an answer is told from what a host says by itself. What other hosts ask goes to those
//! who may have the address, and is no matter of ours.

use std::net::Ipv6Addr;

use netlink::Mac;
use socket2::SockFilter;

use super::ethernet::{HEAD as ETHERNET, Heard, is_of_type};
use crate::announcer::election::Said;

/// The type of the frames of IPv6.
pub(super) const TYPE: u16 = 0x86dd;
/// How long the head of a packet is, and that of a message.
const PACKET: usize = 40;
const MESSAGE: usize = 24;
/// The protocol in a packet's head.
const ICMP: u8 = 58;
/// Packets with another have come by a router.
const HOPS: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Flags of advertisements.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// Options: the link's addresses of who asks, and of who has what is asked for.
const SOURCE: u8 = 1;
const TARGET: u8 = 2;
/// All nodes of the segment.
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// Lets solicitations and advertisements through, of all packets of IPv6 (in the kernel's words: load a byte, go on if it
/// is this one, take so much of the packet).
pub(super) fn filter() -> Vec<SockFilter> {
    const LOAD: u16 = 0x30;
    const IS: u16 = 0x15;
    const TAKE: u16 = 0x06;
    let (protocol, kind) = (offset(6), offset(PACKET));
    let steps = [
        (LOAD, 0, 0, protocol),
        (IS, 0, 4, ICMP.into()),
        (LOAD, 0, 0, kind),
        (IS, 1, 0, SOLICITATION.into()),
        (IS, 0, 1, ADVERTISEMENT.into()),
        (TAKE, 0, 0, u32::MAX),
        (TAKE, 0, 0, 0),
    ];
    let steps = steps.into_iter();
    steps.map(|(code, then, or_else, value)| SockFilter::new(code, then, or_else, value)).collect()
}

/// Of a byte of a packet, in its frame.
fn offset(of: usize) -> u32 {
    u32::try_from(ETHERNET + of).expect("heads are short")
}

pub(super) fn write(said: Said, address: Ipv6Addr, from: Mac) -> Vec<u8> {
    let (kind, flags, option) = match said {
        Said::Question => (SOLICITATION, 0, SOURCE),
        Said::Mine | Said::Answer => (ADVERTISEMENT, OVERRIDE, TARGET),
    };
    let source = link_local(from);
    let head = [kind, 0, 0, 0, flags, 0, 0, 0];
    let parts: [&[u8]; 4] = [&head, &address.octets(), &[option, 1], &from.0];
    let mut message = parts.concat();
    let sum = checksum(source, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = u16::try_from(message.len()).expect("it is short").to_be_bytes();
    let parts: [&[u8]; 9] = [
        &ALL_MAC,
        &from.0,
        &TYPE.to_be_bytes(),
        &[0x60, 0, 0, 0],
        &length,
        &[ICMP, HOPS],
        &source.octets(),
        &ALL.octets(),
        &message,
    ];
    parts.concat()
}

/// The address that a link has by its MAC address (RFC 4291), whether it uses it or not: where answers come to.
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    let octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    octets.into()
}

/// Of a message to all (RFC 4443).
fn checksum(source: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).expect("it is short").to_be_bytes();
    let parts: [&[u8]; 5] = [&source.octets(), &ALL.octets(), &length, &[0, 0, 0, ICMP], message];
    let all = parts.concat();
    let words = all.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it is folded")
}

pub(super) fn read(frame: &[u8]) -> Option<Heard> {
    let packet = frame.get(ETHERNET..).filter(|_| is_of_type(frame, TYPE))?;
    let (head, rest) = packet.split_at_checked(PACKET)?;
    if head[0] >> 4 != 6 || (head[6], head[7]) != (ICMP, HOPS) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let (message, options) = rest.get(..length)?.split_at_checked(MESSAGE)?;
    let is_to_all = head[24..] == ALL.octets();
    let (said, option) = match message[0] {
        SOLICITATION if is_to_all => (Said::Question, SOURCE),
        ADVERTISEMENT if message[4] & SOLICITED != 0 => (Said::Answer, TARGET),
        ADVERTISEMENT => (Said::Mine, TARGET),
        _ => return None,
    };
    let target: [u8; 16] = message[8..].try_into().ok()?;
    let from = link_address(options, option).filter(|mac| *mac != Mac([0; 6]))?;
    Some(Heard { said, address: Ipv6Addr::from(target).into(), from })
}

fn link_address(mut options: &[u8], wanted: u8) -> Option<Mac> {
    loop {
        let (kind, length) = (*options.first()?, usize::from(*options.get(1)?) * 8);
        let (option, others) = options.split_at_checked(length).filter(|_| length > 0)?;
        if kind == wanted {
            return Some(Mac(option[2..8].try_into().ok()?));
        }
        options = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64);

    fn heard(said: Said) -> Option<Heard> {
        Some(Heard { said, address: ADDRESS.into(), from: MAC })
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        for said in [Said::Mine, Said::Question] {
            assert_eq!(read(&write(said, ADDRESS, MAC)), heard(said));
        }
        let announcement = "333300000001 020000000007 86dd 60000000 0020 3a ff \
             fe80000000000000000000fffe000007 ff020000000000000000000000000001 \
             88 00 28f4 20000000 20010db8000000000000000000000064 02 01 020000000007";
        let bytes: String =
            write(Said::Mine, ADDRESS, MAC).iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(bytes, announcement.replace(' ', ""));
    }

    /// What is right adds up to nothing but ones.
    #[test]
    fn the_checksum_is_right() {
        for said in [Said::Mine, Said::Question] {
            let frame = write(said, ADDRESS, MAC);
            assert_eq!(checksum(link_local(MAC), &frame[ETHERNET + PACKET..]), 0);
        }
    }

    /// The kernel's, which goes to who has asked.
    #[test]
    fn an_answer_is_told_from_what_a_host_says_by_itself() {
        let mut frame = write(Said::Mine, ADDRESS, MAC);
        frame[ETHERNET + PACKET + 4] |= SOLICITED;
        assert_eq!(read(&frame), heard(Said::Answer));
        // After options that are no matter of ours.
        let nonce = [14, 1, 0, 1, 2, 3, 4, 5];
        frame.splice(ETHERNET + PACKET + MESSAGE..ETHERNET + PACKET + MESSAGE, nonce);
        frame[ETHERNET + 5] += 8;
        assert_eq!(read(&frame), heard(Said::Answer));
    }

    #[test]
    fn nothing_else_is_listened_to() {
        let frame = write(Said::Question, ADDRESS, MAC);
        assert_eq!(read(&frame[..frame.len() - 1]), None);
        assert_eq!(read(&[]), None);
        let head = [12, 14, ETHERNET + 6, ETHERNET + 7];
        // To who may have it, as any neighbour asks.
        let neighbours = ETHERNET + 24 + 11;
        for at in head.into_iter().chain([neighbours, ETHERNET + PACKET]) {
            let mut other = frame.clone();
            other[at] ^= 0x40;
            assert_eq!(read(&other), None, "byte {at}");
        }
        let mut nobodys = frame.clone();
        nobodys[frame.len() - 6..].fill(0);
        assert_eq!(read(&nobodys), None);
        let mut endless = frame;
        endless[ETHERNET + PACKET + MESSAGE + 1] = 0;
        assert_eq!(read(&endless), None);
    }
}
