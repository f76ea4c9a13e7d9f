//! Of addresses of IPv4: packets of ARP (RFC 826; gratuitous ones and probes as in RFC 5227).

use std::net::Ipv4Addr;

use netlink::Mac;

use super::ethernet::{HEAD as ETHERNET, Heard, is_of_type};
use crate::announcer::election::Said;

/// The type of ARP's frames.
pub(super) const TYPE: u16 = 0x0806;
const LENGTH: usize = 42;
const BROADCAST: [u8; 6] = [0xff; 6];
/// Ethernet, IPv4, and how long their addresses are.
const KINDS: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// To all. An answer is the kernel's matter.
pub(super) fn write(said: Said, address: Ipv4Addr, from: Mac) -> Vec<u8> {
    let sender = match said {
        Said::Question => Ipv4Addr::UNSPECIFIED,
        Said::Mine | Said::Answer => address,
    };
    let parts: [&[u8]; 9] = [
        &BROADCAST,
        &from.0,
        &TYPE.to_be_bytes(),
        &KINDS,
        &REQUEST,
        &from.0,
        &sender.octets(),
        &[0; 6],
        &address.octets(),
    ];
    parts.concat()
}

/// Who sends packets from an address has it.
pub(super) fn read(frame: &[u8]) -> Option<Heard> {
    let packet = frame.get(ETHERNET..LENGTH).filter(|_| is_of_type(frame, TYPE))?;
    let (kinds, operation) = (&packet[..6], &packet[6..8]);
    let from = Mac(packet[8..14].try_into().ok()?);
    let [sender, target] = [14, 24].map(|at| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = packet[at..at + 4].try_into().ok()?;
        Some(octets.into())
    });
    let (sender, target) = (sender?, target?);
    if *kinds != KINDS || from == Mac([0; 6]) {
        return None;
    }
    let (said, address) = match (sender.is_unspecified(), *operation == REPLY) {
        (true, true) => return None,
        (true, false) => (Said::Question, target),
        // One that announces names itself twice. Any other, an answer or a question for somebody else, is of one who has
        // the address, and may not be of us.
        (false, _) if sender != target => (Said::Answer, sender),
        (false, _) => (Said::Mine, sender),
    };
    Some(Heard { said, address: address.into(), from })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 64);

    #[test]
    fn what_is_said_is_what_is_heard() {
        for said in [Said::Mine, Said::Question] {
            let frame = write(said, ADDRESS, MAC);
            assert_eq!(read(&frame), Some(Heard { said, address: ADDRESS.into(), from: MAC }));
        }
        let announcement =
            "ffffffffffff020000000007080600010800060400010200000000 07c0000240000000000000c0000240";
        let bytes: String =
            write(Said::Mine, ADDRESS, MAC).iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(bytes, announcement.replace(' ', ""));
    }

    /// The kernel's, to who has asked without an address of his own, and to who has one.
    #[test]
    fn answers_are_of_whom_they_come_from() {
        for target in [[0; 4], [192, 0, 2, 9]] {
            let mut frame = write(Said::Mine, ADDRESS, MAC);
            frame[20..22].copy_from_slice(&REPLY);
            frame[38..42].copy_from_slice(&target);
            let heard = Heard { said: Said::Answer, address: ADDRESS.into(), from: MAC };
            assert_eq!(read(&frame), Some(heard));
        }
        let mut gratuitous = write(Said::Mine, ADDRESS, MAC);
        gratuitous[20..22].copy_from_slice(&REPLY);
        assert_eq!(read(&gratuitous).map(|heard| heard.said), Some(Said::Mine));
    }

    /// It has its address, but gives way to nobody.
    #[test]
    fn who_asks_for_another_address_announces_none() {
        let mut question = write(Said::Mine, ADDRESS, MAC);
        question[38..42].copy_from_slice(&[192, 0, 2, 9]);
        let heard = Heard { said: Said::Answer, address: ADDRESS.into(), from: MAC };
        assert_eq!(read(&question), Some(heard));
    }

    #[test]
    fn nothing_else_is_listened_to() {
        let frame = write(Said::Mine, ADDRESS, MAC);
        assert_eq!(read(&frame[..41]), None);
        assert_eq!(read(&[]), None);
        for at in [12, 14, 18, 19] {
            let mut other = frame.clone();
            other[at] ^= 0x40;
            assert_eq!(read(&other), None, "byte {at}");
        }
        let mut nobodys = frame;
        nobodys[22..28].fill(0);
        assert_eq!(read(&nobodys), None);
    }
}
